//! What makes a training: text into minibatches, gradients into updates, and when it ends.

use rnnlm_tensor::Mask;
use rnnlm_vocab::Sampling;
use serde::{Deserialize, Serialize};

use super::{OptimizerConfig, Schedule, is_default};
use crate::{Error, Position, Result};

/// How parameters are drawn before training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// PyTorch's: every value from `U(−1/√fan_in, 1/√fan_in)`, with `fan_in = H` throughout a recurrent layer.
    Uniform,
    /// The book's from-scratch code (8.5): weights from `N(0, 0.01²)`, biases zero.
    Normal,
}

/// What makes a training run of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Times that the corpus is gone through.
    pub epochs: u64,
    /// **N**: rows of a minibatch.
    pub batch_size: usize,
    /// **T**: steps through which gradients flow.
    pub num_steps: usize,
    /// What moves the parameters.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// Learning rate, before the schedule.
    pub lr: f32,
    /// How it changes from epoch to epoch.
    #[serde(default)]
    pub schedule: Schedule,
    /// Epochs in which it rises to `lr`, before the schedule begins.
    #[serde(default, skip_serializing_if = "is_default")]
    pub warmup: u64,
    /// Largest global norm of the gradients; 0 leaves them as they are.
    pub clip: f32,
    /// Largest magnitude of each single gradient; 0 leaves them as they are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clip_value: f32,
    /// The probability with which each output of a layer is dropped on its way to the next; none after the last layer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropout: f32,
    /// Epochs without a better perplexity on held-out text after which training ends; 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub patience: u64,
    /// How the corpus is cut into minibatches.
    pub sampling: Sampling,
    /// Start every minibatch from the zero state, also in sequential sampling.
    pub reset_state: bool,
    /// How parameters are drawn.
    pub init: Init,
    /// The seed of everything that is drawn.
    pub seed: u64,
}

impl TrainConfig {
    /// The book's settings for 8.6: 500 epochs of 32 × 35, learning rate 1, clipping at 1.
    pub fn book() -> Self {
        Self {
            epochs: 500,
            batch_size: 32,
            num_steps: 35,
            optimizer: OptimizerConfig::SGD,
            lr: 1.0,
            schedule: Schedule::Constant,
            warmup: 0,
            clip: 1.0,
            clip_value: 0.0,
            dropout: 0.0,
            patience: 0,
            sampling: Sampling::Sequential,
            reset_state: false,
            init: Init::Uniform,
            seed: 0,
        }
    }

    /// Whether every minibatch starts from the zero state: random sampling has no state to carry.
    pub fn resets_state(&self) -> bool {
        self.reset_state || self.sampling == Sampling::Random
    }

    /// The learning rate in force at a position.
    pub fn lr_at(&self, position: &Position) -> f32 {
        self.schedule.lr(self.lr, [position.epoch, self.epochs, self.warmup], &position.plateau)
    }

    /// The mask of dropout at a step of the training; none where nothing is dropped. The layer is named where it is used.
    pub fn mask_at(&self, step: u64) -> Option<Mask> {
        (self.dropout > 0.0).then_some(Mask { probability: self.dropout, seed: self.seed, layer: 0, step })
    }

    /// An error for values that make no training: not finite, negative, or zero where that means nothing.
    ///
    /// # Errors
    /// [`Error::Setting`], naming the value.
    pub fn validate(&self) -> Result<()> {
        let rate = self.lr.is_finite() && self.lr > 0.0;
        let bound = |name, value: f32| {
            (name, value.to_string(), value.is_finite() && value >= 0.0, "a finite number, 0 for none")
        };
        let positive = |name, value: usize| (name, value.to_string(), value > 0, "at least 1");
        let one_clip = self.clip == 0.0 || self.clip_value == 0.0;
        let mut checks = vec![
            ("lr", self.lr.to_string(), rate, "a finite number above 0"),
            bound("clip", self.clip),
            bound("clip_value", self.clip_value),
            (
                "clip_value",
                self.clip_value.to_string(),
                one_clip,
                "0 where `clip` is not: gradients are clipped one way",
            ),
            ("dropout", self.dropout.to_string(), (0.0..1.0).contains(&self.dropout), "from 0 to below 1"),
            positive("batch_size", self.batch_size),
            positive("num_steps", self.num_steps),
        ];
        let of_optimizer = self.optimizer.checks().into_iter();
        checks.extend(of_optimizer.map(|(name, value, good, needed)| (name, value.to_string(), good, needed)));
        checks.extend(self.schedule.checks(self.lr));
        match checks.into_iter().find(|(_, _, good, _)| !good) {
            Some((name, value, _, needed)) => Err(Error::Setting { name, value, needed }),
            None => Ok(()),
        }
    }
}
