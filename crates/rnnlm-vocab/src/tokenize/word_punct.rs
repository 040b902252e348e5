//! Stage 2, tokenization: letters, digits and punctuation separated, without loss.
//!
//! A token is a run of letters, a run of digits, or a single other character. One space before a token that is not white
//! space is part of the token. All other white space characters, such as line ends and further spaces, are tokens of their
//! own. So the concatenation of the tokens is the text.
//!
//! ```text
//! "Mr. Öz's 42\n  cats"  →  "Mr" "." " Öz" "'" "s" " 42" "\n" " " " cats"
//! ```

use crate::text::TextSize;

/// The type of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Letter,
    Digit,
    /// White space, also the space.
    White,
    Other,
}

impl Class {
    /// The type of a character: letters are alphabetic or combining accents, digits are numeric.
    fn of(c: char) -> Self {
        match c {
            'a'..='z' | 'A'..='Z' => Self::Letter,
            '0'..='9' => Self::Digit,
            ' ' | '\t'..='\r' => Self::White,
            _ if c.is_ascii() => Self::Other,
            _ if c.is_alphabetic() || ('\u{300}'..='\u{36F}').contains(&c) => Self::Letter,
            _ if c.is_numeric() => Self::Digit,
            _ if c.is_whitespace() => Self::White,
            _ => Self::Other,
        }
    }

    /// Number of bytes at the start of `text` that continue a token whose last character has this type.
    fn run_len(self, text: &str) -> usize {
        match self {
            Self::Letter | Self::Digit => text.find(|c| Self::of(c) != self).unwrap_or(text.len()),
            Self::White | Self::Other => 0,
        }
    }
}

/// The part of a token at the end of a piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pending {
    #[default]
    None,
    /// A space, which may belong to the next token.
    Space,
    /// A run that the next piece may continue.
    Run(Class),
}

/// The length of the first token of `text`, which is not empty, and what the token still waits for.
fn first_token(text: &str) -> (usize, Pending) {
    let rest = text.strip_prefix(' ').unwrap_or(text);
    let space = text.len() - rest.len();
    let Some(c) = rest.chars().next() else { return (space, Pending::Space) };
    let class = Class::of(c);
    if space > 0 && class == Class::White {
        return (space, Pending::None);
    }
    let first = c.len_utf8();
    let len = space + first + class.run_len(&rest[first..]);
    let may_continue = len == text.len() && matches!(class, Class::Letter | Class::Digit);
    (len, if may_continue { Pending::Run(class) } else { Pending::None })
}

/// Whether a text is exactly one token.
pub(super) fn is_one_token(text: &str) -> bool {
    !text.is_empty() && first_token(text).0 == text.len()
}

/// Splits a text that arrives in pieces.
#[derive(Default)]
pub(super) struct WordPuncts {
    /// The token at the end of the last piece, which the next one may continue.
    unfinished: String,
    pending: Pending,
}

impl WordPuncts {
    /// Calls `sink` with every token that ends in the next piece.
    pub(super) fn push<E>(
        &mut self,
        piece: &str,
        size: &mut TextSize,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = piece;
        if self.pending == Pending::Space && !rest.is_empty() {
            let c = rest.chars().next().unwrap_or(' ');
            match Class::of(c) {
                Class::White => self.finish(size, sink)?,
                class => {
                    self.unfinished.push(c);
                    self.pending = Pending::Run(class);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        if let Pending::Run(class) = self.pending {
            let (run, others) = rest.split_at(class.run_len(rest));
            self.unfinished.push_str(run);
            rest = others;
            let may_continue = rest.is_empty() && class != Class::Other;
            if !may_continue {
                self.finish(size, sink)?;
            }
        }
        while !rest.is_empty() {
            let (len, pending) = first_token(rest);
            let (token, others) = rest.split_at(len);
            if pending != Pending::None {
                self.unfinished.push_str(token);
                self.pending = pending;
                return Ok(());
            }
            *size += TextSize::of(token.as_bytes());
            sink(token.as_bytes())?;
            rest = others;
        }
        Ok(())
    }

    /// Ends the unfinished token.
    pub(super) fn finish<E>(
        &mut self,
        size: &mut TextSize,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.pending = Pending::None;
        if self.unfinished.is_empty() {
            return Ok(());
        }
        *size += TextSize::of(self.unfinished.as_bytes());
        let outcome = sink(self.unfinished.as_bytes());
        self.unfinished.clear();
        outcome
    }

    /// Number of bytes of the unfinished token.
    pub(super) fn pending_bytes(&self) -> usize {
        self.unfinished.len()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn tokens(pieces: &[&str]) -> Vec<String> {
        let (mut splitter, mut size, mut tokens) = (WordPuncts::default(), TextSize::default(), Vec::new());
        let mut sink = |token: &[u8]| -> Result<(), Infallible> {
            tokens.push(String::from_utf8(token.to_vec()).expect("a token is text"));
            Ok(())
        };
        for piece in pieces {
            let Ok(()) = splitter.push(piece, &mut size, &mut sink);
        }
        let Ok(()) = splitter.finish(&mut size, &mut sink);
        assert_eq!(size, TextSize::of(tokens.concat().as_bytes()));
        tokens
    }

    #[test]
    fn letters_digits_and_other_characters_are_separate_tokens() {
        let expected = ["Mr", ".", " Öz", "'", "s", " 42", "\n", " ", " cats", "-", "3", "rd", "\r", "\n", " "];
        assert_eq!(tokens(&["Mr. Öz's 42\n  cats-3rd\r\n "]), expected);
        assert_eq!(
            tokens(&["e\u{301}t\u{e9} ½\u{a0}東京 😀😀"]),
            ["e\u{301}t\u{e9}", " ½", "\u{a0}", "東京", " 😀", "😀"]
        );
        assert_eq!(tokens(&["_a  \t "]), ["_", "a", " ", " ", "\t", " "]);
        assert_eq!(tokens(&[""]), [""; 0]);
    }

    #[test]
    fn a_text_in_pieces_of_any_length_has_the_same_tokens() {
        let text = " Mr. Öz's  42,000\n\n cats e\u{301} — ½ 東京7 x ";
        let whole = tokens(&[text]);
        assert_eq!(whole.concat(), text);
        let boundaries: Vec<usize> = (0..=text.len()).filter(|&index| text.is_char_boundary(index)).collect();
        for &first in &boundaries {
            for &second in boundaries.iter().filter(|&&second| second >= first) {
                assert_eq!(tokens(&[&text[..first], &text[first..second], &text[second..]]), whole);
            }
        }
        let chars: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(tokens(&chars.iter().map(String::as_str).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn a_token_is_recognized() {
        for token in ["a", " the", "42", " 42", ".", " .", " ", "\n", "\t", "e\u{301}"] {
            assert!(is_one_token(token), "{token:?}");
        }
        for other in ["", "  ", " \n", "a ", "a.", "..", "a1", " a1", "new york", "\r\n"] {
            assert!(!is_one_token(other), "{other:?}");
        }
    }
}
