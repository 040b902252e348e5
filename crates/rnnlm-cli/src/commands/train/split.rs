//! The training tokens and the validation set, which is the end of the training text or another text.

use rnnlm_model::{TextTokens, ValidationRecord};
use rnnlm_vocab::{Corpus, TextEncoding, UNKNOWN_ID};

use crate::failure::{Failure, Result};
use crate::progress::error_line;
use crate::{corpora, human};

/// A text divided into training tokens and a validation set.
#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) corpus: Corpus,
    /// Number of training tokens, from the start of the text.
    training_len: usize,
    /// The ids of another text, if that is the validation set.
    validation_text: Option<Vec<u32>>,
}

impl Split {
    /// Uses the last `fraction` of the corpus as the validation set, or the text `other` in this encoding, or nothing.
    ///
    /// # Errors
    /// If the other text cannot be read, or the validation set has a single token.
    pub(crate) fn new(
        corpus: Corpus,
        fraction: f64,
        other: Option<&str>,
        encoding: TextEncoding,
    ) -> Result<(Self, Option<ValidationRecord>)> {
        let validation_len = (corpus.ids.len() as f64 * fraction).round() as usize;
        let mut split = Self { training_len: corpus.ids.len() - validation_len, corpus, validation_text: None };
        if let Some(name) = other {
            let text = corpora::resolve(name)?.encode(split.corpus.vocab.clone(), 0, encoding)?;
            let unknown = text.ids.iter().filter(|&&id| id == UNKNOWN_ID).count();
            if unknown > 0 {
                let count = human::count(unknown as u64, "token");
                let rate = human::percent(unknown, text.ids.len());
                let verb = if unknown == 1 { "is" } else { "are" };
                error_line(&format!(
                    "warning: {count} of `{name}` ({rate}) {verb} not in the vocabulary (read as <unk>)"
                ));
            }
            split.validation_text = Some(text.ids);
        }
        let record = split.validation_ids().map(|ids| ValidationRecord::new(fraction, other.map(str::to_owned), ids));
        match &record {
            Some(record) if record.tokens < 2 => {
                let count = human::count(record.tokens, "token");
                let message =
                    format!("the validation set has {count}, but needs at least 2: the first token is not scored");
                Err(Failure::failed(message).with_hint("raise --val-fraction, or use a longer text"))
            }
            _ => Ok((split, record)),
        }
    }

    /// The training tokens.
    pub(crate) fn training_ids(&self) -> &[u32] {
        &self.corpus.ids[..self.training_len]
    }

    /// The number of tokens of both.
    pub(crate) fn num_tokens(&self) -> TextTokens {
        TextTokens { training: self.training_ids().len(), validation: self.validation_ids().map_or(0, <[u32]>::len) }
    }

    /// The validation set, if there is one.
    pub(crate) fn validation_ids(&self) -> Option<&[u32]> {
        let rest = &self.corpus.ids[self.training_len..];
        self.validation_text.as_deref().or((!rest.is_empty()).then_some(rest))
    }
}

#[cfg(test)]
mod tests {
    use rnnlm_vocab::CorpusOptions;

    use super::*;

    fn corpus() -> Corpus {
        Corpus::from_bytes(b"abcdefghij", &CorpusOptions::default()).expect("ten letters")
    }

    #[test]
    fn the_last_tokens_are_the_validation_set() {
        let (split, record) = Split::new(corpus(), 0.25, None, TextEncoding::UTF_8).expect("it is long enough");
        let all = corpus().ids;
        assert_eq!((split.training_ids(), split.validation_ids()), (&all[..7], Some(&all[7..])));
        assert_eq!(record.expect("there is a validation set").tokens, 3);
        let (split, record) = Split::new(corpus(), 0.0, None, TextEncoding::UTF_8).expect("there is no validation set");
        assert_eq!((split.training_ids(), split.validation_ids(), record), (&all[..], None, None));
    }

    #[test]
    fn a_validation_set_of_one_token_is_refused() {
        let error = Split::new(corpus(), 0.1, None, TextEncoding::UTF_8).expect_err("one token").to_string();
        assert!(error.starts_with("the validation set has 1 token, but needs at least 2"), "{error}");
    }
}
