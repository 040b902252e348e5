//! When a training is saved, and what happens when it cannot be: the last good save stays, training goes on, and the next
//! interval is the next try.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use rnnlm_model::{Error, Position, RunWriter, Trainer};
use rnnlm_rnn::Recurrence;

use crate::failure::Result;
use crate::format;
use crate::progress::Training;
use crate::signals;

/// How much training is between two saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interval {
    Epochs(u64),
    Steps(u64),
}

impl FromStr for Interval {
    type Err = String;

    /// `10` epochs or `500s` steps.
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, interval): (_, fn(u64) -> Self) = match text.strip_suffix('s') {
            Some(number) => (number, Self::Steps),
            None => (text, Self::Epochs),
        };
        match number.parse::<u64>() {
            Ok(0) => Err("it must be at least 1".to_owned()),
            Ok(number) => Ok(interval(number)),
            Err(_) => Err("a number of epochs such as 10, or of steps such as 500s, is needed".to_owned()),
        }
    }
}

impl Interval {
    /// Whether a save is due where training has paused.
    pub(crate) fn is_due(self, position: Position) -> bool {
        match self {
            Self::Epochs(epochs) => position.minibatch == 0 && position.epoch.is_multiple_of(epochs),
            Self::Steps(steps) => position.step.is_multiple_of(steps),
        }
    }

    /// What an epoch asks after every step, beginning at `step`: whether somebody wants an end, or a save is due.
    pub(crate) fn pauses(self, step: u64) -> impl Fn() -> bool + Sync {
        let step = AtomicU64::new(step);
        move || {
            let step = step.fetch_add(1, Ordering::Relaxed) + 1;
            signals::stop_requested() || matches!(self, Self::Steps(steps) if step.is_multiple_of(steps))
        }
    }
}

/// A run that is saved as it goes.
#[derive(Debug)]
pub(crate) struct Saver {
    pub(crate) writer: RunWriter,
    pub(crate) interval: Interval,
    /// The last save that went well.
    saved: Option<Position>,
    /// Whether the last try failed.
    failing: bool,
}

impl Saver {
    /// Saves to `writer`, which holds the training as it was at `saved`.
    pub(crate) fn new(writer: RunWriter, interval: Interval, saved: Option<Position>) -> Self {
        Self { writer, interval, saved, failing: false }
    }

    /// Saves now.
    pub(crate) fn save<B: Recurrence>(&mut self, trainer: &Trainer<B>) -> Result<()> {
        self.writer.save(trainer)?;
        self.saved = Some(trainer.position());
        Ok(())
    }

    /// Saves on the way. A disk that is full or cannot be written is a warning: it may have room the next time.
    pub(crate) fn try_save<B: Recurrence>(&mut self, trainer: &Trainer<B>, progress: &Training) -> Result<()> {
        match self.writer.save(trainer) {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    progress.warn(&format!("saved again: {}", whence(Some(trainer.position()))));
                }
                self.saved = Some(trainer.position());
                Ok(())
            }
            Err(error @ Error::Io { .. }) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                let kept = whence(self.saved);
                progress
                    .warn(&format!("warning: {error}{cause}; {kept} is kept, training goes on and tries again later"));
                self.failing = true;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps the model as the best on held-out text; on a disk that cannot take it, a warning: the next save tries again.
    pub(crate) fn try_save_best<B: Recurrence>(&mut self, trainer: &Trainer<B>, progress: &Training) -> Result<()> {
        match self.writer.save_best(trainer) {
            Err(error @ Error::Io { .. }) => {
                progress.warn(&format!(
                    "warning: {error}; the best model before this one is kept until there is room, training goes on"
                ));
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }

    /// Saves at the end of everything, where there is no later.
    pub(crate) fn save_last<B: Recurrence>(&mut self, trainer: &Trainer<B>) -> Result<()> {
        let kept = format!("{} is kept in {}", self.last(), self.writer.run().path().display());
        self.save(trainer).map_err(|failure| failure.not_saved(kept, self.writer.run().path()))
    }

    /// The last save that went well, in words.
    pub(crate) fn last(&self) -> String {
        whence(self.saved)
    }
}

/// `the model of epoch 20`; of the step, where an epoch was under way.
fn whence(saved: Option<Position>) -> String {
    match saved {
        None => "no model".to_owned(),
        Some(Position { step: 0, .. }) => "the untrained model".to_owned(),
        Some(Position { minibatch: 0, epoch, .. }) => format!("the model of epoch {epoch}"),
        Some(Position { step, .. }) => format!("the model of step {}", format::thousands(step)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_epochs_or_steps() {
        assert_eq!("10".parse(), Ok(Interval::Epochs(10)));
        assert_eq!("500s".parse(), Ok(Interval::Steps(500)));
        for text in ["", "s", "0", "0s", "-1", "1.5", "10 epochs"] {
            assert!(text.parse::<Interval>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_save_is_due_at_multiples() {
        let position = Position { epoch: 4, step: 15, ..Position::default() };
        let due = |text: &str| text.parse::<Interval>().unwrap().is_due(position);
        assert_eq!(["2", "3", "5s", "4s"].map(due), [true, false, true, false]);
        // two steps after step 4 is step 6
        let pauses = Interval::Steps(3).pauses(4);
        assert_eq!([pauses(), pauses(), pauses()], [false, true, false]);
    }
}
