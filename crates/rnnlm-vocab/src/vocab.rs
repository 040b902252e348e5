//! Stage 2 of the walk: tokens to ids and back.
//!
//! Id 0 is `<unk>`, which stands for every token the vocabulary does not hold; reserved tokens follow, then the tokens
//! of the text by falling frequency, ties in the order in which they were first seen.

use std::collections::HashMap;
use std::convert::Infallible;

use crate::error::{Error, Result};
use crate::normalize::{Extent, Normalization};
use crate::text::{TextFormat, TextSize, invalid_utf8_in};
use crate::tokenize::{TokenKind, Tokenizer, Unsplit};
use crate::unknown::UnknownTokens;

/// The id of every token that a vocabulary does not hold.
pub const UNKNOWN_ID: u32 = 0;

/// How the token with id 0 is spelled. Among words a literal `<unk>` in a text is this token; characters and bytes are
/// never joined into it.
pub const UNKNOWN_TOKEN: &str = "<unk>";

/// The most tokens a vocabulary may hold: ten times what large word-level corpora need, and what a damaged file may
/// make a reader allocate at most.
pub const MAX_TOKENS: usize = 1 << 22;

/// Tokens and their ids, with all that is needed to encode another text in the same way.
///
/// A vocabulary is made by reading a [`Corpus`](crate::Corpus) or a `vocab.json` ([`Vocab::load`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocab {
    kind: TokenKind,
    normalization: Normalization,
    text_format: TextFormat,
    reserved: usize,
    tokens: Vec<Box<str>>,
    frequencies: Vec<u64>,
    index: Index,
}

/// The fields of a vocabulary before they have been checked against each other.
pub(crate) struct Parts {
    pub(crate) kind: TokenKind,
    pub(crate) normalization: Normalization,
    pub(crate) text_format: TextFormat,
    pub(crate) reserved: usize,
    pub(crate) tokens: Vec<Box<str>>,
    pub(crate) frequencies: Vec<u64>,
}

/// A text as ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The ids, one a token; 0 where the vocabulary does not hold it.
    pub ids: Vec<u32>,
    /// The tokens that became 0.
    pub unknown: UnknownTokens,
}

impl Vocab {
    /// A vocabulary of these tokens, spelled as in files, in the order of their ids. How often they occurred in which text
    /// is not known, so their frequencies are 0.
    ///
    /// # Errors
    ///
    /// [`Error::VocabContent`] for tokens that repeat, lack `<unk>` at their head or do not fit the token kind;
    /// [`Error::TooManyTokens`].
    pub fn from_tokens(kind: TokenKind, normalization: Normalization, tokens: Vec<Box<str>>) -> Result<Self> {
        if tokens.len() > MAX_TOKENS {
            return Err(Error::TooManyTokens { found: tokens.len(), limit: MAX_TOKENS });
        }
        let (frequencies, text_format) = (vec![0; tokens.len()], TextFormat::default());
        Self::from_parts(Parts { kind, normalization, text_format, reserved: 0, tokens, frequencies })
    }

    /// How many tokens there are, `<unk>` included: V, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a vocabulary is never empty")]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// What a token is.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// What is done to a text before it is cut into tokens.
    pub fn normalization(&self) -> Normalization {
        self.normalization
    }

    /// The form of the text that the vocabulary was built on.
    pub fn text_format(&self) -> TextFormat {
        self.text_format
    }

    /// How many reserved tokens follow `<unk>`.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    /// The token with this id as it is spelled in files, or nothing if there is none.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(AsRef::as_ref)
    }

    /// The id of the token spelled so, or nothing if the vocabulary does not hold it.
    pub fn id(&self, token: &str) -> Option<u32> {
        let id = self.index.get(self.kind.unspell(token))?;
        (self.token(id) == Some(token)).then_some(id)
    }

    /// The tokens as they are spelled in files, in id order.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tokens.iter().map(AsRef::as_ref)
    }

    /// How often each token occurs in the text that the vocabulary was built on, in id order. The first counts all
    /// tokens that became `<unk>`, so that the sum is the number of tokens in that text.
    pub fn frequencies(&self) -> &[u64] {
        &self.frequencies
    }

    /// The ids of a text of whole lines, normalised as the vocabulary says. A byte order mark is a character like any
    /// other here; it is taken off when a [`Corpus`](crate::Corpus) is read.
    pub fn encode(&self, text: &str) -> Encoding {
        self.encode_as(text, self.normalization, Extent::Lines)
    }

    /// The ids of a text that is to be continued: as [`Vocab::encode`], but spaces at its two ends are kept (as one),
    /// since `time traveller` and `time traveller ` have different continuations.
    pub fn encode_prefix(&self, text: &str) -> Encoding {
        self.encode_as(text, self.normalization, Extent::Prefix)
    }

    fn encode_as(&self, text: &str, normalization: Normalization, extent: Extent) -> Encoding {
        let mut encoding = Encoding::default();
        let mut tokenizer = Tokenizer::new(self.kind, normalization);
        match tokenizer.try_each_of_str(text, extent, |token| encoding.add(token, self)) {
            Ok(()) => encoding,
        }
    }

    /// The ids of a text that is normalised already: the inverse of [`Vocab::decode_bytes`] on every id that a text
    /// can give, in whatever order. (Reserved tokens of several characters never come out of a text of characters or
    /// bytes, nor does `<unk>`.)
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUtf8`], unless the tokens are bytes.
    pub fn encode_normalized(&self, text: &[u8]) -> Result<Encoding> {
        let mut encoding = Encoding::default();
        let mut tokenizer = Tokenizer::new(self.kind, Normalization::None);
        match tokenizer.try_each(text, Extent::Lines, |token| encoding.add(token, self)) {
            Ok(()) => Ok(encoding),
            Err(Unsplit::InvalidUtf8(valid)) => Err(invalid_utf8_in("the text", text, valid)),
        }
    }

    /// The text that `ids` stand for, a space between words. Bytes that are not UTF-8 become U+FFFD; see
    /// [`Vocab::decode_bytes`].
    ///
    /// # Errors
    ///
    /// [`Error::IdOutOfRange`].
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let bytes = self.decode_bytes(ids)?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// The bytes that `ids` stand for, a space between words.
    ///
    /// # Errors
    ///
    /// [`Error::IdOutOfRange`].
    pub fn decode_bytes(&self, ids: &[u32]) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(ids.len());
        for (place, &id) in ids.iter().enumerate() {
            let token = self.token(id).ok_or(Error::IdOutOfRange { id, vocab_size: self.len() })?;
            if place > 0 {
                bytes.extend_from_slice(self.kind.separator().as_bytes());
            }
            bytes.extend_from_slice(self.kind.unspell(token));
        }
        Ok(bytes)
    }

    /// The id of a token given as it stands in the text.
    pub(crate) fn id_of(&self, raw: &[u8]) -> u32 {
        self.index.get(raw).unwrap_or(UNKNOWN_ID)
    }

    /// The size of a token in the text, what separates it from its neighbours not counted.
    pub(crate) fn size_of(&self, id: u32) -> TextSize {
        self.token(id).map_or(TextSize::default(), |token| TextSize::of(self.kind.unspell(token)))
    }

    /// Checks that `parts` fit each other and makes a vocabulary of them.
    pub(crate) fn from_parts(parts: Parts) -> Result<Self> {
        let Parts { kind, normalization, text_format, reserved, tokens, frequencies } = parts;
        check(kind, reserved, &tokens, &frequencies).map_err(|reason| Error::VocabContent { reason })?;
        let mut index = Index::default();
        for (id, token) in tokens.iter().enumerate() {
            if let Some(first) = index.insert(kind.unspell(token), id as u32) {
                let reason = format!("`tokens`[{id}] repeats `tokens`[{first}], which is `{token}`");
                return Err(Error::VocabContent { reason });
            }
        }
        Ok(Self { kind, normalization, text_format, reserved, tokens, frequencies, index })
    }
}

/// Everything that can be wrong with the fields of a vocabulary but for repetitions, which the index finds.
fn check(kind: TokenKind, reserved: usize, tokens: &[Box<str>], frequencies: &[u64]) -> Result<(), String> {
    match tokens.first() {
        None => return Err(format!("`tokens` is empty, it must begin with `{UNKNOWN_TOKEN}`")),
        Some(first) if &**first != UNKNOWN_TOKEN => {
            return Err(format!("`tokens`[0] is `{first}`, it must be `{UNKNOWN_TOKEN}`"));
        }
        Some(_) => {}
    }
    if frequencies.len() != tokens.len() {
        return Err(format!("{} `tokens` but {} `frequencies`", tokens.len(), frequencies.len()));
    }
    if reserved >= tokens.len() {
        return Err(format!("`reserved` is {reserved} but only {} tokens follow `<unk>`", tokens.len() - 1));
    }
    for (id, token) in tokens.iter().enumerate().skip(1) {
        let objection = if id <= reserved { reserved_objection(kind, token) } else { kind.objection(token) };
        if let Some(objection) = objection {
            return Err(format!("`tokens`[{id}], `{token}`, {objection}"));
        }
    }
    Ok(())
}

/// Why `token` cannot be reserved, or nothing if it can.
pub(crate) fn reserved_objection(kind: TokenKind, token: &str) -> Option<&'static str> {
    match kind {
        _ if token.is_empty() => Some("is empty"),
        TokenKind::Word => kind.objection(token),
        TokenKind::Byte if token.len() == 1 => Some("would be taken for the byte itself, spell it like `<0xE9>`"),
        TokenKind::Char | TokenKind::Byte => None,
    }
}

impl Encoding {
    /// Appends the id of a token given as it stands in the text.
    pub(crate) fn add(&mut self, raw: &[u8], vocab: &Vocab) -> Result<(), Infallible> {
        let id = vocab.id_of(raw);
        if id == UNKNOWN_ID {
            self.unknown.record(self.ids.len(), raw, vocab.kind);
        }
        self.ids.push(id);
        Ok(())
    }
}

/// From a token as it stands in a text to its id. Tokens of one byte, which is nearly all there is in a text of
/// characters or bytes, are looked up in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    one_byte: Box<[Option<u32>; 256]>,
    longer: HashMap<Box<[u8]>, u32>,
}

impl Default for Index {
    fn default() -> Self {
        Self { one_byte: Box::new([None; 256]), longer: HashMap::new() }
    }
}

impl Index {
    pub(crate) fn get(&self, raw: &[u8]) -> Option<u32> {
        match raw {
            [byte] => self.one_byte[usize::from(*byte)],
            _ => self.longer.get(raw).copied(),
        }
    }

    /// Gives `raw` this id; if it has one already, returns that and changes nothing.
    pub(crate) fn insert(&mut self, raw: &[u8], id: u32) -> Option<u32> {
        let former = self.get(raw);
        if former.is_none() {
            match raw {
                [byte] => self.one_byte[usize::from(*byte)] = Some(id),
                _ => {
                    self.longer.insert(raw.into(), id);
                }
            }
        }
        former
    }
}
