//! The ranks of a trainer, and the carried state, of which each rank has its own rows.

use rnnlm_rnn::Recurrence;
use rnnlm_tensor::Tensor;

use super::Trainer;
use crate::{Collective, Result};

impl<B: Recurrence> Trainer<B> {
    /// The ranks that train the model.
    pub(crate) fn collective(&self) -> &dyn Collective {
        &*self.collective
    }

    /// The shapes of the carried state of all ranks: hidden and cell.
    pub fn state_shapes(&self) -> [[usize; 2]; 2] {
        let rows = self.num_states() * self.shards.batch_size;
        [&self.state.hidden, &self.state.cell].map(|state| [rows, state.shape()[1]])
    }

    /// The number of layers and directions, each of which has a state.
    pub(super) fn num_states(&self) -> usize {
        self.state.hidden.shape()[0] / self.shards.rows().len()
    }

    /// A part of the carried state with the rows of all ranks.
    pub(super) fn gather_state(&self, state: &Tensor<B>) -> Result<Vec<f32>> {
        let own = state.to_vec(self.model.backend())?;
        if self.collective.size() == 1 {
            return Ok(own);
        }
        let own: Vec<u8> = own.iter().flat_map(|value| value.to_le_bytes()).collect();
        let all = self.collective.gather_all(&own)?;
        let all: Vec<Vec<f32>> = all
            .iter()
            .map(|bytes| bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect())
            .collect();
        Ok(self.shards.join_rows(&all, self.num_states()))
    }
}
