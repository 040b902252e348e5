//! The state of a training run, as values on the host.

use std::time::Duration;

use crate::report::MAX_LOSS;
use crate::{Average, EpochReport, NonMonotone, Plateau, StepReport};

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
    /// Sum of the lengths of the completed minibatches of this epoch, in units of `num_steps`: equal to `minibatch` without
    /// variable-length backpropagation through time.
    pub length_sum: f64,
    /// Sum of the mean loss over the minibatches of this epoch, each times its length in units of `num_steps`, in nats.
    pub loss_sum: f64,
    /// Sum of the gradient norm before clipping over the minibatches of this epoch.
    pub gradient_norm_sum: f64,
    /// The epoch with the best finite perplexity on the validation set so far.
    pub best: Option<Best>,
    /// Epochs with a perplexity on the validation set since the best one, for early stopping.
    pub epochs_without_improvement: u64,
    /// State of [`Schedule::Plateau`](crate::Schedule).
    pub plateau: Plateau,
    /// Completed updates since the start of training: as many as steps without gradient accumulation.
    pub updates: u64,
    /// State of [`Average::NtAsgd`](crate::Average).
    pub non_monotone: NonMonotone,
    /// The updates before averaging began; `None` before it.
    pub average_start: Option<u64>,
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
    /// The buffers of the optimizer, of gradient accumulation and of averaging: PyTorch's name, and one value per parameter.
    pub optimizer: Vec<(String, Vec<f32>)>,
    /// The progress.
    pub position: Position,
}

impl Snapshot {
    /// The parameters of the model that is evaluated and saved: the average once averaging has begun.
    pub(crate) fn evaluated_parameters(&self, average: Average) -> &[f32] {
        let averaged = self.optimizer.iter().find(|(name, _)| name == AVERAGED);
        match averaged {
            Some((_, values)) if self.position.averaged_updates(average) > 0 => values,
            _ => &self.parameters,
        }
    }
}

/// The name of the average of the parameters in files, that of `torch.optim.ASGD`.
pub(crate) const AVERAGED: &str = "ax";

impl Position {
    /// Counts a completed minibatch of `length`, in units of `num_steps`.
    pub(crate) fn count_step(&mut self, report: StepReport, length: f64, is_update: bool) {
        let StepReport { loss, gradient_norm } = report;
        self.minibatch += 1;
        self.updates += u64::from(is_update);
        self.step += 1;
        self.length_sum += length;
        self.loss_sum += length * f64::from(loss);
        self.gradient_norm_sum += f64::from(gradient_norm);
    }

    /// `exp` of the mean loss over the tokens of this epoch so far; `None` before the first minibatch.
    pub(crate) fn perplexity(&self) -> Option<f64> {
        (self.minibatch > 0).then(|| libm::exp(self.loss_sum / self.length_sum))
    }

    /// The mean gradient norm over the minibatches of this epoch so far; `None` before the first.
    pub(crate) fn gradient_norm(&self) -> Option<f64> {
        (self.minibatch > 0).then(|| self.gradient_norm_sum / self.minibatch as f64)
    }

    /// Completes the epoch. The mean of the means of minibatches, weighted by their lengths, is the mean over all tokens.
    pub(crate) fn finish_epoch(&mut self, lr: f32, tokens: u64, duration: Duration) -> EpochReport {
        let report = EpochReport {
            epoch: self.epoch + 1,
            // the mean of losses at the limit can be rounded beyond it
            perplexity: libm::exp((self.loss_sum / self.length_sum).min(f64::from(MAX_LOSS))),
            val_perplexity: None,
            tokens,
            gradient_norm: self.gradient_norm_sum / self.minibatch as f64,
            lr,
            duration,
        };
        let start = Self { minibatch: 0, length_sum: 0.0, loss_sum: 0.0, gradient_norm_sum: 0.0, ..*self };
        *self = Self { epoch: self.epoch + 1, ..start };
        report
    }

    /// The number of updates that the average has.
    pub(crate) fn averaged_updates(&self, average: Average) -> u64 {
        match average {
            Average::None => 0,
            Average::NtAsgd => self.average_start.map_or(0, |start| self.updates.saturating_sub(start)),
            Average::Ema { .. } => self.updates,
        }
    }

    /// Adds the perplexity of an epoch, and begins averaging if it has not improved.
    pub(crate) fn begin_average(&mut self, perplexity: f64) {
        if self.non_monotone.observe(perplexity) && self.average_start.is_none() {
            self.average_start = Some(self.updates);
        }
    }

    /// Updates the best epoch with the perplexity on the validation set after epoch `epoch`. Returns whether it is the best so
    /// far. A perplexity that is not finite never is.
    pub(crate) fn observe(&mut self, epoch: u64, perplexity: f64) -> bool {
        let is_best = perplexity.is_finite() && self.best.is_none_or(|best| perplexity < best.perplexity);
        if is_best {
            self.best = Some(Best { epoch, perplexity });
            self.epochs_without_improvement = 0;
        } else {
            self.epochs_without_improvement = self.epochs_without_improvement.saturating_add(1);
        }
        is_best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perplexity_that_is_not_finite_is_never_the_best() {
        let mut position = Position::default();
        let scores = [f64::NAN, f64::INFINITY, 3.0, f64::NAN, f64::INFINITY, 4.0, 2.0, f64::NEG_INFINITY];
        let is_best: Vec<bool> = (1..).zip(scores).map(|(epoch, score)| position.observe(epoch, score)).collect();
        assert_eq!(is_best, [false, false, true, false, false, false, true, false]);
        assert_eq!(position.best, Some(Best { epoch: 7, perplexity: 2.0 }));
        assert_eq!(position.epochs_without_improvement, 1);
    }

    #[test]
    fn epochs_before_the_first_finite_perplexity_count_as_epochs_without_improvement() {
        let mut position = Position::default();
        for epoch in 1..=3 {
            position.observe(epoch, f64::NAN);
        }
        assert_eq!((position.best, position.epochs_without_improvement), (None, 3));
    }

    #[test]
    fn the_perplexity_of_an_epoch_is_finite() {
        let largest = MAX_LOSS.next_up();
        let mut position = Position::default();
        position.count_step(StepReport { loss: largest, gradient_norm: 1.0 }, 1.0, true);
        assert!(position.finish_epoch(1.0, 10, Duration::ZERO).perplexity.is_finite());
    }
}
