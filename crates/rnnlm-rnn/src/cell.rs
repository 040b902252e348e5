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

impl Nonlinearity {
    /// Every non-linearity, the default first.
    pub const ALL: [Self; 2] = [Self::Tanh, Self::Relu];

    /// The name in flags and files, which is PyTorch's: `tanh` or `relu`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tanh => "tanh",
            Self::Relu => "relu",
        }
    }
}

impl Cell {
    /// The name in flags and files: `rnn`, `gru` or `lstm`. Cells that differ only in their options share it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rnn(_) => "rnn",
            Self::Gru { .. } => "gru",
            Self::Lstm => "lstm",
        }
    }

    /// The first cell of each name in [`Cell::ALL`], which has PyTorch's default options.
    pub fn defaults() -> impl Iterator<Item = Self> {
        let is_first = |&(index, cell): &(usize, Self)| Self::ALL[..index].iter().all(|c| c.as_str() != cell.as_str());
        Self::ALL.into_iter().enumerate().filter(is_first).map(|(_, cell)| cell)
    }

    /// This cell with other options. An RNN takes `nonlinearity`, a GRU takes `reset_after`; other cells have no options.
    #[must_use]
    pub fn with_options(self, nonlinearity: Nonlinearity, reset_after: bool) -> Self {
        match self {
            Self::Rnn(_) => Self::Rnn(nonlinearity),
            Self::Gru { .. } => Self::Gru { reset_after },
            Self::Lstm => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_default_cells_give_every_cell() {
        let names: Vec<_> = Cell::defaults().map(Cell::as_str).collect();
        assert_eq!(names, ["rnn", "gru", "lstm"]);
        for cell in Cell::ALL {
            let nonlinearity =
                if cell == Cell::Rnn(Nonlinearity::Relu) { Nonlinearity::Relu } else { Nonlinearity::Tanh };
            let reset_after = cell != Cell::Gru { reset_after: false };
            let default = Cell::defaults().find(|default| default.as_str() == cell.as_str());
            assert_eq!(default.map(|default| default.with_options(nonlinearity, reset_after)), Some(cell));
        }
    }
}
