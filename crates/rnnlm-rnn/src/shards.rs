//! Shards of a minibatch: equal blocks of its **N** rows, whose gradients are computed one by one.
//!
//! The passes through the layers compute all rows together, because no row depends on another one. Only the sums over rows,
//! which are the gradients of the parameters, are per shard. The rows of a shard are copied to contiguous memory first, so
//! its sums have the bits of a minibatch with these rows only.

use rnnlm_tensor::{Backend, Layout, Tensor, View, ViewMut, ops};

use crate::structure::Widths;
use crate::{Dims, Input, Result, Tape};

/// A division of the rows of `num_steps` steps of `batch_size` rows into `count` shards, which divides `batch_size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardRows {
    /// **T**.
    pub num_steps: usize,
    /// **N**.
    pub batch_size: usize,
    /// The number of shards.
    pub count: usize,
}

impl ShardRows {
    /// Copies the rows of shard `shard` of `a`, `[T·N, cols]`, to `out`, `[T·N / count, cols]`, in the order of the steps.
    ///
    /// # Errors
    /// If the numbers of columns differ, or the device fails.
    ///
    /// # Panics
    /// If a matrix has fewer rows.
    pub fn gather<B: Backend>(&self, backend: &B, shard: usize, a: View<'_, B>, out: ViewMut<'_, B>) -> Result<()> {
        if let Some([all, one]) = self.blocks(shard, a.layout, out.layout) {
            return Ok(ops::copy(backend, View::new(a.buffer, all), ViewMut::new(out.buffer, one))?);
        }
        let n = self.batch_size / self.count;
        for t in 0..self.num_steps {
            let first = t * self.batch_size + shard * n;
            let step = ViewMut::new(&mut *out.buffer, out.layout.rows(t * n..(t + 1) * n));
            ops::copy(backend, a.rows(first..first + n), step)?;
        }
        Ok(())
    }

    /// The reverse of [`ShardRows::gather`]: copies `a`, `[T·N / count, cols]`, to the rows of the shard in `out`.
    ///
    /// # Errors
    /// As [`ShardRows::gather`].
    ///
    /// # Panics
    /// As [`ShardRows::gather`].
    pub fn scatter<B: Backend>(&self, backend: &B, shard: usize, a: View<'_, B>, out: ViewMut<'_, B>) -> Result<()> {
        if let Some([all, one]) = self.blocks(shard, out.layout, a.layout) {
            return Ok(ops::copy(backend, View::new(a.buffer, one), ViewMut::new(out.buffer, all))?);
        }
        let n = self.batch_size / self.count;
        for t in 0..self.num_steps {
            let first = t * self.batch_size + shard * n;
            let step = ViewMut::new(&mut *out.buffer, out.layout.rows(first..first + n));
            ops::copy(backend, a.rows(t * n..(t + 1) * n), step)?;
        }
        Ok(())
    }

    /// The rows of a shard in a matrix of all rows, and a matrix of the rows of one shard, as matrices with one row for each
    /// step, if both have the same padding. One copy then moves all steps.
    fn blocks(&self, shard: usize, all: Layout, one: Layout) -> Option<[Layout; 2]> {
        let n = self.batch_size / self.count;
        if all.stride != one.stride || all.cols == 0 {
            return None;
        }
        let cols = (n - 1) * all.stride + all.cols;
        // `ops` takes the padding of the steps for elements
        let block = |offset: usize, stride: usize| Layout { offset, rows: self.num_steps, cols, stride, padding: 0 };
        let first = all.offset + shard * n * all.stride;
        Some([block(first, self.batch_size * all.stride), block(one.offset, n * all.stride)])
    }
}

/// The shards of a stack's minibatches.
#[derive(Debug)]
pub(crate) struct StackShards<B: Backend> {
    pub(crate) rows: ShardRows,
    /// The ids of each shard's rows, step by step.
    pub(crate) ids: Vec<B::Indices>,
}

impl<B: Backend> StackShards<B> {
    pub(crate) fn new(backend: &B, rows: ShardRows) -> Result<Self> {
        let len = rows.num_steps * rows.batch_size / rows.count;
        let ids = (0..rows.count).map(|_| backend.allocate_indices(len)).collect::<Result<_, _>>()?;
        Ok(Self { rows, ids })
    }
}

/// What the backward pass of a layer reads, for the rows of one shard.
#[derive(Debug)]
pub(crate) struct ShardCopy<B: Backend> {
    gates: Tensor<B>,
    hidden: Tensor<B>,
    candidate: Tensor<B>,
    grad_candidate: Tensor<B>,
    /// Allocated by the first dense input.
    input: Option<Tensor<B>>,
}

/// The shards of a layer's minibatch.
#[derive(Debug)]
pub(crate) struct LayerShards<'a, B: Backend> {
    pub(crate) stack: &'a StackShards<B>,
    pub(crate) copy: &'a mut ShardCopy<B>,
}

/// What the sums over rows read: all rows of a minibatch, or those of one shard.
#[derive(Debug)]
pub(crate) struct SummedRows<'a, B: Backend> {
    /// Gradients of the gates' pre-activations.
    pub(crate) gates: View<'a, B>,
    /// Hidden states before each step.
    pub(crate) hidden: View<'a, B>,
    /// The recurrent term of a GRU's candidate, and its gradient.
    pub(crate) candidate: View<'a, B>,
    pub(crate) grad_candidate: View<'a, B>,
    pub(crate) input: Input<'a, B>,
}

impl<'a, B: Backend> SummedRows<'a, B> {
    /// All rows, given the gradients of the gates and of the candidate's recurrent term.
    pub(crate) fn all(
        tape: &'a Tape<B>,
        gates: &'a Tensor<B>,
        grad_candidate: &'a Tensor<B>,
        input: Input<'a, B>,
    ) -> Self {
        Self {
            gates: gates.view(),
            hidden: tape.hidden.view().rows(tape.all_previous()),
            candidate: tape.candidate.view(),
            grad_candidate: grad_candidate.view(),
            input,
        }
    }
}

impl<B: Backend> ShardCopy<B> {
    pub(crate) fn new(backend: &B, widths: Widths, dims: Dims, rows: ShardRows) -> Result<Self> {
        let len = dims.rows() / rows.count;
        let tensor = |cols: usize| Tensor::padded(backend, len, cols);
        Ok(Self {
            gates: tensor(widths.gate_gradients)?,
            hidden: tensor(widths.hidden)?,
            candidate: tensor(widths.candidate)?,
            grad_candidate: tensor(widths.candidate_gradient)?,
            input: None,
        })
    }
}

impl<B: Backend> LayerShards<'_, B> {
    /// Copies the rows of shard `shard` and returns the copy.
    pub(crate) fn gather<'a>(
        &'a mut self,
        backend: &B,
        shard: usize,
        all: &SummedRows<'_, B>,
    ) -> Result<SummedRows<'a, B>> {
        let (StackShards { rows, ids }, copy) = (self.stack, &mut *self.copy);
        rows.gather(backend, shard, all.gates, copy.gates.view_mut())?;
        rows.gather(backend, shard, all.hidden, copy.hidden.view_mut())?;
        rows.gather(backend, shard, all.candidate, copy.candidate.view_mut())?;
        rows.gather(backend, shard, all.grad_candidate, copy.grad_candidate.view_mut())?;
        let input = match all.input {
            Input::OneHot(_) => Input::OneHot(&ids[shard]),
            Input::Dense(x) => {
                let [num_rows, cols] = x.shape();
                let copy = match copy.input.take() {
                    Some(input) => copy.input.insert(input),
                    None => copy.input.insert(Tensor::padded(backend, num_rows / rows.count, cols)?),
                };
                rows.gather(backend, shard, x, copy.view_mut())?;
                Input::Dense(copy.view())
            }
        };
        Ok(SummedRows {
            gates: copy.gates.view(),
            hidden: copy.hidden.view(),
            candidate: copy.candidate.view(),
            grad_candidate: copy.grad_candidate.view(),
            input,
        })
    }
}
