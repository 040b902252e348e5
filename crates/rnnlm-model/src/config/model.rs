//! What makes a model: kind and sizes of everything that has parameters.

use rnnlm_rnn::{Cell, Nonlinearity, StackConfig};
use rnnlm_tensor::cpu::row_stride;
use serde::{Deserialize, Serialize};

use super::{TrainConfig, is_default};
use crate::output::LOGITS_BYTES;

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
    #[serde(default, skip_serializing_if = "is_default")]
    pub embedding_size: usize,
    /// Whether the output layer's weight is the embedding's table, which takes an embedding as wide as the layers' output.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tie_weights: bool,
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
            tie_weights: false,
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
        let output = if self.tie_weights { 0 } else { v * directions * h };
        directions * (lowest + layers.saturating_sub(1) * higher) + output + v + v * e
    }

    /// Values of one carried state, hidden or cell, of a minibatch of `batch_size` rows.
    pub fn state_len(&self, batch_size: usize) -> u128 {
        let [h, layers, rows] = [self.hidden_size, self.num_layers, batch_size].map(bounded);
        h * layers * rows * self.stack().num_directions() as u128
    }

    /// Bytes that a training run holds in memory: parameters, gradients, what the optimizer keeps of them, and every
    /// intermediate value of a minibatch.
    pub fn memory_needed(&self, train: &TrainConfig) -> u128 {
        let [v, h, layers] = [self.vocab_size, self.hidden_size, self.num_layers].map(bounded);
        let stack = self.stack();
        let (gates, directions) = (stack.cell.num_gates() as u128, stack.num_directions() as u128);
        let rows = bounded(train.batch_size) * bounded(train.num_steps);
        // hidden, gates and their gradients per layer and direction; gradients between layers; embedding
        let mut per_row = layers * directions * 2 * (padded(h) + padded(gates * h))
            + 3 * padded(directions * h)
            + 2 * padded(bounded(self.embedding_size));
        if train.dropout > 0.0 {
            per_row += layers.saturating_sub(1) * padded(directions * h);
        }
        let per_parameter = 2 + train.optimizer.num_buffers() as u128;
        let logits = rows.saturating_mul(padded(v)).min((LOGITS_BYTES / size_of::<f32>()).max(self.vocab_size) as u128);
        let values = (per_parameter * self.num_parameters()).saturating_add(rows.saturating_mul(per_row));
        values.saturating_add(logits).saturating_mul(4)
    }
}

/// What a row of so many columns takes on a CPU; a GPU has its rows side by side.
fn padded(cols: u128) -> u128 {
    row_stride(cols as usize) as u128
}

/// A size for a product of several. No machine has 2⁴⁰ of anything here, and the products stay within 128 bits.
fn bounded(size: usize) -> u128 {
    (size as u128).min(1 << 40)
}
