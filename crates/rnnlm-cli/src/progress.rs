//! Progress on standard error: a line that is redrawn on a terminal, some lines elsewhere, nothing with `--quiet`.

use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use rnnlm_model::{EpochProgress, EpochReport};

use crate::human;
use crate::status_line::Status;
use crate::terminal::Escaped;

/// Writes a line to standard error. Control characters are escaped on a terminal. A closed standard error does not stop
/// the program.
pub(crate) fn error_line(line: &str) {
    error_text(&format!("{}\n", Escaped::line(line).on_stderr()));
}

/// Writes text to standard error as it is.
pub(crate) fn error_text(text: &str) {
    if SILENT.load(Ordering::Relaxed) {
        return;
    }
    let _ = stderr().write_all(text.as_bytes());
}

/// Time between two changes of a line on a terminal.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two lines if standard error is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// The progress of reading a text is shown after this time.
const READING_DELAY: Duration = Duration::from_millis(500);

static QUIET: AtomicBool = AtomicBool::new(false);

static SILENT: AtomicBool = AtomicBool::new(false);

/// Suppresses everything on standard error, for a process whose messages another one prints, or ends that.
pub(crate) fn set_silent(is_silent: bool) {
    SILENT.store(is_silent, Ordering::Relaxed);
}

/// Suppresses the progress of reading texts, for `--quiet`.
pub(crate) fn set_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether progress is suppressed.
pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// The number of columns for a line that is redrawn: those of the terminal of standard error, without two for the `^C` that
/// the terminal adds. A line that wraps would not be redrawn correctly.
fn columns() -> usize {
    let columns = terminal_size::terminal_size_of(stderr()).map_or(80, |(width, _)| usize::from(width.0));
    columns.saturating_sub(2)
}

/// The start of `text` that fits in `columns`, whatever the width of its characters.
fn cut(text: &str, columns: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += if c.is_ascii() { 1 } else { 2 };
        used <= columns
    };
    text.chars().take_while(fits).collect()
}

/// Moves to the start of the line and erases it.
const ERASE_LINE: &str = "\r\x1b[2K";

/// A line at the bottom of a terminal that is redrawn in place. Nothing follows its last character, so that the `^C` of an
/// interrupt stays on the line and is erased with it.
#[derive(Debug, Default)]
struct TerminalLine {
    text: Mutex<String>,
}

impl TerminalLine {
    /// An empty line; `None` if standard error is not a terminal that can redraw one.
    fn new() -> Option<Self> {
        let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        let is_silent = SILENT.load(Ordering::Relaxed);
        (stderr().is_terminal() && !is_dumb && !is_silent).then(Self::default)
    }

    /// Replaces the text.
    fn set(&self, text: String) {
        let mut current = self.text();
        let _ = stderr().write_all(format!("{ERASE_LINE}{text}").as_bytes());
        *current = text;
    }

    /// Prints a line above.
    fn print_above(&self, line: &str) {
        let text = self.text();
        let _ = stderr().write_all(format!("{ERASE_LINE}{line}\n{text}").as_bytes());
    }

    /// Erases the line.
    fn erase(&self) {
        self.set(String::new());
    }

    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The progress of a training run.
#[derive(Debug)]
pub(crate) struct TrainingProgress {
    quiet: bool,
    line: Option<TerminalLine>,
    epochs: u64,
    state: Mutex<TrainingState>,
}

/// What changes during a training run.
#[derive(Debug)]
struct TrainingState {
    start: Instant,
    /// Epochs that were done at the start, with the part of the current one.
    done_at_start: Option<f64>,
    /// When the status was shown last, or when the clock was started.
    shown: Option<Instant>,
    /// Whether the status was ever shown.
    is_shown: bool,
    /// Perplexity on the validation set after the last epoch.
    val_perplexity: Option<f64>,
}

impl TrainingProgress {
    /// Progress of a run of `epochs` epochs.
    pub(crate) fn new(epochs: u64, quiet: bool) -> Self {
        let state = TrainingState {
            start: Instant::now(),
            done_at_start: None,
            shown: None,
            is_shown: false,
            val_perplexity: None,
        };
        let line = if quiet { None } else { TerminalLine::new() };
        Self { quiet, line, epochs, state: Mutex::new(state) }
    }

    /// Prints a line above the status line, except with `--quiet`.
    pub(crate) fn info(&self, text: &str) {
        if !self.quiet {
            self.warn(text);
        }
    }

    /// Prints a line above the status line, also with `--quiet`.
    pub(crate) fn warn(&self, line: &str) {
        self.print(&Escaped::line(line).on_stderr());
    }

    /// Prints a text that can have several lines above the status line, except with `--quiet`.
    pub(crate) fn text(&self, text: &str) {
        if !self.quiet {
            self.print(&Escaped::text(text).on_stderr());
        }
    }

    fn print(&self, text: &str) {
        match &self.line {
            Some(line) => line.print_above(text),
            None => error_text(&format!("{text}\n")),
        }
    }

    /// Starts the clock of the estimated time. `done` epochs are complete, with a part of the current one.
    pub(crate) fn start(&self, done: f64) {
        let mut state = self.state();
        state.start = Instant::now();
        state.done_at_start = Some(done);
        if self.line.is_none() {
            // the first line within an epoch is due after an interval, as all others
            state.shown = Some(state.start);
        }
    }

    /// Shows the progress within an epoch, now and then.
    pub(crate) fn step(&self, progress: &EpochProgress) {
        if self.quiet || !self.is_due() {
            return;
        }
        self.show(Status::within_epoch(self.epochs, progress));
    }

    /// Shows the result of an epoch, now and then. It is shown at once if it is the first status, or the last on a
    /// terminal.
    pub(crate) fn epoch(&self, report: &EpochReport) {
        self.state().val_perplexity = report.val_perplexity;
        let is_last_on_terminal = self.line.is_some() && report.epoch == self.epochs;
        let is_first = !self.state().is_shown;
        if self.quiet || !(is_first || is_last_on_terminal || self.is_due()) {
            return;
        }
        self.show(Status::after_epoch(self.epochs, report));
    }

    fn is_due(&self) -> bool {
        let interval = if self.line.is_some() { REDRAW_INTERVAL } else { LINE_INTERVAL };
        self.state().shown.is_none_or(|shown| shown.elapsed() >= interval)
    }

    fn show(&self, status: Status) {
        let mut state = self.state();
        state.shown = Some(Instant::now());
        state.is_shown = true;
        let done = status.done() - state.done_at_start.unwrap_or(0.0);
        let left = (self.epochs as f64 - status.done()).max(0.0);
        let seconds = state.start.elapsed().as_secs_f64() * left / done;
        let status = Status {
            val_perplexity: status.val_perplexity.or(state.val_perplexity),
            left: Duration::try_from_secs_f64(seconds).ok(),
            ..status
        };
        match &self.line {
            Some(line) => line.set(status.to_line(columns()).chars().take(columns()).collect()),
            None => error_line(&status.long()),
        }
    }

    fn state(&self) -> MutexGuard<'_, TrainingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the status line.
    pub(crate) fn finish(&self) {
        if let Some(line) = &self.line {
            line.erase();
        }
    }
}

/// The progress of reading a text. It is shown if reading takes longer than a moment.
#[derive(Debug)]
pub(crate) struct ReadingProgress {
    /// What is done with the text, such as `reading`.
    activity: &'static str,
    name: String,
    /// The length of the text in bytes, if it is known.
    total: Option<u64>,
    line: Option<TerminalLine>,
    /// When the next line is due.
    due: Instant,
}

impl ReadingProgress {
    pub(crate) fn new(name: &str, total: Option<u64>) -> Self {
        Self::of_activity("reading", name, total)
    }

    /// The progress of doing something else with a text.
    pub(crate) fn of_activity(activity: &'static str, name: &str, total: Option<u64>) -> Self {
        Self { activity, name: name.to_owned(), total, line: None, due: Instant::now() + READING_DELAY }
    }

    /// Shows that `bytes` bytes have been read.
    pub(crate) fn update(&mut self, bytes: u64) {
        let now = Instant::now();
        if now < self.due || is_quiet() {
            return;
        }
        let total = self.total.map(|total| format!(" of {}", human::bytes(total.into()))).unwrap_or_default();
        let name = Escaped::line(&self.name).on_stderr();
        let text = match self.activity {
            "reading" => format!("reading {}{total} from {name}", human::bytes(bytes.into())),
            activity => format!("{activity} {name}: {}{total}", human::bytes(bytes.into())),
        };
        self.line = self.line.take().or_else(TerminalLine::new);
        match &self.line {
            Some(line) => line.set(cut(&text, columns())),
            None => error_line(&text),
        }
        self.due = now + if self.line.is_some() { REDRAW_INTERVAL } else { LINE_INTERVAL };
    }
}

impl Drop for ReadingProgress {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.erase();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_the_width_of_the_terminal() {
        assert_eq!(cut("reading 1.0 MB from a.txt", 14), "reading 1.0 MB");
        assert_eq!(cut("日本語", 5), "日本");
        assert_eq!(cut("short", 40), "short");
    }
}
