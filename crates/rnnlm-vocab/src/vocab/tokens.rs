//! Stage 2, documents: the tokens of a document with their positions in it.

use std::collections::VecDeque;
use std::ops::Range;

use super::Vocab;
use crate::error::Error;
use crate::normalize::{Extent, LineEndConversion, Normalization};
use crate::text::Piece;
use crate::tokenize::TokenKind;

/// A token of a document, and the part of the document that it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentToken<'a> {
    /// The id, [`Vocab::unknown_id`] for a token that is not in the vocabulary.
    pub id: u32,
    /// The token as written in a vocabulary file.
    pub text: &'a str,
    /// Where it is in the document, in bytes: before the normalization. Characters that became one token, such as those
    /// between two words of [`Normalization::Book`], are one range; tokens that one character became have the same range.
    /// That of a subword is what its tokenizer reports.
    pub range: Range<usize>,
}

impl Vocab {
    /// Calls `visit` with the tokens of [`Vocab::encode_document`] in order, without the end token. This is slower than
    /// encoding, because it reads the document character by character.
    ///
    /// ```
    /// use rnnlm_vocab::{Corpus, CorpusOptions, Error};
    ///
    /// let vocab = Corpus::from_bytes(b"Anna and Hannah", &CorpusOptions::default())?.vocab;
    /// let mut tokens = Vec::new();
    /// vocab.visit_document(b"No! Anna", |token| {
    ///     tokens.push((token.text.to_owned(), token.range));
    ///     Ok::<(), Error>(())
    /// })?;
    /// assert_eq!(tokens[..4], [("n".into(), 0..1), ("o".into(), 1..2), (" ".into(), 2..4), ("a".into(), 4..5)]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Vocab::encode_document`] and of `visit`.
    pub fn visit_document<E: From<Error>>(
        &self,
        document: &[u8],
        mut visit: impl FnMut(DocumentToken<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.check_line_ends(document)?;
        if let Some(reader) = self.subword_reader() {
            let text = super::text_of(document, "the document")?;
            return self.visit_subwords(text, reader, |id, raw, range| {
                visit(DocumentToken { id, text: &self.kind().escape(raw), range })
            });
        }
        let mut tokenizer = self.tokenizer(Extent::Lines);
        let mut visitor = Visitor { vocab: self, ranges: Ranges::default(), visit };
        match (self.kind(), self.normalization()) {
            (TokenKind::Byte, Normalization::None) => {
                for (start, byte) in document.chunks(1).enumerate() {
                    let input = Input { start, length: 1, character: char::from(byte[0]), is_bytewise: true };
                    let mut emitted = 0;
                    tokenizer.push(Piece::Bytes(byte), &mut |token| visitor.token(token, input, &mut emitted))?;
                    visitor.advance(input, emitted);
                }
            }
            _ => {
                let text = super::text_of(document, "the document")?;
                for (start, character) in text.char_indices() {
                    let input = Input::of(character, start, self.normalization());
                    let piece = Piece::Text(&text[start..start + input.length]);
                    let mut emitted = 0;
                    if self.kind() == TokenKind::WordPunct {
                        visitor.ranges.push(input, self.normalization(), self.line_ends());
                    }
                    tokenizer.push(piece, &mut |token| visitor.token(token, input, &mut emitted))?;
                    visitor.advance(input, emitted);
                }
            }
        }
        let end = Input { start: document.len(), length: 0, character: '\0', is_bytewise: false };
        tokenizer.finish(&mut |token| visitor.token(token, end, &mut 0))
    }
}

/// The character, or the byte, that is read.
#[derive(Clone, Copy)]
struct Input {
    start: usize,
    length: usize,
    character: char,
    /// Whether each of its bytes becomes one byte of the normalized text.
    is_bytewise: bool,
}

impl Input {
    fn of(character: char, start: usize, normalization: Normalization) -> Self {
        let length = character.len_utf8();
        let is_bytewise = match normalization {
            Normalization::None => true,
            Normalization::Lower => character.to_lowercase().map(char::len_utf8).sum::<usize>() == length,
            Normalization::Book => false,
        };
        Self { start, length, character, is_bytewise }
    }
}

/// What the next token can be made of, apart from the input itself.
#[derive(Default)]
struct Ranges {
    /// The end of the last input that became a token.
    last_end: usize,
    /// Whether the last character was `\r`.
    pending_carriage_return: bool,
    /// The word that is not complete.
    word: Option<Range<usize>>,
    /// With [`TokenKind::WordPunct`], the characters of tokens that are not complete.
    pending: VecDeque<Pending>,
}

/// A part of the document that became characters of the normalized text, which are not in a token yet.
#[derive(Clone, Debug)]
struct Pending {
    range: Range<usize>,
    /// The number of characters that it became.
    characters: usize,
    /// Whether it becomes a space or nothing.
    is_gap: bool,
}

impl Ranges {
    /// Adds the input of a token of [`TokenKind::WordPunct`].
    fn push(&mut self, input: Input, normalization: Normalization, line_ends: LineEndConversion) {
        let Input { start, length, character, .. } = input;
        let end = start + length;
        let is_gap = normalization == Normalization::Book
            && !character.is_ascii_alphabetic()
            && !matches!(character, '\n' | '\r');
        let is_second_half = character == '\n' && self.pending_carriage_return && line_ends == LineEndConversion::Lf;
        self.pending_carriage_return = character == '\r';
        let characters = if normalization == Normalization::Lower { character.to_lowercase().count() } else { 1 };
        match self.pending.back_mut() {
            // `\r` became the line end already
            None if is_second_half => {}
            Some(last) if is_second_half || (is_gap && last.is_gap) => last.range.end = end,
            _ => self.pending.push_back(Pending { range: start..end, characters, is_gap }),
        }
    }

    /// The part of the document that became the token.
    fn take(&mut self, raw: &[u8]) -> Range<usize> {
        let mut range: Option<Range<usize>> = None;
        let mut extra = 0;
        for character in String::from_utf8_lossy(raw).chars() {
            if extra > 0 {
                extra -= 1;
                continue;
            }
            // a gap at the end of a line becomes nothing
            while self.pending.front().is_some_and(|pending| pending.is_gap && character != ' ') {
                self.pending.pop_front();
            }
            let Some(pending) = self.pending.pop_front() else { break };
            extra = pending.characters.saturating_sub(1);
            range = Some(range.map_or(pending.range.start, |range| range.start)..pending.range.end);
        }
        range.unwrap_or(self.last_end..self.last_end)
    }
}

struct Visitor<'a, V> {
    vocab: &'a Vocab,
    ranges: Ranges,
    visit: V,
}

impl<V> Visitor<'_, V> {
    /// Visits a token that reading `input` completes, after `emitted` others.
    fn token<E>(&mut self, raw: &[u8], input: Input, emitted: &mut usize) -> Result<(), E>
    where
        V: FnMut(DocumentToken<'_>) -> Result<(), E>,
    {
        let Input { start, length, is_bytewise, .. } = input;
        let kind = self.vocab.kind();
        let is_gap = self.vocab.normalization() == Normalization::Book && raw == b" ";
        let range = match kind {
            TokenKind::Word | TokenKind::Subword => self.ranges.word.take().unwrap_or(start..start),
            TokenKind::WordPunct => self.ranges.take(raw),
            _ if is_gap => self.ranges.last_end..start,
            TokenKind::Byte if is_bytewise => start + *emitted..start + *emitted + 1,
            TokenKind::Char | TokenKind::Byte => start..start + length,
        };
        if !is_gap {
            *emitted += 1;
        }
        let id = self.vocab.id_of(raw);
        let escaped = kind.escape(raw);
        (self.visit)(DocumentToken { id, text: &escaped, range })
    }

    /// After all tokens that `input` completes.
    fn advance(&mut self, input: Input, emitted: usize) {
        let end = input.start + input.length;
        if self.vocab.kind() == TokenKind::Word {
            let is_letter = match self.vocab.normalization() {
                Normalization::Book => input.character.is_ascii_alphabetic(),
                Normalization::Lower | Normalization::None => !input.character.is_whitespace(),
            };
            if is_letter {
                let start = self.ranges.word.take().map_or(input.start, |word| word.start);
                self.ranges.word = Some(start..end);
            }
        } else if emitted > 0 {
            self.ranges.last_end = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Corpus, CorpusOptions, Documents};

    /// The texts of the tokens, and the parts of the document that they were made of.
    fn visit(kind: TokenKind, normalization: Normalization, document: &str) -> Vec<(String, String)> {
        let options =
            CorpusOptions { kind, normalization, line_ends: LineEndConversion::Lf, ..CorpusOptions::default() };
        let vocab = Corpus::from_bytes("ab c é i\u{307}\n".repeat(2).as_bytes(), &options).unwrap().vocab;
        let (mut texts, mut ids, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        vocab
            .visit_document(document.as_bytes(), |token| {
                let part = String::from_utf8_lossy(&document.as_bytes()[token.range.clone()]).into_owned();
                texts.push((token.text.to_owned(), part));
                ids.push(token.id);
                starts.push(token.range.start);
                Ok::<(), Error>(())
            })
            .unwrap();
        assert_eq!(ids, vocab.encode_document(document.as_bytes()).unwrap().ids, "{document:?}");
        assert!(starts.is_sorted(), "{starts:?}");
        texts
    }

    fn check(kind: TokenKind, normalization: Normalization, document: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|&(text, part)| (text.to_owned(), part.to_owned())).collect();
        assert_eq!(visit(kind, normalization, document), expected, "{document:?}");
    }

    #[test]
    fn characters_have_the_ranges_of_what_they_were_made_of() {
        use Normalization::{Book, Lower, None};
        check(TokenKind::Char, None, "Aé\r\nb", &[("A", "A"), ("é", "é"), ("\n", "\r"), ("b", "b")]);
        check(TokenKind::Char, Lower, "AİÉ", &[("a", "A"), ("i", "İ"), ("\u{307}", "İ"), ("é", "É")]);
        check(TokenKind::Char, Book, "--A, 3 é b!\nC.", &[("a", "A"), (" ", ", 3 é "), ("b", "b"), ("c", "C")]);
    }

    #[test]
    fn words_have_the_ranges_of_what_they_were_made_of() {
        use Normalization::{Book, Lower, None};
        check(TokenKind::Word, None, "  ab,\u{2003}É \n", &[("ab,", "ab,"), ("É", "É")]);
        check(TokenKind::Word, Lower, "AB É", &[("ab", "AB"), ("é", "É")]);
        check(TokenKind::Word, Book, "It's\nAB-c.", &[("it", "It"), ("s", "s"), ("ab", "AB"), ("c", "c")]);
    }

    #[test]
    fn words_and_punctuation_have_the_ranges_of_what_they_were_made_of() {
        use Normalization::{Book, Lower, None};
        let kind = TokenKind::WordPunct;
        let line = [("It", "It"), (",", ","), (" ab", " ab"), ("12", "12"), (" ", " "), ("\n", "\r"), ("c", "c")];
        check(kind, None, "It, ab12 \r\nc", &line);
        check(kind, Lower, "AİB É", &[("ai\u{307}b", "AİB"), (" é", " É")]);
        check(kind, Book, "--It's, AB!\nC.", &[("it", "It"), (" s", "'s"), (" ab", ", AB"), ("\n", "\n"), ("c", "C")]);
    }

    #[test]
    fn bytes_have_the_ranges_of_what_they_were_made_of() {
        use Normalization::{Book, Lower, None};
        let bytes = [("<0x61>", "a"), ("<0xC3>", "\u{fffd}"), ("<0xA9>", "\u{fffd}")];
        check(TokenKind::Byte, None, "aé", &bytes);
        check(TokenKind::Byte, Lower, "AÉ", &[("<0x61>", "A"), bytes[1], bytes[2]]);
        check(TokenKind::Byte, Lower, "İ", &[("<0x69>", "İ"), ("<0xCC>", "İ"), ("<0x87>", "İ")]);
        check(TokenKind::Byte, Book, "A!c", &[("<0x61>", "A"), ("<0x20>", "!"), ("<0x63>", "c")]);
    }

    #[test]
    fn any_bytes_are_visited_only_without_a_normalization() {
        let vocab = |normalization| {
            let options = CorpusOptions { kind: TokenKind::Byte, normalization, ..CorpusOptions::default() };
            Corpus::from_bytes(b"ab", &options).unwrap().vocab
        };
        let ignore = |_: DocumentToken<'_>| Ok::<(), Error>(());
        assert!(vocab(Normalization::None).visit_document(b"a\xFF", ignore).is_ok());
        assert!(matches!(
            vocab(Normalization::Lower).visit_document(b"a\xFF", ignore),
            Err(Error::InvalidUtf8 { offset: 1, .. })
        ));
    }

    #[test]
    fn the_line_end_that_ends_documents_is_not_in_one() {
        let options = CorpusOptions { documents: Documents::Lines, ..CorpusOptions::default() };
        let vocab = Corpus::from_bytes(b"ab\n", &options).unwrap().vocab;
        let outcome = vocab.visit_document(b"a\nb", |_| Ok::<(), Error>(()));
        assert!(matches!(outcome, Err(Error::LineEndInDocument { offset: 1 })));
    }
}
