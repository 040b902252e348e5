//! A document on its way from the text to its scores.

use rnnlm_model::{TokenDetails, TokenScore};
use rnnlm_vocab::{DocumentFrame, Encoding, Error, LikelyContent, UnknownTokens, Vocab};

use super::feed::RawDocument;
use super::record::{Fields, Form};
use super::unit::Counts;
use crate::failure::{Failure, Result};
use crate::prefix::Unknown;
use crate::unknown_tokens::UnknownCounts;

/// How documents are encoded.
pub(super) struct Encoder<'a> {
    pub(super) vocab: &'a Vocab,
    pub(super) frame: DocumentFrame,
    pub(super) form: Form,
    pub(super) unknown: Unknown,
    /// Whether documents that are not UTF-8 are left out.
    pub(super) skip_invalid: bool,
    /// The name of the text in errors.
    pub(super) name: String,
}

/// A document to score.
#[derive(Debug)]
pub(super) struct EncodedDocument {
    /// Number of documents before it.
    pub(super) index: u64,
    pub(super) raw: RawDocument,
    pub(super) fields: Fields,
    /// The tokens to score, the end token included.
    pub(super) ids: Vec<u32>,
    /// The unknown tokens of the document, scored or not.
    pub(super) unknown: UnknownTokens,
    pub(super) counts: Counts,
    /// The counts without unknown tokens.
    pub(super) known: Counts,
}

impl Encoder<'_> {
    /// Encodes a document; `None` if it is left out.
    ///
    /// # Errors
    /// If it does not have the form of the input, has an unknown token that `--unknown error` refuses, or is not UTF-8.
    pub(super) fn encode(&self, mut raw: RawDocument, index: u64) -> Result<Option<EncodedDocument>> {
        if self.form != Form::Plain && raw.bytes.last() == Some(&b'\r') {
            raw.bytes.pop();
        }
        let fields = self.form.split(&raw.bytes).map_err(|missing| {
            Failure::failed(format!("line {} of `{}` is not a line of the list: {missing}", raw.line, self.name))
        })?;
        let encoded = self.frame.encode(self.vocab, &raw.bytes[fields.text.clone()]);
        let mut encoding = match encoded {
            Ok(encoding) => encoding,
            Err(Error::InvalidUtf8 { .. }) if self.skip_invalid => return Ok(None),
            Err(error) => return Err(self.in_text(error, &raw, &fields)),
        };
        let size = self.vocab.text_size(&encoding);
        let known = Counts {
            tokens: (encoding.ids.len() - encoding.unknown.count()) as u64,
            size: size - encoding.unknown.size(),
        };
        if self.unknown == Unknown::Error && encoding.unknown.count() > 0 {
            return Err(self.unknown_tokens(&encoding, raw.line));
        }
        let counts = if self.unknown == Unknown::Skip {
            encoding.ids.retain(|&id| !self.vocab.is_unknown(id));
            known
        } else {
            Counts { tokens: encoding.ids.len() as u64, size }
        };
        let Encoding { ids, unknown } = encoding;
        Ok(Some(EncodedDocument { index, raw, fields, ids, unknown, counts, known }))
    }

    fn unknown_tokens(&self, encoding: &Encoding, line: u64) -> Failure {
        let names = UnknownCounts::of(&encoding.unknown).names().join(" ");
        let message = format!("line {line} of `{}` has tokens that are not in the vocabulary: {names}", self.name);
        Failure::failed(message).with_hint("--unknown unk scores them as <unk>, --unknown skip leaves them out")
    }

    /// The error with positions in the text instead of the document.
    fn in_text(&self, error: Error, raw: &RawDocument, fields: &Fields) -> Failure {
        let Error::InvalidUtf8 { byte, offset, line, likely, .. } = error else { return error.into() };
        let error = Error::InvalidUtf8 {
            name: self.name.clone(),
            byte,
            offset: raw.offset + fields.text.start as u64 + offset,
            line: raw.line + line - 1,
            likely,
        };
        let skip = "--skip-invalid leaves out documents that are not UTF-8";
        let hint = match likely {
            LikelyContent::Compressed(_) => {
                format!("it is probably {likely}; decompress it first, as in zcat FILE | …")
            }
            LikelyContent::Wide(name) => format!("it is probably {name}; convert it with iconv -f {name} -t UTF-8"),
            _ => format!("it is probably {likely}; {skip}"),
        };
        Failure::failed(error.to_string()).with_hint(hint)
    }
}

/// Which scores of a document are kept until it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The sums.
    Sums,
    /// The log-probability of every token, too.
    Tokens,
    /// Rank and entropy of every token, too.
    Details,
}

/// The scores of a document.
#[derive(Debug)]
pub(super) struct Scores {
    kept: Kept,
    /// The id of unknown tokens.
    unknown_id: Option<u32>,
    /// The sum over all tokens, in nats.
    pub(super) log_probability: f64,
    /// The sum over known tokens, in nats.
    pub(super) known_log_probability: f64,
    /// The log-probability of each token in nats, if it is kept.
    pub(super) tokens: Vec<f32>,
    /// The details of each token, if they are kept.
    pub(super) details: Vec<TokenDetails>,
}

impl Scores {
    pub(super) fn new(kept: Kept, tokens: usize, unknown_id: Option<u32>) -> Self {
        let capacity = |is_kept| if is_kept { tokens } else { 0 };
        Self {
            kept,
            unknown_id,
            log_probability: 0.0,
            known_log_probability: 0.0,
            tokens: Vec::with_capacity(capacity(kept != Kept::Sums)),
            details: Vec::with_capacity(capacity(kept == Kept::Details)),
        }
    }

    /// Adds the score of the next token.
    pub(super) fn add(&mut self, score: TokenScore) {
        self.add_to_sums(score.id, score.log_probability);
        if self.kept != Kept::Sums {
            self.tokens.push(score.log_probability);
        }
        self.details.extend(score.details.filter(|_| self.kept == Kept::Details));
    }

    /// Replaces the log-probabilities of the tokens `ids`, which are kept, with the results of `change`.
    pub(super) fn try_change<E>(
        &mut self,
        ids: &[u32],
        mut change: impl FnMut(f32) -> Result<f32, E>,
    ) -> Result<(), E> {
        (self.log_probability, self.known_log_probability) = (0.0, 0.0);
        let mut tokens = std::mem::take(&mut self.tokens);
        for (&id, log_probability) in ids.iter().zip(&mut tokens) {
            *log_probability = change(*log_probability)?;
            self.add_to_sums(id, *log_probability);
        }
        self.tokens = tokens;
        Ok(())
    }

    // the sums are in the order of the tokens, so that they have the same bits in every group
    fn add_to_sums(&mut self, id: u32, log_probability: f32) {
        self.log_probability += f64::from(log_probability);
        if Some(id) != self.unknown_id {
            self.known_log_probability += f64::from(log_probability);
        }
    }
}

/// A document with its scores.
pub(super) struct ScoredDocument {
    pub(super) document: EncodedDocument,
    pub(super) scores: Scores,
}

/// A token of a document with its score.
pub(super) struct ScoredToken<'a> {
    /// Number of tokens before it in the document.
    pub(super) index: usize,
    pub(super) id: u32,
    /// The token as written in a vocabulary file.
    pub(super) text: &'a str,
    /// Its first byte and the byte after its last one in the document; empty for the end token.
    pub(super) bytes: [usize; 2],
    /// The same in characters.
    pub(super) characters: [usize; 2],
    /// Whether it is [`Vocab::unknown_id`].
    pub(super) is_unknown: bool,
    /// Whether it is the token after the text of the document.
    pub(super) is_end: bool,
    /// In nats.
    pub(super) log_probability: f32,
    pub(super) details: Option<TokenDetails>,
}

impl ScoredDocument {
    /// The text that was scored.
    pub(super) fn text(&self) -> &[u8] {
        &self.document.raw.bytes[self.document.fields.text.clone()]
    }

    /// Calls `visit` with all tokens, whose scores are kept.
    pub(super) fn for_each_token(
        &self,
        vocab: &Vocab,
        visit: &mut dyn FnMut(ScoredToken<'_>) -> Result<()>,
    ) -> Result<()> {
        let (text, ids, scores) = (self.text(), &self.document.ids, &self.scores);
        let mut characters = Characters { text, byte: 0, starts: 0 };
        let mut index = 0;
        vocab.visit_document(text, |token| {
            // `--unknown skip` leaves out tokens
            if ids.get(index) != Some(&token.id) {
                return Ok(());
            }
            let bytes = [token.range.start, token.range.end];
            let (log_probability, details) = (scores.tokens[index], scores.details.get(index).copied());
            visit(ScoredToken {
                index,
                id: token.id,
                text: token.text,
                bytes,
                characters: [characters.before(bytes[0]), characters.until(bytes[1])],
                is_unknown: vocab.is_unknown(token.id),
                is_end: false,
                log_probability,
                details,
            })?;
            index += 1;
            Ok::<(), Failure>(())
        })?;
        let Some(&id) = ids.get(index) else { return Ok(()) };
        let length = characters.until(text.len());
        visit(ScoredToken {
            index,
            id,
            text: vocab.token(id).unwrap_or_default(),
            bytes: [text.len(); 2],
            characters: [length; 2],
            is_unknown: vocab.is_unknown(id),
            is_end: true,
            log_probability: scores.tokens[index],
            details: scores.details.get(index).copied(),
        })
    }
}

/// Converts offsets in bytes to offsets in characters. Offsets do not decrease by more than one token.
struct Characters<'a> {
    text: &'a [u8],
    byte: usize,
    /// Number of bytes before `byte` that start a character.
    starts: usize,
}

impl Characters<'_> {
    /// Number of characters of which the bytes before `end` have at least one byte.
    fn until(&mut self, end: usize) -> usize {
        let starts = |bytes: &[u8]| bytes.iter().filter(|&&byte| !is_continuation(byte)).count();
        self.starts = match end.checked_sub(self.byte) {
            Some(_) => self.starts + starts(&self.text[self.byte..end]),
            None => self.starts - starts(&self.text[end..self.byte]),
        };
        self.byte = end;
        self.starts
    }

    /// Number of characters before the one that has the byte at `start`.
    fn before(&mut self, start: usize) -> usize {
        let is_within = self.text.get(start).is_some_and(|&byte| is_continuation(byte));
        let starts = self.until(start);
        if is_within { starts.saturating_sub(1) } else { starts }
    }
}

/// Whether a byte continues a character of UTF-8.
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_in_bytes_become_offsets_in_characters() {
        let mut characters = Characters { text: "aé東b".as_bytes(), byte: 0, starts: 0 };
        // the bytes are a, é é, 東 東 東, b
        assert_eq!([0, 1, 3, 6, 7].map(|start| characters.before(start)), [0, 1, 2, 3, 4]);
        assert_eq!([1, 3, 6, 7].map(|end| characters.until(end)), [1, 2, 3, 4]);
        assert_eq!([2, 4, 5].map(|within| characters.before(within)), [1, 2, 2]);
        assert_eq!([2, 4, 5].map(|within| characters.until(within)), [2, 3, 3]);
    }
}
