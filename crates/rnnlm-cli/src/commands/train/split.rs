//! The training tokens and the validation set, which is a part of the training text or another text.

use rnnlm_model::{TextTokens, TokenSize, TokenSizes, ValidationRecord};
use rnnlm_vocab::{CorpusOptions, DocumentList, TextEncoding, TextIds, Vocab};

use crate::failure::{Failure, Result};
use crate::progress::error_line;
use crate::text::Text;
use crate::unknown_tokens::not_in_vocabulary;
use crate::{corpora, human};

/// A text divided into training tokens and a validation set.
#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) text: Text,
    division: Division,
    /// The other text that is the validation set.
    validation_text: Option<Text>,
}

/// The two parts of a text.
#[derive(Debug)]
enum Division {
    /// Number of training tokens. The validation set is at the end of the text.
    Stream(usize),
    /// The training set and the validation set, and the end token.
    Documents([DocumentList; 2], u32),
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
        let division = match text.corpus.vocab.end_token() {
            None => {
                let len = text.ids().len();
                Division::Stream(len - (len as f64 * fraction).round() as usize)
            }
            Some(end_token) => Division::Documents(text.split_documents(fraction, seed)?, end_token),
        };
        let validation_text = name.map(|name| read_validation_text(name, &text.corpus.vocab, encoding)).transpose()?;
        let split = Self { text, division, validation_text };
        let record = split.validation().map(|text| ValidationRecord::new(fraction, name.map(str::to_owned), text));
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
        match &self.division {
            Division::Stream(training) => TextIds::Stream(self.text.ids().slice(0..*training)),
            Division::Documents([training, _], end_token) => self.text.documents(training, *end_token),
        }
    }

    /// The number of tokens of both.
    pub(crate) fn num_tokens(&self) -> TextTokens {
        TextTokens {
            training: self.training().num_tokens(),
            validation: self.validation().map_or(0, |text| text.num_tokens()),
            documents: self.training().num_documents(),
        }
    }

    /// The sizes of the whole text and of the validation set.
    ///
    /// # Errors
    /// If ids that are stored in files cannot be read.
    pub(crate) fn sizes(&self) -> Result<TokenSizes> {
        let training = TokenSize::new(self.text.corpus.tokens, self.text.corpus.text);
        // the first token of a stream is not scored
        let of_stream = |text: &Text, start: usize| -> Result<TokenSize> {
            let (ids, scored) = (text.ids(), start + 1..text.ids().len());
            let [size, _] = text.corpus.text_sizes(ids, scored.clone())?;
            Ok(TokenSize::new(scored.len() as u64, size))
        };
        let validation = match (&self.validation_text, &self.division) {
            _ if self.validation().is_none() => None,
            (Some(text), Division::Stream(_)) => Some(of_stream(text, 0)?),
            (Some(text), Division::Documents(..)) => Some(TokenSize::new(text.corpus.tokens, text.corpus.text)),
            (None, Division::Stream(start)) => Some(of_stream(&self.text, *start)?),
            // documents of the text have the mean size of its tokens
            (None, Division::Documents(..)) => Some(training),
        };
        Ok(TokenSizes { training, validation })
    }

    /// The validation set, if there is one.
    pub(crate) fn validation(&self) -> Option<TextIds<'_>> {
        let text = match (&self.validation_text, &self.division) {
            (Some(text), _) => text.all(),
            (None, Division::Stream(training)) => {
                let ids = self.text.ids();
                TextIds::Stream(ids.slice(*training..ids.len()))
            }
            (None, Division::Documents([_, validation], end_token)) => self.text.documents(validation, *end_token),
        };
        (text.num_tokens() > 0).then_some(text)
    }
}

/// Reads the other text that is the validation set. Prints a warning if it has tokens that the vocabulary lacks.
fn read_validation_text(name: &str, vocab: &Vocab, encoding: TextEncoding) -> Result<Text> {
    let options = CorpusOptions { encoding, ..CorpusOptions::default() };
    let text = Text::encode(&corpora::resolve(name)?, vocab, &options)?;
    let unknown = text.corpus.unknown.count() as u64;
    if unknown > 0 {
        let message = not_in_vocabulary(unknown, text.ids().len() as u64, Some(name));
        error_line(&format!("warning: {message} (read as <unk>)"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use rnnlm_vocab::Corpus;

    use super::*;

    fn split(fraction: f64, options: &CorpusOptions, text: &[u8]) -> Result<(Split, Option<ValidationRecord>)> {
        let corpus = Corpus::from_bytes(text, options).expect("a text");
        Split::new(corpus.into(), Validation { fraction, seed: 0, text: None, encoding: TextEncoding::UTF_8 })
    }

    #[test]
    fn the_last_tokens_are_the_validation_set() {
        let split = |fraction| split(fraction, &CorpusOptions::default(), b"abcdefghij");
        let (with, record) = split(0.25).expect("it is long enough");
        let ids = |text: TextIds<'_>| text.start(usize::MAX).expect("ids in memory");
        let all = ids(with.text.all());
        assert_eq!((ids(with.training()), with.validation().map(ids)), (all[..7].to_vec(), Some(all[7..].to_vec())));
        assert_eq!(record.expect("there is a validation set").tokens, 3);
        let (without, record) = split(0.0).expect("there is no validation set");
        assert_eq!((without.training().num_tokens(), without.validation().is_none(), record), (10, true, None));
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
                let ids = ids.start(usize::MAX).expect("ids in memory");
                let text = split.text.corpus.vocab.decode(&ids).expect("known ids");
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
