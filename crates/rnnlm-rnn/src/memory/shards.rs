//! The division of a stack's minibatches into shards.

use super::StackMemory;
use crate::shards::{ShardCopy, ShardRows, StackShards};
use crate::{Dims, Recurrence, Result};

impl<B: Recurrence> StackMemory<B> {
    /// Divides the rows of a minibatch into `count` shards: [`Stack::backward`](crate::Stack::backward) then takes one set of
    /// gradients for each, and sums over the rows of each shard in the order of its steps. Shard `i` has the rows
    /// `[i·N/count, (i+1)·N/count)` of each step. `count` divides **N**.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn with_shards(mut self, backend: &B, count: usize) -> Result<Self> {
        if count > 1 {
            let Dims { num_steps, batch_size, .. } = self.layers[0].tape.dims();
            let rows = ShardRows { num_steps, batch_size, count };
            self.shards = Some(StackShards::new(backend, rows)?);
            for layer in &mut self.layers {
                let dims = layer.tape.dims();
                let widths = layer.cell.widths(dims.hidden_size);
                layer.shard = Some(ShardCopy::new(backend, widths, dims, rows)?);
            }
        }
        Ok(self)
    }

    /// The division into shards; `None` for a single one.
    pub fn shard_rows(&self) -> Option<ShardRows> {
        self.shards.as_ref().map(|shards| shards.rows)
    }

    /// Sets the ids of the minibatch for one-hot input, in the order of the shards and step by step within each.
    ///
    /// # Errors
    /// If the number of ids is not `T·N`, or the device fails.
    pub fn set_shard_ids(&mut self, backend: &B, ids: &[u32]) -> Result<()> {
        let Some(StackShards { rows, ids: shards }) = &mut self.shards else { return Ok(()) };
        let len = rows.num_steps * rows.batch_size / rows.count;
        ids.chunks(len).zip(shards).try_for_each(|(ids, shard)| Ok(backend.write_indices(ids, shard)?))
    }

    /// The ids of a shard that [`StackMemory::set_shard_ids`] set.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn shard_ids(&self, shard: usize) -> &B::Indices {
        let shards = self.shards.as_ref().expect("the memory has shards");
        &shards.ids[shard]
    }
}
