//! Stage 2, the vocabulary: encoding texts.

use std::convert::Infallible;

use super::{Vocab, text_of};
#[cfg(doc)]
use crate::EOS_TOKEN;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::memory::{Excess, MemoryUse};
use crate::normalize::{Extent, LineEndConversion, Normalization};
use crate::text::Piece;
use crate::tokenize::{TokenKind, Tokenizer};
use crate::unknown::UnknownTokens;

/// An encoded text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// One id per token, [`Vocab::unknown_id`] for tokens that are not in the vocabulary.
    pub ids: Vec<u32>,
    /// The tokens that were encoded as [`Vocab::unknown_id`].
    pub unknown: UnknownTokens,
}

impl Vocab {
    /// Encodes a text of whole lines, with the vocabulary's conversion of line ends and its normalization. A byte order
    /// mark is an ordinary character here; reading a [`Corpus`](crate::Corpus) removes it.
    pub fn encode(&self, text: &str) -> Encoding {
        self.encode_as(Piece::Text(text), self.tokenizer(Extent::Lines))
    }

    /// Encodes the prefix of a longer text, for generation. Unlike [`Vocab::encode`] it keeps spaces at both ends (as
    /// one space), because `time traveller` and `time traveller ` have different continuations.
    pub fn encode_prefix(&self, text: &str) -> Encoding {
        self.encode_as(Piece::Text(text), self.tokenizer(Extent::Prefix))
    }

    /// [`Vocab::encode_prefix`] for bytes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUtf8`], except for byte tokens without normalization, which accept any bytes.
    pub fn encode_prefix_bytes(&self, text: &[u8]) -> Result<Encoding> {
        let piece = match (self.kind, self.normalization) {
            (TokenKind::Byte, Normalization::None) => Piece::Bytes(text),
            _ => Piece::Text(text_of(text, "the prefix")?),
        };
        Ok(self.encode_as(piece, self.tokenizer(Extent::Prefix)))
    }

    /// The tokenizer of texts for this vocabulary.
    pub(crate) fn tokenizer(&self, extent: Extent) -> Tokenizer<'_> {
        Tokenizer::new(self.kind, self.normalization, self.line_ends, extent, self.subword_reader())
    }

    fn encode_as(&self, text: Piece<'_>, tokenizer: Tokenizer<'_>) -> Encoding {
        let mut encoding = Encoding::default();
        match tokenizer.tokenize(text, &mut |token| encoding.add(token, self)) {
            Ok(()) => encoding,
        }
    }

    /// Encodes a text without normalizing it. This is the inverse of [`Vocab::decode_bytes`] for any sequence of ids
    /// that tokenization can produce. Except with words, it cannot produce `<unk>` or reserved tokens of several
    /// characters. It never produces [`EOS_TOKEN`] as an end token.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUtf8`], except for byte tokens.
    pub fn encode_normalized(&self, text: &[u8]) -> Result<Encoding> {
        let piece = match self.kind {
            TokenKind::Byte => Piece::Bytes(text),
            _ => Piece::Text(text_of(text, "the text")?),
        };
        let (normalization, line_ends, subwords) =
            (Normalization::None, LineEndConversion::Keep, self.subword_reader());
        let tokenizer = Tokenizer::new(self.kind, normalization, line_ends, Extent::Lines, subwords);
        Ok(self.encode_as(piece, tokenizer))
    }
}

impl Encoding {
    /// Appends the id of a raw token.
    pub(crate) fn add(&mut self, raw: &[u8], vocab: &Vocab) -> Result<(), Infallible> {
        let id = vocab.id_of(raw);
        if vocab.is_unknown(id) {
            self.unknown.record(raw, vocab.kind());
        }
        self.ids.push(id);
        Ok(())
    }

    /// [`add`](Self::add) within a limit of memory.
    pub(crate) fn try_add(&mut self, raw: &[u8], vocab: &Vocab, memory: &mut MemoryUse) -> Result<(), Excess> {
        let id = vocab.id_of(raw);
        if vocab.is_unknown(id) {
            self.unknown.try_record(raw, vocab.kind(), memory)?;
        }
        memory.reserve(&mut self.ids)?;
        self.ids.push(id);
        Ok(())
    }
}
