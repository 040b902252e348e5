//! The settings of a training run: minibatches, optimizer, learning rate, regularization and length.

use rnnlm_tensor::Mask;
use rnnlm_vocab::{Batches, Sampling};
use serde::{Deserialize, Serialize};

use super::defaults::{enabled, is_default};
use super::numbers::shortest;
use super::optimizer::OptimizerConfig;
use super::schedule::Schedule;
use crate::{Error, Position, Result, TextIds};

/// The most tokens of a minibatch, far beyond the memory of any machine, so that products with it do not overflow.
const MAX_MINIBATCH: u128 = 1 << 40;

/// The distribution of the initial parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// PyTorch's default: `U(−1/√fan_in, 1/√fan_in)`, where `fan_in` is `H` for all parameters of a recurrent layer.
    Uniform,
    /// The book's from-scratch code (8.5 in the Chinese edition, 9.5 in the English one): weights from `N(0, 0.01²)`,
    /// biases zero.
    Normal,
}

/// The settings of a training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Number of passes through the corpus.
    pub epochs: u64,
    /// **N**: sequences per minibatch.
    pub batch_size: usize,
    /// **T**: time steps per minibatch, through which gradients flow.
    pub num_steps: usize,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// Learning rate before the schedule is applied.
    #[serde(serialize_with = "shortest")]
    pub lr: f32,
    /// Learning rate schedule.
    #[serde(default)]
    pub schedule: Schedule,
    /// Epochs of linear warm-up to `lr`, before the schedule starts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub warmup: u64,
    /// Largest global norm of the gradients (`clip_grad_norm_`); 0 for no clipping.
    #[serde(serialize_with = "shortest")]
    pub clip: f32,
    /// Largest absolute value of each gradient (`clip_grad_value_`); 0 for no clipping.
    #[serde(default, skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub clip_value: f32,
    /// Dropout probability between recurrent layers, as in `torch.nn.RNN(dropout=…)`; not applied after the last layer.
    #[serde(default, skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub dropout: f32,
    /// Epochs without a better perplexity on the validation set before training stops; 0 never stops early.
    #[serde(default, skip_serializing_if = "is_default")]
    pub patience: u64,
    /// How minibatches are sampled from the corpus.
    pub sampling: Sampling,
    /// Whether every minibatch starts from the zero state, also with sequential sampling.
    pub reset_state: bool,
    /// Whether each epoch shuffles the documents. A stream is never shuffled.
    #[serde(default = "enabled", skip_serializing_if = "Clone::clone")]
    pub shuffle: bool,
    /// Distribution of the initial parameters.
    pub init: Init,
    /// Seed of initialization, sampling and dropout.
    pub seed: u64,
}

impl TrainConfig {
    /// The book's settings (8.6 in the Chinese edition, 9.6 in the English one): 500 epochs of 32 × 35 tokens per
    /// minibatch, learning rate 1, gradient norm clipped at 1.
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
            shuffle: true,
            init: Init::Uniform,
            seed: 0,
        }
    }

    /// Whether every minibatch starts from the zero state. With random sampling, consecutive minibatches are unrelated.
    pub fn resets_state(&self) -> bool {
        self.reset_state || self.sampling == Sampling::Random
    }

    /// The minibatches of an epoch. Documents need sequential sampling with a carried state.
    ///
    /// # Errors
    /// If the text is too short for one minibatch, or [`Error::DocumentSampling`].
    pub fn batches<'a>(&self, text: impl Into<TextIds<'a>>, epoch: u64) -> Result<Batches<'a>> {
        let Self { batch_size, num_steps, seed, .. } = *self;
        Ok(match text.into() {
            TextIds::Stream(ids) => Batches::new(self.sampling, ids, batch_size, num_steps, seed, epoch)?,
            TextIds::Stored(ids) => Batches::new(self.sampling, ids, batch_size, num_steps, seed, epoch)?,
            TextIds::Documents(_) if self.resets_state() => return Err(Error::DocumentSampling),
            TextIds::Documents(documents) => {
                Batches::documents(documents, batch_size, num_steps, seed, epoch, self.shuffle)?
            }
        })
    }

    /// The learning rate at a position.
    pub fn lr_at(&self, position: &Position) -> f32 {
        self.schedule.lr(self.lr, [position.epoch, self.epochs, self.warmup], &position.plateau)
    }

    /// The dropout mask of a step, or `None` without dropout. The recurrent layers set the mask's layer.
    pub fn dropout_mask(&self, step: u64) -> Option<Mask> {
        (self.dropout > 0.0).then_some(Mask { probability: self.dropout, seed: self.seed, layer: 0, step })
    }

    /// Checks that every setting has a valid value.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first invalid setting.
    pub fn validate(&self) -> Result<()> {
        let rate = self.lr.is_finite() && self.lr > 0.0;
        let bound = |name, value: f32| {
            (name, value.to_string(), value.is_finite() && value >= 0.0, "a finite number, 0 for none")
        };
        let positive = |name, value: usize| (name, value.to_string(), value > 0, "at least 1");
        let tokens = self.batch_size as u128 * self.num_steps as u128;
        let minibatch = format!("{} with `num_steps` {}", self.batch_size, self.num_steps);
        let one_clip = self.clip == 0.0 || self.clip_value == 0.0;
        let mut checks = vec![
            ("lr", self.lr.to_string(), rate, "a finite number above 0"),
            bound("clip", self.clip),
            bound("clip_value", self.clip_value),
            ("clip_value", self.clip_value.to_string(), one_clip, "0 unless `clip` is 0"),
            ("dropout", self.dropout.to_string(), (0.0..1.0).contains(&self.dropout), "from 0 to below 1"),
            positive("batch_size", self.batch_size),
            positive("num_steps", self.num_steps),
            ("batch_size", minibatch, tokens <= MAX_MINIBATCH, "at most 2^40 tokens per minibatch"),
        ];
        let optimizer = self.optimizer.checks().into_iter();
        checks.extend(optimizer.map(|(name, value, valid, needed)| (name, value.to_string(), valid, needed)));
        checks.extend(self.schedule.checks(self.lr));
        match checks.into_iter().find(|(_, _, valid, _)| !valid) {
            Some((name, value, _, needed)) => Err(Error::Setting { name, value, needed }),
            None => Ok(()),
        }
    }
}
