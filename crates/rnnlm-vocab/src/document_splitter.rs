//! Stage 1, documents: splitting a byte stream into documents.

use crate::documents::Documents;
use crate::normalize::LineEndConversion;

/// Splits a text that arrives in pieces into documents. The pieces may begin and end anywhere.
#[derive(Clone, Debug)]
pub(crate) struct Splitter {
    documents: Documents,
    line_ends: LineEndConversion,
    /// Whether the last byte was a `\r` that ended a line; an `\n` after it belongs to the same line end.
    after_return: bool,
    /// Where the current line starts in the document.
    line_start: usize,
    /// The length of the document up to its last line that is not blank, without the line end.
    content: usize,
    /// Number of bytes before the next one.
    offset: u64,
    /// Number of line ends before the next byte.
    lines: u64,
    /// Where the document starts.
    start: Position,
}

/// A position in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Number of bytes before it.
    pub(crate) offset: u64,
    /// Number of line ends before it.
    pub(crate) lines: u64,
}

impl Splitter {
    pub(crate) fn new(documents: Documents, line_ends: LineEndConversion) -> Self {
        let start = Position::default();
        Self { documents, line_ends, after_return: false, line_start: 0, content: 0, offset: 0, lines: 0, start }
    }

    /// Where the document starts that `push` or `finish` has completed.
    pub(crate) fn start(&self) -> Position {
        self.start
    }

    /// Counts bytes that are no part of the text, such as a byte order mark.
    pub(crate) fn skip(&mut self, bytes: u64) {
        self.offset += bytes;
    }

    /// Appends a prefix of `bytes` to `document`. Returns the length of the prefix, and whether it completes the
    /// document. If it does not, the prefix is all of `bytes`. The caller clears a complete document.
    pub(crate) fn push(&mut self, bytes: &[u8], document: &mut Vec<u8>) -> (usize, bool) {
        let mut consumed = 0;
        while consumed < bytes.len() {
            let rest = &bytes[consumed..];
            let continues_line_end = std::mem::take(&mut self.after_return) && rest[0] == b'\n';
            let line_end = rest.iter().position(|&byte| self.ends_line(byte));
            let length = line_end.map_or(rest.len(), |index| index + 1);
            if document.is_empty() {
                (self.line_start, self.content) = (0, 0);
                let line_feed = u64::from(continues_line_end);
                self.start = Position { offset: self.offset + line_feed, lines: self.lines };
            }
            if !continues_line_end || !document.is_empty() {
                document.extend_from_slice(&rest[..length]);
            }
            consumed += length;
            self.offset += length as u64;
            if continues_line_end {
                self.line_start = document.len();
            } else if line_end.is_some() && self.end_line(document) {
                return (consumed, true);
            }
        }
        (consumed, false)
    }

    /// The length of an unfinished document without the blank lines at its end.
    pub(crate) fn content_len(&self, document: &[u8]) -> usize {
        let is_separated = self.documents == Documents::BlankLines && is_blank(&document[self.line_start..]);
        if is_separated { self.content } else { document.len() }
    }

    /// Drops the content of an unfinished document that is too large, except for what decides where it ends.
    pub(crate) fn shrink(&mut self, document: &mut Vec<u8>) {
        let is_in_content = !is_blank(&document[self.line_start..]);
        document.clear();
        document.push(b'x'); // a line of content, or the start of one
        (self.line_start, self.content) = if is_in_content { (0, 0) } else { (1, 1) };
    }

    fn ends_line(&self, byte: u8) -> bool {
        byte == b'\n' || byte == b'\r' && self.line_ends == LineEndConversion::Lf
    }

    /// Ends a line of `document`, with its line end. Returns whether it completes the document.
    fn end_line(&mut self, document: &mut Vec<u8>) -> bool {
        self.lines += 1;
        self.after_return = document.last() == Some(&b'\r');
        match self.documents {
            Documents::None => false,
            Documents::Lines => {
                document.pop();
                true
            }
            Documents::BlankLines => {
                let line = &document[self.line_start..document.len() - 1];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if !is_blank(line) {
                    self.content = self.line_start + line.len();
                    self.line_start = document.len();
                    return false;
                }
                document.truncate(self.content); // without a line of content, nothing is left of the document
                self.content > 0
            }
        }
    }

    /// Completes the document at the end of the text. Returns whether there is one.
    pub(crate) fn finish(&mut self, document: &mut Vec<u8>) -> bool {
        if !document.is_empty() {
            document.truncate(self.content_len(document));
        }
        !document.is_empty()
    }
}

/// Whether a line is empty or white space only. White space is Unicode's; a line that is not UTF-8 is not blank.
fn is_blank(line: &[u8]) -> bool {
    let is_ascii_content = |byte: &u8| byte.is_ascii() && !char::from(*byte).is_whitespace();
    !line.first().is_some_and(is_ascii_content) && std::str::from_utf8(line).is_ok_and(|line| line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documents of a text that arrives in pieces of `length` bytes, each with its offset and its line from 1.
    fn split(documents: Documents, line_ends: LineEndConversion, text: &str, length: usize) -> Vec<(u64, u64, String)> {
        let mut splitter = Splitter::new(documents, line_ends);
        let mut document = Vec::new();
        let mut found = Vec::new();
        let mut keep = |splitter: &Splitter, document: &mut Vec<u8>| {
            let text = String::from_utf8(std::mem::take(document)).unwrap();
            found.push((splitter.start().offset, splitter.start().lines + 1, text));
        };
        for mut piece in text.as_bytes().chunks(length) {
            loop {
                let (consumed, is_complete) = splitter.push(piece, &mut document);
                piece = &piece[consumed..];
                if !is_complete {
                    break;
                }
                keep(&splitter, &mut document);
            }
            assert!(piece.is_empty());
        }
        if splitter.finish(&mut document) {
            keep(&splitter, &mut document);
        }
        found
    }

    fn check(documents: Documents, line_ends: LineEndConversion, text: &str, expected: &[(u64, u64, &str)]) {
        for length in [1, 2, 3, 5, 1000] {
            let expected: Vec<_> =
                expected.iter().map(|&(offset, line, text)| (offset, line, text.to_owned())).collect();
            assert_eq!(split(documents, line_ends, text, length), expected, "{text:?} in pieces of {length}");
        }
    }

    #[test]
    fn every_line_is_a_document() {
        use LineEndConversion::{Keep, Lf};
        let check = |line_ends, text, expected: &[_]| check(Documents::Lines, line_ends, text, expected);
        check(Keep, "", &[]);
        check(Keep, "ab\ncd\n", &[(0, 1, "ab"), (3, 2, "cd")]);
        check(Keep, "ab\n\n cd", &[(0, 1, "ab"), (3, 2, ""), (4, 3, " cd")]);
        check(Keep, "a\r\nb\rc\n", &[(0, 1, "a\r"), (3, 2, "b\rc")]);
        check(
            Lf,
            "a\r\nb\rc\n\r\n\rd\r",
            &[(0, 1, "a"), (3, 2, "b"), (5, 3, "c"), (7, 4, ""), (9, 5, ""), (10, 6, "d")],
        );
    }

    #[test]
    fn blank_lines_separate_documents() {
        use LineEndConversion::{Keep, Lf};
        let check = |line_ends, text, expected: &[_]| check(Documents::BlankLines, line_ends, text, expected);
        for nothing in ["", "\n", " \n\t\r\n\u{3000}\n ", "\r\n"] {
            check(Keep, nothing, &[]);
        }
        check(Keep, "a\nb\n\nc", &[(0, 1, "a\nb"), (5, 4, "c")]);
        check(Keep, "\n \n  a\n b \n\t\n\n\u{a0}\nc\n\n", &[(3, 3, "  a\n b "), (17, 8, "c")]);
        check(Keep, "a\r\nb\r\n\r\nc\r\n", &[(0, 1, "a\r\nb"), (8, 4, "c")]);
        check(Lf, "a\r\nb\r\n\r\nc\r\n", &[(0, 1, "a\r\nb"), (8, 4, "c")]);
        check(Lf, "a\rb\r\rc\r", &[(0, 1, "a\rb"), (5, 4, "c")]);
        check(Lf, "a\r\n\rb\n\n", &[(0, 1, "a"), (4, 3, "b")]);
        check(Keep, "a\n  ", &[(0, 1, "a")]);
    }

    #[test]
    fn a_text_without_documents_is_one_document() {
        check(Documents::None, LineEndConversion::Lf, "a\r\n\nb\n", &[(0, 1, "a\r\n\nb\n")]);
        check(Documents::None, LineEndConversion::Keep, "", &[]);
    }
}
