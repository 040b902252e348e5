//! What a forward pass stores for the backward pass, and what the backward pass works with.
//!
//! Both paths fill the same [`Tape`], so that they can be compared gate by gate and step by step.

use std::ops::Range;

use rnnlm_tensor::{Backend, Tensor, View, ViewMut, ops};

use crate::Result;
use crate::direction::Direction;
use crate::starts::Starts;
use crate::structure::Widths;

/// The sizes of one layer and minibatch.
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
    /// `[T·N, G·H]`, activated gates; no columns for an Elman cell, whose only gate is the hidden state. A fused backward pass
    /// may overwrite them.
    pub gates: Tensor<B>,
    /// `[(T+1)·N, H]`, hidden states as steps read them; one block is the initial state, see [`Tape::previous`] and
    /// [`Tape::next`]. A row is zero where a sequence starts ([`StackMemory::set_starts`]). The states after each step are
    /// [`Tape::output`].
    ///
    /// [`StackMemory::set_starts`]: crate::StackMemory::set_starts
    pub hidden: Tensor<B>,
    /// `[(T+1)·N, H]`, cell states of an LSTM, in the order of `hidden`; else no columns. The states after each step are
    /// [`Tape::cell_output`].
    pub cell: Tensor<B>,
    /// `[T·N, H]`, the recurrent term of a GRU's candidate: `W_hn h + b_hn`, or `r ∘ h` in the reset-before form; else no
    /// columns.
    pub candidate: Tensor<B>,
    /// `None` until the first use.
    pub(crate) starts: Option<Starts<B>>,
}

impl<B: Backend> Tape<B> {
    /// A tape of zeros for a cell of these widths.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn new(backend: &B, widths: Widths, direction: Direction, dims: Dims) -> Result<Self> {
        let (rows, states) = (dims.rows(), dims.rows() + dims.batch_size);
        Ok(Self {
            dims,
            direction,
            gates: Tensor::padded(backend, rows, widths.gates)?,
            hidden: Tensor::padded(backend, states, widths.hidden)?,
            cell: Tensor::padded(backend, states, widths.cell)?,
            candidate: Tensor::padded(backend, rows, widths.candidate)?,
            starts: None,
        })
    }

    /// Allocates the memory for starts, unless it is allocated.
    pub(crate) fn allocate_starts(&mut self, backend: &B) -> Result<()> {
        if self.starts.is_none() {
            let widths = [self.hidden.shape()[1], self.cell.shape()[1]];
            let mut starts = Starts::new(backend, self.gates.max_rows(), widths)?;
            starts.set_rows(backend, self.dims.rows());
            self.starts = Some(starts);
        }
        Ok(())
    }

    /// Changes the number of steps, at most those that the tape was made for.
    pub(crate) fn set_num_steps(&mut self, backend: &B, num_steps: usize) {
        self.dims.num_steps = num_steps;
        let rows = self.dims.rows();
        let states = rows + self.dims.batch_size;
        self.gates.set_rows(rows);
        self.candidate.set_rows(rows);
        self.hidden.set_rows(states);
        self.cell.set_rows(states);
        if let Some(starts) = &mut self.starts {
            starts.set_rows(backend, rows);
        }
    }

    /// Before step `t`: sets the state to zero in the rows that start a sequence.
    pub(crate) fn reset_starts(&mut self, backend: &B, t: usize) -> Result<()> {
        let (now, previous) = (self.step(t), self.previous(t));
        let Some(Starts { mask, .. }) = Starts::enabled_mut(&mut self.starts) else { return Ok(()) };
        ops::zero_rows(backend, mask, now.clone(), self.hidden.view_mut().rows(previous.clone()))?;
        Ok(ops::zero_rows(backend, mask, now, self.cell.view_mut().rows(previous))?)
    }

    /// After step `t`: copies the state, which the next step may set to zero in some rows.
    pub(crate) fn copy_output(&mut self, backend: &B, t: usize) -> Result<()> {
        let (now, next) = (self.step(t), self.next(t));
        let Some(Starts { hidden, cell, .. }) = Starts::enabled_mut(&mut self.starts) else { return Ok(()) };
        ops::copy(backend, self.hidden.view().rows(next.clone()), hidden.view_mut().rows(now.clone()))?;
        Ok(ops::copy(backend, self.cell.view().rows(next), cell.view_mut().rows(now))?)
    }

    /// The sizes.
    pub fn dims(&self) -> Dims {
        self.dims
    }

    /// The order of the steps.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The rows of step `t` in a matrix of `T·N` rows.
    pub fn step(&self, t: usize) -> Range<usize> {
        t * self.dims.batch_size..(t + 1) * self.dims.batch_size
    }

    /// The rows of a state matrix with the state before step `t`.
    pub fn previous(&self, t: usize) -> Range<usize> {
        match self.direction {
            Direction::Forward => self.step(t),
            Direction::Reverse => self.step(t + 1),
        }
    }

    /// The rows of a state matrix with the state after step `t`.
    pub fn next(&self, t: usize) -> Range<usize> {
        match self.direction {
            Direction::Forward => self.step(t + 1),
            Direction::Reverse => self.step(t),
        }
    }

    /// The rows of a state matrix with the states before the steps `0..T`, ordered by step.
    pub fn all_previous(&self) -> Range<usize> {
        self.previous(0).start..self.previous(self.dims.num_steps - 1).end
    }

    /// The rows of a state matrix with the states after the steps `0..T`, ordered by step.
    pub fn all_next(&self) -> Range<usize> {
        self.next(0).start..self.next(self.dims.num_steps - 1).end
    }

    /// The rows of a state matrix with the state before the first step of this direction.
    pub fn initial(&self) -> Range<usize> {
        self.previous(self.direction.first(self.dims.num_steps))
    }

    /// The rows of a state matrix with the state after the last step of this direction.
    pub fn last(&self) -> Range<usize> {
        self.next(self.direction.last(self.dims.num_steps))
    }

    /// `[T·N, H]`: the hidden states after each step, which are the layer's output.
    pub fn output(&self) -> View<'_, B> {
        Starts::enabled(&self.starts)
            .map_or_else(|| self.hidden.view().rows(self.all_next()), |starts| starts.hidden.view())
    }

    /// `[T·N, H]`: the cell states after each step of an LSTM; else no columns.
    pub fn cell_output(&self) -> View<'_, B> {
        Starts::enabled(&self.starts)
            .map_or_else(|| self.cell.view().rows(self.all_next()), |starts| starts.cell.view())
    }

    /// The memory of `W_ih x + b_ih`: the gates, or the hidden states of a cell that stores no gates.
    pub(crate) fn pre_activations(&mut self) -> ViewMut<'_, B> {
        if self.gates.shape()[1] == 0 {
            let rows = self.all_next();
            self.hidden.view_mut().rows(rows)
        } else {
            self.gates.view_mut()
        }
    }
}

/// Gradients of one layer in one direction during the backward pass.
#[derive(Debug)]
pub struct Adjoint<B: Backend> {
    /// `[T·N, G·H]`: ∂loss/∂(pre-activation of each gate), for every step.
    pub gates: Tensor<B>,
    /// `[T·N, H]`, GRU with reset after: ∂loss/∂(W_hn h + b_hn); else no columns.
    pub candidate: Tensor<B>,
    /// `[N, H]`: ∂loss/∂(hidden state): before the backward pass of the final state, after it of the initial state if that is
    /// requested, else unspecified.
    pub hidden: Tensor<B>,
    /// `[N, H]`: the same for the cell state of an LSTM; else no columns.
    pub cell: Tensor<B>,
    /// `[N, H]`: an intermediate value within a step.
    pub(crate) scratch: Tensor<B>,
    /// `[1, G·H]`: the sum of all rows of `gates`.
    pub(crate) bias: Tensor<B>,
}

impl<B: Backend> Adjoint<B> {
    /// Zeros for a cell of these widths.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn new(backend: &B, widths: Widths, dims: Dims) -> Result<Self> {
        let n = dims.batch_size;
        Ok(Self {
            gates: Tensor::padded(backend, dims.rows(), widths.gate_gradients)?,
            candidate: Tensor::padded(backend, dims.rows(), widths.candidate_gradient)?,
            hidden: Tensor::padded(backend, n, widths.hidden)?,
            cell: Tensor::padded(backend, n, widths.cell)?,
            scratch: Tensor::padded(backend, n, widths.hidden)?,
            bias: Tensor::zeros(backend, 1, widths.gate_gradients)?,
        })
    }

    /// Changes the number of rows, `T·N`, at most those that it was made for.
    pub(crate) fn set_rows(&mut self, rows: usize) {
        self.gates.set_rows(rows);
        self.candidate.set_rows(rows);
    }

    /// After the backward pass of step `t`: sets the gradients of the state before it to zero in the rows that start a
    /// sequence.
    pub(crate) fn reset_starts(&mut self, backend: &B, tape: &Tape<B>, t: usize) -> Result<()> {
        let Some(Starts { mask, .. }) = Starts::enabled(&tape.starts) else { return Ok(()) };
        ops::zero_rows(backend, mask, tape.step(t), self.hidden.view_mut())?;
        Ok(ops::zero_rows(backend, mask, tape.step(t), self.cell.view_mut())?)
    }

    /// Sets the gradients of the final state to zero: the state is detached between minibatches, as `detach_()` does.
    ///
    /// # Errors
    /// If the device fails.
    pub fn detach(&mut self, backend: &B) -> Result<()> {
        ops::fill(backend, 0.0, self.hidden.view_mut())?;
        Ok(ops::fill(backend, 0.0, self.cell.view_mut())?)
    }
}
