//! Stage 1, normalization: the text transformation before tokenization.
//!
//! The vocabulary stores the normalization and the conversion of line ends, because ids are meaningful only for texts
//! that are normalized in the same way.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::Piece;

/// The text transformation before tokenization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// The normalization in section 8.2 of the book. In each line, every run of characters other than `A-Za-z` becomes
    /// one space, spaces at both ends are removed, and letters become lowercase. Lines end at `\n`, `\r\n` or a lone
    /// `\r`. Line ends are removed, so there is no space between the last character of a line and the first of the next.
    #[default]
    Book,
    /// Every character becomes lowercase by its own Unicode mapping, whatever its neighbors are: `Σ` becomes `σ` at
    /// the end of a word, too. Nothing is removed, so digits, punctuation, white space and line ends are ordinary
    /// tokens.
    Lower,
    /// No change. Line ends are ordinary tokens.
    None,
}

/// The conversion of line ends before [`Normalization`], which matters if the normalization keeps line ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineEndConversion {
    /// No change: `\r\n` is two characters.
    #[default]
    Keep,
    /// `\r\n` and a lone `\r` become `\n`.
    Lf,
}

impl LineEndConversion {
    /// All variants.
    pub const ALL: [Self; 2] = [Self::Keep, Self::Lf];

    /// The name in files and on the command line: `keep` or `lf`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Lf => "lf",
        }
    }

    /// Whether line ends are kept. Files omit this value, which those of earlier versions imply.
    pub(crate) fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

impl Normalization {
    /// All variants.
    pub const ALL: [Self; 3] = [Self::Book, Self::Lower, Self::None];

    /// The name in files and on the command line: `book`, `lower` or `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::Lower => "lower",
            Self::None => "none",
        }
    }

    /// The normalized lines of `text`. Except under [`Normalization::Book`], each line keeps its line end, so that the
    /// concatenation of all lines is the normalized text.
    ///
    /// ```
    /// use rnnlm_vocab::Normalization;
    ///
    /// let lines = Normalization::Book.lines("The Time Machine, by\r\nH. G. Wells [1898]\r\n");
    /// assert_eq!(lines, ["the time machine by", "h g wells"]);
    /// ```
    pub fn lines(self, text: &str) -> Vec<String> {
        let mut normalizer = Normalizer::new(self, LineEndConversion::Keep, Extent::Lines).with_line_separator();
        let mut normalized = String::new();
        if let Piece::Text(text) = normalizer.push(Piece::Text(text)) {
            normalized.push_str(text);
        }
        let has_open_line = self == Self::Book && !text.is_empty() && !text.ends_with(['\n', '\r']);
        if has_open_line {
            normalized.push('\n');
        }
        let lines = normalized.split_inclusive('\n');
        let line_end = if self == Self::Book { "\n" } else { "" };
        lines.map(|line| line.strip_suffix(line_end).unwrap_or(line).to_owned()).collect()
    }
}

impl fmt::Display for Normalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for LineEndConversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether [`Normalization::Book`] trims the two ends of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Whole lines: both ends are trimmed.
    Lines,
    /// The prefix of a longer text: a space at either end is kept, because a space at the end marks the end of a word.
    Prefix,
}

/// Letters that [`Normalization::Book`] replaced by spaces, because they are not among `A-Za-z`. Combining accents are
/// counted, too.
///
/// `Display` lists the examples, quoted and separated by spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DroppedLetters {
    count: u64,
    examples: Vec<char>,
}

impl DroppedLetters {
    /// The maximum number of examples.
    pub const MAX_EXAMPLES: usize = 8;

    /// Number of dropped letters.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first distinct letters that were dropped.
    pub fn examples(&self) -> &[char] {
        &self.examples
    }

    /// Adds the letters of a text that follows.
    pub(crate) fn append(&mut self, other: &Self) {
        self.count += other.count;
        for &letter in &other.examples {
            if self.examples.len() < Self::MAX_EXAMPLES && !self.examples.contains(&letter) {
                self.examples.push(letter);
            }
        }
    }

    /// Records a character that is not ASCII.
    fn record(&mut self, c: char) {
        let is_combining_accent = ('\u{300}'..='\u{36F}').contains(&c);
        if !c.is_alphabetic() && !is_combining_accent {
            return;
        }
        self.count += 1;
        if self.examples.len() < Self::MAX_EXAMPLES && !self.examples.contains(&c) {
            self.examples.push(c);
        }
    }
}

impl fmt::Display for DroppedLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, letter) in self.examples.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "\"{letter}\"")?;
        }
        Ok(())
    }
}

/// Converts line ends and normalizes a text that arrives in pieces. The pieces may begin and end anywhere.
pub(crate) struct Normalizer {
    normalization: Normalization,
    line_ends: LineEndConversion,
    extent: Extent,
    /// Whether a line end is written as `\n` under [`Normalization::Book`]. Words need it, because they end with a
    /// line.
    has_line_separator: bool,
    /// Whether the last character was `\r`, which ended a line; an `\n` after it belongs to the same line end.
    after_return: bool,
    book: BookLine,
    dropped: DroppedLetters,
    text: String,
    bytes: Vec<u8>,
}

/// The state of [`Normalization::Book`] within a line.
struct BookLine {
    /// Whether other characters follow the last letter.
    gap: bool,
    /// Whether a gap before the next letter becomes a space: after a letter, and at the start of a prefix.
    keeps_gap: bool,
}

impl Normalizer {
    pub(crate) fn new(normalization: Normalization, line_ends: LineEndConversion, extent: Extent) -> Self {
        Self {
            normalization,
            line_ends,
            extent,
            has_line_separator: false,
            after_return: false,
            book: BookLine { gap: false, keeps_gap: extent == Extent::Prefix },
            dropped: DroppedLetters::default(),
            text: String::new(),
            bytes: Vec::new(),
        }
    }

    /// Writes `\n` between the lines of [`Normalization::Book`].
    pub(crate) fn with_line_separator(self) -> Self {
        Self { has_line_separator: true, ..self }
    }

    /// Starts another text after [`Normalizer::finish`]. The letters dropped so far stay counted.
    pub(crate) fn restart(&mut self) {
        self.after_return = false;
        self.book = BookLine { gap: false, keeps_gap: self.extent == Extent::Prefix };
    }

    /// Normalizes the next piece of a text. In bytes, only line ends are converted.
    pub(crate) fn push<'a>(&'a mut self, piece: Piece<'a>) -> Piece<'a> {
        self.text.clear();
        match piece {
            Piece::Text(text) if self.normalization == Normalization::Book => {
                self.push_book(text);
                Piece::Text(&self.text)
            }
            Piece::Text(text) if self.normalization == Normalization::Lower => {
                self.push_lower(text);
                Piece::Text(&self.text)
            }
            Piece::Text(text) if self.converts(text.as_bytes()) => {
                let Self { text: out, after_return, .. } = self;
                text.chars().for_each(|c| convert_line_end(c, after_return, |c| out.push(c)));
                Piece::Text(&self.text)
            }
            Piece::Bytes(bytes) if self.converts(bytes) => {
                let Self { bytes: out, after_return, .. } = self;
                out.clear();
                bytes.iter().for_each(|&byte| {
                    // a byte stays a byte, whatever its value as a character
                    convert_line_end(byte.into(), after_return, |c| out.push(c as u8));
                });
                Piece::Bytes(&self.bytes)
            }
            unchanged => unchanged,
        }
    }

    /// The rest of a normalized text, after its last piece.
    pub(crate) fn finish(&mut self) -> Piece<'_> {
        self.text.clear();
        if self.book.gap && self.extent == Extent::Prefix {
            self.text.push(' ');
        }
        Piece::Text(&self.text)
    }

    /// The letters that were dropped so far.
    pub(crate) fn dropped_letters(&self) -> &DroppedLetters {
        &self.dropped
    }

    /// Whether a piece that is otherwise unchanged has line ends to convert.
    fn converts(&self, piece: &[u8]) -> bool {
        self.line_ends == LineEndConversion::Lf && (self.after_return || piece.contains(&b'\r'))
    }

    fn push_lower(&mut self, text: &str) {
        let Self { text: out, after_return, line_ends, .. } = self;
        out.reserve(text.len());
        let mut push = |c: char| match c.is_ascii() {
            true => out.push(c.to_ascii_lowercase()),
            false => out.extend(c.to_lowercase()),
        };
        match line_ends {
            LineEndConversion::Keep => text.chars().for_each(push),
            LineEndConversion::Lf => text.chars().for_each(|c| convert_line_end(c, after_return, &mut push)),
        }
    }

    fn push_book(&mut self, text: &str) {
        let Self { text: out, after_return, book, dropped, has_line_separator, .. } = self;
        for c in text.chars() {
            convert_line_end(c, after_return, |c| match c {
                'A'..='Z' | 'a'..='z' => {
                    if book.gap && book.keeps_gap {
                        out.push(' ');
                    }
                    *book = BookLine { gap: false, keeps_gap: true };
                    out.push(c.to_ascii_lowercase());
                }
                '\n' => {
                    *book = BookLine { gap: false, keeps_gap: false };
                    if *has_line_separator {
                        out.push('\n');
                    }
                }
                other => {
                    book.gap = true;
                    if !other.is_ascii() {
                        dropped.record(other);
                    }
                }
            });
        }
    }
}

/// Passes `c` to `push`, and one `\n` for each `\r\n` and each lone `\r`.
#[inline]
fn convert_line_end(c: char, after_return: &mut bool, mut push: impl FnMut(char)) {
    let ends_return = std::mem::replace(after_return, c == '\r') && c == '\n';
    match c {
        '\r' => push('\n'),
        '\n' if ends_return => {}
        c => push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Normalizes a text that arrives in these pieces.
    fn normalize(mut normalizer: Normalizer, pieces: &[&str]) -> String {
        let mut whole = String::new();
        for piece in pieces {
            let Piece::Text(text) = normalizer.push(Piece::Text(piece)) else { panic!("a text becomes bytes") };
            whole.push_str(text);
        }
        let Piece::Text(rest) = normalizer.finish() else { panic!("a text becomes bytes") };
        whole + rest
    }

    #[test]
    fn runs_of_other_characters_become_one_space_and_both_ends_are_trimmed() {
        let lines = Normalization::Book.lines("  --It's 8 o'clock, Mr. Öz!  \n\n42\nÉ");
        assert_eq!(lines, ["it s o clock mr z", "", "", ""]);
    }

    #[test]
    fn every_type_of_line_end_ends_exactly_one_line() {
        for text in ["a\nb\n\nc", "a\r\nb\r\n\r\nc\r\n", "a\rb\r\rc\r"] {
            assert_eq!(Normalization::Book.lines(text), ["a", "b", "", "c"], "{text:?}");
        }
        assert!(Normalization::Book.lines("").is_empty());
    }

    #[test]
    fn none_changes_nothing() {
        let text = "A b\r\n\n\u{feff} c";
        assert_eq!(Normalization::None.lines(text).concat(), text);
    }

    #[test]
    fn lower_changes_letters_only() {
        let text = "ÄPFEL: 3 für Ωμέγα, ΌΣΟΣ\r\n Ǆ İ e\u{301}É ß 東京\n";
        let expected = "äpfel: 3 für ωμέγα, όσοσ\r\n ǆ i\u{307} e\u{301}é ß 東京\n";
        assert_eq!(Normalization::Lower.lines(text).concat(), expected);
        assert_eq!(Normalization::Lower.lines(text).len(), 2);
    }

    #[test]
    fn line_ends_are_converted_wherever_a_piece_ends() {
        let lf = || Normalizer::new(Normalization::None, LineEndConversion::Lf, Extent::Lines);
        for pieces in [&["a\r\nb\r\r\n\nc\r"][..], &["a\r", "\nb\r", "\r", "\n\nc", "\r"], &["a\r\n", "b\r\r\n\nc\r"]] {
            assert_eq!(normalize(lf(), pieces), "a\nb\n\n\nc\n", "{pieces:?}");
        }
        let keep = Normalizer::new(Normalization::None, LineEndConversion::Keep, Extent::Lines);
        assert_eq!(normalize(keep, &["a\r", "\nb"]), "a\r\nb");
        let lower = Normalizer::new(Normalization::Lower, LineEndConversion::Lf, Extent::Lines);
        assert_eq!(normalize(lower, &["É\r", "\nB"]), "é\nb");
        assert_eq!(lf().push(Piece::Bytes(b"\xFF\r\n\xE9\r")), Piece::Bytes(b"\xFF\n\xE9\n"));
    }

    #[test]
    fn a_prefix_keeps_only_the_spaces_at_its_two_ends() {
        let prefix = |text: &str| {
            let normalizer = Normalizer::new(Normalization::Book, LineEndConversion::Keep, Extent::Prefix);
            normalize(normalizer.with_line_separator(), &[text])
        };
        assert_eq!(prefix("Time traveller "), "time traveller ");
        assert_eq!(prefix(" a. \n b. "), " a\nb ");
        assert_eq!(prefix("end.\n"), "end\n");
        assert_eq!(prefix("..."), " ");
    }

    #[test]
    fn dropped_letters_are_counted_with_examples() {
        let mut normalizer = Normalizer::new(Normalization::Book, LineEndConversion::Keep, Extent::Lines);
        normalizer.push(Piece::Text("Łódź é e\u{301} 3 – “a” 東京"));
        let dropped = normalizer.dropped_letters();
        assert_eq!(dropped.count(), 7);
        assert_eq!(dropped.to_string(), "\"Ł\" \"ó\" \"ź\" \"é\" \"\u{301}\" \"東\" \"京\"");
        normalizer.push(Piece::Text("日本語日本語"));
        assert_eq!((normalizer.dropped_letters().count(), normalizer.dropped_letters().examples().len()), (13, 8));
    }
}
