//! What a cell is, as data: what it stores for the backward pass and what its recurrent weight multiplies. Tapes, packed
//! weights, fused plans, gradients and the memory estimate are derived from these.

use std::ops::Range;

/// What a cell stores at each step for the backward pass, besides its hidden state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The activated gates, `[T·N, G·H]`. An Elman cell has none: its only gate is the hidden state.
    pub gates: bool,
    /// The cell state, `[(T+1)·N, H]`.
    pub cell_state: bool,
    /// The candidate's recurrent term, `[T·N, H]`: the factor that a GRU's reset gate multiplies, or the product with it.
    pub candidate: bool,
}

/// A block of rows of `W_hh` and `b_hh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecurrentBlock {
    /// The gates that the block computes: its rows are `gates.start·H..gates.end·H`.
    pub gates: Range<usize>,
    /// What the block multiplies.
    pub operand: Operand,
    /// Whether the product is added to the input's pre-activation, so that `b_ih` and `b_hh` have the same gradient. If not,
    /// the product with its own bias is [`Storage::candidate`].
    pub shares_input_bias: bool,
}

impl RecurrentBlock {
    /// The rows of `W_hh`, which are also the columns of the gates.
    pub fn rows(&self, hidden_size: usize) -> Range<usize> {
        self.gates.start * hidden_size..self.gates.end * hidden_size
    }
}

/// What a block of `W_hh` multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The hidden state of the previous step.
    Hidden,
    /// The stored candidate of this step ([`Storage::candidate`]).
    Candidate,
}

/// Columns of what a layer stores at each step and of its gradients; 0 where there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// The hidden state: **H**.
    pub hidden: usize,
    /// The activated gates.
    pub gates: usize,
    /// The cell state.
    pub cell: usize,
    /// The candidate's recurrent term.
    pub candidate: usize,
    /// The gradients of all pre-activations: **G·H**.
    pub gate_gradients: usize,
    /// The gradient of the candidate's recurrent term, where it is not that of a gate.
    pub candidate_gradient: usize,
}
