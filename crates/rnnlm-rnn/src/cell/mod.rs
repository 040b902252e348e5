//! The recurrent cells. This file is the only one that lists them: what else a cell needs is in its own folder below, and all
//! other code is derived from the data that the methods of [`Cell`] return.

pub mod elman;
pub mod gru;
pub mod lstm;
pub mod mingru;
pub mod minlstm;

use std::ops::Range;

use rnnlm_tensor::{Activation, Backend};

use crate::recurrence::cpu::FusedCell;
use crate::structure::{Operand, RecurrentBlock, Storage, Widths};
use crate::tape::{Adjoint, Tape};
use crate::{Result, Weights};

/// The non-linearity of an Elman cell, as `torch.nn.RNN(nonlinearity=…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonlinearity {
    /// `tanh`, the default.
    Tanh,
    /// `max(0, x)`.
    Relu,
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

    /// The elementwise operation.
    pub fn activation(self) -> Activation {
        match self {
            Self::Tanh => Activation::Tanh,
            Self::Relu => Activation::Relu,
        }
    }
}

/// The computation of a recurrent layer at each step. The equations are in [`elman`], [`gru`], [`lstm`], [`mingru`] and
/// [`minlstm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// `torch.nn.RNN`, Elman's network.
    Rnn(Nonlinearity),
    /// `torch.nn.GRU`; with `reset_after = false`, the form of the paper and of the book's from-scratch code.
    Gru {
        /// Whether the reset gate is applied after the recurrent multiplication (PyTorch) or before it (the book's code).
        reset_after: bool,
    },
    /// `torch.nn.LSTM`.
    Lstm,
    /// minGRU of Feng et al. 2024, without recurrent weights.
    MinGru,
    /// minLSTM of Feng et al. 2024 with normalized gates, without recurrent weights.
    MinLstm,
}

impl Cell {
    /// Every cell; the table of checks covers each cell listed here.
    pub const ALL: [Self; 7] = [
        Self::Rnn(Nonlinearity::Tanh),
        Self::Rnn(Nonlinearity::Relu),
        Self::Gru { reset_after: true },
        Self::Gru { reset_after: false },
        Self::Lstm,
        Self::MinGru,
        Self::MinLstm,
    ];

    /// The name in tables and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rnn(Nonlinearity::Tanh) => "rnn tanh",
            Self::Rnn(Nonlinearity::Relu) => "rnn relu",
            Self::Gru { reset_after: true } => "gru",
            Self::Gru { reset_after: false } => "gru reset-before",
            Self::Lstm => "lstm",
            Self::MinGru => "mingru",
            Self::MinLstm => "minlstm",
        }
    }

    /// The name in flags and files: `rnn`, `gru`, `lstm`, `mingru` or `minlstm`. Cells that differ only in their options share it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rnn(_) => "rnn",
            Self::Gru { .. } => "gru",
            Self::Lstm => "lstm",
            Self::MinGru => "mingru",
            Self::MinLstm => "minlstm",
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
            Self::Lstm | Self::MinGru | Self::MinLstm => self,
        }
    }

    /// The names of the gates, in the order of their blocks of `H` rows in `weight_ih` and `weight_hh`: PyTorch's order, or
    /// that of the paper.
    pub fn gates(self) -> &'static [&'static str] {
        match self {
            Self::Rnn(_) => &["hidden"],
            Self::Gru { .. } => &["reset", "update", "new"],
            Self::Lstm => &["input", "forget", "cell", "output"],
            Self::MinGru => &["update", "new"],
            Self::MinLstm => &["forget", "input", "new"],
        }
    }

    /// **G**, the number of gates.
    pub fn num_gates(self) -> usize {
        self.gates().len()
    }

    /// What the cell stores at each step for the backward pass, besides the hidden state.
    pub fn storage(self) -> Storage {
        let only_hidden = Storage { gates: false, cell_state: false, candidate: false };
        match self {
            Self::Rnn(_) => only_hidden,
            Self::Gru { .. } => Storage { gates: true, candidate: true, ..only_hidden },
            Self::Lstm => Storage { gates: true, cell_state: true, ..only_hidden },
            Self::MinGru | Self::MinLstm => Storage { gates: true, ..only_hidden },
        }
    }

    /// The blocks of `W_hh`, in the order in which a step multiplies them. Together they cover all gates; a cell without
    /// blocks has no `W_hh` and no `b_hh`.
    pub fn recurrent_blocks(self) -> &'static [RecurrentBlock] {
        const fn block(gates: Range<usize>) -> RecurrentBlock {
            RecurrentBlock { gates, operand: Operand::Hidden, shares_input_bias: true }
        }
        match self {
            Self::Rnn(_) => const { &[block(0..1)] },
            // the third gate is inside the reset gate, or multiplies what the reset gate has left
            Self::Gru { reset_after: true } => {
                const { &[block(0..2), RecurrentBlock { shares_input_bias: false, ..block(2..3) }] }
            }
            Self::Gru { reset_after: false } => {
                const { &[block(0..2), RecurrentBlock { operand: Operand::Candidate, ..block(2..3) }] }
            }
            Self::Lstm => const { &[block(0..4)] },
            Self::MinGru | Self::MinLstm => &[],
        }
    }

    /// Columns of what a layer of `hidden_size` units stores at each step, and of its gradients.
    pub fn widths(self, hidden_size: usize) -> Widths {
        let Storage { gates, cell_state, candidate } = self.storage();
        let width = |is_stored| if is_stored { hidden_size } else { 0 };
        let gate_gradients = self.num_gates().saturating_mul(hidden_size);
        Widths {
            hidden: hidden_size,
            gates: if gates { gate_gradients } else { 0 },
            cell: width(cell_state),
            candidate: width(candidate),
            gate_gradients,
            candidate_gradient: width(self.recurrent_blocks().iter().any(|block| !block.shares_input_bias)),
        }
    }

    /// One step of the reference path: the pre-activations of the input become the gates and states of step `t`.
    pub(crate) fn forward_step<B: Backend>(
        self,
        backend: &B,
        weights: &Weights<'_, B>,
        t: usize,
        tape: &mut Tape<B>,
        scratch: &mut Adjoint<B>,
    ) -> Result<()> {
        match self {
            Self::Rnn(phi) => elman::forward_step(backend, phi.activation(), weights, t, tape, scratch),
            Self::Gru { reset_after } => gru::forward_step(backend, reset_after, weights, t, tape, scratch),
            Self::Lstm => lstm::forward_step(backend, weights, t, tape, scratch),
            Self::MinGru => mingru::forward_step(backend, t, tape, scratch),
            Self::MinLstm => minlstm::forward_step(backend, t, tape, scratch),
        }
    }

    /// The backward step of the reference path: `adjoint` turns from the gradients of step `t` into those of the step before.
    pub(crate) fn backward_step<B: Backend>(
        self,
        backend: &B,
        weights: &Weights<'_, B>,
        t: usize,
        tape: &Tape<B>,
        adjoint: &mut Adjoint<B>,
    ) -> Result<()> {
        match self {
            Self::Rnn(phi) => elman::backward_step(backend, phi.activation(), weights, t, tape, adjoint),
            Self::Gru { reset_after } => gru::backward_step(backend, reset_after, weights, t, tape, adjoint),
            Self::Lstm => lstm::backward_step(backend, weights, t, tape, adjoint),
            Self::MinGru => mingru::backward_step(backend, t, tape, adjoint),
            Self::MinLstm => minlstm::backward_step(backend, t, tape, adjoint),
        }
    }

    /// Whether the CPU has a fused step for the cell; a cell without one runs on the reference path.
    pub fn has_fused_cpu_step(self) -> bool {
        self.fused_cpu().is_some()
    }

    /// The fused step of the CPU; a cell without one returns `None` and runs on the reference path.
    pub(crate) fn fused_cpu(self) -> Option<Box<dyn FusedCell>> {
        match self {
            Self::Rnn(phi) => Some(Box::new(elman::cpu::Elman { activation: phi.activation() })),
            Self::Gru { reset_after } => Some(Box::new(gru::cpu::Gru { reset_after })),
            Self::Lstm => Some(Box::new(lstm::cpu::Lstm)),
            Self::MinGru => Some(Box::new(mingru::cpu::MinGru)),
            Self::MinLstm => Some(Box::new(minlstm::cpu::MinLstm)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_default_cells_give_every_cell() {
        let names: Vec<_> = Cell::defaults().map(Cell::as_str).collect();
        assert!(names.starts_with(&["rnn", "gru", "lstm"]), "{names:?}");
        for cell in Cell::ALL {
            let nonlinearity =
                if cell == Cell::Rnn(Nonlinearity::Relu) { Nonlinearity::Relu } else { Nonlinearity::Tanh };
            let reset_after = cell != Cell::Gru { reset_after: false };
            let default = Cell::defaults().find(|default| default.as_str() == cell.as_str());
            assert_eq!(default.map(|default| default.with_options(nonlinearity, reset_after)), Some(cell));
        }
    }

    #[test]
    fn the_recurrent_blocks_cover_every_gate_once_and_read_only_what_is_stored() {
        for cell in Cell::ALL {
            let covered: Vec<usize> = cell.recurrent_blocks().iter().flat_map(|block| block.gates.clone()).collect();
            let is_recurrent = !covered.is_empty();
            assert!(!is_recurrent || covered == (0..cell.num_gates()).collect::<Vec<_>>(), "{}", cell.name());
            for block in cell.recurrent_blocks() {
                let needs_candidate = block.operand == Operand::Candidate || !block.shares_input_bias;
                assert!(!needs_candidate || cell.storage().candidate, "{}", cell.name());
            }
        }
    }
}
