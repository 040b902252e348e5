//! Stage 4, input, with a learned embedding: `torch.nn.Embedding(V, E)`, one row of features per vocabulary entry.
//!
//! ```text
//! forward   x[r, :] = W[ids[r], :]    [T·N, E]        backward   ∂W[ids[r], :] += ∂x[r, :], in row order
//! ```
//!
//! Dropout of the embedding multiplies `W[id, :]` by `m[id]`, and locked dropout multiplies `x` by a mask
//! ([`Regularization`]).

use rnnlm_rnn::{ParameterId, ParameterLayout, ParameterSet};
use rnnlm_tensor::{Backend, Tensor, ops};

use crate::{Regularization, Result};

/// `embedding`: from ids to the input of the lowest layer.
#[derive(Clone, Debug)]
pub(crate) struct Embedding {
    weight: ParameterId,
    size: usize,
}

/// The output of an embedding for a minibatch of one size, and its gradient.
#[derive(Debug)]
pub(crate) struct Embedded<B: Backend> {
    /// `[T·N, E]`: the input of the lowest layer.
    pub(crate) x: Tensor<B>,
    /// `[T·N, E]`: its gradient.
    pub(crate) grad_x: Tensor<B>,
}

impl Embedding {
    /// Appends `embedding.weight` `[V, E]` to the layout.
    pub(crate) fn new(layout: &mut ParameterLayout, vocab_size: usize, size: usize) -> Result<Self> {
        Ok(Self { weight: layout.add_embedding("embedding.weight", [vocab_size, size])?, size })
    }

    /// Like [`Embedding::new`], for a weight that is tied to the output layer. It is initialized like the output layer's,
    /// because rows from `N(0, 1)` would give logits of magnitude `√H`.
    pub(crate) fn tied(layout: &mut ParameterLayout, vocab_size: usize, size: usize) -> Result<Self> {
        Ok(Self { weight: layout.add_weight("embedding.weight", [vocab_size, size], size)?, size })
    }

    /// The weight `[V, E]`.
    pub(crate) fn weight(&self) -> ParameterId {
        self.weight
    }

    /// Allocates the output for `rows` ids.
    pub(crate) fn allocate<B: Backend>(&self, backend: &B, rows: usize) -> Result<Embedded<B>> {
        Ok(Embedded { x: Tensor::padded(backend, rows, self.size)?, grad_x: Tensor::padded(backend, rows, self.size)? })
    }

    /// `x[r, :] = W[ids[r], :]`, and dropout.
    pub(crate) fn forward<B: Backend>(
        &self,
        backend: &B,
        parameters: &ParameterSet<B>,
        ids: &B::Indices,
        regularization: &Regularization,
        embedded: &mut Embedded<B>,
    ) -> Result<()> {
        ops::gather_rows(backend, parameters.view(self.weight), ids, embedded.x.view_mut())?;
        apply_dropout(backend, ids, regularization, &mut embedded.x)
    }

    /// The backward pass of [`Embedding::forward`]. It adds to the weight's gradient and overwrites that of the output.
    pub(crate) fn backward<B: Backend>(
        &self,
        backend: &B,
        ids: &B::Indices,
        regularization: &Regularization,
        embedded: &mut Embedded<B>,
        gradients: &mut ParameterSet<B>,
    ) -> Result<()> {
        apply_dropout(backend, ids, regularization, &mut embedded.grad_x)?;
        Ok(ops::scatter_add_rows(backend, embedded.grad_x.view(), ids, gradients.view_mut(self.weight))?)
    }
}

/// The masks of the embedding and of its output, for both passes.
fn apply_dropout<B: Backend>(
    backend: &B,
    ids: &B::Indices,
    regularization: &Regularization,
    x: &mut Tensor<B>,
) -> Result<()> {
    if let Some(mask) = regularization.embedding {
        ops::dropout_rows(backend, mask, ids, x.view_mut())?;
    }
    if let Some(mask) = regularization.input {
        ops::dropout(backend, mask, x.view_mut())?;
    }
    Ok(())
}
