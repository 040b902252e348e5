//! When a run is saved, and what happens if it cannot be: the last checkpoint stays, training continues, and the next
//! interval is the next attempt.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use rnnlm_model::{EpochReport, Error, NonFinite, Position, RunWriter, Trainer};
use rnnlm_rnn::Recurrence;

use crate::failure::Result;
use crate::progress::TrainingProgress;
use crate::{human, signals};

/// The interval between two checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interval {
    Epochs(u64),
    Steps(u64),
}

impl FromStr for Interval {
    type Err = String;

    /// Parses `10` as epochs and `500s` as steps.
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, interval): (_, fn(u64) -> Self) = match text.strip_suffix('s') {
            Some(number) => (number, Self::Steps),
            None => (text, Self::Epochs),
        };
        match number.parse::<u64>() {
            Ok(0) => Err("must be at least 1".to_owned()),
            Ok(number) => Ok(interval(number)),
            Err(_) => Err("expected a number of epochs such as 10, or of steps such as 500s".to_owned()),
        }
    }
}

impl fmt::Display for Interval {
    /// The text that [`Interval::from_str`] parses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epochs(epochs) => write!(f, "{epochs}"),
            Self::Steps(steps) => write!(f, "{steps}s"),
        }
    }
}

impl Interval {
    /// Whether a checkpoint is due at `position`.
    pub(crate) fn is_due(self, position: Position) -> bool {
        match self {
            Self::Epochs(epochs) => position.minibatch == 0 && position.epoch.is_multiple_of(epochs),
            Self::Steps(steps) => position.step.is_multiple_of(steps),
        }
    }

    /// A function for an epoch that starts at `step`, to be called after every step. It returns whether the epoch has
    /// to pause, because a stop was requested or a checkpoint is due.
    pub(crate) fn pause_check(self, step: u64) -> impl Fn() -> bool + Sync {
        let step = AtomicU64::new(step);
        move || {
            let step = step.fetch_add(1, Ordering::Relaxed) + 1;
            signals::stop_requested() || matches!(self, Self::Steps(steps) if step.is_multiple_of(steps))
        }
    }
}

/// Saves a run during training.
#[derive(Debug)]
pub(crate) struct Saver {
    pub(crate) writer: RunWriter,
    pub(crate) interval: Interval,
    /// The position of the last checkpoint.
    saved: Option<Position>,
    /// Whether the last validation perplexity was not finite.
    validation_was_non_finite: bool,
    /// Whether the last attempt failed.
    last_attempt_failed: bool,
}

impl Saver {
    /// A saver to `writer`, whose last checkpoint is at `saved`.
    pub(crate) fn new(writer: RunWriter, interval: Interval, saved: Option<Position>) -> Self {
        Self { writer, interval, saved, validation_was_non_finite: false, last_attempt_failed: false }
    }

    /// Saves a checkpoint.
    pub(crate) fn save<B: Recurrence>(&mut self, trainer: &Trainer<B>) -> Result<()> {
        self.writer.save(trainer)?;
        self.saved = Some(trainer.position());
        Ok(())
    }

    /// Saves a checkpoint during training. An I/O error is a warning, because the next attempt may succeed.
    pub(crate) fn try_save<B: Recurrence>(&mut self, trainer: &Trainer<B>, progress: &TrainingProgress) -> Result<()> {
        match self.writer.save(trainer) {
            Ok(()) => {
                if std::mem::take(&mut self.last_attempt_failed) {
                    let saved = describe_checkpoint(Some(trainer.position()));
                    progress.warn(&format!("saving works again: {saved} is saved"));
                }
                self.saved = Some(trainer.position());
                Ok(())
            }
            Err(error @ Error::Io { .. }) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                let kept = describe_checkpoint(self.saved);
                progress.warn(&format!(
                    "warning: {error}{cause}; {kept} is kept, training continues and retries at the next checkpoint"
                ));
                self.last_attempt_failed = true;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Warns about the first of several validation perplexities that are not finite.
    pub(crate) fn check_validation(&mut self, report: &EpochReport, progress: &TrainingProgress) {
        let Some(perplexity) = report.val_perplexity else { return };
        let reason = NonFinite::of(perplexity);
        if let (Some(reason), false) = (reason, self.validation_was_non_finite) {
            let epoch = report.epoch;
            progress.warn(&format!(
                "warning: the validation perplexity of epoch {epoch} is {reason}, so it is not compared with the best one"
            ));
        }
        self.validation_was_non_finite = reason.is_some();
    }

    /// Saves the model as the best on the validation set. An I/O error is a warning, because the next checkpoint tries
    /// again.
    pub(crate) fn try_save_best<B: Recurrence>(
        &mut self,
        trainer: &Trainer<B>,
        progress: &TrainingProgress,
    ) -> Result<()> {
        match self.writer.save_best(trainer) {
            Err(error @ Error::Io { .. }) => {
                let consequence =
                    "the previous best model is kept, training continues and retries at the next checkpoint";
                progress.warn(&format!("warning: {error}; {consequence}"));
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }

    /// Saves the last checkpoint of a run. An I/O error is an error, because there is no next attempt.
    pub(crate) fn save_last<B: Recurrence>(&mut self, trainer: &Trainer<B>) -> Result<()> {
        let kept = format!("{} is kept in {}", self.last_checkpoint(), self.writer.run().path().display());
        self.save(trainer).map_err(|failure| failure.into_not_saved(kept, self.writer.run().path()))
    }

    /// The last checkpoint in words.
    pub(crate) fn last_checkpoint(&self) -> String {
        describe_checkpoint(self.saved)
    }
}

/// `the model of epoch 20`, or of a step within an epoch.
fn describe_checkpoint(saved: Option<Position>) -> String {
    match saved {
        None => "no model".to_owned(),
        Some(Position { step: 0, .. }) => "the untrained model".to_owned(),
        Some(Position { minibatch: 0, epoch, .. }) => format!("the model of epoch {epoch}"),
        Some(Position { step, .. }) => format!("the model of step {}", human::thousands(step)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_epochs_or_steps() {
        assert_eq!("10".parse(), Ok(Interval::Epochs(10)));
        assert_eq!("500s".parse(), Ok(Interval::Steps(500)));
        for text in ["10", "500s"] {
            assert_eq!(text.parse::<Interval>().unwrap().to_string(), text);
        }
        for text in ["", "s", "0", "0s", "-1", "1.5", "10 epochs"] {
            assert!(text.parse::<Interval>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_checkpoint_is_due_at_multiples_of_the_interval() {
        let position = Position { epoch: 4, step: 15, ..Position::default() };
        let due = |text: &str| text.parse::<Interval>().unwrap().is_due(position);
        assert_eq!(["2", "3", "5s", "4s"].map(due), [true, false, true, false]);
        // the second call is after step 6
        let pauses = Interval::Steps(3).pause_check(4);
        assert_eq!([pauses(), pauses(), pauses()], [false, true, false]);
    }
}
