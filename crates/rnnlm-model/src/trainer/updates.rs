//! The updates of a trainer that accumulates gradients.

use rnnlm_rnn::Recurrence;

use super::accumulation::is_update;
use crate::{Position, Trainer};

impl<B: Recurrence> Trainer<B> {
    /// Whether the parameters are updated after minibatch `index` of the epoch.
    pub(super) fn is_update(&self, index: usize) -> bool {
        is_update(self.config.accumulate, index, self.partial_epoch.num_minibatches)
    }

    /// The updates before the step after `queued` more steps, and the minibatches since the last of them.
    pub(super) fn updates_before(&self, queued: usize) -> (u64, usize) {
        let Position { minibatch, updates, .. } = self.position;
        if self.accumulation.is_none() {
            return (updates + queued as u64, 0);
        }
        let of_queue = (minibatch..minibatch + queued).filter(|&index| self.is_update(index)).count();
        (updates + of_queue as u64, (minibatch + queued) % self.config.accumulate as usize)
    }
}
