//! Text generation: the model reads a prefix, then each generated token is the next input. This is `predict_ch8` of the book.

use rnnlm_rnn::Recurrence;

use crate::decoder::{StepBatch, check_prefix};
use crate::sampler::{LogProbabilities, Sampler};
use crate::{Error, LanguageModel, Result};

/// A model that generates text, with its recurrent state.
#[derive(Debug)]
pub struct Generator<'a, B: Recurrence> {
    model: &'a LanguageModel<B>,
    /// A single row.
    batch: StepBatch<'a, B>,
    end_token: Option<u32>,
}

impl<'a, B: Recurrence> Generator<'a, B> {
    /// A generator in the zero state.
    ///
    /// # Errors
    /// [`Error::BidirectionalGeneration`] for a bidirectional model; otherwise if the device has not enough memory.
    pub fn new(model: &'a LanguageModel<B>) -> Result<Self> {
        if model.config().bidirectional {
            return Err(Error::BidirectionalGeneration);
        }
        Ok(Self { model, batch: StepBatch::new(model, 1)?, end_token: None })
    }

    /// Starts a document from the zero state wherever this token is read: the end token of the vocabulary.
    #[must_use]
    pub fn with_end_token(self, end_token: Option<u32>) -> Self {
        Self { end_token, ..self }
    }

    /// Reads one token and returns the logits of the next one.
    ///
    /// # Errors
    /// If the id is not below **V**, or the device fails.
    pub fn read(&mut self, id: u32) -> Result<&[f32]> {
        if Some(id) == self.end_token {
            self.batch.reset_row(0)?;
        }
        self.batch.step(&[id], true)?;
        Ok(self.batch.logits().row(0))
    }

    /// The probability of every token after those that were read: `softmax` of the logits, **V** values.
    pub fn distribution(&self) -> Vec<f64> {
        let logits = self.batch.logits().row(0);
        let log_probabilities = LogProbabilities::new(logits);
        (0..logits.len() as u32).map(|id| libm::exp(log_probabilities.of(id))).collect()
    }

    /// Reads `prefix`, then generates `num_tokens` tokens and calls `emit` with each. Stops if `emit` returns `false`, or if
    /// the sampler's constraint is complete.
    ///
    /// # Errors
    /// [`Error::EmptyPrefix`] if the prefix is empty; if an id is not below **V**; [`Error::NoCandidates`] if the sampler
    /// removes all tokens; or if the device fails.
    pub fn generate(
        &mut self,
        prefix: &[u32],
        num_tokens: usize,
        sampler: &mut Sampler,
        emit: &mut (dyn FnMut(u32) -> bool + Send),
    ) -> Result<()> {
        let backend = self.model.backend().clone();
        backend.run(|| {
            check_prefix(prefix, self.model.config().vocab_size)?;
            sampler.begin(self.end_token);
            for &id in prefix {
                self.read(id)?;
                sampler.read_prefix(id);
            }
            for produced in 1..=num_tokens {
                if sampler.is_complete() {
                    break;
                }
                let id = sampler.choose(self.batch.logits().row(0))?;
                if !emit(id) {
                    break;
                }
                if produced < num_tokens {
                    self.read(id)?;
                }
            }
            Ok(())
        })
    }
}
