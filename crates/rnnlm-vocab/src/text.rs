//! Stage 1, reading: the lines of a byte stream and the format of the text.
//!
//! A byte order mark is removed. Line endings are counted and kept; normalization removes them where it should. Lines
//! are split at `\n`, which never splits a UTF-8 sequence or a CRLF.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead};
use std::ops::AddAssign;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The line endings of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineEndings {
    /// Every line end is `\n`, or there is no line end.
    #[default]
    Lf,
    /// Every line end is `\r\n`.
    Crlf,
    /// Every line end is a lone `\r`.
    Cr,
    /// More than one of these occurs.
    Mixed,
}

impl fmt::Display for LineEndings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lf => "LF",
            Self::Crlf => "CRLF",
            Self::Cr => "CR",
            Self::Mixed => "mixed",
        })
    }
}

/// The format of a text before normalization. The vocabulary stores it, because under
/// [`Normalization::None`](crate::Normalization::None) a text in another format has different tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextFormat {
    /// The line endings.
    pub line_endings: LineEndings,
    /// Whether the text started with a byte order mark, which is removed on reading.
    pub byte_order_mark: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct EndingCounts {
    lf: u64,
    crlf: u64,
    cr: u64,
}

impl EndingCounts {
    /// Counts the line ends in a piece of text that has at most one `\n`, at its end.
    fn add(&mut self, line: &[u8]) {
        let ends_in_crlf = line.ends_with(b"\r\n");
        self.crlf += u64::from(ends_in_crlf);
        self.lf += u64::from(!ends_in_crlf && line.ends_with(b"\n"));
        let returns = line.iter().filter(|&&byte| byte == b'\r').count() as u64;
        self.cr += returns - u64::from(ends_in_crlf);
    }

    fn total(self) -> u64 {
        self.lf + self.crlf + self.cr
    }

    fn kind(self) -> LineEndings {
        match (self.lf > 0, self.crlf > 0, self.cr > 0) {
            (_, false, false) => LineEndings::Lf,
            (false, true, false) => LineEndings::Crlf,
            (false, false, true) => LineEndings::Cr,
            _ => LineEndings::Mixed,
        }
    }
}

/// Opens the file at `path` for reading.
///
/// # Errors
///
/// [`Error::Missing`], [`Error::Folder`], [`Error::Read`].
pub(crate) fn open(path: &Path) -> Result<File> {
    let to_error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Read { name: path.display().to_string(), source },
    };
    let file = File::open(path).map_err(to_error)?;
    match file.metadata().map_err(to_error)?.is_dir() {
        true => Err(Error::Folder { path: path.to_owned() }),
        false => Ok(file),
    }
}

/// The lines of a stream, read into one reused buffer.
pub(crate) struct Lines<R> {
    reader: R,
    name: String,
    line: Vec<u8>,
    /// Number of bytes before `line`, including a byte order mark.
    offset: u64,
    /// Line ends before `line`, by type.
    endings: EndingCounts,
    byte_order_mark: bool,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R, name: &str) -> Self {
        let (line, endings) = (Vec::new(), EndingCounts::default());
        Self { reader, name: name.to_owned(), line, offset: 0, endings, byte_order_mark: false }
    }

    /// Reads the next line. Returns `false` at the end of the stream.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        self.offset += self.line.len() as u64;
        self.endings.add(&self.line);
        self.line.clear();
        let read = |source| Error::Read { name: self.name.clone(), source };
        let bytes = self.reader.read_until(b'\n', &mut self.line).map_err(read)?;
        if self.offset == 0 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.byte_order_mark = true;
            self.line.drain(..BYTE_ORDER_MARK.len());
            self.offset = BYTE_ORDER_MARK.len() as u64;
        }
        Ok(bytes > 0)
    }

    /// The current line, including its line end.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Number of bytes before the current line. After the last line this is the length of the stream.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The format of the text before the current line.
    pub(crate) fn format(&self) -> TextFormat {
        TextFormat { line_endings: self.endings.kind(), byte_order_mark: self.byte_order_mark }
    }

    /// The error for a current line whose first invalid UTF-8 byte is at index `valid`.
    pub(crate) fn invalid_utf8(&self, valid: usize) -> Error {
        invalid_utf8(&self.name, &self.line, valid, self.offset, self.endings)
    }

    /// The path, or the name that the caller gave the stream.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// The error for `bytes` whose first invalid UTF-8 byte is at index `valid`.
pub(crate) fn invalid_utf8_in(name: &str, bytes: &[u8], valid: usize) -> Error {
    invalid_utf8(name, bytes, valid, 0, EndingCounts::default())
}

fn invalid_utf8(name: &str, bytes: &[u8], valid: usize, offset: u64, mut endings: EndingCounts) -> Error {
    bytes[..valid].split_inclusive(|&byte| byte == b'\n').for_each(|line| endings.add(line));
    Error::InvalidUtf8 {
        name: name.to_owned(),
        byte: bytes[valid],
        offset: offset + valid as u64,
        line: endings.total() + 1,
    }
}

/// The size of a text: the denominators of bits per character and bits per byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextSize {
    /// Number of Unicode scalar values. If the text is not UTF-8, the number of bytes that are not continuation bytes.
    pub characters: u64,
    /// Number of bytes.
    pub bytes: u64,
}

impl TextSize {
    pub(crate) fn of(text: &[u8]) -> Self {
        let starts_a_character = |byte: &&u8| **byte & 0b1100_0000 != 0b1000_0000;
        Self { characters: text.iter().filter(starts_a_character).count() as u64, bytes: text.len() as u64 }
    }
}

impl AddAssign for TextSize {
    fn add_assign(&mut self, other: Self) {
        self.characters += other.characters;
        self.bytes += other.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (Vec<Vec<u8>>, TextFormat, u64) {
        let mut lines = Lines::new(text, "text");
        let mut all = Vec::new();
        while lines.advance().unwrap() {
            all.push(lines.line().to_vec());
        }
        (all, lines.format(), lines.offset())
    }

    #[test]
    fn only_the_first_byte_order_mark_is_removed() {
        let (lines, format, length) = read("\u{feff}a\n\u{feff}b".as_bytes());
        assert_eq!(lines, [b"a\n".to_vec(), "\u{feff}b".as_bytes().to_vec()]);
        assert_eq!((format.byte_order_mark, length), (true, 9));
        let (lines, format, length) = read(b"\xEF\xBB\xBF");
        assert_eq!((lines.concat().len(), format.byte_order_mark, length), (0, true, 3));
    }

    #[test]
    fn line_endings_are_detected() {
        let cases: [(&[u8], LineEndings); 6] = [
            (b"a", LineEndings::Lf),
            (b"a\nb\n", LineEndings::Lf),
            (b"a\r\nb\r\n", LineEndings::Crlf),
            (b"a\rb\r", LineEndings::Cr),
            (b"a\r\nb\n", LineEndings::Mixed),
            (b"a\r\r\n", LineEndings::Mixed),
        ];
        for (text, endings) in cases {
            assert_eq!(read(text).1.line_endings, endings, "{text:?}");
        }
    }

    #[test]
    fn an_invalid_byte_is_reported_with_offset_and_line() {
        let mut lines = Lines::new(&b"\xEF\xBB\xBFab\r\nc\rd\xFFe\n"[..], "x.txt");
        assert!(lines.advance().unwrap() && lines.advance().unwrap());
        let error = lines.invalid_utf8(3).to_string();
        assert_eq!(error, "`x.txt` is not UTF-8: byte 0xFF at offset 10, line 3");
    }
}
