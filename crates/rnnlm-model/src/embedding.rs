//! Stage 4 of the walk when the input is learned: `torch.nn.Embedding(V, E)`, a row of numbers for each entry of the
//! vocabulary, where the one-hot input has a row of one 1.
//!
//! ```text
//! forward   x[r, :] = W[ids[r], :]    [T·N, E]        backward   ∂W[ids[r], :] += ∂x[r, :], in the order of the rows
//! ```

use rnnlm_rnn::{ParameterId, ParameterLayout, ParameterSet};
use rnnlm_tensor::{Backend, Tensor, ops};

use crate::Result;

/// `embedding`: from ids to the input of the lowest layer.
#[derive(Clone, Debug)]
pub(crate) struct Embedding {
    weight: ParameterId,
    size: usize,
}

/// What an embedding writes for a minibatch of one size.
#[derive(Debug)]
pub(crate) struct Embedded<B: Backend> {
    /// `[T·N, E]`: the input of the lowest layer.
    pub(crate) x: Tensor<B>,
    /// `[T·N, E]`: its gradient.
    pub(crate) grad_x: Tensor<B>,
}

impl Embedding {
    /// Appends `embedding.weight` `[V, E]`.
    pub(crate) fn new(layout: &mut ParameterLayout, vocab_size: usize, size: usize) -> Result<Self> {
        Ok(Self { weight: layout.add_embedding("embedding.weight", [vocab_size, size])?, size })
    }

    /// The same with a table that is the output layer's weight as well, and drawn like it: rows from `N(0, 1)` would make logits of
    /// the size of `√H`.
    pub(crate) fn tied(layout: &mut ParameterLayout, vocab_size: usize, size: usize) -> Result<Self> {
        Ok(Self { weight: layout.add_weight("embedding.weight", [vocab_size, size], size)?, size })
    }

    /// The table.
    pub(crate) fn weight(&self) -> ParameterId {
        self.weight
    }

    /// Memory for `rows` ids.
    pub(crate) fn memory<B: Backend>(&self, backend: &B, rows: usize) -> Result<Embedded<B>> {
        Ok(Embedded { x: Tensor::padded(backend, rows, self.size)?, grad_x: Tensor::padded(backend, rows, self.size)? })
    }

    /// `x[r, :] = W[ids[r], :]`.
    pub(crate) fn forward<B: Backend>(
        &self,
        backend: &B,
        parameters: &ParameterSet<B>,
        ids: &B::Indices,
        embedded: &mut Embedded<B>,
    ) -> Result<()> {
        Ok(ops::gather_rows(backend, parameters.view(self.weight), ids, embedded.x.view_mut())?)
    }

    /// The mirror of [`Embedding::forward`]: the weight's gradient is added to.
    pub(crate) fn backward<B: Backend>(
        &self,
        backend: &B,
        ids: &B::Indices,
        embedded: &Embedded<B>,
        gradients: &mut ParameterSet<B>,
    ) -> Result<()> {
        Ok(ops::scatter_add_rows(backend, embedded.grad_x.view(), ids, gradients.view_mut(self.weight))?)
    }
}
