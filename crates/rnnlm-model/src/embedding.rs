//! Stage 4, input, with a learned embedding: `torch.nn.Embedding(V, E)`, one row of features per vocabulary entry.
//!
//! ```text
//! forward   x[r, :] = W[ids[r], :]    [T·N, E]        backward   ∂W[ids[r], :] += ∂x[r, :], in row order
//! ```
//!
//! Dropout of the embedding multiplies `W[id, :]` by `m[id]`, and locked dropout multiplies `x` by a mask
//! ([`Regularization`]).

use rnnlm_rnn::{ParameterId, ParameterLayout, ParameterSet, Recurrence, StackMemory};
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
    /// `[T·N / shards, E]`: `grad_x` of the rows of one shard; no rows if there is only one.
    shard: Tensor<B>,
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

    /// Allocates the output for `rows` ids in `num_shards` shards.
    pub(crate) fn allocate<B: Backend>(&self, backend: &B, rows: usize, num_shards: usize) -> Result<Embedded<B>> {
        let tensor = |rows: usize| Tensor::padded(backend, rows, self.size);
        let shard = if num_shards == 1 { 0 } else { rows / num_shards };
        Ok(Embedded { x: tensor(rows)?, grad_x: tensor(rows)?, shard: tensor(shard)? })
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

    /// The backward pass of [`Embedding::forward`]. It adds to the weight's gradient of each shard of `memory` and overwrites
    /// that of the output.
    pub(crate) fn backward<B: Recurrence>(
        &self,
        backend: &B,
        (ids, memory): (&B::Indices, &StackMemory<B>),
        regularization: &Regularization,
        embedded: &mut Embedded<B>,
        gradients: &mut [ParameterSet<B>],
    ) -> Result<()> {
        let Embedded { grad_x, shard: rows, .. } = embedded;
        apply_dropout(backend, ids, regularization, grad_x)?;
        for (shard, gradients) in gradients.iter_mut().enumerate() {
            let weight = gradients.view_mut(self.weight);
            match memory.shard_rows() {
                None => ops::scatter_add_rows(backend, grad_x.view(), ids, weight)?,
                Some(shards) => {
                    shards.gather(backend, shard, grad_x.view(), rows.view_mut())?;
                    ops::scatter_add_rows(backend, rows.view(), memory.shard_ids(shard), weight)?;
                }
            }
        }
        Ok(())
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
