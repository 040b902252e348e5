//! Stage 1, normalization: the text transformation before tokenization.
//!
//! The vocabulary stores the normalization, because ids are meaningful only for texts normalized in the same way.

use std::convert::Infallible;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The text transformation before tokenization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// The normalization in section 8.2 of the book. In each line, every run of characters other than `A-Za-z` becomes
    /// one space, spaces at both ends are removed, and letters become lowercase. Lines end at `\n`, `\r\n` or a lone
    /// `\r`. Line ends are removed, so there is no space between the last character of a line and the first of the next.
    #[default]
    Book,
    /// No change. Line ends are ordinary tokens (`\r\n` is two characters) and are not converted.
    None,
}

impl Normalization {
    /// All variants.
    pub const ALL: [Self; 2] = [Self::Book, Self::None];

    /// The name in files and on the command line: `book` or `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::None => "none",
        }
    }

    /// The normalized lines of `text`. Under [`Normalization::None`] each line keeps its line end, so that the
    /// concatenation of all lines is `text`.
    ///
    /// ```
    /// use rnnlm_vocab::Normalization;
    ///
    /// let lines = Normalization::Book.lines("The Time Machine, by\r\nH. G. Wells [1898]\r\n");
    /// assert_eq!(lines, ["the time machine by", "h g wells"]);
    /// ```
    pub fn lines(self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let mut keep = |line: &str| -> Result<(), Infallible> {
            lines.push(line.to_owned());
            Ok(())
        };
        let outcome = match self {
            Self::Book => for_each_book_line(text, Extent::Lines, &mut String::new(), &mut keep),
            Self::None => text.split_inclusive('\n').try_for_each(keep),
        };
        match outcome {
            Ok(()) => lines,
        }
    }
}

impl fmt::Display for Normalization {
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

/// Calls `sink` with each line of `text` under [`Normalization::Book`]. `buffer` is scratch memory.
pub(crate) fn for_each_book_line<E>(
    text: &str,
    extent: Extent,
    buffer: &mut String,
    sink: &mut impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    // A `\r` before `\n` or at the end of the text ends its line. Any other `\r` separates two lines.
    let mut lines = text
        .split_inclusive('\n')
        .flat_map(|line| {
            let line = line.strip_suffix('\n').unwrap_or(line);
            line.strip_suffix('\r').unwrap_or(line).split('\r')
        })
        .peekable();
    let open_ended = extent == Extent::Prefix && !text.ends_with(['\n', '\r']);
    let mut keep_start = extent == Extent::Prefix;
    while let Some(line) = lines.next() {
        buffer.clear();
        push_normalized(line, keep_start, open_ended && lines.peek().is_none(), buffer);
        sink(buffer)?;
        keep_start = false;
    }
    Ok(())
}

/// Appends the normalized `line` to an empty `out`: letters in lowercase, and every run of bytes outside `A-Za-z`,
/// which includes all bytes of non-ASCII characters, as one space. A space at either end is kept only on request.
fn push_normalized(line: &str, keep_start: bool, keep_end: bool, out: &mut String) {
    let mut gap = false;
    for byte in line.bytes() {
        if byte.is_ascii_alphabetic() {
            if gap && (keep_start || !out.is_empty()) {
                out.push(' ');
            }
            gap = false;
            out.push(byte.to_ascii_lowercase() as char);
        } else {
            gap = true;
        }
    }
    if gap && keep_end {
        out.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }

    #[test]
    fn none_changes_nothing() {
        let text = "A b\r\n\n\u{feff} c";
        assert_eq!(Normalization::None.lines(text).concat(), text);
    }

    #[test]
    fn a_prefix_keeps_only_the_spaces_at_its_two_ends() {
        let prefix = |text: &str| {
            let mut whole = String::new();
            let mut sink = |line: &str| -> Result<(), Infallible> {
                whole.push_str(line);
                whole.push('|');
                Ok(())
            };
            assert!(for_each_book_line(text, Extent::Prefix, &mut String::new(), &mut sink).is_ok());
            whole
        };
        assert_eq!(prefix("Time traveller "), "time traveller |");
        assert_eq!(prefix(" a. \n b. "), " a|b |");
        assert_eq!(prefix("end.\n"), "end|");
        assert_eq!(prefix("..."), " |");
    }
}
