//! The results of a training step and of an epoch.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The largest mean loss in nats whose perplexity is a finite `f64`.
pub(crate) const MAX_LOSS: f32 = 709.782_65;

/// The result of one training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Mean negative log likelihood in nats per token, before the update.
    pub loss: f32,
    /// Global norm of the gradients, before clipping.
    pub gradient_norm: f32,
}

/// Minibatches between two lines of `metrics.jsonl` within an epoch.
pub const LOG_MINIBATCHES: usize = 1000;

/// The progress within an epoch. Perplexity and gradient norm are means over its minibatches so far, `None` before the first
/// result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochProgress {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Minibatches whose results are known, those before a restart included.
    pub minibatch: usize,
    /// Minibatches of the whole epoch.
    pub num_minibatches: usize,
    /// `exp` of the mean loss.
    pub perplexity: Option<f64>,
    /// Mean of the global gradient norm before clipping.
    pub gradient_norm: Option<f64>,
    /// Learning rate of the epoch.
    pub lr: f32,
    /// Tokens of the epoch that this process trained on.
    pub tokens: u64,
    /// Wall-clock time for these tokens.
    pub duration: Duration,
    /// Whether this is the first call after [`LOG_MINIBATCHES`] more minibatches, when `metrics.jsonl` gets a line. The end of
    /// an epoch has a line of its own.
    pub is_log_due: bool,
}

impl EpochProgress {
    /// Throughput in tokens per second.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.duration.as_secs_f64()
    }
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
    /// Throughput in tokens per second; 0 if no time passed.
    pub fn tokens_per_second(&self) -> f64 {
        let rate = self.tokens as f64 / self.duration.as_secs_f64();
        // a clock may not advance
        if rate.is_finite() { rate } else { 0.0 }
    }
}

/// Why a value in a JSON file is `null`: JSON has no numbers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NonFinite {
    /// The value is not a number.
    NaN,
    /// The value is infinite.
    #[serde(rename = "infinite")]
    Infinite,
}

impl NonFinite {
    /// The reason for a value that is not finite.
    pub fn of(value: f64) -> Option<Self> {
        match value {
            value if value.is_nan() => Some(Self::NaN),
            value if value.is_infinite() => Some(Self::Infinite),
            _ => None,
        }
    }
}

impl std::fmt::Display for NonFinite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NaN => "NaN",
            Self::Infinite => "infinite",
        })
    }
}
