//! Scoring a text: read as one stream from the zero state, every token after the first scored.

use rnnlm_rnn::Recurrence;
use rnnlm_vocab::Minibatch;

use crate::{Error, LanguageModel, Result};

/// Steps that are scored at a time: long enough for the output layer's product, short enough for the cache.
const STEPS: usize = 128;

/// What a text scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Tokens scored: all but the first.
    pub tokens: usize,
    /// Sum of the negative log likelihoods, in nats.
    pub nats: f64,
}

impl Evaluation {
    /// Mean negative log likelihood of a token.
    pub fn nats_per_token(&self) -> f64 {
        self.nats / self.tokens as f64
    }

    /// `exp` of it: 1 is certainty, **V** is a uniform guess.
    pub fn perplexity(&self) -> f64 {
        self.nats_per_token().exp()
    }

    /// The same information shared out over `units` characters or bytes, in bits.
    pub fn bits_per(&self, units: u64) -> f64 {
        self.nats / std::f64::consts::LN_2 / units as f64
    }
}

impl<B: Recurrence> LanguageModel<B> {
    /// Scores `ids` as one stream from the zero state.
    ///
    /// # Errors
    /// If there are fewer than two ids, one is outside the vocabulary, or the device fails.
    pub fn evaluate(&self, ids: &[u32]) -> Result<Evaluation> {
        let Some(tokens) = ids.len().checked_sub(1).filter(|&tokens| tokens > 0) else {
            return Err(Error::NothingToScore { tokens: ids.len() });
        };
        self.backend().run(|| {
            let mut state = self.zero_state(1)?;
            let mut nats = 0.0;
            let mut workspace = self.workspace(STEPS.min(tokens), 1)?;
            for start in (0..tokens).step_by(STEPS) {
                let steps = STEPS.min(tokens - start);
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
