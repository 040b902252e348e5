//! The kinds of recurrent cell, as plain values, with what the rest of the code must know of each: how many gates, in
//! which order, and whether there is a second state. The equations stand in [`crate::elman`], [`crate::gru`] and
//! [`crate::lstm`].

use rnnlm_tensor::Activation;

/// The non-linearity of an Elman cell, as `torch.nn.RNN(nonlinearity=…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonlinearity {
    /// `tanh`, the default.
    Tanh,
    /// `max(0, x)`.
    Relu,
}

impl Nonlinearity {
    /// As an elementwise operation.
    pub fn activation(self) -> Activation {
        match self {
            Self::Tanh => Activation::Tanh,
            Self::Relu => Activation::Relu,
        }
    }
}

/// What a recurrent layer computes at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// `torch.nn.RNN`, Elman's network.
    Rnn(Nonlinearity),
    /// `torch.nn.GRU`; with `reset_after = false` the form of the paper and of the book's from-scratch code.
    Gru {
        /// Whether the reset gate is applied after the recurrent product (PyTorch) or before it (the book's own code).
        reset_after: bool,
    },
    /// `torch.nn.LSTM`.
    Lstm,
}

impl Cell {
    /// Every cell there is; a new one joins the list of checks by standing here.
    pub const ALL: [Self; 5] = [
        Self::Rnn(Nonlinearity::Tanh),
        Self::Rnn(Nonlinearity::Relu),
        Self::Gru { reset_after: true },
        Self::Gru { reset_after: false },
        Self::Lstm,
    ];

    /// The names of the gates in the order in which their blocks of `H` rows stand in `weight_ih` and `weight_hh`:
    /// PyTorch's order.
    pub fn gates(self) -> &'static [&'static str] {
        match self {
            Self::Rnn(_) => &["hidden"],
            Self::Gru { .. } => &["reset", "update", "new"],
            Self::Lstm => &["input", "forget", "cell", "output"],
        }
    }

    /// **G**, the number of gates.
    pub fn num_gates(self) -> usize {
        self.gates().len()
    }

    /// Whether a cell state is carried beside the hidden state.
    pub fn has_cell_state(self) -> bool {
        self == Self::Lstm
    }

    /// The name in tables and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rnn(Nonlinearity::Tanh) => "rnn tanh",
            Self::Rnn(Nonlinearity::Relu) => "rnn relu",
            Self::Gru { reset_after: true } => "gru",
            Self::Gru { reset_after: false } => "gru reset-before",
            Self::Lstm => "lstm",
        }
    }
}
