//! Stage 2 of the walk: cutting a normalised text into tokens, and how a token is written in a file.

use std::convert::Infallible;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::normalize::{Extent, Normalization, book_lines};

/// What a token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// One character: a Unicode scalar value.
    #[default]
    Char,
    /// One word: what stands between Unicode white space. White space itself is lost; decoding puts one space between
    /// two words.
    Word,
    /// One byte, written `<0xE9>` in files. Under [`Normalization::None`] a text may be any bytes, UTF-8 or not.
    Byte,
}

/// Every byte, so that a byte token can be borrowed from somewhere.
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
    /// All of them, for programs that offer a choice.
    pub const ALL: [Self; 3] = [Self::Char, Self::Word, Self::Byte];

    /// The name in files: `char`, `word` or `byte`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Char => "char",
            Self::Word => "word",
            Self::Byte => "byte",
        }
    }

    /// What decoding puts between two tokens: a space between words, nothing otherwise.
    pub fn separator(self) -> &'static str {
        match self {
            Self::Word => " ",
            Self::Char | Self::Byte => "",
        }
    }

    /// The tokens of a text that needs no normalisation any more, spelled as in a vocabulary file.
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
            tokens.push(self.spell(token));
            Ok(())
        };
        match self.try_each(normalized, &mut keep) {
            Ok(()) => tokens,
        }
    }

    /// Hands every token of `normalized` to `sink` as the bytes that stand for it in the text.
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

    /// How the token that stands in a text as `raw` is spelled in a file.
    pub(crate) fn spell(self, raw: &[u8]) -> String {
        match (self, raw) {
            (Self::Byte, [byte]) => format!("<0x{byte:02X}>"),
            _ => String::from_utf8_lossy(raw).into_owned(),
        }
    }

    /// The bytes for which the token spelled `spelled` stands in a text: the inverse of [`TokenKind::spell`].
    pub(crate) fn unspell(self, spelled: &str) -> &[u8] {
        let byte = (self == Self::Byte).then(|| byte_of(spelled)).flatten();
        byte.map_or(spelled.as_bytes(), |byte| std::slice::from_ref(&BYTES[usize::from(byte)]))
    }

    /// Why `spelled` cannot be a token that this kind cuts out of a text, or nothing if it can.
    pub(crate) fn objection(self, spelled: &str) -> Option<&'static str> {
        match self {
            Self::Char if spelled.chars().count() != 1 => Some("is not one character"),
            Self::Word if spelled.is_empty() => Some("is empty"),
            Self::Word if spelled.contains(char::is_whitespace) => Some("contains white space"),
            Self::Byte if byte_of(spelled).is_none() => Some("is not a byte spelled like `<0xE9>`"),
            _ => None,
        }
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The byte spelled `<0xE9>`: two upper-case hexadecimal digits and nothing else, so that each has one spelling.
fn byte_of(spelled: &str) -> Option<u8> {
    let digits = spelled.strip_prefix("<0x")?.strip_suffix('>')?;
    let canonical = digits.len() == 2 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
    canonical.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// Why a piece of text was not cut to its end.
pub(crate) enum Unsplit<E> {
    /// It is valid UTF-8 up to this byte only.
    InvalidUtf8(usize),
    /// The receiver of the tokens refused one.
    Refused(E),
}

/// Normalises and cuts pieces of a text, with one buffer for all of them.
pub(crate) struct Tokenizer {
    kind: TokenKind,
    normalization: Normalization,
    buffer: String,
}

impl Tokenizer {
    pub(crate) fn new(kind: TokenKind, normalization: Normalization) -> Self {
        Self { kind, normalization, buffer: String::new() }
    }

    /// Hands every token of `piece` to `sink` as the bytes that stand for it in the normalised text. A piece must
    /// begin and end where a line does, or be a text of its own.
    pub(crate) fn try_each<E>(
        &mut self,
        piece: &[u8],
        extent: Extent,
        sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), Unsplit<E>> {
        if (self.kind, self.normalization) == (TokenKind::Byte, Normalization::None) {
            return piece.chunks(1).try_for_each(sink).map_err(Unsplit::Refused);
        }
        let piece = std::str::from_utf8(piece).map_err(|error| Unsplit::InvalidUtf8(error.valid_up_to()))?;
        self.try_each_of_str(piece, extent, sink).map_err(Unsplit::Refused)
    }

    /// [`Tokenizer::try_each`] for a piece that is known to be UTF-8.
    pub(crate) fn try_each_of_str<E>(
        &mut self,
        piece: &str,
        extent: Extent,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let kind = self.kind;
        match self.normalization {
            Normalization::Book => {
                book_lines(piece, extent, &mut self.buffer, &mut |line: &str| kind.try_each(line, &mut sink))
            }
            Normalization::None => kind.try_each(piece, &mut sink),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_spelling() {
        for byte in 0..=255_u8 {
            let spelled = TokenKind::Byte.spell(&[byte]);
            assert_eq!(TokenKind::Byte.unspell(&spelled), [byte]);
        }
        assert_eq!(TokenKind::Byte.spell(b"\xE9"), "<0xE9>");
        for other in ["<0xe9>", "<0xE>", "<0x0E9>", "<0x+9>", "0xE9", "<0xE9> "] {
            assert_eq!(TokenKind::Byte.unspell(other), other.as_bytes());
            assert!(TokenKind::Byte.objection(other).is_some());
        }
    }

    #[test]
    fn a_byte_spelled_out_in_a_text_is_only_text() {
        assert_eq!(TokenKind::Char.tokens("<0xE9>").len(), 6);
        assert_eq!(TokenKind::Word.tokens("a <0xE9>"), ["a", "<0xE9>"]);
        assert_eq!(TokenKind::Byte.tokens("<0xE9>").len(), 6);
        assert_eq!(TokenKind::Char.unspell("<0xE9>"), b"<0xE9>");
    }

    #[test]
    fn words_stand_between_unicode_white_space_and_characters_are_scalars() {
        assert_eq!(TokenKind::Word.tokens("\u{2003}a\u{00A0}b\r\n\tc"), ["a", "b", "c"]);
        // An e with a combining acute accent: two scalar values, one grapheme.
        assert_eq!(TokenKind::Char.tokens("e\u{301}\r\n"), ["e", "\u{301}", "\r", "\n"]);
    }
}
