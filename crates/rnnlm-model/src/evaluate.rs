//! Evaluation: the negative log likelihood of a text that is read as one sequence, and the probabilities of single tokens.

use rnnlm_rnn::Recurrence;
use rnnlm_vocab::Ids;

use crate::{Error, Generator, LanguageModel, Result, Scorer, TextIds, TokenScore};

/// The score of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Scored tokens.
    pub tokens: usize,
    /// Sum of the negative log likelihoods, in nats.
    pub nats: f64,
}

impl Evaluation {
    /// Adds a token with this log-probability.
    pub fn add(&mut self, log_probability: f32) {
        self.tokens += 1;
        self.nats -= f64::from(log_probability);
    }

    /// Mean negative log likelihood per token.
    pub fn nats_per_token(&self) -> f64 {
        self.nats / self.tokens as f64
    }

    /// `exp` of [`Evaluation::nats_per_token`]. A certain prediction has perplexity 1, a uniform one **V**.
    pub fn perplexity(&self) -> f64 {
        libm::exp(self.nats_per_token())
    }

    /// Negative log likelihood in bits per unit, for a text of `units` characters or bytes.
    pub fn bits_per(&self, units: u64) -> f64 {
        self.nats / std::f64::consts::LN_2 / units as f64
    }
}

impl<B: Recurrence> LanguageModel<B> {
    /// Scores a text. A stream is one sequence from the zero state, whose first token is only read. Of documents, every token
    /// is scored.
    ///
    /// # Errors
    /// If a stream has fewer than two ids, an id is not below **V**, or the device fails.
    pub fn evaluate<'a>(&self, text: impl Into<TextIds<'a>>) -> Result<Evaluation> {
        let mut evaluation = Evaluation::default();
        match text.into() {
            TextIds::Stream(ids) => {
                self.score_sequence(ids, &mut |log_probability| evaluation.add(log_probability))?;
            }
            TextIds::Documents(documents) => {
                let context = documents.end_token();
                let documents: Vec<Ids<'_>> = documents.iter().collect();
                let mut add = |_: usize, score: TokenScore| evaluation.add(score.log_probability);
                Scorer::new(self)?.score_ids(context, &documents, &mut add)?;
            }
        }
        Ok(evaluation)
    }

    /// The natural logarithm of the probability of each token after the first, given all tokens before it, for one sequence
    /// from the zero state: one value fewer than there are `ids`.
    ///
    /// # Errors
    /// As [`LanguageModel::evaluate`].
    pub fn log_probabilities(&self, ids: &[u32]) -> Result<Vec<f32>> {
        let mut log_probabilities = Vec::with_capacity(ids.len());
        self.score_sequence(ids.into(), &mut |log_probability| log_probabilities.push(log_probability))?;
        Ok(log_probabilities)
    }

    fn score_sequence(&self, ids: Ids<'_>, emit: &mut (dyn FnMut(f32) + Send)) -> Result<()> {
        if ids.len() < 2 {
            return Err(Error::NothingToScore { tokens: ids.len() });
        }
        let mut context = [0];
        ids.read(0, &mut context)?;
        let tokens = ids.slice(1..ids.len());
        Scorer::of_any(self).score_ids(context[0], &[tokens], &mut |_, score| emit(score.log_probability))
    }

    /// The probability of every token after `ids`, a sequence from the zero state: `softmax` of the logits, **V** values.
    ///
    /// # Errors
    /// [`Error::EmptyPrefix`] without ids; [`Error::BidirectionalGeneration`] for a bidirectional model; otherwise if an id
    /// is not below **V**, or the device fails.
    pub fn next_distribution(&self, ids: &[u32]) -> Result<Vec<f64>> {
        let (last, before) = ids.split_last().ok_or(Error::EmptyPrefix)?;
        let mut generator = Generator::new(self)?;
        self.backend().run(|| {
            for &id in before {
                generator.read(id)?;
            }
            generator.read(*last)?;
            Ok(generator.distribution())
        })
    }
}
