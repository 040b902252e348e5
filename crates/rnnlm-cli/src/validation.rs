//! Text that is held out: the end of the training's own text, or another one read with the same vocabulary.

use rnnlm_model::ValidationRecord;
use rnnlm_vocab::{Corpus, UNKNOWN_ID};

use crate::failure::{Failure, Result};
use crate::options::TrainArgs;
use crate::progress::error_line;
use crate::{corpora, format};

/// What is trained on and what is held out.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) corpus: Corpus,
    /// The first so many tokens are trained on.
    trained: usize,
    /// The ids of another text that is held out.
    other: Option<Vec<u32>>,
}

impl Texts {
    /// As the command line asks.
    pub(crate) fn divide(corpus: Corpus, args: &TrainArgs) -> Result<(Self, Option<ValidationRecord>)> {
        Self::hold_out(corpus, args.val_fraction, args.val_corpus.as_deref())
    }

    /// Holds out the last `fraction` of the corpus, or the text of another name, or nothing.
    pub(crate) fn hold_out(
        corpus: Corpus,
        fraction: f64,
        other: Option<&str>,
    ) -> Result<(Self, Option<ValidationRecord>)> {
        let held_out = (corpus.ids.len() as f64 * fraction).round() as usize;
        let mut texts = Self { trained: corpus.ids.len() - held_out, corpus, other: None };
        if let Some(name) = other {
            let source = corpora::resolve(name)?;
            let text = source.encode(texts.corpus.vocab.clone(), 0)?;
            let unknown = text.ids.iter().filter(|&&id| id == UNKNOWN_ID).count();
            if unknown > 0 {
                let (count, rate) = (format::thousands(unknown as u64), format::percent(unknown, text.ids.len()));
                error_line(&format!("warning: {count} tokens of `{name}` are read as <unk>, {rate}"));
            }
            texts.other = Some(text.ids);
        }
        let record = texts.held_out().map(|ids| ValidationRecord::new(fraction, other.map(str::to_owned), ids));
        match &record {
            Some(record) if record.tokens < 2 => Err(Failure::new(
                format!("{} tokens would be held out: the first is only read, so at least 2 are needed", record.tokens),
                "a larger --val-fraction, or a longer text",
            )),
            _ => Ok((texts, record)),
        }
    }

    /// The ids that are trained on.
    pub(crate) fn trained(&self) -> &[u32] {
        &self.corpus.ids[..self.trained]
    }

    /// The ids that are held out, if there are any.
    pub(crate) fn held_out(&self) -> Option<&[u32]> {
        let rest = &self.corpus.ids[self.trained..];
        self.other.as_deref().or((!rest.is_empty()).then_some(rest))
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
    fn the_last_tokens_are_held_out() {
        let (texts, record) = Texts::hold_out(corpus(), 0.25, None).expect("it is long enough");
        let all = corpus().ids;
        assert_eq!((texts.trained(), texts.held_out()), (&all[..7], Some(&all[7..])));
        assert_eq!(record.expect("a part is held out").tokens, 3);
        let (texts, record) = Texts::hold_out(corpus(), 0.0, None).expect("nothing is held out");
        assert_eq!((texts.trained(), texts.held_out(), record), (&all[..], None, None));
    }

    #[test]
    fn one_token_cannot_be_scored() {
        let refusal = Texts::hold_out(corpus(), 0.1, None).expect_err("one token").to_string();
        assert!(refusal.starts_with("1 tokens would be held out"), "{refusal}");
    }
}
