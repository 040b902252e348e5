//! The line that shows the progress of a training run, in as many columns as there are.

use std::time::Duration;

use rnnlm_model::{EpochProgress, EpochReport};

use crate::human;

/// Columns of the longest and the shortest bar.
const BARS: [usize; 2] = [20, 10];

/// The numbers in the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Status {
    /// The current epoch, from 1.
    pub(crate) epoch: u64,
    /// The last epoch.
    pub(crate) epochs: u64,
    /// Completed and all minibatch steps of the epoch; `None` after its end.
    pub(crate) steps: Option<[usize; 2]>,
    /// Training perplexity.
    pub(crate) perplexity: Option<f64>,
    /// Perplexity on the validation set after the last epoch.
    pub(crate) val_perplexity: Option<f64>,
    pub(crate) tokens_per_second: f64,
    /// Estimated time until the end of the run.
    pub(crate) left: Option<Duration>,
}

impl Status {
    /// The status within an epoch.
    pub(crate) fn within_epoch(epochs: u64, progress: &EpochProgress) -> Self {
        Self {
            epoch: progress.epoch,
            epochs,
            steps: Some([progress.minibatch, progress.num_minibatches]),
            perplexity: progress.perplexity,
            val_perplexity: None,
            tokens_per_second: progress.tokens_per_second(),
            left: None,
        }
    }

    /// The status after an epoch.
    pub(crate) fn after_epoch(epochs: u64, report: &EpochReport) -> Self {
        Self {
            epoch: report.epoch,
            epochs,
            steps: None,
            perplexity: Some(report.perplexity),
            val_perplexity: report.val_perplexity,
            tokens_per_second: report.tokens_per_second(),
            left: None,
        }
    }

    /// Finished epochs, with the part of the current one.
    pub(crate) fn done(&self) -> f64 {
        match self.steps {
            Some([done, all]) => self.epoch.saturating_sub(1) as f64 + done as f64 / all.max(1) as f64,
            None => self.epoch as f64,
        }
    }

    /// The longest form that fits in `columns`; the shortest one may be longer.
    pub(crate) fn to_line(self, columns: usize) -> String {
        let long = self.long();
        let bars = BARS.map(|width| format!("{} {long}", self.bar(width)));
        let mut forms: Vec<String> = bars.into_iter().chain([long, self.medium()]).collect();
        forms.extend(self.short());
        let fits = |form: &String| form.chars().count() <= columns;
        let shortest = forms.last().cloned().unwrap_or_default();
        forms.into_iter().find(fits).unwrap_or(shortest)
    }

    /// `epoch 3/500  step 1,234/28,409  perplexity 12.34  45,210 tokens/s  2h 13m left`.
    pub(crate) fn long(&self) -> String {
        let mut parts = vec![format!("epoch {}/{}", self.epoch, self.epochs)];
        if let Some([done, all]) = self.steps {
            parts.push(format!("step {}/{}", human::thousands(done as u64), human::thousands(all as u64)));
        }
        parts.extend(self.perplexity.map(|perplexity| format!("perplexity {}", human::perplexity(perplexity))));
        parts.extend(self.val_perplexity.map(|perplexity| format!("validation {}", human::perplexity(perplexity))));
        parts.extend(self.speed().map(|speed| format!("{} tokens/s", human::thousands(speed))));
        parts.extend(self.left.map(|left| format!("{} left", human::duration(left))));
        parts.join("  ")
    }

    /// `epoch 3/500 step 1234/28409 ppl 12.34 45k tokens/s 2h 13m left`.
    fn medium(&self) -> String {
        let mut parts = vec![format!("epoch {}/{}", self.epoch, self.epochs)];
        parts.extend(self.steps.map(|[done, all]| format!("step {done}/{all}")));
        parts.extend(self.perplexity.map(|perplexity| format!("ppl {}", human::perplexity(perplexity))));
        parts.extend(self.val_perplexity.map(|perplexity| format!("val {}", human::perplexity(perplexity))));
        parts.extend(self.speed().map(|speed| format!("{} tokens/s", human::compact(speed))));
        parts.extend(self.left.map(|left| format!("{} left", human::duration(left))));
        parts.join(" ")
    }

    /// `3/500 1234/28409 ppl 12.34 45k/s 2h 13m`, then forms with a percentage in place of the steps, and with the time alone.
    fn short(&self) -> [String; 3] {
        let epoch = format!("{}/{}", self.epoch, self.epochs);
        let steps = self.steps.map(|[done, all]| format!("{done}/{all}"));
        let percent = self.steps.map(|[done, all]| format!("{}%", 100 * done / all.max(1)));
        let perplexity = self.perplexity.map(|perplexity| format!("ppl {}", human::perplexity(perplexity)));
        let speed = self.speed().map(|speed| format!("{}/s", human::compact(speed)));
        let left = self.left.map(human::duration);
        [
            vec![Some(epoch.clone()), steps, perplexity.clone(), speed.clone(), left.clone()],
            vec![Some(epoch.clone()), percent.clone(), perplexity, speed, left.clone()],
            vec![Some(epoch), percent, left],
        ]
        .map(|parts| parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }

    /// The speed, unless no time has passed.
    fn speed(&self) -> Option<u64> {
        (self.tokens_per_second.is_finite() && self.tokens_per_second > 0.0)
            .then_some(self.tokens_per_second.round() as u64)
    }

    fn bar(&self, width: usize) -> String {
        let filled = (self.done() / self.epochs.max(1) as f64 * width as f64) as usize;
        let filled = filled.min(width);
        format!("{}{}", "█".repeat(filled), "░".repeat(width - filled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: Status = Status {
        epoch: 3,
        epochs: 500,
        steps: Some([1234, 28_409]),
        perplexity: Some(12.34),
        val_perplexity: None,
        tokens_per_second: 45_210.0,
        left: Some(Duration::from_secs(7980)),
    };

    #[test]
    fn a_line_has_the_form_that_fits() {
        let long = "epoch 3/500  step 1,234/28,409  perplexity 12.34  45,210 tokens/s  2h 13m left";
        assert_eq!(STATUS.to_line(100), format!("{} {long}", "░".repeat(20)));
        assert_eq!(STATUS.to_line(80), long);
        assert_eq!(STATUS.to_line(70), "epoch 3/500 step 1234/28409 ppl 12.34 45k tokens/s 2h 13m left");
        assert_eq!(STATUS.to_line(40), "3/500 1234/28409 ppl 12.34 45k/s 2h 13m");
        let after = Status { steps: None, val_perplexity: Some(13.5), ..STATUS };
        assert_eq!(after.to_line(80), "epoch 3/500  perplexity 12.34  validation 13.50  45,210 tokens/s  2h 13m left");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let large = Status {
            epoch: 99_999,
            epochs: 100_000,
            steps: Some([12_345_678, 98_765_432]),
            perplexity: Some(1.234e300),
            val_perplexity: Some(1e7),
            tokens_per_second: 1_234_567_890.0,
            left: Some(Duration::from_secs(86_400 * 1000)),
        };
        let small = Status { epoch: 1, epochs: 1, steps: Some([0, 1]), perplexity: None, ..STATUS };
        for status in [STATUS, large, small, Status { left: None, ..large }, Status { steps: None, ..large }] {
            for columns in 40..200 {
                let line = status.to_line(columns);
                assert!(line.chars().count() <= columns, "{columns}: {line}");
                assert!(line.contains(&format!("{}/{}", status.epoch, status.epochs)), "{line}");
            }
        }
    }

    #[test]
    fn the_bar_shows_the_part_of_the_run_that_is_done() {
        let half = Status { epoch: 2, epochs: 3, steps: Some([50, 100]), ..STATUS };
        assert_eq!((half.done(), half.bar(10)), (1.5, "█████░░░░░".to_owned()));
        let end = Status { epoch: 3, epochs: 3, steps: None, ..STATUS };
        assert_eq!((end.done(), end.bar(4)), (3.0, "████".to_owned()));
    }
}
