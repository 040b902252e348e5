//! The state of a training run, as values on the host.

use std::time::Duration;

use crate::{EpochReport, Plateau, StepReport};

/// The progress of a training run. Everything that a run learns about itself and needs after a restart is a field here;
/// schedules other than [`Schedule::Plateau`](crate::Schedule) need only `step` and `epoch`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    /// Completed epochs.
    pub epoch: u64,
    /// Completed minibatches of the current epoch.
    pub minibatch: usize,
    /// Completed minibatches since the start of training.
    pub step: u64,
    /// Sum of the mean loss over the minibatches of this epoch, in nats.
    pub loss_sum: f64,
    /// Sum of the gradient norm before clipping over the minibatches of this epoch.
    pub gradient_norm_sum: f64,
    /// The epoch with the best perplexity on the validation set so far. Early stopping counts the epochs since then.
    pub best: Option<Best>,
    /// State of [`Schedule::Plateau`](crate::Schedule).
    pub plateau: Plateau,
}

/// The epoch with the best perplexity on the validation set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Perplexity on the validation set.
    pub perplexity: f64,
}

/// A copy of a trainer's state on the host. With the configuration, it is everything that exact resumption needs. Parameters
/// are in the order of [`ParameterLayout`](crate::ParameterLayout).
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The parameters.
    pub parameters: Vec<f32>,
    /// `[L·directions·N, H]`: the hidden state from which the next minibatch starts.
    pub hidden: Vec<f32>,
    /// The cell state of an LSTM, in the same shape; otherwise empty.
    pub cell: Vec<f32>,
    /// The optimizer's buffers: PyTorch's name, and one value per parameter.
    pub optimizer: Vec<(String, Vec<f32>)>,
    /// The progress.
    pub position: Position,
}

impl Position {
    /// Counts a completed minibatch.
    pub(crate) fn count_step(&mut self, StepReport { loss, gradient_norm }: StepReport) {
        self.minibatch += 1;
        self.step += 1;
        self.loss_sum += f64::from(loss);
        self.gradient_norm_sum += f64::from(gradient_norm);
    }

    /// Completes the epoch. All minibatches have the same size, so the mean of their means is the mean over all tokens.
    pub(crate) fn finish_epoch(&mut self, lr: f32, tokens: u64, duration: Duration) -> EpochReport {
        let minibatches = self.minibatch as f64;
        let report = EpochReport {
            epoch: self.epoch + 1,
            perplexity: libm::exp(self.loss_sum / minibatches),
            val_perplexity: None,
            tokens,
            gradient_norm: self.gradient_norm_sum / minibatches,
            lr,
            duration,
        };
        let Self { epoch, step, best, plateau, .. } = *self;
        *self = Self { epoch: epoch + 1, step, best, plateau, ..Self::default() };
        report
    }
}
