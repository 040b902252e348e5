//! The training tokens and the validation set, which is a part of the training text or another text.

use rnnlm_model::{TextTokens, ValidationRecord};
use rnnlm_vocab::{Corpus, TextEncoding, TextIds};

use super::text::Text;
use crate::failure::{Failure, Result};
use crate::progress::error_line;
use crate::unknown_tokens::not_in_vocabulary;
use crate::{corpora, human};

/// A text divided into training tokens and a validation set.
#[derive(Debug)]
pub(crate) struct Split {
    /// The text. The validation set is at its end, unless it is another text.
    pub(crate) text: Text,
    /// Number of training tokens, or of training documents.
    training_len: usize,
    /// The other text that is the validation set.
    validation_text: Option<Corpus>,
}

/// How the validation set is chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validation<'a> {
    /// The fraction of the text; of documents, chosen by their content and the seed.
    pub(crate) fraction: f64,
    pub(crate) seed: u64,
    /// The name of another text.
    pub(crate) text: Option<&'a str>,
    /// The encoding of the other text.
    pub(crate) encoding: TextEncoding,
}

impl Split {
    /// Divides the corpus.
    ///
    /// # Errors
    /// If the other text cannot be read, the validation set has a single token, or all documents are equal.
    pub(crate) fn new(mut text: Text, validation: Validation<'_>) -> Result<(Self, Option<ValidationRecord>)> {
        let Validation { fraction, seed, text: name, encoding } = validation;
        let training_len = match text.corpus.vocab.end_token() {
            None => text.len() - (text.len() as f64 * fraction).round() as usize,
            Some(_) => text.corpus.split_documents(fraction, seed)?,
        };
        let mut split = Self { training_len, text, validation_text: None };
        if let Some(name) = name {
            let text = corpora::resolve(name)?.encode(split.text.corpus.vocab.clone(), 0, encoding)?;
            warn_of_unknown_tokens(name, &text);
            split.validation_text = Some(text);
        }
        let record = split.validation().map(|ids| ValidationRecord::new(fraction, name.map(str::to_owned), ids.ids()));
        let record = record.transpose()?;
        match &record {
            Some(record) if record.tokens < 2 && split.text.corpus.vocab.end_token().is_none() => {
                let count = human::count(record.tokens, "token");
                let message =
                    format!("the validation set has {count}, but needs at least 2: the first token is not scored");
                Err(Failure::failed(message).with_hint("raise --val-fraction, or use a longer text"))
            }
            _ => Ok((split, record)),
        }
    }

    /// The training tokens.
    pub(crate) fn training(&self) -> TextIds<'_> {
        self.text.part(0..self.training_len)
    }

    /// The number of tokens of both.
    pub(crate) fn num_tokens(&self) -> TextTokens {
        TextTokens {
            training: self.training().ids().len(),
            validation: self.validation().map_or(0, |text| text.ids().len()),
            documents: self.training().num_documents(),
        }
    }

    /// The validation set, if there is one.
    pub(crate) fn validation(&self) -> Option<TextIds<'_>> {
        let text = match &self.validation_text {
            Some(text) => text.into(),
            None => self.text.part(self.training_len..self.text.len()),
        };
        (!text.ids().is_empty()).then_some(text)
    }
}

/// Prints a warning if the validation text has tokens that the vocabulary lacks.
fn warn_of_unknown_tokens(name: &str, text: &Corpus) {
    let unknown = text.unknown.count() as u64;
    if unknown > 0 {
        let message = not_in_vocabulary(unknown, text.ids.len() as u64, Some(name));
        error_line(&format!("warning: {message} (read as <unk>)"));
    }
}

#[cfg(test)]
mod tests {
    use rnnlm_vocab::CorpusOptions;

    use super::*;

    fn split(fraction: f64, options: &CorpusOptions, text: &[u8]) -> Result<(Split, Option<ValidationRecord>)> {
        let corpus = Corpus::from_bytes(text, options).expect("a text");
        Split::new(corpus.into(), Validation { fraction, seed: 0, text: None, encoding: TextEncoding::UTF_8 })
    }

    #[test]
    fn the_last_tokens_are_the_validation_set() {
        let split = |fraction| split(fraction, &CorpusOptions::default(), b"abcdefghij");
        let (with, record) = split(0.25).expect("it is long enough");
        let all = &with.text.corpus.ids;
        let ids = |text: TextIds<'_>| text.ids().load().expect("ids in memory").into_owned();
        assert_eq!((ids(with.training()), with.validation().map(ids)), (all[..7].to_vec(), Some(all[7..].to_vec())));
        assert_eq!(record.expect("there is a validation set").tokens, 3);
        let (without, record) = split(0.0).expect("there is no validation set");
        assert_eq!((without.training().ids().len(), without.validation().is_none(), record), (10, true, None));
    }

    #[test]
    fn a_validation_set_of_one_token_is_refused() {
        let error = split(0.1, &CorpusOptions::default(), b"abcdefghij").expect_err("one token").to_string();
        assert!(error.starts_with("the validation set has 1 token, but needs at least 2"), "{error}");
    }

    #[test]
    fn documents_are_divided_whole_whatever_their_order() {
        let options = CorpusOptions { documents: rnnlm_vocab::Documents::Lines, ..CorpusOptions::default() };
        let names: Vec<String> =
            (0..200).map(|n| format!("name {}\n", ["a", "bb", "ccc"].repeat(n % 5 + 1).concat())).collect();
        let reversed: Vec<String> = names.iter().rev().cloned().collect();
        let contents = |names: &[String]| {
            let (split, _) = split(0.3, &options, names.concat().as_bytes()).expect("many names");
            let text = |ids: TextIds<'_>| {
                let text =
                    split.text.corpus.vocab.decode(&ids.ids().load().expect("ids in memory")).expect("known ids");
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            [text(split.training()), text(split.validation().expect("a validation set"))]
        };
        let expected = contents(&names);
        assert_eq!(contents(&reversed), expected);
        assert_eq!(expected.concat().len(), 200);
    }
}
