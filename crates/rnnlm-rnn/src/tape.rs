//! What a forward pass leaves behind for the backward pass, and what the backward pass works with.
//!
//! Both paths fill the same [`Tape`], so that two of them can be compared gate by gate, step by step.

use std::ops::Range;

use rnnlm_tensor::{Backend, Tensor, View, ViewMut, ops};

use crate::{Cell, Direction, Result};

/// The sizes of one layer's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// **T**: steps through which gradients flow.
    pub num_steps: usize,
    /// **N**: rows of the minibatch.
    pub batch_size: usize,
    /// **D**: features of the input (the vocabulary's size for one-hot input).
    pub input_size: usize,
    /// **H**: units of the layer.
    pub hidden_size: usize,
}

impl Dims {
    /// `T·N`, the rows of a sequence.
    pub fn rows(&self) -> usize {
        self.num_steps * self.batch_size
    }
}

/// Activated gates and states of every step of one layer in one direction.
#[derive(Debug)]
pub struct Tape<B: Backend> {
    dims: Dims,
    direction: Direction,
    /// `[T·N, G·H]`, activated gates; no columns for an Elman cell, whose only gate is the hidden state itself. A fused backward
    /// pass may leave anything in their place.
    pub gates: Tensor<B>,
    /// `[(T+1)·N, H]`, hidden states; one block is the initial state, see [`Tape::previous`] and [`Tape::next`].
    pub hidden: Tensor<B>,
    /// `[(T+1)·N, H]`, cell states of an LSTM, laid out as `hidden`; else no columns.
    pub cell: Tensor<B>,
    /// `[T·N, H]`, the reset gate's other factor of a GRU: `W_hn h + b_hn`, or `r ∘ h` in the reset-before form; else
    /// no columns.
    pub candidate: Tensor<B>,
}

impl<B: Backend> Tape<B> {
    /// Room for the given sizes, states zero.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn new(backend: &B, cell: Cell, direction: Direction, dims: Dims) -> Result<Self> {
        let (rows, states, h) = (dims.rows(), dims.rows() + dims.batch_size, dims.hidden_size);
        let gates = if matches!(cell, Cell::Rnn(_)) { 0 } else { cell.num_gates() };
        let width = |present: bool| if present { h } else { 0 };
        Ok(Self {
            dims,
            direction,
            gates: Tensor::padded(backend, rows, gates * h)?,
            hidden: Tensor::padded(backend, states, h)?,
            cell: Tensor::padded(backend, states, width(cell.has_cell_state()))?,
            candidate: Tensor::padded(backend, rows, width(matches!(cell, Cell::Gru { .. })))?,
        })
    }

    /// The sizes it was made for.
    pub fn dims(&self) -> Dims {
        self.dims
    }

    /// The direction in which its steps follow each other.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The rows of step `t` in a matrix of `T·N` rows.
    pub fn step(&self, t: usize) -> Range<usize> {
        t * self.dims.batch_size..(t + 1) * self.dims.batch_size
    }

    /// The rows of a state matrix that hold the state before step `t`.
    pub fn previous(&self, t: usize) -> Range<usize> {
        match self.direction {
            Direction::Forward => self.step(t),
            Direction::Reverse => self.step(t + 1),
        }
    }

    /// The rows of a state matrix that hold the state after step `t`.
    pub fn next(&self, t: usize) -> Range<usize> {
        match self.direction {
            Direction::Forward => self.step(t + 1),
            Direction::Reverse => self.step(t),
        }
    }

    /// The rows of a state matrix that hold the states before the steps `0..T`, in the order of time.
    pub fn all_previous(&self) -> Range<usize> {
        self.previous(0).start..self.previous(self.dims.num_steps - 1).end
    }

    /// The rows of a state matrix that hold the states after the steps `0..T`, in the order of time.
    pub fn all_next(&self) -> Range<usize> {
        self.next(0).start..self.next(self.dims.num_steps - 1).end
    }

    /// The rows of a state matrix that hold the state before the first step of this direction.
    pub fn initial(&self) -> Range<usize> {
        self.previous(self.direction.first(self.dims.num_steps))
    }

    /// The rows of a state matrix that hold the state after the last step of this direction.
    pub fn last(&self) -> Range<usize> {
        self.next(self.direction.last(self.dims.num_steps))
    }

    /// `[T·N, H]`: the hidden states after each step, which are the layer's output.
    pub fn output(&self) -> View<'_, B> {
        self.hidden.view().rows(self.all_next())
    }

    /// Where the input's share of the pre-activations is written before the first step.
    pub(crate) fn pre_activations(&mut self) -> ViewMut<'_, B> {
        if self.gates.shape()[1] == 0 {
            let rows = self.all_next();
            self.hidden.view_mut().rows(rows)
        } else {
            self.gates.view_mut()
        }
    }
}

/// Gradients of one layer in one direction, on their way back through time.
#[derive(Debug)]
pub struct Adjoint<B: Backend> {
    /// `[T·N, G·H]`: ∂loss/∂(pre-activation of each gate), every step.
    pub gates: Tensor<B>,
    /// `[T·N, H]`, GRU with reset after: ∂loss/∂(W_hn h + b_hn); else no columns.
    pub candidate: Tensor<B>,
    /// `[N, H]`: ∂loss/∂(hidden state), first of the state after the last step, in the end of the initial one, where that is
    /// wanted, else of any.
    pub hidden: Tensor<B>,
    /// `[N, H]`: the same for the cell state of an LSTM; else no columns.
    pub cell: Tensor<B>,
    /// `[N, H]`: an intermediate value within a step.
    pub(crate) scratch: Tensor<B>,
    /// `[1, G·H]`: the sum of all rows of `gates`.
    pub(crate) bias: Tensor<B>,
}

impl<B: Backend> Adjoint<B> {
    /// Room for the given sizes, all zero.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn new(backend: &B, cell: Cell, dims: Dims) -> Result<Self> {
        let (n, h) = (dims.batch_size, dims.hidden_size);
        let width = |present: bool| if present { h } else { 0 };
        Ok(Self {
            gates: Tensor::padded(backend, dims.rows(), cell.num_gates() * h)?,
            candidate: Tensor::padded(backend, dims.rows(), width(cell == Cell::Gru { reset_after: true }))?,
            hidden: Tensor::padded(backend, n, h)?,
            cell: Tensor::padded(backend, n, width(cell.has_cell_state()))?,
            scratch: Tensor::padded(backend, n, h)?,
            bias: Tensor::zeros(backend, 1, cell.num_gates() * h)?,
        })
    }

    /// No gradient reaches the final state from later minibatches: the state is carried detached.
    ///
    /// # Errors
    /// If the device fails.
    pub fn detach(&mut self, backend: &B) -> Result<()> {
        ops::fill(backend, 0.0, self.hidden.view_mut())?;
        Ok(ops::fill(backend, 0.0, self.cell.view_mut())?)
    }
}
