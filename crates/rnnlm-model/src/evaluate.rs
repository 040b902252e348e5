//! Evaluation: a text is read as one sequence from the zero state, and every token after the first is scored.

use rnnlm_rnn::Recurrence;
use rnnlm_vocab::Minibatch;

use crate::{Error, LanguageModel, Result};

/// Steps that are scored together: enough for an efficient output matmul, few enough for the cache.
pub(crate) const CHUNK_STEPS: usize = 128;

/// The score of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Scored tokens: all but the first.
    pub tokens: usize,
    /// Sum of the negative log likelihoods, in nats.
    pub nats: f64,
}

impl Evaluation {
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
    /// Scores `ids` as one sequence from the zero state.
    ///
    /// # Errors
    /// If there are fewer than two ids, an id is not below **V**, or the device fails.
    pub fn evaluate(&self, ids: &[u32]) -> Result<Evaluation> {
        let Some(tokens) = ids.len().checked_sub(1).filter(|&tokens| tokens > 0) else {
            return Err(Error::NothingToScore { tokens: ids.len() });
        };
        self.backend().run(|| {
            let mut state = self.zero_state(1)?;
            let mut nats = 0.0;
            let mut workspace = self.workspace(CHUNK_STEPS.min(tokens), 1)?;
            for start in (0..tokens).step_by(CHUNK_STEPS) {
                let steps = CHUNK_STEPS.min(tokens - start);
                if steps != workspace.rows() {
                    workspace = self.workspace(steps, 1)?;
                }
                let minibatch = Minibatch {
                    inputs: ids[start..start + steps].to_vec(),
                    targets: ids[start + 1..=start + steps].to_vec(),
                    num_steps: steps,
                    batch_size: 1,
                };
                workspace.load(self.backend(), &minibatch)?;
                self.forward(&mut workspace, &mut state)?;
                nats += f64::from(self.score(&mut workspace)?) * steps as f64;
            }
            Ok(Evaluation { tokens, nats })
        })
    }
}
