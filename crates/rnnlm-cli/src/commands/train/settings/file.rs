//! Settings in a TOML file: one `name = value` per line, with the names of the flags and `_` for `-`.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::most_similar;
use super::resolved::{Entry, Origin};
use crate::failure::{Failure, Result};

/// The maximum length of a file. It is far more than all settings need, and bounds the memory for a wrong file.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the entries of a file.
///
/// # Errors
/// If the file cannot be read or is not TOML, or has a name that is not one of `names`.
pub(crate) fn read(path: &Path, names: &[String]) -> Result<Vec<Entry>> {
    let text = read_bounded(path)?;
    let origin = |span: &Range<usize>| Origin::File { path: path.to_owned(), line: line(&text, span.start) };
    let table = DeTable::parse(&text).map_err(|error| {
        let origin = origin(&error.span().unwrap_or(0..0));
        Failure::usage(format!("{origin}: {}", error.message()))
    })?;
    let mut entries: Vec<(&Spanned<_>, &Spanned<DeValue<'_>>)> = table.get_ref().iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let entry = |(name, value): (&Spanned<toml::de::DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let origin = origin(&name.span());
        let name: &str = name.get_ref();
        if !names.iter().any(|known| known == name) {
            return Err(unknown(name, &origin, names));
        }
        let values = texts(value.get_ref()).ok_or_else(|| {
            let message = format!("{origin}: `{name}` must be a string, a number, a boolean or an array of these");
            Failure::usage(message)
        })?;
        Ok(Entry { name: name.to_owned(), values, origin })
    };
    entries.into_iter().map(entry).collect()
}

/// The text of a file of plausible length.
fn read_bounded(path: &Path) -> Result<String> {
    let failure = |reason: String| Failure::usage(format!("--config: `{}` cannot be read: {reason}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failure(error.to_string()))?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| failure(error.to_string()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(failure(format!("it has more than the maximum of {MAX_BYTES} bytes")));
    }
    Ok(text)
}

fn unknown(name: &str, origin: &Origin, names: &[String]) -> Failure {
    let failure = Failure::usage(format!("{origin}: unknown setting `{name}`"));
    match most_similar(name, names) {
        Some(similar) => failure.with_hint(format!("did you mean `{similar}`?")),
        None => failure,
    }
}

/// The line of a byte offset, counted from 1.
fn line(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

/// A value as it would be written on the command line; an array gives several.
fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::Array(values) => values.iter().map(|value| text(value.get_ref())).collect(),
        value => text(value).map(|text| vec![text]),
    }
}

fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
