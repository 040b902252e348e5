//! Text from foreign sources on a terminal: control characters are escaped, because they could move the cursor, change
//! the title or make the terminal answer. Output to a pipe or a file is not changed.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write, stderr, stdout};

/// A text with its control characters escaped: `\x1b` for ESC, `\u{9b}` for the control characters above ASCII.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Escaped<'a> {
    text: &'a str,
    keeps_layout: bool,
}

impl<'a> Escaped<'a> {
    /// A name or a message on one line: every control character is escaped.
    pub(crate) fn line(text: &'a str) -> Self {
        Self { text, keeps_layout: false }
    }

    /// A text that may have several lines: line feeds and tabs are kept.
    pub(crate) fn text(text: &'a str) -> Self {
        Self { text, keeps_layout: true }
    }

    fn escapes(self, c: char) -> bool {
        c.is_control() && !(self.keeps_layout && matches!(c, '\n' | '\t'))
    }

    /// The escaped text, if `is_terminal`; else the text as it is.
    fn on(self, is_terminal: bool) -> Cow<'a, str> {
        if is_terminal && self.text.contains(|c| self.escapes(c)) {
            Cow::Owned(self.to_string())
        } else {
            Cow::Borrowed(self.text)
        }
    }

    /// The text as it is written to standard output.
    pub(crate) fn on_stdout(self) -> Cow<'a, str> {
        self.on(stdout().is_terminal())
    }

    /// The text as it is written to standard error.
    pub(crate) fn on_stderr(self) -> Cow<'a, str> {
        self.on(stderr().is_terminal())
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text.chars() {
            match c {
                c if !self.escapes(c) => write!(f, "{c}")?,
                c if c.is_ascii() => write!(f, "\\x{:02x}", c as u32)?,
                c => write!(f, "\\u{{{:x}}}", c as u32)?,
            }
        }
        Ok(())
    }
}

/// Standard output for a text that arrives in pieces. On a terminal, control characters and bytes that are not UTF-8
/// are escaped, whatever pieces they arrive in.
pub(crate) struct Output<W> {
    out: W,
    is_terminal: bool,
    /// The start of a character whose end has not arrived.
    incomplete: Vec<u8>,
}

impl Output<io::Stdout> {
    pub(crate) fn stdout() -> Self {
        Self::new(stdout(), stdout().is_terminal())
    }
}

impl<W: Write> Output<W> {
    fn new(out: W, is_terminal: bool) -> Self {
        Self { out, is_terminal, incomplete: Vec::new() }
    }

    /// Writes the next piece and flushes it.
    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        if !self.is_terminal {
            self.out.write_all(piece)?;
            return self.out.flush();
        }
        let mut text = std::mem::take(&mut self.incomplete);
        text.extend_from_slice(piece);
        let mut rest = &text[..];
        while !rest.is_empty() {
            let (valid, invalid) = match str::from_utf8(rest) {
                Ok(_) => (rest.len(), 0),
                Err(error) => match error.error_len() {
                    Some(length) => (error.valid_up_to(), length),
                    None => {
                        self.incomplete = rest[error.valid_up_to()..].to_vec();
                        (error.valid_up_to(), 0)
                    }
                },
            };
            let characters = String::from_utf8_lossy(&rest[..valid]);
            write!(self.out, "{}", Escaped::text(&characters))?;
            self.write_bytes(&rest[valid..valid + invalid])?;
            rest = if self.incomplete.is_empty() { &rest[valid + invalid..] } else { &[] };
        }
        self.out.flush()
    }

    /// Ends the text, and its line.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let incomplete = std::mem::take(&mut self.incomplete);
        self.write_bytes(&incomplete)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        bytes.iter().try_for_each(|byte| write!(self.out, "\\x{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets the title of a terminal, clears its screen, and does the same with control characters above ASCII.
    const HOSTILE: &str = "a\x1b]0;owned\x07\x1b[2J\r\u{9b}2J\u{7f}\tb\nc";

    #[test]
    fn control_characters_are_escaped_on_a_terminal_only() {
        let text = "a\\x1b]0;owned\\x07\\x1b[2J\\x0d\\u{9b}2J\\x7f\tb\nc";
        assert_eq!(Escaped::text(HOSTILE).on(true), text);
        assert_eq!(Escaped::line(HOSTILE).on(true), text.replace('\t', "\\x09").replace('\n', "\\x0a"));
        assert_eq!(Escaped::text(HOSTILE).on(false), HOSTILE);
        let harmless = "naïve 東京 e\u{301} 🦀 \\x1b";
        assert_eq!(Escaped::line(harmless).on(true), harmless);
    }

    fn write(is_terminal: bool, pieces: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut output = Output::new(&mut bytes, is_terminal);
        pieces.iter().for_each(|piece| output.write(piece).expect("a vector takes everything"));
        output.finish().expect("a vector takes everything");
        bytes
    }

    #[test]
    fn a_text_in_pieces_is_escaped_like_a_whole() {
        let expected = format!("{}\n", Escaped::text(HOSTILE));
        let bytes: Vec<&[u8]> = HOSTILE.as_bytes().chunks(1).collect();
        for pieces in [&bytes[..], &[HOSTILE.as_bytes()]] {
            assert_eq!(String::from_utf8(write(true, pieces)).expect("text"), expected);
            assert_eq!(write(false, pieces), format!("{HOSTILE}\n").into_bytes());
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_escaped_on_a_terminal_only() {
        // a C1 control character as a single byte, a character in two pieces, and half a character at the end
        let pieces: [&[u8]; 4] = [b"a\x9b2J", b"\xC3", b"\xA9b\xFF\xC3", b"c\xE2\x82"];
        assert_eq!(String::from_utf8(write(true, &pieces)).expect("text"), "a\\x9b2Jéb\\xff\\xc3c\\xe2\\x82\n");
        assert_eq!(write(false, &pieces), [&pieces.concat()[..], b"\n"].concat());
    }
}
