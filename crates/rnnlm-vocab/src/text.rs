//! Stage 1, properties of a text: its line endings, its byte order mark and its size.

use std::fmt;
use std::ops::{AddAssign, Sub};

use serde::{Deserialize, Serialize};

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

/// The number of bytes that have a property.
fn count(bytes: &[u8], has: impl Fn(u8) -> bool) -> u64 {
    // sums that fit into a byte are added by one instruction for a whole vector
    bytes.chunks(255).map(|part| u64::from(part.iter().map(|&byte| u8::from(has(byte))).sum::<u8>())).sum()
}

/// The number of line ends of each type.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EndingCounts {
    lf: u64,
    crlf: u64,
    cr: u64,
    /// Whether the text so far ends in `\r`, which is counted as a lone `\r`.
    after_return: bool,
}

impl EndingCounts {
    /// Counts the line ends in the next piece of a text.
    pub(crate) fn add(&mut self, piece: &[u8]) {
        let Some(&last) = piece.last() else { return };
        let count = |byte| count(piece, |other| other == byte);
        let line_feeds = count(b'\n');
        if self.after_return || piece.contains(&b'\r') {
            let within = piece.windows(2).filter(|pair| *pair == b"\r\n").count() as u64;
            let crlf = within + u64::from(self.after_return && piece[0] == b'\n');
            self.crlf += crlf;
            self.lf += line_feeds - crlf;
            self.cr = self.cr + count(b'\r') - crlf;
        } else {
            self.lf += line_feeds;
        }
        self.after_return = last == b'\r';
    }

    /// Adds the line ends of another text.
    pub(crate) fn merge(&mut self, other: Self) {
        self.lf += other.lf;
        self.crlf += other.crlf;
        self.cr += other.cr;
    }

    pub(crate) fn total(self) -> u64 {
        self.lf + self.crlf + self.cr
    }

    pub(crate) fn kind(self) -> LineEndings {
        match (self.lf > 0, self.crlf > 0, self.cr > 0) {
            (_, false, false) => LineEndings::Lf,
            (false, true, false) => LineEndings::Crlf,
            (false, false, true) => LineEndings::Cr,
            _ => LineEndings::Mixed,
        }
    }
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A part of a text, without the halves of a character.
    Text(&'a str),
    /// Bytes that are not interpreted.
    Bytes(&'a [u8]),
}

/// The maximum length of a part of a piece, in bytes.
const PART_BYTES: usize = 1 << 16;

impl<'a> Piece<'a> {
    /// The length in bytes.
    pub(crate) fn len(self) -> usize {
        self.as_bytes().len()
    }

    pub(crate) fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The piece in parts of a bounded length, so that normalizing a long one takes little memory.
    pub(crate) fn parts(self) -> impl Iterator<Item = Self> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let (part, others) = match rest {
                Self::Text(text) => {
                    let is_end = |&end: &usize| text.is_char_boundary(end);
                    let end = (0..=text.len().min(PART_BYTES)).rev().find(is_end).unwrap_or(0);
                    let (part, others) = text.split_at(end);
                    (Self::Text(part), Self::Text(others))
                }
                Self::Bytes(bytes) => {
                    let (part, others) = bytes.split_at(bytes.len().min(PART_BYTES));
                    (Self::Bytes(part), Self::Bytes(others))
                }
            };
            rest = others;
            (part.len() > 0).then_some(part)
        })
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
        let starts_a_character = |byte: u8| byte & 0b1100_0000 != 0b1000_0000;
        Self { characters: count(text, starts_a_character), bytes: text.len() as u64 }
    }
}

impl AddAssign for TextSize {
    fn add_assign(&mut self, other: Self) {
        self.characters += other.characters;
        self.bytes += other.bytes;
    }
}

/// The size without a part of the text.
impl Sub for TextSize {
    type Output = Self;

    fn sub(self, part: Self) -> Self {
        Self { characters: self.characters - part.characters, bytes: self.bytes - part.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_endings_are_detected_wherever_a_piece_ends() {
        let cases: [(&str, LineEndings); 6] = [
            ("a", LineEndings::Lf),
            ("a\nb\n", LineEndings::Lf),
            ("a\r\nb\r\n", LineEndings::Crlf),
            ("a\rb\r", LineEndings::Cr),
            ("a\r\nb\n", LineEndings::Mixed),
            ("a\r\r\n", LineEndings::Mixed),
        ];
        for (text, endings) in cases {
            for middle in 0..=text.len() {
                let mut counts = EndingCounts::default();
                counts.add(&text.as_bytes()[..middle]);
                counts.add(&text.as_bytes()[middle..]);
                assert_eq!(counts.kind(), endings, "{text:?} in pieces of {middle} bytes and the rest");
                let lines = text.replace("\r\n", "\n").matches(['\r', '\n']).count() as u64;
                assert_eq!(counts.total(), lines, "{text:?}");
            }
        }
    }
}
