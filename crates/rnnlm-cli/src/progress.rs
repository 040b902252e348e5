//! What is said on standard error while work goes on: a bar on a terminal, plain lines elsewhere, nothing if asked.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rnnlm_model::EpochReport;

use crate::format;

/// A line on standard error. A reader that has gone away is no reason to stop.
pub(crate) fn error_line(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// The progress of a training.
#[derive(Debug)]
pub(crate) struct Training {
    quiet: bool,
    bar: Option<ProgressBar>,
    epochs: u64,
    /// Where there is no bar, a line every so many epochs.
    every: u64,
}

impl Training {
    pub(crate) fn new(epochs: u64, done: u64, sample_every: u64, quiet: bool) -> Self {
        let bar = (!quiet && stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(epochs).with_position(done);
            let template = "{bar:28} epoch {pos}/{len}  {msg}  {eta} left";
            bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let every = if sample_every > 0 { sample_every } else { (epochs / 20).max(1) };
        Self { quiet, bar, epochs, every }
    }

    /// A line that stays; above the bar where there is one.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.warn(text);
        }
    }

    /// A line that `--quiet` does not silence.
    pub(crate) fn warn(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => error_line(text),
        }
    }

    /// An epoch is done.
    pub(crate) fn epoch(&self, report: &EpochReport) {
        let perplexity = format::perplexity(report.perplexity);
        let speed = format::thousands(report.tokens_per_second().round() as u64);
        let held_out = report.val_perplexity.map(|perplexity| format!("  held out {}", format::perplexity(perplexity)));
        let held_out = held_out.unwrap_or_default();
        match &self.bar {
            Some(bar) => {
                bar.set_position(report.epoch);
                bar.set_message(format!("perplexity {perplexity}{held_out}  {speed} tokens/s"));
            }
            None if report.epoch == 1 || report.epoch.is_multiple_of(self.every) || report.epoch == self.epochs => {
                self.say(&format!(
                    "epoch {}/{}  perplexity {perplexity}{held_out}  {speed} tokens/s",
                    report.epoch, self.epochs
                ));
            }
            None => {}
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The progress of a download.
#[derive(Debug)]
pub(crate) struct Download {
    name: String,
    bar: Option<ProgressBar>,
}

impl Download {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), bar: None }
    }

    pub(crate) fn update(&mut self, have: u64, total: u64) {
        let name = &self.name;
        let bar = self.bar.get_or_insert_with(|| {
            error_line(&format!("downloading {name}, {}", format::bytes(total.into())));
            ProgressBar::new(total)
        });
        bar.set_position(have);
        if have >= total {
            bar.finish_and_clear();
        }
    }
}
