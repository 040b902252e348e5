//! The output layer's rows in the order of the shards. Its sums over rows are then sums over contiguous rows, chunk by chunk,
//! and no chunk has rows of two shards.

use rnnlm_rnn::{Recurrence, ShardRows};
use rnnlm_tensor::{Tensor, View};
use rnnlm_vocab::Minibatch;

use crate::Result;
use crate::shards::Shards;

/// The rows of this rank's shards, if they are not all rows of a minibatch in one shard.
#[derive(Debug)]
pub(crate) struct ShardOrder<B: Recurrence> {
    shards: Shards,
    rows: ShardRows,
    /// `[T·N, directions·H]`: the input of the output layer, shard by shard, and its gradient. `None` for a single shard,
    /// whose rows are in order.
    copies: Option<[Tensor<B>; 2]>,
    /// The ids of this rank's rows, step by step.
    inputs: Vec<u32>,
    /// The ids shard by shard.
    shard_inputs: Vec<u32>,
    shard_targets: Vec<u32>,
}

impl<B: Recurrence> ShardOrder<B> {
    /// Memory for `num_steps` steps of the rows of this rank, whose output has `cols` columns.
    pub(crate) fn new(backend: &B, shards: Shards, num_steps: usize, cols: usize) -> Result<Self> {
        let (batch_size, count) = (shards.rows().len(), shards.local().len());
        let len = num_steps * batch_size;
        let tensor = || Tensor::padded(backend, len, cols);
        Ok(Self {
            shards,
            rows: ShardRows { num_steps, batch_size, count },
            copies: if count > 1 { Some([tensor()?, tensor()?]) } else { None },
            inputs: vec![0; len],
            shard_inputs: vec![0; len],
            shard_targets: vec![0; len],
        })
    }

    /// The number of shards of this rank.
    pub(crate) fn count(&self) -> usize {
        self.rows.count
    }

    /// The rows of this rank in each step.
    pub(crate) fn shards(&self) -> Shards {
        self.shards
    }

    /// Selects this rank's rows of a minibatch.
    pub(crate) fn select(&mut self, minibatch: &Minibatch) {
        let (rows, n) = (self.shards.rows(), minibatch.batch_size);
        let steps = self.inputs.chunks_exact_mut(rows.len()).zip(minibatch.inputs.chunks_exact(n));
        steps.for_each(|(own, all)| own.copy_from_slice(&all[rows.clone()]));
        let per_shard = rows.len() / self.rows.count;
        let block = per_shard * self.rows.num_steps;
        for (all, own) in [(&minibatch.inputs, &mut self.shard_inputs), (&minibatch.targets, &mut self.shard_targets)] {
            for (shard, own) in own.chunks_exact_mut(block).enumerate() {
                let first = rows.start + shard * per_shard;
                let steps = own.chunks_exact_mut(per_shard).zip(all.chunks_exact(n));
                steps.for_each(|(own, all)| own.copy_from_slice(&all[first..first + per_shard]));
            }
        }
    }

    /// The ids of this rank's rows, step by step.
    pub(crate) fn inputs(&self) -> &[u32] {
        &self.inputs
    }

    /// The inputs and targets of this rank's rows, shard by shard.
    pub(crate) fn shard_ids(&self) -> [&[u32]; 2] {
        [&self.shard_inputs, &self.shard_targets]
    }

    /// Copies the input of the output layer.
    pub(crate) fn gather(&mut self, backend: &B, z: View<'_, B>) -> Result<()> {
        let Some([copy, _]) = &mut self.copies else { return Ok(()) };
        let len = copy.shape()[0] / self.rows.count;
        for shard in 0..self.rows.count {
            let out = copy.view_mut().rows(shard * len..(shard + 1) * len);
            self.rows.gather(backend, shard, z, out)?;
        }
        Ok(())
    }

    /// The input of the output layer shard by shard, and its gradient; `None` if the rows are in order.
    pub(crate) fn copies_mut(&mut self) -> Option<&mut [Tensor<B>; 2]> {
        self.copies.as_mut()
    }

    /// The input of the output layer shard by shard; `None` if the rows are in order.
    pub(crate) fn z(&self) -> Option<View<'_, B>> {
        self.copies.as_ref().map(|[z, _]| z.view())
    }

    /// Copies the gradient back, step by step.
    pub(crate) fn scatter(&self, backend: &B, grad_output: &mut Tensor<B>) -> Result<()> {
        let Some([_, copy]) = &self.copies else { return Ok(()) };
        let len = copy.shape()[0] / self.rows.count;
        for shard in 0..self.rows.count {
            let rows = copy.view().rows(shard * len..(shard + 1) * len);
            self.rows.scatter(backend, shard, rows, grad_output.view_mut())?;
        }
        Ok(())
    }
}
