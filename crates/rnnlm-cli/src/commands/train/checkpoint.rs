//! When a run is saved, and what happens if it cannot be: the last checkpoint stays, training continues, and the next
//! interval is the next attempt.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rnnlm_model::{EpochProgress, EpochReport, Error, NonFinite, Position, RunWriter, Trainer};
use rnnlm_rnn::Recurrence;

use crate::failure::{Failure, Result};
use crate::human;
use crate::progress::TrainingProgress;

/// The interval between two checkpoints: in epochs, in steps, in time, or whichever of them ends first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Interval {
    epochs: Option<u64>,
    steps: Option<u64>,
    minutes: Option<f64>,
}

impl Interval {
    /// The default of `--checkpoint-every`.
    pub(crate) const DEFAULT: &str = "10,10min";

    /// `10 epochs or 10 minutes`.
    pub(crate) fn describe(self) -> String {
        let minutes = |minutes: f64| match minutes {
            1.0 => "1 minute".to_owned(),
            minutes => format!("{minutes} minutes"),
        };
        let epochs = self.epochs.map(|epochs| human::count(epochs, "epoch"));
        let steps = self.steps.map(|steps| human::count(steps, "step"));
        let parts: Vec<_> = [epochs, steps, self.minutes.map(minutes)].into_iter().flatten().collect();
        parts.join(" or ")
    }

    /// Whether a checkpoint is due at `position`, `elapsed` after the last attempt.
    fn is_due(self, position: Position, elapsed: Duration) -> bool {
        let is_due = |epochs| position.minibatch == 0 && position.epoch.is_multiple_of(epochs);
        self.epochs.is_some_and(is_due) || self.is_due_within_epoch(position.step, elapsed)
    }

    /// Whether a checkpoint is due after `step`, wherever that is in an epoch.
    fn is_due_within_epoch(self, step: u64, elapsed: Duration) -> bool {
        self.steps.is_some_and(|steps| step.is_multiple_of(steps))
            || self.minutes.is_some_and(|minutes| elapsed.as_secs_f64() >= 60.0 * minutes)
    }

    /// Adds one part of the text.
    fn add(&mut self, part: &str) -> Result<(), String> {
        let count = |number: &str| match number.parse::<u64>() {
            Ok(0) => Err("must be at least 1".to_owned()),
            Ok(number) => Ok(number),
            Err(_) => Err(format!("`{part}` is not an interval: {EXPECTED}")),
        };
        let minutes = |number: &str, scale: f64| match number.parse::<f64>() {
            Ok(number) if number.is_finite() && number > 0.0 => Ok(number * scale),
            Ok(_) => Err("must be above 0".to_owned()),
            Err(_) => Err(format!("`{part}` is not an interval: {EXPECTED}")),
        };
        let is_repeated = if let Some(number) = part.strip_suffix("min") {
            self.minutes.replace(minutes(number, 1.0)?).is_some()
        } else if let Some(number) = part.strip_suffix('h') {
            self.minutes.replace(minutes(number, 60.0)?).is_some()
        } else if let Some(number) = part.strip_suffix('s') {
            self.steps.replace(count(number)?).is_some()
        } else {
            self.epochs.replace(count(part)?).is_some()
        };
        if is_repeated { Err(format!("`{part}` is a second interval of the same unit")) } else { Ok(()) }
    }
}

/// The units of an interval.
const EXPECTED: &str = "expected epochs (10), steps (500s; s is not seconds), minutes (5min) or hours (1h)";

impl FromStr for Interval {
    type Err = String;

    /// Parses `10` as epochs, `500s` as steps, `5min` and `1h` as time, and several of them separated by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut interval = Self::default();
        text.split(',').try_for_each(|part| interval.add(part.trim()))?;
        Ok(interval)
    }
}

impl fmt::Display for Interval {
    /// The text that [`Interval::from_str`] parses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epochs = self.epochs.map(|epochs| epochs.to_string());
        let steps = self.steps.map(|steps| format!("{steps}s"));
        let minutes = self.minutes.map(|minutes| format!("{minutes}min"));
        f.write_str(&[epochs, steps, minutes].into_iter().flatten().collect::<Vec<_>>().join(","))
    }
}

/// Saves a run during training.
#[derive(Debug)]
pub(crate) struct Saver {
    /// `None` on the ranks that write nothing.
    pub(crate) writer: Option<RunWriter>,
    interval: Interval,
    /// The position of the last checkpoint.
    saved: Option<Position>,
    /// Whether the last validation perplexity was not finite.
    validation_was_non_finite: bool,
    /// When the last attempt was.
    last_attempt: Instant,
    /// The errors of the last attempts, one for a checkpoint and one for the best model, each reported once.
    reported: [Option<String>; 2],
}

impl Saver {
    /// A saver to `writer`, whose last checkpoint is at `saved`.
    pub(crate) fn new(writer: Option<RunWriter>, interval: Interval, saved: Option<Position>) -> Self {
        let last_attempt = Instant::now();
        Self { writer, interval, saved, validation_was_non_finite: false, last_attempt, reported: [None, None] }
    }

    /// Whether a checkpoint is due at `position`. Rank 0 decides it.
    pub(crate) fn is_due(&self, position: Position) -> bool {
        self.writer.is_some() && self.interval.is_due(position, self.last_attempt.elapsed())
    }

    /// Whether a checkpoint is due after `step`, before the end of its epoch. Rank 0 decides it.
    pub(crate) fn is_due_within_epoch(&self, step: u64) -> bool {
        self.writer.is_some() && self.interval.is_due_within_epoch(step, self.last_attempt.elapsed())
    }

    /// Appends the line of an epoch to the metrics.
    pub(crate) fn log(&mut self, report: &EpochReport) {
        if let Some(writer) = &mut self.writer {
            writer.log(report);
        }
    }

    /// Appends a line within an epoch to the metrics.
    pub(crate) fn log_progress(&mut self, progress: &EpochProgress) {
        if let Some(writer) = &mut self.writer {
            writer.log_progress(progress);
        }
    }

    /// Saves a checkpoint. All ranks call this together: each has a part of the state.
    pub(crate) fn save<B: Recurrence>(&mut self, trainer: &Trainer<B>) -> Result<()> {
        let saved = match &mut self.writer {
            Some(writer) => writer.save(trainer),
            None => trainer.snapshot().map(drop),
        };
        self.last_attempt = Instant::now();
        saved?;
        self.saved = Some(trainer.position());
        Ok(())
    }

    /// Saves a checkpoint during training. An I/O error is a warning, because the next attempt may succeed.
    pub(crate) fn try_save<B: Recurrence>(&mut self, trainer: &Trainer<B>, progress: &TrainingProgress) -> Result<()> {
        match self.save(trainer) {
            Ok(()) => {
                if self.reported[0].take().is_some() {
                    progress.warn(&format!("saving works again: {} is saved", self.last_checkpoint()));
                }
                Ok(())
            }
            Err(Failure::Library(error @ Error::Io { .. })) => {
                let kept = format!("{} is kept", self.last_checkpoint());
                self.report(0, &error, &kept, progress);
                Ok(())
            }
            Err(error) => Err(error),
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
        let saved = match &mut self.writer {
            Some(writer) => writer.save_best(trainer),
            None => trainer.snapshot().map(drop),
        };
        match saved {
            Ok(()) => {
                self.reported[1] = None;
                Ok(())
            }
            Err(error @ Error::Io { .. }) => {
                self.report(1, &error, "the previous best model is kept", progress);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reports the error of an attempt, unless the attempt before had the same error.
    fn report(&mut self, index: usize, error: &Error, kept: &str, progress: &TrainingProgress) {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        let error = format!("{error}{cause}");
        if self.reported[index].as_ref() != Some(&error) {
            progress.warn(&format!(
                "warning: {error}; {kept}, training continues and retries at each checkpoint without another warning"
            ));
        }
        self.reported[index] = Some(error);
    }

    /// Saves the last checkpoint of a run. An I/O error is an error, because there is no next attempt.
    pub(crate) fn save_last<B: Recurrence>(&mut self, trainer: &Trainer<B>) -> Result<()> {
        let saved = self.save(trainer);
        let Some(writer) = &self.writer else { return saved };
        let path = writer.run().path();
        let kept = format!("{} is kept in {}", self.last_checkpoint(), path.display());
        saved.map_err(|failure| failure.into_not_saved(kept, path))
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
    fn an_interval_is_epochs_steps_or_a_time() {
        let interval = Interval::default();
        for (text, expected) in [
            ("10", Interval { epochs: Some(10), ..interval }),
            ("500s", Interval { steps: Some(500), ..interval }),
            ("5min", Interval { minutes: Some(5.0), ..interval }),
            ("0.5min", Interval { minutes: Some(0.5), ..interval }),
            (Interval::DEFAULT, Interval { epochs: Some(10), minutes: Some(10.0), ..interval }),
            ("1,20s,3min", Interval { epochs: Some(1), steps: Some(20), minutes: Some(3.0) }),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
            assert_eq!(expected.to_string(), text);
        }
        assert_eq!("2h, 7".parse(), Ok(Interval { epochs: Some(7), minutes: Some(120.0), ..interval }));
        for text in ["", "s", "0", "0s", "0min", "-1h", "nanmin", "-1", "1.5", "10 epochs", "90sec", "5m", "10,", "1,2"]
        {
            assert!(text.parse::<Interval>().is_err(), "{text:?}");
        }
        assert!("90sec".parse::<Interval>().unwrap_err().contains("s is not seconds"));
    }

    #[test]
    fn a_checkpoint_is_due_at_multiples_of_the_interval() {
        let position = Position { epoch: 4, step: 15, ..Position::default() };
        let due = |text: &str| text.parse::<Interval>().unwrap().is_due(position, Duration::from_secs(30));
        assert_eq!(["2", "3", "5s", "4s"].map(due), [true, false, true, false]);
        assert_eq!(["0.5min", "1min", "3,1min", "3,0.1min"].map(due), [true, false, false, true]);
        let within = Position { minibatch: 1, ..position };
        assert!(!"2".parse::<Interval>().unwrap().is_due(within, Duration::MAX));
        assert!("1h".parse::<Interval>().unwrap().is_due_within_epoch(1, Duration::from_secs(3600)));
    }
}
