//! The state of a trainer as values on the host, for files.

use rnnlm_rnn::Recurrence;
use rnnlm_tensor::View;

use super::{PartialEpoch, Trainer};
use crate::position::AVERAGED;
use crate::{Error, Result, Snapshot};

/// The name of the sum of gradients in files.
const ACCUMULATED: &str = "accumulated";

impl<B: Recurrence> Trainer<B> {
    /// Copies the state to the host. All ranks call this together, because each has the carried state of its own rows only.
    ///
    /// # Errors
    /// If the device fails, or an exchange between ranks.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let backend = self.model.backend();
        let buffers = self.buffers().into_iter();
        Ok(Snapshot {
            parameters: self.model.parameters().to_vec(backend)?,
            hidden: self.gather_state(&self.state.hidden)?,
            cell: self.gather_state(&self.state.cell)?,
            optimizer: buffers
                .map(|(name, buffer)| Ok((name.to_owned(), buffer.to_vec(backend)?)))
                .collect::<Result<_>>()?,
            position: self.position,
        })
    }

    /// Restores the state of a trainer with the same configuration.
    ///
    /// # Errors
    /// If a length differs from this trainer's, an optimizer buffer is missing, or the device fails.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        let backend = self.model.backend().clone();
        self.model.parameters_mut().write(&backend, &snapshot.parameters)?;
        self.state.hidden.write(&backend, &self.shards.own_rows(&snapshot.hidden, self.num_states()))?;
        self.state.cell.write(&backend, &self.shards.own_rows(&snapshot.cell, self.num_states()))?;
        let values = |name: &'static str| {
            let stored = snapshot.optimizer.iter().find(|(stored, _)| stored == name);
            stored.map(|(_, values)| values).ok_or(Error::OptimizerState { name })
        };
        for (name, buffer) in self.optimizer.buffers_mut() {
            buffer.write(&backend, values(name)?)?;
        }
        if let Some(accumulation) = &mut self.accumulation {
            accumulation.sum_mut().write(&backend, values(ACCUMULATED)?)?;
        }
        if let Some(average) = &mut self.average {
            average.parameters_mut().write(&backend, values(AVERAGED)?)?;
        }
        self.position = snapshot.position;
        self.partial_epoch = PartialEpoch::default();
        Ok(())
    }

    /// The bytes of `trainer.safetensors` and `model.safetensors` together, without a few kilobytes of headers.
    pub fn checkpoint_bytes(&self) -> u64 {
        let layout = self.model.parameters().layout();
        let parameters = 2 * layout.stored_len() + self.optimizer_buffer_names().len() * layout.len();
        let states = self.state_shapes().map(|[rows, cols]| rows * cols);
        4 * (parameters + states[0] + states[1]) as u64
    }

    /// PyTorch's names of the optimizer's buffers, and those of the sum of gradients and the average of parameters.
    pub fn optimizer_buffer_names(&self) -> Vec<&'static str> {
        self.buffers().into_iter().map(|(name, _)| name).collect()
    }

    /// All buffers with one value per parameter, by name.
    fn buffers(&self) -> Vec<(&'static str, View<'_, B>)> {
        let optimizer = self.optimizer.buffers().into_iter().map(|(name, buffer)| (name, buffer.view()));
        let sum = self.accumulation.as_ref().map(|accumulation| (ACCUMULATED, accumulation.sum().flat()));
        let average = self.average.as_ref().map(|average| (AVERAGED, average.model().parameters().flat()));
        optimizer.chain(sum).chain(average).collect()
    }
}
