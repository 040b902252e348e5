//! Stage 2, tokenization: splitting a normalized text into tokens.
//!
//! A token has two forms: the raw bytes in the text, and the escaped form in a vocabulary file, where a byte token is
//! written like `<0xE9>`. For characters and words the two are the same.

use std::convert::Infallible;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::normalize::{Extent, Normalization, for_each_book_line};

/// The unit of tokenization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// A character: one Unicode scalar value.
    #[default]
    Char,
    /// A word: a run of characters without Unicode white space. The white space is lost; decoding puts one space
    /// between two words.
    Word,
    /// A byte, written like `<0xE9>` in files. Under [`Normalization::None`] a text need not be UTF-8.
    Byte,
}

/// All byte values, so that the raw form of a byte token can be borrowed.
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut value = 0;
    while value < 256 {
        bytes[value] = value as u8;
        value += 1;
    }
    bytes
};

impl TokenKind {
    /// All variants.
    pub const ALL: [Self; 3] = [Self::Char, Self::Word, Self::Byte];

    /// The name in files and on the command line: `char`, `word` or `byte`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Char => "char",
            Self::Word => "word",
            Self::Byte => "byte",
        }
    }

    /// The text between two decoded tokens: a space for words, empty otherwise.
    pub fn separator(self) -> &'static str {
        match self {
            Self::Word => " ",
            Self::Char | Self::Byte => "",
        }
    }

    /// The tokens of a normalized text, as written in a vocabulary file.
    ///
    /// ```
    /// use rnnlm_vocab::TokenKind;
    ///
    /// assert_eq!(TokenKind::Word.tokens("the time machine"), ["the", "time", "machine"]);
    /// assert_eq!(TokenKind::Byte.tokens("é"), ["<0xC3>", "<0xA9>"]);
    /// ```
    pub fn tokens(self, normalized: &str) -> Vec<String> {
        let mut tokens = Vec::new();
        let mut keep = |token: &[u8]| -> Result<(), Infallible> {
            tokens.push(self.escape(token));
            Ok(())
        };
        match self.try_each(normalized, &mut keep) {
            Ok(()) => tokens,
        }
    }

    /// Calls `sink` with the raw bytes of every token of `normalized`.
    fn try_each<E>(self, normalized: &str, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Char => {
                let starts = normalized.char_indices();
                starts.map(|(start, c)| &normalized.as_bytes()[start..start + c.len_utf8()]).try_for_each(sink)
            }
            Self::Word => normalized.split_whitespace().map(str::as_bytes).try_for_each(sink),
            Self::Byte => normalized.as_bytes().chunks(1).try_for_each(sink),
        }
    }

    /// The escaped form of a token: how it is written in a vocabulary file.
    pub(crate) fn escape(self, raw: &[u8]) -> String {
        match (self, raw) {
            (Self::Byte, [byte]) => format!("<0x{byte:02X}>"),
            _ => String::from_utf8_lossy(raw).into_owned(),
        }
    }

    /// The raw bytes of a token in escaped form: the inverse of [`TokenKind::escape`].
    pub(crate) fn unescape(self, escaped: &str) -> &[u8] {
        let byte = (self == Self::Byte).then(|| parse_byte(escaped)).flatten();
        byte.map_or(escaped.as_bytes(), |byte| std::slice::from_ref(&BYTES[usize::from(byte)]))
    }

    /// Why tokenization can never produce the token with this escaped form; `None` if it can.
    ///
    /// ```
    /// use rnnlm_vocab::TokenKind;
    ///
    /// assert_eq!(TokenKind::Word.invalid_reason("new york"), Some("contains white space"));
    /// assert_eq!(TokenKind::Char.invalid_reason("é"), None);
    /// ```
    pub fn invalid_reason(self, escaped: &str) -> Option<&'static str> {
        match self {
            Self::Char if escaped.chars().count() != 1 => Some("is not one character"),
            Self::Word if escaped.is_empty() => Some("is empty"),
            Self::Word if escaped.contains(char::is_whitespace) => Some("contains white space"),
            Self::Byte if parse_byte(escaped).is_none() => Some("is not a byte written like `<0xE9>`"),
            _ => None,
        }
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The byte with this escaped form. Exactly two uppercase hexadecimal digits are accepted, so that every byte has one
/// escaped form.
fn parse_byte(escaped: &str) -> Option<u8> {
    let digits = escaped.strip_prefix("<0x")?.strip_suffix('>')?;
    let canonical = digits.len() == 2 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
    canonical.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// Why tokenization stopped early.
pub(crate) enum TokenizeError<E> {
    /// The index of the first byte that is not valid UTF-8.
    InvalidUtf8(usize),
    /// The error that `sink` returned.
    Sink(E),
}

/// Normalizes and tokenizes a text piece by piece, with one reused buffer.
pub(crate) struct Tokenizer {
    kind: TokenKind,
    normalization: Normalization,
    buffer: String,
}

impl Tokenizer {
    pub(crate) fn new(kind: TokenKind, normalization: Normalization) -> Self {
        Self { kind, normalization, buffer: String::new() }
    }

    /// Calls `sink` with the raw bytes of every token of the normalized `piece`. A piece is a whole text, or begins and
    /// ends at line boundaries.
    pub(crate) fn try_each<E>(
        &mut self,
        piece: &[u8],
        extent: Extent,
        sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), TokenizeError<E>> {
        if (self.kind, self.normalization) == (TokenKind::Byte, Normalization::None) {
            return piece.chunks(1).try_for_each(sink).map_err(TokenizeError::Sink);
        }
        let piece = std::str::from_utf8(piece).map_err(|error| TokenizeError::InvalidUtf8(error.valid_up_to()))?;
        self.try_each_of_str(piece, extent, sink).map_err(TokenizeError::Sink)
    }

    /// [`Tokenizer::try_each`] for a piece that is a `str`.
    pub(crate) fn try_each_of_str<E>(
        &mut self,
        piece: &str,
        extent: Extent,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let kind = self.kind;
        match self.normalization {
            Normalization::Book => {
                for_each_book_line(piece, extent, &mut self.buffer, &mut |line: &str| kind.try_each(line, &mut sink))
            }
            Normalization::None => kind.try_each(piece, &mut sink),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_exactly_one_escaped_form() {
        for byte in 0..=255_u8 {
            let escaped = TokenKind::Byte.escape(&[byte]);
            assert_eq!(TokenKind::Byte.unescape(&escaped), [byte]);
        }
        assert_eq!(TokenKind::Byte.escape(b"\xE9"), "<0xE9>");
        for other in ["<0xe9>", "<0xE>", "<0x0E9>", "<0x+9>", "0xE9", "<0xE9> "] {
            assert_eq!(TokenKind::Byte.unescape(other), other.as_bytes());
            assert!(TokenKind::Byte.invalid_reason(other).is_some());
        }
    }

    #[test]
    fn an_escaped_byte_in_a_text_is_ordinary_text() {
        assert_eq!(TokenKind::Char.tokens("<0xE9>").len(), 6);
        assert_eq!(TokenKind::Word.tokens("a <0xE9>"), ["a", "<0xE9>"]);
        assert_eq!(TokenKind::Byte.tokens("<0xE9>").len(), 6);
        assert_eq!(TokenKind::Char.unescape("<0xE9>"), b"<0xE9>");
    }

    #[test]
    fn words_are_separated_by_unicode_white_space_and_characters_are_scalar_values() {
        assert_eq!(TokenKind::Word.tokens("\u{2003}a\u{00A0}b\r\n\tc"), ["a", "b", "c"]);
        // An e with a combining acute accent: two scalar values, one grapheme.
        assert_eq!(TokenKind::Char.tokens("e\u{301}\r\n"), ["e", "\u{301}", "\r", "\n"]);
    }
}
