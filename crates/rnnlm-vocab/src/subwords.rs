//! Stage 2, subwords: the interface to tokenizers with a vocabulary of their own.
//!
//! This crate has no such tokenizer. `rnnlm-tokenizer` implements [`SubwordTokenizer`] with the crate `tokenizers`, and
//! registers itself with [`set_subword_loader`](crate::set_subword_loader).

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::text::TextSize;

/// A tokenizer that divides texts into subwords, with the ids of its own vocabulary: a `tokenizer.json`.
///
/// An implementation must be able to encode every text.
pub trait SubwordTokenizer: fmt::Debug + Send + Sync {
    /// The content of the `tokenizer.json`.
    fn json(&self) -> &str;

    /// The tokens in id order, without gaps.
    fn tokens(&self) -> &[SubwordToken];

    /// The id of a token, given as written in the `tokenizer.json`.
    fn id(&self, name: &str) -> Option<u32>;

    /// The token that replaces text which no other token represents; `None` if there is no such text.
    fn unknown_id(&self) -> Option<u32>;

    /// The special token that ends a document.
    fn end_token(&self) -> Option<u32>;

    /// The length of a part at the start of `text` that has the same tokens alone, as has the rest; `None` if there is none.
    /// The part is as long as possible.
    fn split_point(&self, text: &str) -> Option<usize>;

    /// Calls `visit` with the id of every token of `text` in order, and with the bytes of `text` that it is made of.
    fn encode(&self, text: &str, special: SpecialTokens, visit: &mut dyn FnMut(u32, Range<usize>));
}

/// A token of a [`SubwordTokenizer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubwordToken {
    /// The token as written in the `tokenizer.json`.
    pub name: Box<str>,
    /// The text of the token, without the space before it; not always UTF-8.
    pub text: Box<[u8]>,
    /// Whether there is a space between the previous token and this one.
    pub has_space: bool,
}

/// How the names of special tokens, such as `<|endoftext|>`, are read in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialTokens {
    /// As special tokens. This is the default of `tokenizers`.
    Recognized,
    /// As ordinary text. A document cannot contain the end token.
    AsText,
}

/// The tokenizer of a vocabulary. Two are equal if their files are.
#[derive(Clone, Debug)]
pub(crate) struct Subwords(pub(crate) Arc<dyn SubwordTokenizer>);

impl PartialEq for Subwords {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.json() == other.json()
    }
}

impl Eq for Subwords {}

impl Deref for Subwords {
    type Target = dyn SubwordTokenizer;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// How the subwords of a text are found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubwordReader<'v> {
    pub(crate) tokenizer: &'v dyn SubwordTokenizer,
    pub(crate) special: SpecialTokens,
}

impl SubwordReader<'_> {
    /// Calls `visit` with every token of a text: the id, the raw form and the range. The raw form of a token is its name,
    /// that of an unknown token the text that it replaces.
    pub(crate) fn each<E>(
        &self,
        text: &str,
        mut visit: impl FnMut(u32, &[u8], Range<usize>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { tokenizer, special } = *self;
        let (tokens, unknown) = (tokenizer.tokens(), tokenizer.unknown_id());
        let end_token = tokenizer.end_token().filter(|_| special == SpecialTokens::AsText);
        let mut outcome = Ok(());
        tokenizer.encode(text, special, &mut |id, range| {
            // a model of whole words can find the end token in a document, which must not have it
            let id = unknown.filter(|_| Some(id) == end_token).unwrap_or(id);
            let Some(token) = tokens.get(id as usize).filter(|_| outcome.is_ok()) else { return };
            // a text that is also the name of a token must not be looked up as that token
            let replaced = text.get(range.clone()).filter(|text| !text.is_empty() && tokenizer.id(text).is_none());
            let raw = if Some(id) == unknown { replaced.unwrap_or(&token.name) } else { &token.name };
            outcome = visit(id, raw.as_bytes(), range);
        });
        outcome
    }
}

/// Number of bytes of a stream that are encoded at a time, if they can be.
const PART_BYTES: usize = 1 << 20;

/// Divides a text that arrives in pieces into subwords.
#[derive(Debug)]
pub(crate) struct SubwordSplitter<'v> {
    reader: SubwordReader<'v>,
    /// The text that is not encoded yet.
    text: String,
    /// The length of the text at which a part of it is encoded next.
    wanted: usize,
}

impl<'v> SubwordSplitter<'v> {
    pub(crate) fn new(reader: SubwordReader<'v>) -> Self {
        Self { reader, text: String::new(), wanted: PART_BYTES }
    }

    /// Calls `sink` with the raw form of tokens that end in the next piece.
    pub(crate) fn push<E>(
        &mut self,
        piece: &str,
        size: &mut TextSize,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.text.push_str(piece);
        if self.text.len() < self.wanted {
            return Ok(());
        }
        let Some(end) = self.reader.tokenizer.split_point(&self.text) else {
            // searching the same text in every piece would take quadratic time
            self.wanted = 2 * self.text.len();
            return Ok(());
        };
        self.wanted = PART_BYTES.max(2 * (self.text.len() - end));
        let rest = self.text.split_off(end);
        let part = std::mem::replace(&mut self.text, rest);
        *size += TextSize::of(part.as_bytes());
        self.reader.each(&part, |_, raw, _| sink(raw))
    }

    /// Ends the text.
    pub(crate) fn finish<E>(
        &mut self,
        size: &mut TextSize,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let text = std::mem::take(&mut self.text);
        self.wanted = PART_BYTES;
        *size += TextSize::of(text.as_bytes());
        if text.is_empty() { Ok(()) } else { self.reader.each(&text, |_, raw, _| sink(raw)) }
    }

    /// Number of bytes that are not encoded yet.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.text.len()
    }
}
