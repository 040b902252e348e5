//! Stage 2 of the walk: a vocabulary as a file, `vocab.json`, and back.
//!
//! The file is one JSON object: `format_version`, `token_kind`, `normalization`, `text_format` (line endings and byte
//! order mark of the text it was built on), `reserved` (how many tokens after `<unk>`), `tokens` in id order and
//! their `frequencies`. A file may come from anywhere, so nothing is allocated on its word and nothing in it panics.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::corpus::open;
use crate::error::{Error, Result};
use crate::normalize::Normalization;
use crate::text::TextFormat;
use crate::tokenize::TokenKind;
use crate::vocab::{MAX_TOKENS, Parts, Vocab};

/// The newest `format_version` of a `vocab.json` that this library reads, and the one it writes.
pub const VOCAB_FORMAT_VERSION: u64 = 1;

/// The largest `vocab.json` that is written or read.
const MAX_BYTES: u64 = 1 << 28;

#[derive(Serialize)]
struct Written<'a> {
    format_version: u64,
    token_kind: TokenKind,
    normalization: Normalization,
    text_format: TextFormat,
    reserved: usize,
    tokens: Vec<&'a str>,
    frequencies: &'a [u64],
}

/// The one field that every version has, read before the others are looked at.
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
    #[serde(deserialize_with = "text_format")]
    text_format: TextFormat,
    #[serde(deserialize_with = "reserved")]
    reserved: usize,
    #[serde(deserialize_with = "tokens")]
    tokens: Vec<Box<str>>,
    #[serde(deserialize_with = "frequencies")]
    frequencies: Vec<u64>,
}

impl Vocab {
    /// The vocabulary as the text of a `vocab.json`.
    ///
    /// # Errors
    ///
    /// [`Error::VocabTooLarge`] for a file that could not be read back.
    pub fn to_json(&self) -> Result<String> {
        let written = Written {
            format_version: VOCAB_FORMAT_VERSION,
            token_kind: self.kind(),
            normalization: self.normalization(),
            text_format: self.text_format(),
            reserved: self.reserved(),
            tokens: self.tokens().collect(),
            frequencies: self.frequencies(),
        };
        let mut json = serde_json::to_string_pretty(&written).map_err(Error::VocabSyntax)?;
        json.push('\n');
        if json.len() as u64 > MAX_BYTES {
            return Err(Error::VocabTooLarge { limit: MAX_BYTES });
        }
        Ok(json)
    }

    /// The vocabulary in the bytes of a `vocab.json`.
    ///
    /// # Errors
    ///
    /// [`Error::VocabTooLarge`], [`Error::VocabSyntax`], [`Error::VocabVersion`] for a file of a later version,
    /// [`Error::VocabContent`] for tokens that repeat, lack `<unk>` or do not fit the token kind.
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
            return Err(Error::VocabContent { reason: "`format_version` is 0, versions count from 1".to_owned() });
        }
        let stored: Stored = serde_json::from_slice(json).map_err(Error::VocabSyntax)?;
        Self::from_parts(Parts {
            kind: stored.token_kind,
            normalization: stored.normalization,
            text_format: stored.text_format,
            reserved: stored.reserved,
            tokens: stored.tokens,
            frequencies: stored.frequencies,
        })
    }

    /// The vocabulary in the `vocab.json` at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Folder`], [`Error::Read`] and those of [`Vocab::from_json`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file: File = open(path)?;
        let mut json = Vec::new();
        let read = |source| Error::Read { name: path.display().to_string(), source };
        file.take(MAX_BYTES + 1).read_to_end(&mut json).map_err(read)?;
        Self::from_json(&json)
    }
}

/// Reads a value and puts the name of its field before whatever is wrong with it.
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

fn text_format<'de, D: Deserializer<'de>>(value: D) -> Result<TextFormat, D::Error> {
    named("text_format", value)
}

fn reserved<'de, D: Deserializer<'de>>(value: D) -> Result<usize, D::Error> {
    named("reserved", value)
}

fn tokens<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<Box<str>>, D::Error> {
    value.deserialize_seq(Bounded { field: "tokens", item: PhantomData })
}

fn frequencies<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<u64>, D::Error> {
    value.deserialize_seq(Bounded { field: "frequencies", item: PhantomData })
}

/// A list that grows with what is read and stops at [`MAX_TOKENS`].
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
            let place = items.len();
            let next = list.next_element();
            match next.map_err(|error| A::Error::custom(format_args!("`{}`[{place}]: {error}", self.field)))? {
                None => return Ok(items),
                Some(_) if place == MAX_TOKENS => {
                    let field = self.field;
                    return Err(A::Error::custom(format_args!("`{field}` has more than {MAX_TOKENS} entries")));
                }
                Some(item) => items.push(item),
            }
        }
    }
}
