//! Stage 2, files: reading and writing a vocabulary as `vocab.json`.
//!
//! The file is one JSON object with the fields `format_version`, `token_kind`, `normalization`, `line_ends` (the
//! conversion of line ends; absent if they are kept), `documents` (the division of texts; absent if they are streams),
//! `end_token` (its id; absent without documents), `text_format` (line endings and byte order mark of the text that the
//! vocabulary was built on), `reserved` (number of reserved tokens after `<unk>`), `tokens` in id order, and their
//! `frequencies`. A vocabulary of subwords has `tokenizer`, the content of its `tokenizer.json`. The file is untrusted input: no size in it decides an allocation, and no content causes a panic.
//!
//! Version 2 adds `line_ends` and the normalization `lower`, version 3 adds `documents` and `end_token`, version 4 adds the
//! token kind `word-punct`, version 5 adds `subword` and `tokenizer`. A vocabulary is written in the oldest version that has what it uses.

use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::documents::Documents;
use crate::error::{Error, Result};
use crate::normalize::{LineEndConversion, Normalization};
use crate::source::open;
use crate::subword_loader::load_subwords;
use crate::subwords::{SubwordTokenizer, Subwords};
use crate::text::TextFormat;
use crate::tokenize::TokenKind;
use crate::vocab::{MAX_TOKENS, Parts, Vocab};

/// The newest `format_version` of a `vocab.json` that this library writes and reads.
pub const VOCAB_FORMAT_VERSION: u64 = 5;

/// The size limit of a `vocab.json`, for writing and reading.
const MAX_BYTES: u64 = 1 << 28;

#[derive(Serialize)]
struct Written<'a> {
    format_version: u64,
    token_kind: TokenKind,
    normalization: Normalization,
    #[serde(skip_serializing_if = "LineEndConversion::is_keep")]
    line_ends: LineEndConversion,
    #[serde(skip_serializing_if = "Documents::is_none")]
    documents: Documents,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_token: Option<u32>,
    text_format: TextFormat,
    reserved: usize,
    tokens: Vec<&'a str>,
    frequencies: &'a [u64],
    #[serde(skip_serializing_if = "Option::is_none")]
    tokenizer: Option<&'a str>,
}

/// The only field that every format version has. It is checked before the others are read.
#[derive(Deserialize)]
struct Version {
    #[serde(deserialize_with = "format_version")]
    format_version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(rename = "format_version")]
    _format_version: u64,
    #[serde(deserialize_with = "token_kind")]
    token_kind: TokenKind,
    #[serde(deserialize_with = "normalization")]
    normalization: Normalization,
    #[serde(default, deserialize_with = "line_ends")]
    line_ends: LineEndConversion,
    #[serde(default, deserialize_with = "documents")]
    documents: Documents,
    #[serde(default, deserialize_with = "end_token")]
    end_token: Option<u32>,
    #[serde(deserialize_with = "text_format")]
    text_format: TextFormat,
    #[serde(deserialize_with = "reserved")]
    reserved: usize,
    #[serde(deserialize_with = "tokens")]
    tokens: Vec<Box<str>>,
    #[serde(deserialize_with = "frequencies")]
    frequencies: Vec<u64>,
    #[serde(default, deserialize_with = "tokenizer")]
    tokenizer: Option<String>,
}

impl Vocab {
    /// Serializes the vocabulary as the text of a `vocab.json`.
    ///
    /// # Errors
    ///
    /// [`Error::VocabTooLarge`] if the text exceeds the size limit for reading.
    pub fn to_json(&self) -> Result<String> {
        let is_version_1 = self.line_ends().is_keep() && self.normalization() != Normalization::Lower;
        let written = Written {
            format_version: match (self.kind(), self.documents()) {
                (TokenKind::Subword, _) => 5,
                (TokenKind::WordPunct, _) => 4,
                (_, Documents::Lines | Documents::BlankLines) => 3,
                (_, Documents::None) => {
                    if is_version_1 {
                        1
                    } else {
                        2
                    }
                }
            },
            token_kind: self.kind(),
            normalization: self.normalization(),
            line_ends: self.line_ends(),
            documents: self.documents(),
            end_token: self.end_token(),
            text_format: self.text_format(),
            reserved: self.reserved(),
            tokens: self.tokens().collect(),
            frequencies: self.frequencies(),
            tokenizer: self.tokenizer_of_subwords().map(SubwordTokenizer::json),
        };
        let mut json = serde_json::to_string_pretty(&written).map_err(Error::VocabSyntax)?;
        json.push('\n');
        if json.len() as u64 > MAX_BYTES {
            return Err(Error::VocabTooLarge { limit: MAX_BYTES });
        }
        Ok(json)
    }

    /// Parses the bytes of a `vocab.json`.
    ///
    /// # Errors
    ///
    /// [`Error::VocabTooLarge`], [`Error::VocabSyntax`], [`Error::VocabVersion`] for a newer format version, and
    /// [`Error::VocabContent`] if a token is repeated, `<unk>` is missing, a token does not match the token kind, or the
    /// end token is not that of the documents; [`Error::NoSubwords`] and [`Error::Tokenizer`] for subwords.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        if json.len() as u64 > MAX_BYTES {
            return Err(Error::VocabTooLarge { limit: MAX_BYTES });
        }
        let version: Version = serde_json::from_slice(json).map_err(Error::VocabSyntax)?;
        let found = version.format_version;
        if found > VOCAB_FORMAT_VERSION {
            return Err(Error::VocabVersion { found, supported: VOCAB_FORMAT_VERSION });
        }
        if found == 0 {
            return Err(Error::VocabContent { reason: "`format_version` is 0, versions start at 1".to_owned() });
        }
        let stored: Stored = serde_json::from_slice(json).map_err(Error::VocabSyntax)?;
        let vocab = Self::from_parts(Parts {
            kind: stored.token_kind,
            normalization: stored.normalization,
            line_ends: stored.line_ends,
            documents: stored.documents,
            text_format: stored.text_format,
            reserved: stored.reserved,
            tokens: stored.tokens,
            frequencies: stored.frequencies,
            subwords: stored.tokenizer.map(|json| load_subwords(&json)).transpose()?.map(Subwords),
        })?;
        if stored.end_token != vocab.end_token() {
            let id = |id: Option<u32>| id.map_or("absent".to_owned(), |id| id.to_string());
            let (found, expected) = (id(stored.end_token), id(vocab.end_token()));
            let documents = vocab.documents();
            let reason = format!("`end_token` is {found}, but it must be {expected} with `documents` `{documents}`");
            return Err(Error::VocabContent { reason });
        }
        Ok(vocab)
    }

    /// Reads the `vocab.json` at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Folder`], [`Error::Read`] and those of [`Vocab::from_json`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut json = Vec::new();
        let to_error = |source| Error::Read { name: path.display().to_string(), source };
        open(path)?.0.take(MAX_BYTES + 1).read_to_end(&mut json).map_err(to_error)?;
        Self::from_json(&json)
    }
}

/// Deserializes the value of `field` and prefixes an error with the field's name.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: &str, value: D) -> Result<T, D::Error> {
    T::deserialize(value).map_err(|error| D::Error::custom(format_args!("`{field}`: {error}")))
}

fn format_version<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    named("format_version", value)
}

fn token_kind<'de, D: Deserializer<'de>>(value: D) -> Result<TokenKind, D::Error> {
    named("token_kind", value)
}

fn normalization<'de, D: Deserializer<'de>>(value: D) -> Result<Normalization, D::Error> {
    named("normalization", value)
}

fn line_ends<'de, D: Deserializer<'de>>(value: D) -> Result<LineEndConversion, D::Error> {
    named("line_ends", value)
}

fn documents<'de, D: Deserializer<'de>>(value: D) -> Result<Documents, D::Error> {
    named("documents", value)
}

fn end_token<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u32>, D::Error> {
    named("end_token", value)
}

fn text_format<'de, D: Deserializer<'de>>(value: D) -> Result<TextFormat, D::Error> {
    named("text_format", value)
}

fn reserved<'de, D: Deserializer<'de>>(value: D) -> Result<usize, D::Error> {
    named("reserved", value)
}

fn tokenizer<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    named("tokenizer", value)
}

fn tokens<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<Box<str>>, D::Error> {
    value.deserialize_seq(Bounded { field: "tokens", item: PhantomData })
}

fn frequencies<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<u64>, D::Error> {
    value.deserialize_seq(Bounded { field: "frequencies", item: PhantomData })
}

/// Visitor of a list of at most [`MAX_TOKENS`] items. The list grows as items are read, whatever its stated length.
struct Bounded<T> {
    field: &'static str,
    item: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list in `{}`", self.field)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let index = items.len();
            let next = list.next_element();
            match next.map_err(|error| A::Error::custom(format_args!("`{}`[{index}]: {error}", self.field)))? {
                None => return Ok(items),
                Some(_) if index == MAX_TOKENS => {
                    let field = self.field;
                    return Err(A::Error::custom(format_args!("`{field}` has more than {MAX_TOKENS} entries")));
                }
                Some(item) => items.push(item),
            }
        }
    }
}
