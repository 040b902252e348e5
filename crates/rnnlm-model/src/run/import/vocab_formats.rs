//! The forms of a vocabulary's file: JSON or one token per line.

use std::fmt;
use std::path::Path;

use rnnlm_vocab::{MAX_TOKENS, TokenKind};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{Error, Result};

/// The content of a vocabulary's file.
pub(super) enum Content {
    /// Tokens in the order of their ids.
    Tokens(Vec<Box<str>>),
    /// A `vocab.json` of this program, with or without a digest. It is not read yet.
    Stored { has_digest: bool },
    /// The `tokenizer.json` of a tokenizer of subwords. It is not read yet.
    Tokenizer,
}

/// Parses a file. A file `*.json` is JSON. Another file is JSON if it parses as an array or an object, else one token per
/// line.
pub(super) fn parse(path: &Path, bytes: &[u8], kind: TokenKind) -> Result<Content> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let has_json_name = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    match serde_json::from_slice(bytes) {
        Ok(Json::List(tokens)) => Ok(Content::Tokens(tokens)),
        Ok(Json::Dict(entries)) => from_dict(entries),
        Err(error) if has_json_name => Err(rnnlm_vocab::Error::VocabSyntax(error).into()),
        Err(_) => from_lines(bytes, kind).map(Content::Tokens),
    }
}

/// The error for an inconsistent vocabulary.
pub(super) fn content(reason: String) -> Error {
    rnnlm_vocab::Error::VocabContent { reason }.into()
}

/// A JSON array of tokens, or a JSON object.
enum Json {
    List(Vec<Box<str>>),
    Dict(Vec<(Box<str>, Entry)>),
}

/// A value of a JSON object.
enum Entry {
    Id(u64),
    Token(Box<str>),
    /// Another value, in words.
    Other(String),
}

fn from_dict(entries: Vec<(Box<str>, Entry)>) -> Result<Content> {
    let is_stored = entries.iter().any(|(key, value)| match value {
        Entry::Token(_) => &**key == "token_kind",
        Entry::Other(_) => &**key == "tokens",
        Entry::Id(_) => false,
    });
    if is_stored {
        return Ok(Content::Stored { has_digest: entries.iter().any(|(key, _)| &**key == "sha256") });
    }
    let is_component =
        |name: &str| entries.iter().any(|(key, value)| &**key == name && matches!(value, Entry::Other(_)));
    if is_component("model") && is_component("added_tokens") {
        return Ok(Content::Tokenizer);
    }
    let len = entries.len();
    let mut tokens: Vec<Option<Box<str>>> = vec![None; len];
    for (key, value) in entries {
        let (token, id) = match value {
            Entry::Id(id) => (key, id),
            Entry::Token(token) => match key.parse() {
                Ok(id) => (token, id),
                Err(_) => return Err(content(format!("the id of `{key}` is the text `{token}`, it must be a number"))),
            },
            Entry::Other(value) => {
                return Err(content(format!("the id of `{key}` is {value}, it must be a whole number")));
            }
        };
        let slot = usize::try_from(id).ok().and_then(|id| tokens.get_mut(id));
        let slot = slot.ok_or_else(|| {
            content(format!("the id of `{token}` is {id}, the ids of {len} tokens must be 0 to {}", len - 1))
        })?;
        if let Some(other) = slot.replace(token.clone()) {
            return Err(content(format!("`{other}` and `{token}` both have the id {id}")));
        }
    }
    // as many ids as tokens, below that number and distinct: every id has a token
    Ok(Content::Tokens(tokens.into_iter().flatten().collect()))
}

/// One token per line. Line ends are `\n`, or `\r\n` if all of them are.
fn from_lines(bytes: &[u8], kind: TokenKind) -> Result<Vec<Box<str>>> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
        content(format!("line {line} is not UTF-8"))
    })?;
    let is_crlf = text.contains('\n') && text.matches('\n').count() == text.matches("\r\n").count();
    let line_end = if is_crlf { "\r\n" } else { "\n" };
    let (mut tokens, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        if tokens.len() == MAX_TOKENS {
            let found = tokens.len() + rest.matches(line_end).count();
            return Err(rnnlm_vocab::Error::TooManyTokens { found, limit: MAX_TOKENS }.into());
        }
        // the line of the token `\n` is a line end, and another one ends it
        let has_line_feed = matches!(kind, TokenKind::Char | TokenKind::WordPunct);
        let is_line_feed = has_line_feed && rest.starts_with(line_end);
        let (token, after) = match rest.strip_prefix(line_end).filter(|_| is_line_feed) {
            Some(after) => ("\n", after.strip_prefix(line_end).unwrap_or(after)),
            None => rest.split_once(line_end).unwrap_or((rest, "")),
        };
        tokens.push(token.into());
        rest = after;
    }
    Ok(tokens)
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct JsonVisitor;

        impl<'de> Visitor<'de> for JsonVisitor {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of tokens, or an object of tokens and ids")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = list.next_element()? {
                    push(&mut tokens, token)?;
                }
                Ok(Json::List(tokens))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut dict: A) -> Result<Json, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = dict.next_entry()? {
                    push(&mut entries, entry)?;
                }
                Ok(Json::Dict(entries))
            }
        }

        value.deserialize_any(JsonVisitor)
    }
}

/// Appends to a list of at most [`MAX_TOKENS`] items.
fn push<T, E: serde::de::Error>(items: &mut Vec<T>, item: T) -> Result<(), E> {
    if items.len() == MAX_TOKENS {
        return Err(E::custom(format_args!("more than {MAX_TOKENS} tokens")));
    }
    items.push(item);
    Ok(())
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id")
            }

            fn visit_u64<E>(self, id: u64) -> Result<Entry, E> {
                Ok(Entry::Id(id))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Entry, E> {
                Ok(Entry::Other(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Entry, E> {
                Ok(Entry::Other(value.to_string()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Entry, E> {
                Ok(Entry::Other(value.to_string()))
            }

            fn visit_unit<E>(self) -> Result<Entry, E> {
                Ok(Entry::Other("null".to_owned()))
            }

            fn visit_str<E>(self, token: &str) -> Result<Entry, E> {
                Ok(Entry::Token(token.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entry, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Entry::Other("an array".to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut dict: A) -> Result<Entry, A::Error> {
                while dict.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Entry::Other("an object".to_owned()))
            }
        }

        value.deserialize_any(EntryVisitor)
    }
}
