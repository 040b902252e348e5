//! A recurrent layer of the oracle: its cell, its weights, and the parts of a step that all cells share.

use rnnlm_rnn::{Cell, Nonlinearity};

/// The oracle's own list of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `torch.nn.RNN`.
    Tanh,
    /// `torch.nn.RNN(nonlinearity="relu")`.
    Relu,
    /// `torch.nn.GRU`, which applies the reset gate after the matrix multiplication.
    GruAfter,
    /// The GRU of the book's from-scratch code, which applies it before.
    GruBefore,
    /// `torch.nn.LSTM`.
    Lstm,
    /// minGRU.
    MinGru,
    /// minLSTM with normalized gates.
    MinLstm,
}

impl From<Cell> for Kind {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Rnn(Nonlinearity::Tanh) => Self::Tanh,
            Cell::Rnn(Nonlinearity::Relu) => Self::Relu,
            Cell::Gru { reset_after: true } => Self::GruAfter,
            Cell::Gru { reset_after: false } => Self::GruBefore,
            Cell::Lstm => Self::Lstm,
            Cell::MinGru => Self::MinGru,
            Cell::MinLstm => Self::MinLstm,
        }
    }
}

impl Kind {
    /// **G**.
    pub(super) fn gates(self) -> usize {
        match self {
            Self::Tanh | Self::Relu => 1,
            Self::MinGru => 2,
            Self::GruAfter | Self::GruBefore | Self::MinLstm => 3,
            Self::Lstm => 4,
        }
    }
}

/// One layer in one direction, with weights in PyTorch's layout.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The cell.
    pub kind: Kind,
    /// **D**.
    pub input_size: usize,
    /// **H**.
    pub hidden_size: usize,
    /// Whether it processes the steps from last to first.
    pub reverse: bool,
    /// `[G·H][D]`.
    pub weight_ih: Vec<f64>,
    /// `[G·H][H]`; empty for a cell without recurrent weights.
    pub weight_hh: Vec<f64>,
    /// `[G·H]`.
    pub bias_ih: Vec<f64>,
    /// `[G·H]`; empty for a cell without recurrent weights.
    pub bias_hh: Vec<f64>,
    /// `[N][H]`: the initial hidden state.
    pub hidden: Vec<f64>,
    /// `[N][H]`: the initial cell state of an LSTM, else empty.
    pub cell: Vec<f64>,
}

/// A layer's input.
#[derive(Clone, Debug)]
pub enum Input {
    /// `[T·N][D]`.
    Dense(Vec<f64>),
    /// `[T·N]`: the index of the one in each row.
    OneHot(Vec<usize>),
}

/// The results of one step for one row.
pub(super) struct Step {
    pub(super) gates: Vec<f64>,
    pub(super) hidden: Vec<f64>,
    pub(super) cell: Vec<f64>,
    pub(super) candidate: Vec<f64>,
}

impl Layer {
    /// `(W_ih x + b_ih)[j]`.
    pub(super) fn input_term(&self, input: &Input, row: usize, j: usize) -> f64 {
        let d = self.input_size;
        let mut sum = self.bias_ih[j];
        match input {
            Input::OneHot(ids) => sum += self.weight_ih[j * d + ids[row]],
            Input::Dense(x) => {
                for k in 0..d {
                    sum += self.weight_ih[j * d + k] * x[row * d + k];
                }
            }
        }
        sum
    }

    /// `(W_hh v + b_hh)[j]`.
    pub(super) fn hidden_term(&self, v: &[f64], j: usize) -> f64 {
        let h = self.hidden_size;
        let mut sum = self.bias_hh[j];
        for k in 0..h {
            sum += self.weight_hh[j * h + k] * v[k];
        }
        sum
    }
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
