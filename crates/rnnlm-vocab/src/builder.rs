//! Stage 2 of the walk: counting the tokens of a text and ordering them into a vocabulary.
//!
//! Tokens get provisional ids in the order in which they are first seen, so that one pass over a text both counts it
//! and encodes it; ordering by frequency afterwards only renumbers.

use std::cmp::Reverse;

use crate::error::{Error, Result};
use crate::normalize::Normalization;
use crate::text::TextFormat;
use crate::tokenize::TokenKind;
use crate::vocab::{Index, MAX_TOKENS, Parts, UNKNOWN_ID, UNKNOWN_TOKEN, Vocab, reserved_objection};

/// A vocabulary in the making.
pub(crate) struct VocabBuilder {
    kind: TokenKind,
    normalization: Normalization,
    reserved: usize,
    index: Index,
    /// By provisional id, as they stand in the text.
    tokens: Vec<Box<[u8]>>,
    counts: Vec<u64>,
}

/// A finished vocabulary and what became of the provisional ids.
pub(crate) struct Built {
    pub(crate) vocab: Vocab,
    /// From provisional id to id.
    pub(crate) renumbering: Vec<u32>,
    /// By provisional id, as they stand in the text.
    pub(crate) tokens: Vec<Box<[u8]>>,
}

impl VocabBuilder {
    pub(crate) fn new(kind: TokenKind, normalization: Normalization, reserved: &[String]) -> Result<Self> {
        let (tokens, counts) = (Vec::new(), Vec::new());
        let mut builder =
            Self { kind, normalization, reserved: reserved.len(), index: Index::default(), tokens, counts };
        builder.add(UNKNOWN_TOKEN.as_bytes())?;
        for token in reserved {
            let refuse = |reason: &str| Error::Reserved { token: token.clone(), reason: reason.to_owned() };
            if let Some(objection) = reserved_objection(kind, token) {
                return Err(refuse(objection));
            }
            match builder.index.get(kind.unspell(token)) {
                Some(UNKNOWN_ID) => return Err(refuse("is always there, with id 0")),
                Some(_) => return Err(refuse("is named twice")),
                None => builder.add(kind.unspell(token))?,
            };
        }
        Ok(builder)
    }

    /// Counts a token given as it stands in the text and returns its provisional id.
    pub(crate) fn count(&mut self, raw: &[u8]) -> Result<u32> {
        let id = match self.index.get(raw) {
            Some(id) => id,
            None => self.add(raw)?,
        };
        self.counts[id as usize] += 1;
        Ok(id)
    }

    fn add(&mut self, raw: &[u8]) -> Result<u32> {
        let found = self.tokens.len();
        let id = u32::try_from(found).map_err(|_| Error::TooManyTokens { found, limit: MAX_TOKENS })?;
        self.index.insert(raw, id);
        self.tokens.push(raw.into());
        self.counts.push(0);
        Ok(id)
    }

    /// Orders what has been counted. Tokens seen fewer than `min_freq` times become `<unk>`.
    pub(crate) fn finish(self, min_freq: u64, text_format: TextFormat) -> Result<Built> {
        let fixed = self.reserved + 1;
        let mut order: Vec<usize> = (fixed..self.tokens.len()).filter(|&id| self.counts[id] >= min_freq).collect();
        order.sort_by_key(|&id| Reverse(self.counts[id])); // stable: ties stay in the order of first sight
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
        let tokens = order.iter().map(|&id| self.spell(id).into()).collect();
        let (kind, normalization, reserved) = (self.kind, self.normalization, self.reserved);
        let vocab = Vocab::from_parts(Parts { kind, normalization, text_format, reserved, tokens, frequencies })?;
        Ok(Built { vocab, renumbering, tokens: self.tokens })
    }

    fn spell(&self, id: usize) -> String {
        self.kind.spell(&self.tokens[id])
    }
}
