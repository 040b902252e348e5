//! The progress within an epoch.

use rnnlm_rnn::Recurrence;

use super::{PartialEpoch, Trainer};
use crate::{EpochProgress, LOG_MINIBATCHES};

impl<B: Recurrence> Trainer<B> {
    /// The progress within the current epoch; `None` between two epochs, and after a restart until a step is done.
    pub fn progress(&self) -> Option<EpochProgress> {
        let is_within = self.position.minibatch > 0 && self.partial_epoch.num_minibatches > 0;
        is_within.then(|| self.progress_since(self.position.minibatch))
    }

    /// The progress within the current epoch. Before the last step, the results of `known` minibatches were known.
    pub(super) fn progress_since(&self, known: usize) -> EpochProgress {
        let (position, PartialEpoch { num_steps, duration, num_minibatches }) = (self.position, self.partial_epoch);
        let is_log_due = position.minibatch > known
            && position.minibatch.is_multiple_of(LOG_MINIBATCHES)
            && position.minibatch < num_minibatches;
        EpochProgress {
            epoch: position.epoch + 1,
            minibatch: position.minibatch,
            num_minibatches,
            perplexity: position.perplexity(),
            gradient_norm: position.gradient_norm(),
            lr: self.last_lr(&self.partial_epoch),
            tokens: (num_steps * self.config.batch_size) as u64,
            duration,
            is_log_due,
        }
    }
}
