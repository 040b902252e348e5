//! Stage 2, subwords: the vocabulary of a tokenizer.

use std::ops::Range;
use std::sync::Arc;

use super::{Parts, Vocab};
use crate::corpus::Token;
use crate::documents::Documents;
use crate::error::{Error, Result};
use crate::normalize::{LineEndConversion, Normalization};
use crate::subwords::{SpecialTokens, SubwordReader, SubwordTokenizer, Subwords};
use crate::text::TextFormat;
use crate::tokenize::TokenKind;
use crate::vocab::MAX_TOKENS;

impl Vocab {
    /// The vocabulary of a tokenizer: its ids are those of the `tokenizer.json`. Texts are streams, and line ends are kept;
    /// [`Vocab::with_documents`] and [`Vocab::with_line_ends`] change that. There is no other normalization than that of the
    /// tokenizer.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyTokens`]; [`Error::VocabContent`] if the tokenizer has no tokens, or two of one name.
    pub fn from_tokenizer(tokenizer: Arc<dyn SubwordTokenizer>) -> Result<Self> {
        let tokens: Vec<Box<str>> = tokenizer.tokens().iter().map(|token| token.name.clone()).collect();
        if tokens.len() > MAX_TOKENS {
            return Err(Error::TooManyTokens { found: tokens.len(), limit: MAX_TOKENS });
        }
        Self::from_parts(Parts {
            kind: TokenKind::Subword,
            normalization: Normalization::None,
            line_ends: LineEndConversion::Keep,
            documents: Documents::None,
            text_format: TextFormat::default(),
            reserved: 0,
            frequencies: vec![0; tokens.len()],
            tokens,
            subwords: Some(Subwords(tokenizer)),
        })
    }

    /// The tokenizer of a vocabulary of subwords.
    pub fn tokenizer_of_subwords(&self) -> Option<&dyn SubwordTokenizer> {
        self.subwords.as_deref()
    }

    /// The id that replaces tokens which are not in the vocabulary: [`UNKNOWN_ID`](crate::UNKNOWN_ID), or that of the
    /// tokenizer of subwords. `None` if the tokenizer represents every text.
    pub fn unknown_id(&self) -> Option<u32> {
        self.unknown
    }

    /// Whether this is [`Vocab::unknown_id`].
    pub fn is_unknown(&self, id: u32) -> bool {
        Some(id) == self.unknown
    }

    /// How the subwords of a text are found. A document cannot contain the end token, so names of special tokens are
    /// ordinary text in documents.
    pub(crate) fn subword_reader(&self) -> Option<SubwordReader<'_>> {
        let special = match self.documents {
            Documents::None => SpecialTokens::Recognized,
            Documents::Lines | Documents::BlankLines => SpecialTokens::AsText,
        };
        self.tokenizer_of_subwords().map(|tokenizer| SubwordReader { tokenizer, special })
    }

    /// Counts the tokens of a text, if this is a vocabulary of subwords without frequencies.
    pub(crate) fn counter(&self) -> SubwordCounter {
        let has_none = self.kind == TokenKind::Subword && self.frequencies.iter().all(|&frequency| frequency == 0);
        SubwordCounter(has_none.then(|| self.frequencies.clone()))
    }

    /// This vocabulary with the frequencies of a text, if they were counted.
    pub(crate) fn counted(self, counter: SubwordCounter) -> Self {
        let frequencies = counter.0.unwrap_or(self.frequencies);
        Self { frequencies, ..self }
    }

    /// The most frequent subword. Without frequencies, the line end or the space, whichever is one token.
    pub(super) fn most_frequent_subword(&self) -> Option<u32> {
        let tokenizer = self.tokenizer_of_subwords()?;
        let is_ordinary = |&id: &u32| Some(id) != tokenizer.end_token() && !self.is_unknown(id);
        let frequency = |&id: &u32| self.frequencies[id as usize];
        let ids = (0..self.len() as u32).filter(is_ordinary);
        // of equal frequencies, the lowest id
        let most_frequent = ids.rev().max_by_key(frequency)?;
        if frequency(&most_frequent) > 0 {
            return Some(most_frequent);
        }
        let one_token = |text: &str| match self.encode(text).ids[..] {
            [id] if !self.is_unknown(id) => Some(id),
            _ => None,
        };
        one_token("\n").or_else(|| one_token(" ")).or(Some(most_frequent))
    }

    /// Calls `visit` with the id, the raw form and the range of every subword of a document.
    pub(super) fn visit_subwords<E>(
        &self,
        document: &str,
        reader: SubwordReader<'_>,
        mut visit: impl FnMut(u32, &[u8], Range<usize>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.line_ends == LineEndConversion::Keep || !document.contains('\r') {
            return reader.each(document, visit);
        }
        let (mut text, mut starts) = (String::with_capacity(document.len()), Vec::with_capacity(document.len() + 1));
        let mut characters = document.char_indices().peekable();
        while let Some((start, character)) = characters.next() {
            text.push(if character == '\r' { '\n' } else { character });
            starts.extend((0..character.len_utf8()).map(|byte| start + byte));
            if character == '\r' {
                characters.next_if(|&(_, next)| next == '\n');
            }
        }
        starts.push(document.len());
        reader.each(&text, |id, raw, range| visit(id, raw, starts[range.start]..starts[range.end]))
    }
}

/// Counts the tokens of a text for a vocabulary without frequencies.
pub(crate) struct SubwordCounter(Option<Vec<u64>>);

impl SubwordCounter {
    /// The sum of these counts and those of another part of the text.
    #[cfg(feature = "cache")]
    pub(crate) fn merged(mut self, other: Option<Self>) -> Self {
        if let (Some(frequencies), Some(Self(Some(others)))) = (&mut self.0, other) {
            frequencies.iter_mut().zip(others).for_each(|(frequency, other)| *frequency += other);
        }
        self
    }

    /// Counts a token.
    pub(crate) fn add(&mut self, token: Token<'_>, vocab: &Vocab) {
        let Some(frequencies) = &mut self.0 else { return };
        let id = match token {
            Token::Raw(raw) => Some(vocab.id_of(raw)),
            Token::End => vocab.end_token(),
        };
        if let Some(frequency) = id.and_then(|id| frequencies.get_mut(id as usize)) {
            *frequency += 1;
        }
    }
}
