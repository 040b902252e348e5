//! Progress on standard error: a bar on a terminal, plain lines elsewhere, nothing with `--quiet`.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rnnlm_model::EpochReport;

use crate::human;
use crate::terminal::Escaped;

/// Writes a line to standard error. Control characters are escaped on a terminal. A closed standard error does not stop
/// the program.
pub(crate) fn error_line(line: &str) {
    error_text(&format!("{}\n", Escaped::line(line).on_stderr()));
}

/// Writes text to standard error as it is.
pub(crate) fn error_text(text: &str) {
    let _ = stderr().write_all(text.as_bytes());
}

/// The progress of a training run.
#[derive(Debug)]
pub(crate) struct TrainingProgress {
    quiet: bool,
    bar: Option<ProgressBar>,
    epochs: u64,
    /// Epochs between two lines, if there is no bar.
    line_every: u64,
}

impl TrainingProgress {
    /// Progress of a run of `epochs` epochs, `done` of which are complete.
    pub(crate) fn new(epochs: u64, done: u64, sample_every: u64, quiet: bool) -> Self {
        let bar = (!quiet && stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(epochs).with_position(done);
            // `wide_msg` is cut at the width of the terminal; a line that wraps would not be redrawn correctly
            let template = "{bar:20} epoch {pos}/{len}  {eta} left  {wide_msg}";
            bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let line_every = if sample_every > 0 { sample_every } else { (epochs / 20).max(1) };
        Self { quiet, bar, epochs, line_every }
    }

    /// Prints a line above the bar, except with `--quiet`.
    pub(crate) fn info(&self, text: &str) {
        if !self.quiet {
            self.warn(text);
        }
    }

    /// Prints a line above the bar, also with `--quiet`.
    pub(crate) fn warn(&self, line: &str) {
        self.print(&Escaped::line(line).on_stderr());
    }

    /// Prints a text that can have several lines above the bar, except with `--quiet`.
    pub(crate) fn text(&self, text: &str) {
        if !self.quiet {
            self.print(&Escaped::text(text).on_stderr());
        }
    }

    fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => error_text(&format!("{text}\n")),
        }
    }

    /// Shows the result of an epoch.
    pub(crate) fn epoch(&self, report: &EpochReport) {
        let perplexity = human::perplexity(report.perplexity);
        let speed = human::thousands(report.tokens_per_second().round() as u64);
        let validation =
            report.val_perplexity.map(|perplexity| format!("  validation {}", human::perplexity(perplexity)));
        let message = format!("perplexity {perplexity}{}  {speed} tokens/s", validation.unwrap_or_default());
        let epoch = report.epoch;
        match &self.bar {
            Some(bar) => {
                bar.set_position(epoch);
                bar.set_message(message);
            }
            None if epoch == 1 || epoch.is_multiple_of(self.line_every) || epoch == self.epochs => {
                self.info(&format!("epoch {epoch}/{}  {message}", self.epochs));
            }
            None => {}
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The progress of a download.
#[derive(Debug)]
pub(crate) struct DownloadProgress {
    name: String,
    bar: Option<ProgressBar>,
}

impl DownloadProgress {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), bar: None }
    }

    /// Shows that `received` of `total` bytes have arrived.
    pub(crate) fn update(&mut self, received: u64, total: u64) {
        let name = &self.name;
        let bar = self.bar.get_or_insert_with(|| {
            error_line(&format!("downloading {name}, {}", human::bytes(total.into())));
            ProgressBar::new(total)
        });
        bar.set_position(received);
        if received >= total {
            bar.finish_and_clear();
        }
    }
}
