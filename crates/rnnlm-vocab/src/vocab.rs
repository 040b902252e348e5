//! Stage 2, the vocabulary: tokens to ids and back.
//!
//! Id 0 is `<unk>`, which replaces every token that is not in the vocabulary. Reserved tokens follow, then the tokens
//! of the text by descending frequency. Tokens of equal frequency are in order of first occurrence. The ids of subwords
//! are those of their tokenizer.

mod check;
mod documents;
mod encoding;
mod frame;
mod index;
mod order;
mod subwords;
mod tokens;

use crate::documents::{Documents, EOS_TOKEN};
use crate::error::{Error, Result, count};
use crate::normalize::{LineEndConversion, Normalization};
use crate::reader::invalid_utf8_in;
use crate::subwords::Subwords;
use crate::text::{TextFormat, TextSize};
use crate::tokenize::TokenKind;
use crate::unknown::UNKNOWN_ID;

pub(crate) use check::invalid_reserved_reason;
pub use encoding::Encoding;
pub use frame::{ContextKind, DocumentFrame};
pub(crate) use index::Index;
#[cfg(feature = "cache")]
pub(crate) use subwords::SubwordCounter;
pub use tokens::DocumentToken;

/// The maximum number of tokens in a vocabulary. It is ten times what large word-level corpora need, and it bounds the
/// memory that reading a damaged file can allocate.
pub const MAX_TOKENS: usize = 1 << 22;

/// A mapping between tokens and ids, with the token kind and the normalization for encoding other texts.
///
/// A vocabulary is built by reading a [`Corpus`](crate::Corpus), loaded from a `vocab.json` by [`Vocab::load`], or made
/// from a list of tokens by [`Vocab::from_tokens`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocab {
    kind: TokenKind,
    normalization: Normalization,
    line_ends: LineEndConversion,
    documents: Documents,
    end_token: Option<u32>,
    text_format: TextFormat,
    reserved: usize,
    tokens: Vec<Box<str>>,
    frequencies: Vec<u64>,
    /// The tokenizer of [`TokenKind::Subword`].
    subwords: Option<Subwords>,
    /// The id of unknown tokens.
    unknown: Option<u32>,
    /// The tokens of a text: all tokens, except for a reserved end token.
    index: Index,
}

/// The fields of a vocabulary, not yet checked for consistency.
pub(crate) struct Parts {
    pub(crate) kind: TokenKind,
    pub(crate) normalization: Normalization,
    pub(crate) line_ends: LineEndConversion,
    pub(crate) documents: Documents,
    pub(crate) text_format: TextFormat,
    pub(crate) reserved: usize,
    pub(crate) tokens: Vec<Box<str>>,
    pub(crate) frequencies: Vec<u64>,
    pub(crate) subwords: Option<Subwords>,
}

impl Vocab {
    /// A vocabulary of these tokens, in id order and as written in a vocabulary file. All frequencies are 0, because no
    /// text is counted. Line ends are kept; [`Vocab::with_line_ends`] changes that. Texts are streams;
    /// [`Vocab::with_documents`] changes that.
    ///
    /// # Errors
    ///
    /// [`Error::VocabContent`] if a token is repeated, `<unk>` is not the first token, or a token does not match the
    /// token kind; [`Error::TooManyTokens`].
    pub fn from_tokens(kind: TokenKind, normalization: Normalization, tokens: Vec<Box<str>>) -> Result<Self> {
        Self::from_tokens_with_reserved(kind, normalization, 0, tokens)
    }

    /// Like [`Vocab::from_tokens`]; the first `reserved` tokens after `<unk>` are reserved. Reserved characters and bytes,
    /// such as `<pad>`, never occur in a text.
    ///
    /// # Errors
    ///
    /// As [`Vocab::from_tokens`]; also if fewer than `reserved` tokens follow `<unk>`.
    pub fn from_tokens_with_reserved(
        kind: TokenKind,
        normalization: Normalization,
        reserved: usize,
        tokens: Vec<Box<str>>,
    ) -> Result<Self> {
        if tokens.len() > MAX_TOKENS {
            return Err(Error::TooManyTokens { found: tokens.len(), limit: MAX_TOKENS });
        }
        let (frequencies, text_format) = (vec![0; tokens.len()], TextFormat::default());
        let (line_ends, documents) = (LineEndConversion::Keep, Documents::None);
        let subwords = None;
        Self::from_parts(Parts {
            kind,
            normalization,
            line_ends,
            documents,
            text_format,
            reserved,
            tokens,
            frequencies,
            subwords,
        })
    }

    /// This vocabulary with another conversion of line ends.
    #[must_use]
    pub fn with_line_ends(self, line_ends: LineEndConversion) -> Self {
        Self { line_ends, ..self }
    }

    /// How the ids of another vocabulary, or the way it reads texts, differ from this one; `None` if they do not.
    /// Frequencies and the format of the text that a vocabulary was built on do not matter.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let settings = [
            ("token kind", self.kind.as_str(), other.kind.as_str()),
            ("normalization", self.normalization.as_str(), other.normalization.as_str()),
            ("conversion of line ends", self.line_ends.as_str(), other.line_ends.as_str()),
            ("division into documents", self.documents.as_str(), other.documents.as_str()),
        ];
        if let Some((name, this, that)) = settings.into_iter().find(|(_, this, that)| this != that) {
            return Some(format!("its {name} is `{this}`, not `{that}`"));
        }
        if self.subwords != other.subwords && self.tokens().eq(other.tokens()) {
            return Some("its tokenizer.json is another one".to_owned());
        }
        if self.len() != other.len() {
            return Some(format!("it has {}, not {}", count(self.len() as u64, "token"), other.len()));
        }
        let mut pairs = self.tokens().zip(other.tokens()).enumerate();
        let (id, (this, that)) = pairs.find(|(_, (this, that))| this != that)?;
        Some(format!("token {id} is {this:?}, not {that:?}"))
    }

    /// Number of tokens, including `<unk>`: V, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a vocabulary is never empty")]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The unit of tokenization.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// The text transformation before tokenization.
    pub fn normalization(&self) -> Normalization {
        self.normalization
    }

    /// The conversion of line ends before the normalization.
    pub fn line_ends(&self) -> LineEndConversion {
        self.line_ends
    }

    /// The format of the text that the vocabulary was built on.
    pub fn text_format(&self) -> TextFormat {
        self.text_format
    }

    /// Number of reserved tokens after `<unk>`, including [`EOS_TOKEN`] if it is the end token.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    /// The token with this id, as written in a vocabulary file; `None` if the id is out of range.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(AsRef::as_ref)
    }

    /// The id of a token, given as written in a vocabulary file; `None` if it is not in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        if self.documents.has_eos(self.kind) && token == EOS_TOKEN {
            return self.end_token;
        }
        let id = self.index.get(self.kind.unescape(token))?;
        (self.token(id) == Some(token)).then_some(id)
    }

    /// The tokens in id order, as written in a vocabulary file.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tokens.iter().map(AsRef::as_ref)
    }

    /// Number of occurrences of each token in the text that the vocabulary was built on, in id order. The first element
    /// counts all tokens that became `<unk>`, so the sum is the number of tokens in that text.
    pub fn frequencies(&self) -> &[u64] {
        &self.frequencies
    }

    /// The id of the most frequent token of the text: the first id after `<unk>` and the reserved tokens.
    /// [`UNKNOWN_ID`] if there is no such token. Generation starts from it when the prefix is empty.
    ///
    /// ```
    /// use rnnlm_vocab::{Corpus, CorpusOptions};
    ///
    /// let vocab = Corpus::from_bytes(b"abba tabu", &CorpusOptions::default())?.vocab;
    /// assert_eq!(vocab.token(vocab.most_frequent_id()), Some("a"));
    /// # Ok::<(), rnnlm_vocab::Error>(())
    /// ```
    pub fn most_frequent_id(&self) -> u32 {
        if let Some(id) = self.most_frequent_subword() {
            return id;
        }
        let id = 1 + self.reserved;
        if id < self.len() { id as u32 } else { UNKNOWN_ID }
    }

    /// Decodes ids to text, with a space between words. An end token becomes [`Documents::separator`], without spaces at
    /// its sides. Invalid UTF-8 becomes U+FFFD; [`Vocab::decode_bytes`] keeps it.
    ///
    /// # Errors
    ///
    /// [`Error::IdOutOfRange`].
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let bytes = self.decode_bytes(ids)?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Decodes ids to the bytes of the text, as [`Vocab::decode`] does.
    ///
    /// # Errors
    ///
    /// [`Error::IdOutOfRange`].
    pub fn decode_bytes(&self, ids: &[u32]) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(ids.len());
        for (index, &id) in ids.iter().enumerate() {
            let token = self.token(id).ok_or(Error::IdOutOfRange { id, vocab_size: self.len() })?;
            let previous = index.checked_sub(1).map(|previous| ids[previous]);
            bytes.extend_from_slice(self.separator(previous, id).as_bytes());
            bytes.extend_from_slice(self.text_of_token(id, token));
        }
        Ok(bytes)
    }

    /// The text of a token when it is decoded.
    fn text_of_token<'a>(&'a self, id: u32, token: &'a str) -> &'a [u8] {
        match self.tokenizer_of_subwords().and_then(|tokenizer| tokenizer.tokens().get(id as usize)) {
            _ if Some(id) == self.end_token => self.documents.separator().as_bytes(),
            Some(subword) => &subword.text,
            None => self.kind.unescape(token),
        }
    }

    /// The id of a raw token, [`Vocab::unknown_id`] if it is not in the vocabulary.
    pub(crate) fn id_of(&self, raw: &[u8]) -> u32 {
        self.index.get(raw).unwrap_or(self.unknown.unwrap_or(UNKNOWN_ID))
    }

    /// The raw form of a token; `None` if the id is out of range.
    pub(crate) fn raw_token(&self, id: u32) -> Option<&[u8]> {
        self.token(id).map(|token| self.kind.unescape(token))
    }

    /// The size of a token in the text, without separators.
    pub(crate) fn size_of(&self, id: u32) -> TextSize {
        self.token(id).map_or(TextSize::default(), |token| TextSize::of(self.text_of_token(id, token)))
    }

    /// Makes a vocabulary of `parts` after checking that they are consistent.
    pub(crate) fn from_parts(parts: Parts) -> Result<Self> {
        let Parts { kind, normalization, line_ends, documents, text_format, reserved, tokens, frequencies, subwords } =
            parts;
        let to_error = |reason| Error::VocabContent { reason };
        check::fields(kind, reserved, &tokens, &frequencies).map_err(to_error)?;
        match &subwords {
            Some(_) if kind != TokenKind::Subword => {
                return Err(to_error(format!("`token_kind` is `{kind}`, but it has a tokenizer")));
            }
            None if kind == TokenKind::Subword => return Err(Error::SubwordsWithoutTokenizer),
            _ => {}
        }
        let wrong = subwords.as_deref().and_then(|tokenizer| check::wrong_tokens(tokenizer, &tokens));
        wrong.map_or(Ok(()), |reason| Err(to_error(reason)))?;
        let mut index = Index::default();
        for (id, token) in tokens.iter().enumerate() {
            if let Some(first) = index.insert(kind.unescape(token), id as u32) {
                let reason = format!("`tokens`[{id}] repeats `tokens`[{first}], which is `{token}`");
                return Err(to_error(reason));
            }
        }
        let end_token = match subwords.as_deref() {
            None => documents.end_token(kind, reserved, |raw| index.get(raw)).map_err(to_error)?,
            Some(_) if documents == Documents::None => None,
            Some(tokenizer) => Some(tokenizer.end_token().ok_or_else(|| {
                to_error(format!(
                    "`documents` is `{documents}`, but the tokenizer has no special token that ends a text"
                ))
            })?),
        };
        let unknown = subwords.as_deref().map_or(Some(UNKNOWN_ID), |tokenizer| tokenizer.unknown_id());
        if documents.has_eos(kind) {
            index.remove(EOS_TOKEN.as_bytes());
        }
        Ok(Self {
            kind,
            normalization,
            line_ends,
            documents,
            end_token,
            text_format,
            reserved,
            tokens,
            frequencies,
            subwords,
            unknown,
            index,
        })
    }
}

/// `bytes` as UTF-8, or the error that names the text.
fn text_of<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| invalid_utf8_in(name, bytes, error.valid_up_to()))
}
