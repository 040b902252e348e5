//! The results of a training step and of an epoch.

use std::time::Duration;

/// The result of one training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Mean negative log likelihood in nats per token, before the update.
    pub loss: f32,
    /// Global norm of the gradients, before clipping.
    pub gradient_norm: f32,
}

/// The result of one pass through the corpus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochReport {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// `exp` of the mean loss over the tokens of the epoch. Each minibatch is scored before its own update, as in the book.
    pub perplexity: f64,
    /// Perplexity on the validation set after the epoch; see [`Trainer::validate`](crate::Trainer::validate).
    pub val_perplexity: Option<f64>,
    /// Tokens that this process trained on. A run that resumes within an epoch counts only the rest of it.
    pub tokens: u64,
    /// Mean over the minibatches of the global gradient norm before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the epoch.
    pub lr: f32,
    /// Wall-clock time for these tokens, including sampling of minibatches.
    pub duration: Duration,
}

impl EpochReport {
    /// Throughput in tokens per second.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.duration.as_secs_f64()
    }
}
