//! What is made of the tokens of a segment: their counts, or their ids.

use super::parallel::Sink;
use super::shard::Dtype;
use crate::builder::VocabBuilder;
use crate::corpus::{Fnv1a, Token};
use crate::memory::{MemoryUse, Stop};
use crate::vocab::{Index, SubwordCounter, Vocab};

/// The distinct tokens of a segment in the order of their first occurrence, with their counts.
#[derive(Default)]
pub(super) struct Counts {
    /// The index in `counts` of each token.
    index: Index,
    /// The raw tokens, one after the other.
    tokens: Vec<u8>,
    /// The end in `tokens` and the count of each token.
    counts: Vec<(usize, u64)>,
    /// The index in `counts` of the end token of documents.
    end: Option<usize>,
}

impl Counts {
    /// Adds the counts to those of the text before.
    pub(super) fn add_to(&self, builder: &mut VocabBuilder, memory: &mut MemoryUse) -> Result<(), Stop> {
        let mut start = 0;
        for (index, &(end, count)) in self.counts.iter().enumerate() {
            match self.end == Some(index) {
                true => builder.count_ends(count, memory)?,
                false => builder.count_many(&self.tokens[start..end], count, memory)?,
            };
            start = end;
        }
        Ok(())
    }

    fn push(&mut self, raw: &[u8]) {
        self.tokens.extend_from_slice(raw);
        self.counts.push((self.tokens.len(), 1));
    }
}

impl Sink for Counts {
    #[inline]
    fn add(&mut self, token: Token<'_>, _: &mut MemoryUse) -> Result<(), Stop> {
        let known = match token {
            Token::Raw(raw) => self.index.get(raw).map(|index| index as usize),
            Token::End => self.end,
        };
        match (known, token) {
            (Some(index), _) => self.counts[index].1 += 1,
            (None, Token::Raw(raw)) => {
                // the tokens of a segment fit into 32 bits
                self.index.insert(raw, self.counts.len() as u32);
                self.push(raw);
            }
            (None, Token::End) => {
                self.end = Some(self.counts.len());
                self.push(b"");
            }
        }
        Ok(())
    }

    fn split(&mut self) -> Self {
        Self::default()
    }
}

/// The ids of the tokens of a segment.
pub(super) struct Encoded<'v> {
    vocab: &'v Vocab,
    dtype: Dtype,
    /// The ids, each in the bytes of `dtype`.
    pub(super) ids: Vec<u8>,
    pub(super) unknown: u64,
    /// Counts subwords.
    pub(super) counter: SubwordCounter,
    /// The digest of the content of each document that ends in the segment.
    pub(super) contents: Vec<u64>,
    /// The content of the document at the end of the segment.
    content: Content,
}

impl<'v> Encoded<'v> {
    pub(super) fn new(vocab: &'v Vocab, dtype: Dtype) -> Self {
        let counter = vocab.counter();
        Self { vocab, dtype, counter, ids: Vec::new(), unknown: 0, contents: Vec::new(), content: Content::default() }
    }
}

impl Sink for Encoded<'_> {
    #[inline]
    fn add(&mut self, token: Token<'_>, _: &mut MemoryUse) -> Result<(), Stop> {
        self.counter.add(token, self.vocab);
        let id = match (token, self.vocab.end_token()) {
            (Token::Raw(raw), None) => self.vocab.id_of(raw),
            (Token::Raw(raw), Some(_)) => {
                self.content.add(raw, self.vocab.kind().separator());
                self.vocab.id_of(raw)
            }
            (Token::End, Some(end)) => {
                self.contents.push(std::mem::take(&mut self.content).hash.value());
                end
            }
            (Token::End, None) => return Ok(()),
        };
        self.unknown += u64::from(self.vocab.is_unknown(id));
        self.dtype.push(id, &mut self.ids);
        Ok(())
    }

    fn split(&mut self) -> Self {
        Self { content: std::mem::take(&mut self.content), ..Self::new(self.vocab, self.dtype) }
    }
}

/// The content of a document so far.
#[derive(Default)]
struct Content {
    hash: Fnv1a,
    is_started: bool,
}

impl Content {
    fn add(&mut self, raw: &[u8], separator: &str) {
        if self.is_started {
            self.hash.add(separator.as_bytes());
        }
        self.hash.add(raw);
        self.is_started = true;
    }
}
