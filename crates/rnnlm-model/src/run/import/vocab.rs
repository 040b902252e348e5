//! Vocabularies from files, for imported models.

use std::collections::HashMap;
use std::path::Path;

use rnnlm_vocab::{Normalization, TokenKind, UNKNOWN_TOKEN, VOCAB_FORMAT_VERSION, Vocab, load_subwords};

use super::super::files::read_bounded;
use super::super::names::MAX_VOCAB_BYTES;
use super::super::record::parse_with_digest;
use super::vocab_formats::{Content, content, parse};
use crate::{Error, Result};

/// Spellings of the unknown token, read as [`UNKNOWN_TOKEN`] in a vocabulary without it.
const UNKNOWN_SPELLINGS: [&str; 7] = ["<UNK>", "[UNK]", "[unk]", "<unknown>", "<UNKNOWN>", "<oov>", "<OOV>"];

/// A vocabulary from a file.
///
/// Ids differ from those of the file where our convention needs it: `<unk>` has id 0, and reserved tokens follow. All
/// other tokens are in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportVocab {
    vocab: Vocab,
    /// The id in the file of each token; `None` for an added `<unk>`.
    file_ids: Vec<Option<u32>>,
    unknown: Option<(Box<str>, u32)>,
    is_stored: bool,
}

impl ImportVocab {
    /// The vocabulary.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// Spelling and id of the unknown token in the file, or `None` if the file has none. Then `<unk>` was added, except to
    /// subwords that represent every text.
    pub fn unknown(&self) -> Option<(&str, u32)> {
        self.unknown.as_ref().map(|(token, id)| (token.as_ref(), *id))
    }

    /// Number of tokens in the file.
    pub fn file_len(&self) -> usize {
        self.file_ids.iter().flatten().count()
    }

    /// Whether the file is a `vocab.json`, which defines how texts are read.
    pub fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// The id in the file of each token, in the order of the vocabulary; `None` for an added `<unk>`.
    pub fn file_ids(&self) -> &[Option<u32>] {
        &self.file_ids
    }

    /// Whether every token has the id of the file.
    pub(super) fn has_file_order(&self) -> bool {
        (0..).zip(&self.file_ids).all(|(id, &file_id)| file_id == Some(id))
    }

    /// The vocabulary, by value.
    pub fn into_vocab(self) -> Vocab {
        self.vocab
    }

    /// A vocabulary of these tokens, in the order of their ids in the file.
    fn from_tokens(kind: TokenKind, normalization: Normalization, mut tokens: Vec<Box<str>>) -> Result<Self> {
        let unknown = find_unknown(&tokens)?;
        let is_unknown = |id: usize| unknown == Some(id);
        let is_reserved = |id: usize| !is_unknown(id) && is_special(kind, &tokens[id]);
        check(kind, &tokens, |id| is_unknown(id) || is_reserved(id))?;
        let (reserved, mut others): (Vec<usize>, Vec<usize>) = (0..tokens.len()).partition(|&id| is_reserved(id));
        others.retain(|&id| !is_unknown(id));
        let num_reserved = reserved.len();
        let order = reserved.into_iter().chain(others);
        let file_ids: Vec<Option<u32>> =
            std::iter::once(unknown).chain(order.map(Some)).map(|id| id.map(|id| id as u32)).collect();
        let mut token = |id: &Option<u32>| match id {
            Some(id) if !is_unknown(*id as usize) => std::mem::take(&mut tokens[*id as usize]),
            _ => UNKNOWN_TOKEN.into(),
        };
        let ordered = file_ids.iter().map(&mut token).collect();
        let vocab = Vocab::from_tokens_with_reserved(kind, normalization, num_reserved, ordered)?;
        let unknown = unknown.map(|id| (std::mem::take(&mut tokens[id]), id as u32));
        Ok(Self { vocab, file_ids, unknown, is_stored: false })
    }
}

impl From<Vocab> for ImportVocab {
    fn from(vocab: Vocab) -> Self {
        let file_ids = (0..vocab.len() as u32).map(Some).collect();
        let unknown = vocab.unknown_id().map(|id| (vocab.token(id).unwrap_or_default().into(), id));
        Self { vocab, file_ids, unknown, is_stored: true }
    }
}

/// Reads a vocabulary from a file:
///
/// - the `vocab.json` of a run;
/// - the `tokenizer.json` of a tokenizer of subwords, whose ids stay as they are;
/// - a JSON array of the tokens in the order of their ids;
/// - a JSON object of `token: id` or `id: token`, with the ids 0 to V − 1;
/// - other text: one token per line, in the order of the ids. For [`TokenKind::Char`] and
///   [`TokenKind::WordPunct`], an empty line and the line end after it are the token `\n`.
///
/// `<unk>` may have any id. A file without it may have one token with another usual spelling, such as `<UNK>` or `[UNK]`;
/// otherwise `<unk>` is added, see [`Checkpoint::with_vocab`](crate::Checkpoint::with_vocab). For characters and bytes,
/// tokens in angle or square brackets, such as `<pad>`, are reserved tokens. `kind` and `normalization` define how texts
/// are read, unless the file is a `vocab.json`, which has both.
///
/// # Errors
/// [`Error::VocabMismatch`] if `kind` or `normalization` differs from that of a `vocab.json`; otherwise if the file cannot be
/// read, is damaged or has no vocabulary.
pub fn read_vocab(path: &Path, kind: Option<TokenKind>, normalization: Option<Normalization>) -> Result<ImportVocab> {
    let bytes = read_bounded(path, MAX_VOCAB_BYTES)?;
    let requested_kind = kind.unwrap_or_default();
    let has_digest = match parse(path, &bytes, requested_kind)? {
        Content::Tokens(tokens) => {
            return ImportVocab::from_tokens(requested_kind, normalization.unwrap_or_default(), tokens);
        }
        Content::Tokenizer => {
            if let Some(requested) = kind.filter(|&kind| kind != TokenKind::Subword) {
                return Err(mismatch("token", requested.to_string(), TokenKind::Subword.to_string()));
            }
            let vocab = Vocab::from_tokenizer(load_subwords(&String::from_utf8_lossy(&bytes))?)?;
            return Ok(ImportVocab { is_stored: false, ..vocab.into() });
        }
        Content::Stored { has_digest } => has_digest,
    };
    let vocab = if has_digest {
        let (content, _) = parse_with_digest(path, &bytes, VOCAB_FORMAT_VERSION)?;
        Vocab::from_json(content.to_string().as_bytes())?
    } else {
        Vocab::from_json(&bytes)?
    };
    if let Some(requested) = kind.filter(|&kind| kind != vocab.kind()) {
        return Err(mismatch("token", requested.to_string(), vocab.kind().to_string()));
    }
    if let Some(requested) = normalization.filter(|&normalization| normalization != vocab.normalization()) {
        return Err(mismatch("normalize", requested.to_string(), vocab.normalization().to_string()));
    }
    Ok(vocab.into())
}

fn mismatch(name: &'static str, requested: String, actual: String) -> Error {
    Error::VocabMismatch { name, requested, actual }
}

/// The id of the unknown token: `<unk>`, else another spelling of it.
fn find_unknown(tokens: &[Box<str>]) -> Result<Option<usize>> {
    if let Some(id) = tokens.iter().position(|token| **token == *UNKNOWN_TOKEN) {
        return Ok(Some(id));
    }
    let mut found = tokens.iter().enumerate().filter(|(_, token)| UNKNOWN_SPELLINGS.contains(&&***token));
    match (found.next(), found.next()) {
        (Some((first, token)), Some((second, other))) if token != other => Err(content(format!(
            "`tokens`[{first}], `{token}`, and `tokens`[{second}], `{other}`, could both be `{UNKNOWN_TOKEN}`"
        ))),
        (first, _) => Ok(first.map(|(id, _)| id)),
    }
}

/// Whether a token is in brackets, such as `<pad>`, and is no character or byte.
fn is_special(kind: TokenKind, token: &str) -> bool {
    let has_brackets = |open, close| token.len() > 2 && token.starts_with(open) && token.ends_with(close);
    let is_ordinary = kind == TokenKind::Word || kind.invalid_reason(token).is_none();
    !is_ordinary && (has_brackets('<', '>') || has_brackets('[', ']'))
}

/// Checks tokens in the order of the file, whose ids the messages name.
fn check(kind: TokenKind, tokens: &[Box<str>], is_reserved: impl Fn(usize) -> bool) -> Result<()> {
    if tokens.is_empty() {
        return Err(content("`tokens` is empty".to_owned()));
    }
    let mut ids = HashMap::new();
    for (id, token) in tokens.iter().enumerate() {
        if let Some(first) = ids.insert(token, id) {
            return Err(content(format!("`tokens`[{id}] repeats `tokens`[{first}], which is `{token}`")));
        }
        if let Some(reason) = kind.invalid_reason(token).filter(|_| !is_reserved(id)) {
            return Err(content(format!("`tokens`[{id}], `{token}`, {reason}")));
        }
    }
    Ok(())
}
