//! Everything that defines a run, as plain values: what is written to `config.json` and read back.

use rnnlm_rnn::{Cell, Nonlinearity, StackConfig};
use rnnlm_vocab::Sampling;
use serde::{Deserialize, Serialize};

use crate::output::LOGITS_BYTES;
use crate::{Error, Result};

/// The kind of recurrent layer, by the name that users type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellKind {
    /// `torch.nn.RNN`.
    Rnn,
    /// `torch.nn.GRU`.
    Gru,
    /// `torch.nn.LSTM`.
    Lstm,
}

impl CellKind {
    /// The name that users type and folders carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rnn => "rnn",
            Self::Gru => "gru",
            Self::Lstm => "lstm",
        }
    }
}

/// `tanh` or `relu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NonlinearityKind {
    /// `tanh`, the default.
    Tanh,
    /// `max(0, x)`.
    Relu,
}

/// How parameters are drawn before training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// PyTorch's: every value from `U(−1/√fan_in, 1/√fan_in)`, with `fan_in = H` throughout a recurrent layer.
    Uniform,
    /// The book's from-scratch code (8.5): weights from `N(0, 0.01²)`, biases zero.
    Normal,
}

/// What makes a model: with the vocabulary's size, the shapes of all parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The kind of recurrent layer.
    pub cell: CellKind,
    /// The non-linearity of an `rnn` cell.
    pub nonlinearity: NonlinearityKind,
    /// Of a `gru` cell: the reset gate is applied before the recurrent product, as in the book's from-scratch code.
    #[serde(default)]
    pub reset_before: bool,
    /// **V**: entries of the vocabulary, `<unk>` included.
    pub vocab_size: usize,
    /// **H**: units of each recurrent layer.
    pub hidden_size: usize,
    /// **L**: recurrent layers on top of each other.
    pub num_layers: usize,
    /// Whether a second set of layers reads the text backwards; such a model sees the token it is to predict.
    #[serde(default)]
    pub bidirectional: bool,
    /// **E**: numbers that a learned embedding has for each entry of the vocabulary; 0 is one-hot input.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub embedding_size: usize,
}

impl ModelConfig {
    /// The book's model of 8.6 for a vocabulary of this size: tanh, 256 hidden units, one layer.
    pub fn book(vocab_size: usize) -> Self {
        Self {
            cell: CellKind::Rnn,
            nonlinearity: NonlinearityKind::Tanh,
            reset_before: false,
            vocab_size,
            hidden_size: 256,
            num_layers: 1,
            bidirectional: false,
            embedding_size: 0,
        }
    }

    /// **D** of the lowest layer: the size of the embedding, or of a one-hot row.
    pub fn input_size(&self) -> usize {
        if self.embedding_size == 0 { self.vocab_size } else { self.embedding_size }
    }

    /// The sizes of the recurrent part.
    pub fn stack(&self) -> StackConfig {
        let nonlinearity = match self.nonlinearity {
            NonlinearityKind::Tanh => Nonlinearity::Tanh,
            NonlinearityKind::Relu => Nonlinearity::Relu,
        };
        StackConfig {
            cell: match self.cell {
                CellKind::Rnn => Cell::Rnn(nonlinearity),
                CellKind::Gru => Cell::Gru { reset_after: !self.reset_before },
                CellKind::Lstm => Cell::Lstm,
            },
            input_size: self.input_size(),
            hidden_size: self.hidden_size,
            num_layers: self.num_layers,
            bidirectional: self.bidirectional,
        }
    }

    /// How many parameters the model has. In 128 bits, so that absurd sizes give an absurd number rather than a wrong one.
    pub fn num_parameters(&self) -> u128 {
        let [v, h, layers] = [self.vocab_size, self.hidden_size, self.num_layers].map(bounded);
        let [d, e] = [self.input_size(), self.embedding_size].map(bounded);
        let stack = self.stack();
        let (gates, directions) = (stack.cell.num_gates() as u128, stack.num_directions() as u128);
        let lowest = gates * h * (d + h + 2);
        let higher = gates * h * (directions * h + h + 2);
        directions * (lowest + layers.saturating_sub(1) * higher) + v * directions * h + v + v * e
    }

    /// Values of one carried state, hidden or cell, of a minibatch of `batch_size` rows.
    pub fn state_len(&self, batch_size: usize) -> u128 {
        let [h, layers, rows] = [self.hidden_size, self.num_layers, batch_size].map(bounded);
        h * layers * rows * self.stack().num_directions() as u128
    }

    /// Bytes that a training run holds in memory: parameters, gradients and every intermediate value of a minibatch.
    pub fn memory_needed(&self, batch_size: usize, num_steps: usize) -> u128 {
        let [v, h, layers] = [self.vocab_size, self.hidden_size, self.num_layers].map(bounded);
        let stack = self.stack();
        let (gates, directions) = (stack.cell.num_gates() as u128, stack.num_directions() as u128);
        let rows = bounded(batch_size) * bounded(num_steps);
        // hidden, gates and their gradients per layer and direction; gradients between layers; embedding
        let per_row = layers * directions * h * (2 + 2 * gates) + 3 * directions * h + 2 * bounded(self.embedding_size);
        let logits = rows.saturating_mul(v).min((LOGITS_BYTES / size_of::<f32>()).max(self.vocab_size) as u128);
        let values = (2 * self.num_parameters()).saturating_add(rows.saturating_mul(per_row));
        values.saturating_add(logits).saturating_mul(4)
    }
}

/// For a setting whose absence means 0: runs without it keep the file that they always had.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(size: &usize) -> bool {
    *size == 0
}

/// A size for a product of several. No machine has 2⁴⁰ of anything here, and the products stay within 128 bits.
fn bounded(size: usize) -> u128 {
    (size as u128).min(1 << 40)
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
    /// Learning rate of SGD.
    pub lr: f32,
    /// Largest global norm of the gradients; 0 leaves them as they are.
    pub clip: f32,
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
            lr: 1.0,
            clip: 1.0,
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

    /// An error for values that make no training: not finite, negative, or zero where that means nothing.
    ///
    /// # Errors
    /// [`Error::Setting`], naming the value.
    pub fn validate(&self) -> Result<()> {
        let rate = self.lr.is_finite() && self.lr > 0.0;
        let clip = self.clip.is_finite() && self.clip >= 0.0;
        let positive = |name, value: usize| (name, value.to_string(), value > 0, "at least 1");
        let checks = [
            ("lr", self.lr.to_string(), rate, "a finite number above 0"),
            ("clip", self.clip.to_string(), clip, "a finite number, 0 for none"),
            positive("batch_size", self.batch_size),
            positive("num_steps", self.num_steps),
        ];
        match checks.into_iter().find(|(_, _, good, _)| !good) {
            Some((name, value, _, needed)) => Err(Error::Setting { name, value, needed }),
            None => Ok(()),
        }
    }
}
