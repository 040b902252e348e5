//! Stage 1 of the walk: what is done to a text before it is cut into tokens.
//!
//! The choice belongs to the vocabulary and is stored with it: ids mean something only for text normalised in the
//! same way.

use std::convert::Infallible;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What is done to a text before it is cut into tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// As *Dive into Deep Learning* does in section 8.2: in each line every run of characters other than `A-Za-z`
    /// becomes one space, spaces at both ends are removed, letters become lower-case. Lines end at `\n`, `\r\n` or a
    /// lone `\r`; what separated them is gone, so that characters of two lines meet without a space.
    #[default]
    Book,
    /// The text as it is. Line endings are tokens like any other (`\r\n` is two characters) and are not converted.
    None,
}

impl Normalization {
    /// Both, for programs that offer a choice.
    pub const ALL: [Self; 2] = [Self::Book, Self::None];

    /// The name in files: `book` or `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::None => "none",
        }
    }

    /// The normalised lines of `text`. Under [`Normalization::None`] each keeps its line end, so that together they
    /// are the text.
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
        let done = match self {
            Self::Book => book_lines(text, Extent::Lines, &mut String::new(), &mut keep),
            Self::None => text.split_inclusive('\n').try_for_each(keep),
        };
        match done {
            Ok(()) => lines,
        }
    }
}

impl fmt::Display for Normalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a piece of text is of the whole, which decides what [`Normalization::Book`] does to its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Whole lines, whose ends are trimmed.
    Lines,
    /// The beginning of a longer text, to be continued: a space at its end says that a word has ended, and is kept.
    Prefix,
}

/// Hands each line of `text`, normalised as [`Normalization::Book`] says, to `sink`; `buffer` is scratch space.
pub(crate) fn book_lines<E>(
    text: &str,
    extent: Extent,
    buffer: &mut String,
    sink: &mut impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    // A `\r` that belongs to `\r\n` or ends the text ends its line; any other begins a further one.
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
        push_book(line, keep_start, open_ended && lines.peek().is_none(), buffer);
        sink(buffer)?;
        keep_start = false;
    }
    Ok(())
}

/// Appends one line to an empty `out`, every run of bytes outside `A-Za-z` as one space (all bytes of a character
/// beyond ASCII are outside), letters in lower-case; a run at either end only where it is to be kept.
fn push_book(line: &str, keep_start: bool, keep_end: bool, out: &mut String) {
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
    fn runs_of_other_characters_become_one_space_and_ends_are_trimmed() {
        let lines = Normalization::Book.lines("  --It's 8 o'clock, Mr. Öz!  \n\n42\nÉ");
        assert_eq!(lines, ["it s o clock mr z", "", "", ""]);
    }

    #[test]
    fn all_three_line_ends_end_a_line_once() {
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
    fn a_prefix_keeps_its_outer_spaces_only() {
        let prefix = |text: &str| {
            let mut whole = String::new();
            let mut sink = |line: &str| -> Result<(), Infallible> {
                whole.push_str(line);
                whole.push('|');
                Ok(())
            };
            assert!(book_lines(text, Extent::Prefix, &mut String::new(), &mut sink).is_ok());
            whole
        };
        assert_eq!(prefix("Time traveller "), "time traveller |");
        assert_eq!(prefix(" a. \n b. "), " a|b |");
        assert_eq!(prefix("end.\n"), "end|");
        assert_eq!(prefix("..."), " |");
    }
}
