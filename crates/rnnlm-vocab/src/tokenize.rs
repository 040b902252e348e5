//! Stage 2, tokenization: splitting a normalized text into tokens.
//!
//! A token has two forms: the raw bytes in the text, and the escaped form in a vocabulary file, where a byte token is
//! written like `<0xE9>`. For the other kinds the two are the same.

mod word_punct;

use std::convert::Infallible;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::normalize::{DroppedLetters, Extent, LineEndConversion, Normalization, Normalizer};
use crate::subwords::{SubwordReader, SubwordSplitter};
use crate::text::{Piece, TextSize};
use word_punct::WordPuncts;

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
    /// Letters, digits and punctuation separated: a run of letters, a run of digits, or a single other character, each with
    /// the space before it, if there is one. Line ends and all other white space characters are tokens of their own, also
    /// under [`Normalization::Book`]. Decoding restores the normalized text exactly.
    #[serde(rename = "word-punct")]
    WordPunct,
    /// A subword of a [`SubwordTokenizer`](crate::SubwordTokenizer), which also has the vocabulary. The ids are those of its
    /// `tokenizer.json`.
    Subword,
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
    /// All kinds whose vocabulary is built from a text: all but [`TokenKind::Subword`].
    pub const ALL: [Self; 4] = [Self::Char, Self::Word, Self::Byte, Self::WordPunct];

    /// The name in files and on the command line: `char`, `word`, `byte`, `word-punct` or `subword`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Char => "char",
            Self::Word => "word",
            Self::Byte => "byte",
            Self::WordPunct => "word-punct",
            Self::Subword => "subword",
        }
    }

    /// The text between two decoded tokens: a space for words, empty otherwise. Between subwords it depends on the second one,
    /// see [`Vocab::separator`](crate::Vocab::separator).
    pub fn separator(self) -> &'static str {
        match self {
            Self::Word => " ",
            Self::Char | Self::Byte | Self::WordPunct | Self::Subword => "",
        }
    }

    /// Whether a token has a bounded length: one character or one byte.
    pub(crate) fn is_bounded(self) -> bool {
        matches!(self, Self::Char | Self::Byte)
    }

    /// Whether the part of a text after a byte is tokenized like a text of its own. `false` is always correct.
    #[cfg(feature = "cache")]
    pub(crate) fn starts_anew_after(self, byte: u8, normalization: Normalization) -> bool {
        match (normalization, self) {
            // spaces before and after other characters depend on each other
            (Normalization::Book, _) => byte == b'\n',
            // `\r` and `\n` are one line end
            (_, Self::Char | Self::Byte) => byte.is_ascii() && byte != b'\r',
            (_, Self::Word) => matches!(byte, b' ' | b'\t' | b'\n'),
            // a tokenizer decides
            (_, Self::Subword) => false,
            // a space belongs to the next token
            (_, Self::WordPunct) => matches!(byte, b'\t' | b'\n'),
        }
    }

    /// The tokens of a normalized text, as written in a vocabulary file; none for [`TokenKind::Subword`], which needs a
    /// tokenizer.
    ///
    /// ```
    /// use rnnlm_vocab::TokenKind;
    ///
    /// assert_eq!(TokenKind::Word.tokens("the time machine"), ["the", "time", "machine"]);
    /// assert_eq!(TokenKind::Byte.tokens("é"), ["<0xC3>", "<0xA9>"]);
    /// assert_eq!(TokenKind::WordPunct.tokens("Mr. Öz, 42"), ["Mr", ".", " Öz", ",", " 42"]);
    /// ```
    pub fn tokens(self, normalized: &str) -> Vec<String> {
        let mut tokens = Vec::new();
        let mut keep = |token: &[u8]| -> Result<(), Infallible> {
            tokens.push(self.escape(token));
            Ok(())
        };
        let outcome = match self {
            Self::Char => each_char(normalized, &mut keep),
            Self::Word => normalized.split_whitespace().map(str::as_bytes).try_for_each(&mut keep),
            Self::Byte => normalized.as_bytes().chunks(1).try_for_each(&mut keep),
            Self::Subword => Ok(()),
            Self::WordPunct => {
                let (mut words, mut size) = (WordPuncts::default(), TextSize::default());
                words.push(normalized, &mut size, &mut keep).and_then(|()| words.finish(&mut size, &mut keep))
            }
        };
        match outcome {
            Ok(()) => tokens,
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
            Self::WordPunct if !word_punct::is_one_token(escaped) => {
                Some("is not a run of letters or digits or one other character, with at most one space before it")
            }
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

/// Calls `sink` with the bytes of every character of `text`.
fn each_char<E>(text: &str, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut rest = text.as_bytes();
    while let Some(&first) = rest.first() {
        // the length of a character follows from its first byte
        let len = match first {
            ..0x80 => 1,
            0x80..0xE0 => 2,
            0xE0..0xF0 => 3,
            0xF0.. => 4,
        };
        let (character, others) = rest.split_at(len);
        sink(character)?;
        rest = others;
    }
    Ok(())
}

/// Normalizes and tokenizes a text that arrives in pieces. The pieces may begin and end anywhere.
pub(crate) struct Tokenizer<'v> {
    normalizer: Normalizer,
    splitter: TokenSplitter<'v>,
    /// The size of the tokens so far, without separators.
    size: TextSize,
}

impl<'v> Tokenizer<'v> {
    /// A tokenizer of this kind; without a reader, [`TokenKind::Subword`] finds no tokens.
    pub(crate) fn new(
        kind: TokenKind,
        normalization: Normalization,
        line_ends: LineEndConversion,
        extent: Extent,
        subwords: Option<SubwordReader<'v>>,
    ) -> Self {
        let normalizer = Normalizer::new(normalization, line_ends, extent);
        let normalizer = if kind.is_bounded() { normalizer } else { normalizer.with_line_separator() };
        let splitter = match kind {
            TokenKind::Char => TokenSplitter::Chars,
            TokenKind::Byte => TokenSplitter::Bytes,
            TokenKind::Word => TokenSplitter::Words(Words::default()),
            TokenKind::WordPunct => TokenSplitter::WordPuncts(WordPuncts::default()),
            TokenKind::Subword => TokenSplitter::Subwords(subwords.map(SubwordSplitter::new)),
        };
        Self { normalizer, splitter, size: TextSize::default() }
    }

    /// Calls `sink` with the raw bytes of every token that ends in the next piece of the text.
    pub(crate) fn push<E>(&mut self, piece: Piece<'_>, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let Self { normalizer, splitter, size } = self;
        splitter.push(normalizer.push(piece), size, sink)
    }

    /// Calls `sink` with the tokens that the end of the text completes.
    pub(crate) fn finish<E>(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let Self { normalizer, splitter, size } = self;
        splitter.push(normalizer.finish(), size, sink)?;
        splitter.finish(size, sink)
    }

    /// Starts another text after [`Tokenizer::finish`]. Sizes and dropped letters add up over all texts.
    pub(crate) fn restart(&mut self) {
        self.normalizer.restart();
    }

    /// Calls `sink` with every token of a whole text.
    pub(crate) fn tokenize<E>(
        mut self,
        text: Piece<'_>,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.push(text, sink)?;
        self.finish(sink)
    }

    /// Number of bytes of the text that waits for the next piece.
    pub(crate) fn pending_bytes(&self) -> usize {
        match &self.splitter {
            TokenSplitter::Chars | TokenSplitter::Bytes => 0,
            TokenSplitter::Words(words) => words.unfinished.len(),
            TokenSplitter::WordPuncts(words) => words.pending_bytes(),
            TokenSplitter::Subwords(subwords) => subwords.as_ref().map_or(0, SubwordSplitter::pending_bytes),
        }
    }

    /// The size of the tokens so far, without separators.
    pub(crate) fn size(&self) -> TextSize {
        self.size
    }

    /// The letters that the normalization has dropped so far.
    pub(crate) fn dropped_letters(&self) -> &DroppedLetters {
        self.normalizer.dropped_letters()
    }
}

/// Splits the pieces of a normalized text into tokens of one kind.
enum TokenSplitter<'v> {
    Chars,
    Bytes,
    Words(Words),
    WordPuncts(WordPuncts),
    Subwords(Option<SubwordSplitter<'v>>),
}

impl TokenSplitter<'_> {
    fn push<E>(
        &mut self,
        piece: Piece<'_>,
        size: &mut TextSize,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (text, bytes) = match piece {
            Piece::Text(text) => (text, text.as_bytes()),
            Piece::Bytes(bytes) => ("", bytes),
        };
        match self {
            Self::Words(words) => return words.push(text, size, sink),
            Self::WordPuncts(words) => return words.push(text, size, sink),
            Self::Subwords(None) => return Ok(()),
            Self::Subwords(Some(subwords)) => return subwords.push(text, size, sink),
            Self::Chars => each_char(text, sink)?,
            Self::Bytes => bytes.chunks(1).try_for_each(sink)?,
        }
        *size += TextSize::of(bytes);
        Ok(())
    }

    /// Ends the unfinished token.
    fn finish<E>(&mut self, size: &mut TextSize, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Chars | Self::Bytes | Self::Subwords(None) => Ok(()),
            Self::Words(words) => words.finish(size, sink),
            Self::WordPuncts(words) => words.finish(size, sink),
            Self::Subwords(Some(subwords)) => subwords.finish(size, sink),
        }
    }
}

/// Splits a text that arrives in pieces into words.
#[derive(Default)]
struct Words {
    /// The word at the end of the last piece, which the next one may continue.
    unfinished: String,
}

impl Words {
    fn push<E>(
        &mut self,
        piece: &str,
        size: &mut TextSize,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(first_end) = piece.find(char::is_whitespace) else {
            self.unfinished.push_str(piece);
            return Ok(());
        };
        self.unfinished.push_str(&piece[..first_end]);
        self.finish(size, sink)?;
        let rest = &piece[first_end..];
        let last_end = rest.rfind(char::is_whitespace).map_or(0, |index| {
            // the white space can be longer than one byte
            rest.len() - rest[index..].trim_start().len()
        });
        self.unfinished.push_str(&rest[last_end..]);
        rest[..last_end].split_whitespace().try_for_each(|word| {
            *size += TextSize::of(word.as_bytes());
            sink(word.as_bytes())
        })
    }

    /// Ends the unfinished word.
    fn finish<E>(&mut self, size: &mut TextSize, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.unfinished.is_empty() {
            return Ok(());
        }
        *size += TextSize::of(self.unfinished.as_bytes());
        let outcome = sink(self.unfinished.as_bytes());
        self.unfinished.clear();
        outcome
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
