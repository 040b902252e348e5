//! Settings in a file: TOML, one `name = value` a line, the names of the flags with `_` for `-`.

use std::fs;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::{Entry, Origin};
use crate::failure::{Exit, Failure, Result};

/// The entries of the file, whose names must be among `names`.
pub(crate) fn read(path: &Path, names: &[String]) -> Result<Vec<Entry>> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("--config: `{}` cannot be read: {error}", path.display())))?;
    let place = |span: &Range<usize>| Origin::File { path: path.to_owned(), line: line(&text, span.start) };
    let table = DeTable::parse(&text).map_err(|error| {
        let place = place(&error.span().unwrap_or(0..0));
        Failure::usage(format!("{place}: {}", error.message()))
    })?;
    let mut entries: Vec<(&Spanned<_>, &Spanned<DeValue<'_>>)> = table.get_ref().iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let entry = |(name, value): (&Spanned<toml::de::DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let origin = place(&name.span());
        let name: &str = name.get_ref();
        if !names.iter().any(|known| known == name) {
            return Err(unknown(name, &origin, names));
        }
        let values = texts(value.get_ref()).ok_or_else(|| {
            Failure::usage(format!("{origin}: `{name}` is no text, number, boolean or list of these"))
        })?;
        Ok(Entry { name: name.to_owned(), values, origin })
    };
    entries.into_iter().map(entry).collect()
}

fn unknown(name: &str, origin: &Origin, names: &[String]) -> Failure {
    let hint = nearest(name, names).map(|nearest| format!("the nearest name is `{nearest}`"));
    Failure::Own { message: format!("{origin}: there is no setting `{name}`"), hint, exit: Exit::Usage }
}

/// The name that looks most like `name`.
pub(crate) fn nearest<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let name = name.replace('-', "_");
    // a measure that looks at beginnings first: `hiden` is meant to be `hidden_size`, not `token`
    let alike = |known: &String| strsim::jaro_winkler(known, &name);
    names.iter().max_by(|a, b| alike(a).total_cmp(&alike(b))).map(String::as_str)
}

/// The line of a place in a text, from 1.
fn line(text: &str, place: usize) -> usize {
    1 + text.bytes().take(place).filter(|&byte| byte == b'\n').count()
}

/// A value as it would stand on the command line; several of a list.
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
