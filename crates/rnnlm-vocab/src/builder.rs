//! Stage 2, building: counting the tokens of a text and ordering them into a vocabulary.
//!
//! Tokens get provisional ids in order of first occurrence, so that a single pass both counts and encodes the text.
//! Ordering by frequency then only renumbers the ids.

use std::cmp::Reverse;

use crate::documents::{Documents, EOS_TOKEN};
use crate::error::{Error, Result};
use crate::memory::{MemoryUse, Stop, distinct_token_bytes};
use crate::normalize::{LineEndConversion, Normalization};
use crate::text::TextFormat;
use crate::tokenize::TokenKind;
use crate::unknown::{UNKNOWN_ID, UNKNOWN_TOKEN};
use crate::vocab::{Index, MAX_TOKENS, Parts, Vocab, invalid_reserved_reason};

/// Token counts, from which a vocabulary is built.
pub(crate) struct VocabBuilder {
    kind: TokenKind,
    normalization: Normalization,
    line_ends: LineEndConversion,
    documents: Documents,
    /// Number of reserved tokens, including [`EOS_TOKEN`].
    reserved: usize,
    /// Number of tokens whose ids are given: `<unk>`, the reserved tokens, and the tokens of a vocabulary that is extended.
    fixed: usize,
    /// The provisional id of [`EOS_TOKEN`] if it is the end token. It is not in the index, because a text never has it.
    eos_id: u32,
    /// The format of the text that the extended vocabulary was built on.
    text_format: Option<TextFormat>,
    index: Index,
    /// Raw tokens by provisional id.
    tokens: Vec<Box<[u8]>>,
    /// Occurrences by provisional id.
    counts: Vec<u64>,
}

/// The id of [`EOS_TOKEN`] in a new vocabulary.
const EOS_ID: u32 = 1;

/// A vocabulary and the mapping from provisional ids.
pub(crate) struct Built {
    pub(crate) vocab: Vocab,
    /// Id by provisional id.
    pub(crate) renumbering: Vec<u32>,
    /// Raw tokens by provisional id.
    pub(crate) tokens: Vec<Box<[u8]>>,
}

impl VocabBuilder {
    pub(crate) fn new(
        kind: TokenKind,
        normalization: Normalization,
        line_ends: LineEndConversion,
        documents: Documents,
        reserved: &[String],
    ) -> Result<Self> {
        if kind == TokenKind::Subword {
            return Err(Error::SubwordsWithoutTokenizer);
        }
        let has_eos = documents.has_eos(kind);
        let mut builder = Self {
            kind,
            normalization,
            line_ends,
            documents,
            reserved: reserved.len() + usize::from(has_eos),
            fixed: 1 + reserved.len() + usize::from(has_eos),
            eos_id: EOS_ID,
            text_format: None,
            index: Index::default(),
            tokens: Vec::new(),
            counts: Vec::new(),
        };
        builder.add(UNKNOWN_TOKEN.as_bytes())?;
        if has_eos {
            builder.push(EOS_TOKEN.as_bytes())?;
        }
        for token in reserved {
            let error = |reason: &str| Error::Reserved { token: token.clone(), reason: reason.to_owned() };
            if let Some(reason) = invalid_reserved_reason(kind, token) {
                return Err(error(reason));
            }
            if has_eos && token == EOS_TOKEN {
                return Err(error("is always in the vocabulary, as the end token of documents"));
            }
            match builder.index.get(kind.unescape(token)) {
                Some(UNKNOWN_ID) => return Err(error("is always in the vocabulary, with id 0")),
                Some(_) => return Err(error("is listed twice")),
                None => builder.add(kind.unescape(token))?,
            };
        }
        Ok(builder)
    }

    /// A builder that appends tokens to a vocabulary. All tokens of the vocabulary keep their ids, and counts are added to its
    /// frequencies.
    pub(crate) fn extending(vocab: &Vocab) -> Self {
        let kind = vocab.kind();
        let mut builder = Self {
            kind,
            normalization: vocab.normalization(),
            line_ends: vocab.line_ends(),
            documents: vocab.documents(),
            reserved: vocab.reserved(),
            fixed: vocab.len(),
            eos_id: vocab.end_token().unwrap_or(EOS_ID),
            text_format: Some(vocab.text_format()),
            index: Index::default(),
            tokens: Vec::with_capacity(vocab.len()),
            counts: vocab.frequencies().to_vec(),
        };
        let eos = builder.documents.has_eos(kind).then_some(builder.eos_id);
        for (id, token) in vocab.tokens().enumerate() {
            let raw = kind.unescape(token);
            builder.tokens.push(raw.into());
            if Some(id as u32) != eos {
                builder.index.insert(raw, id as u32);
            }
        }
        builder
    }

    /// Counts one occurrence of a raw token and returns its provisional id.
    pub(crate) fn count(&mut self, raw: &[u8], memory: &mut MemoryUse) -> Result<u32, Stop> {
        self.count_many(raw, 1, memory)
    }

    /// Counts occurrences of a raw token and returns its provisional id.
    pub(crate) fn count_many(&mut self, raw: &[u8], occurrences: u64, memory: &mut MemoryUse) -> Result<u32, Stop> {
        let id = match self.index.get(raw) {
            Some(id) => id,
            None => {
                memory.allocate(distinct_token_bytes(raw.len()))?;
                self.add(raw)?
            }
        };
        self.counts[id as usize] += occurrences;
        Ok(id)
    }

    /// Counts ends of documents and returns the provisional id of the end token.
    pub(crate) fn count_ends(&mut self, occurrences: u64, memory: &mut MemoryUse) -> Result<u32, Stop> {
        match self.documents.raw_end_token(self.kind) {
            Some(end) if end != EOS_TOKEN => self.count_many(end.as_bytes(), occurrences, memory),
            _ => {
                self.counts[self.eos_id as usize] += occurrences;
                Ok(self.eos_id)
            }
        }
    }

    fn add(&mut self, raw: &[u8]) -> Result<u32> {
        let id = self.push(raw)?;
        self.index.insert(raw, id);
        Ok(id)
    }

    /// Appends a token that is not looked up.
    fn push(&mut self, raw: &[u8]) -> Result<u32> {
        let found = self.tokens.len();
        let id = u32::try_from(found).map_err(|_| Error::TooManyTokens { found, limit: MAX_TOKENS })?;
        self.tokens.push(raw.into());
        self.counts.push(0);
        Ok(id)
    }

    /// Builds the vocabulary. Tokens with fewer than `min_freq` occurrences become `<unk>`, and so do those after the
    /// `max_vocab` most frequent ones, unless that is 0; the end token never does. A token of the text that is written like a
    /// reserved end token becomes `<unk>`, too. Tokens whose ids are given are not counted.
    pub(crate) fn finish(self, min_freq: u64, max_vocab: usize, text_format: TextFormat) -> Result<Built> {
        let (fixed, text_format) = (self.fixed, self.text_format.unwrap_or(text_format));
        let end = self.documents.raw_end_token(self.kind);
        let is_end = |id: usize| end.is_some_and(|end| *self.tokens[id] == *end.as_bytes());
        let is_kept = |&id: &usize| if is_end(id) { end != Some(EOS_TOKEN) } else { self.counts[id] >= min_freq };
        let mut order: Vec<usize> = (fixed..self.tokens.len()).filter(is_kept).collect();
        order.sort_by_key(|&id| Reverse(self.counts[id])); // a stable sort keeps ties in order of first occurrence
        if max_vocab > 0 {
            let mut rank = 0;
            order.retain(|&id| {
                rank += 1;
                rank <= max_vocab || is_end(id)
            });
        }
        order.splice(..0, 0..fixed);
        if order.len() > MAX_TOKENS {
            return Err(Error::TooManyTokens { found: order.len(), limit: MAX_TOKENS });
        }

        let mut renumbering = vec![UNKNOWN_ID; self.tokens.len()];
        for (id, &provisional) in order.iter().enumerate() {
            renumbering[provisional] = id as u32;
        }
        let mut frequencies = vec![0; order.len()];
        for (&id, &count) in renumbering.iter().zip(&self.counts) {
            frequencies[id as usize] += count;
        }
        let tokens = order.iter().map(|&id| self.kind.escape(&self.tokens[id]).into()).collect();
        let Self { kind, normalization, line_ends, documents, reserved, .. } = self;
        let subwords = None;
        let parts =
            Parts { kind, normalization, line_ends, documents, text_format, reserved, tokens, frequencies, subwords };
        let vocab = Vocab::from_parts(parts)?;
        Ok(Built { vocab, renumbering, tokens: self.tokens })
    }
}
