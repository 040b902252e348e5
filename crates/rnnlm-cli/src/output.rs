//! Results on standard output.

use std::io::{Write, stdout};

use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::terminal::Escaped;

/// The number of columns of the terminal; 80 if standard output is not a terminal.
pub(crate) fn columns() -> usize {
    terminal_size::terminal_size_of(stdout()).map_or(80, |(width, _)| usize::from(width.0))
}

/// Writes text. Control characters are escaped on a terminal.
pub(crate) fn text(text: &str) -> Result<()> {
    stdout().lock().write_all(Escaped::text(text).on_stdout().as_bytes()).map_err(Failure::StandardStream)
}

/// Writes text and a line end.
pub(crate) fn line(line: &str) -> Result<()> {
    text(&format!("{line}\n"))
}

/// Writes one JSON value on one line.
pub(crate) fn json(value: &Value) -> Result<()> {
    line(&value.to_string())
}
