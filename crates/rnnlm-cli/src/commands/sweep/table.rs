//! The results of the runs of a sweep, the best first.

use std::path::{Path, PathBuf};

use rnnlm_model::Run;
use serde_json::{Map, Value, json};

use super::grid::Combination;
use crate::human;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Complete,
    /// With the error.
    Failed(String),
    /// By a signal, or not yet started.
    Incomplete,
}

impl Status {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed(_) => "failed",
            Self::Incomplete => "incomplete",
        }
    }
}

/// The result of a run.
#[derive(Clone, Debug)]
pub(super) struct RunResult {
    pub(super) combination: Combination,
    pub(super) path: PathBuf,
    pub(super) status: Status,
    epochs: u64,
    /// The training perplexity of the last epoch.
    perplexity: Option<f64>,
    /// The best perplexity on the validation set, and its epoch.
    best: Option<(f64, u64)>,
    /// Time of all epochs.
    seconds: f64,
    tokens_per_second: Option<f64>,
}

impl RunResult {
    /// Reads the metrics of the run in `path`; a run that did not start has none.
    pub(super) fn read(combination: Combination, path: PathBuf, status: Status) -> Self {
        let metrics = Run::open(&path).and_then(|run| run.all_metrics()).unwrap_or_default();
        let epochs: Vec<_> = metrics.iter().filter(|line| line.minibatch.is_none()).collect();
        let last = epochs.last();
        let validated = epochs.iter().filter_map(|line| Some((line.val_perplexity?, line.epoch)));
        Self {
            combination,
            path,
            status,
            epochs: last.map_or(0, |line| line.epoch),
            perplexity: last.map(|line| line.perplexity),
            best: validated.min_by(|a, b| a.0.total_cmp(&b.0)),
            // a sum of no `f64` is −0
            seconds: epochs.iter().fold(0.0, |sum, line| sum + line.seconds),
            tokens_per_second: last.map(|line| line.tokens_per_second),
        }
    }

    fn to_json(&self) -> Value {
        let settings: Map<String, Value> =
            self.combination.iter().map(|(name, value)| (name.replace('-', "_"), json!(value))).collect();
        let error = match &self.status {
            Status::Failed(error) => Some(error),
            Status::Complete | Status::Incomplete => None,
        };
        json!({
            "settings": settings,
            "run_dir": self.path.display().to_string(),
            "status": self.status.as_str(),
            "error": error,
            "val_perplexity": self.best.map(|(perplexity, _)| perplexity),
            "val_nats_per_token": self.best.map(|(perplexity, _)| libm::log(perplexity)),
            "best_epoch": self.best.map(|(_, epoch)| epoch),
            "perplexity": self.perplexity,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second,
        })
    }
}

/// The results of a sweep.
#[derive(Clone, Debug)]
pub(super) struct Table {
    results: Vec<RunResult>,
}

impl Table {
    /// Sorts the results: by the best perplexity on the validation set, or by the training perplexity if a run has no
    /// validation set. Runs without a result are the last.
    pub(super) fn new(mut results: Vec<RunResult>) -> Self {
        let is_validated = results.iter().all(|result| result.best.is_some() || result.perplexity.is_none());
        let key = |result: &RunResult| {
            let perplexity = if is_validated { result.best.map(|(best, _)| best) } else { result.perplexity };
            (result.status != Status::Complete, perplexity.unwrap_or(f64::INFINITY))
        };
        results.sort_by(|a, b| {
            let ((a_incomplete, a), (b_incomplete, b)) = (key(a), key(b));
            a_incomplete.cmp(&b_incomplete).then(a.total_cmp(&b))
        });
        Self { results }
    }

    pub(super) fn to_json(&self, folder: &Path) -> Value {
        let runs: Vec<Value> = self.results.iter().map(RunResult::to_json).collect();
        json!({ "sweep_dir": folder.display().to_string(), "runs": runs })
    }

    /// One line a run, in aligned columns.
    pub(super) fn to_text(&self) -> String {
        let first = self.results.first();
        let names = first.iter().flat_map(|result| result.combination.iter().map(|(name, _)| name.clone()));
        let mut titles: Vec<String> = names.collect();
        let own = ["val perplexity", "val nats", "best epoch", "perplexity", "epochs", "seconds", "tokens/s", "status"];
        titles.extend(own.map(str::to_owned));
        let rows = self.results.iter().map(|result| {
            let unknown = || "-".to_owned();
            let values = result.combination.iter().map(|(_, value)| value.clone());
            let mut row: Vec<String> = values.collect();
            row.extend([
                result.best.map_or_else(unknown, |(perplexity, _)| human::perplexity(perplexity)),
                result.best.map_or_else(unknown, |(perplexity, _)| format!("{:.4}", libm::log(perplexity))),
                result.best.map_or_else(unknown, |(_, epoch)| epoch.to_string()),
                result.perplexity.map_or_else(unknown, human::perplexity),
                result.epochs.to_string(),
                format!("{:.1}", result.seconds),
                result.tokens_per_second.map_or_else(unknown, |rate| human::thousands(rate.round() as u64)),
                result.status.as_str().to_owned(),
            ]);
            row
        });
        let rows: Vec<Vec<String>> = std::iter::once(titles).chain(rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            cells.collect::<Vec<_>>().join("  ")
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The number of runs that failed.
    pub(super) fn num_failed(&self) -> usize {
        self.results.iter().filter(|result| matches!(result.status, Status::Failed(_))).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &str, best: Option<f64>, perplexity: Option<f64>, status: Status) -> RunResult {
        let combination = vec![("lr".to_owned(), name.to_owned())];
        let read = RunResult::read(combination, PathBuf::from("no run"), status);
        RunResult { best: best.map(|best| (best, 2)), perplexity, ..read }
    }

    fn order(results: Vec<RunResult>) -> Vec<String> {
        let table = Table::new(results);
        table.results.iter().map(|result| result.combination[0].1.clone()).collect()
    }

    #[test]
    fn the_best_run_is_the_first_and_failed_ones_are_the_last() {
        let failed = || Status::Failed("no".to_owned());
        let validated = vec![
            result("a", None, None, failed()),
            result("b", Some(3.0), Some(1.0), Status::Complete),
            result("c", Some(2.0), Some(2.0), Status::Complete),
            result("d", Some(1.0), Some(2.0), Status::Incomplete),
        ];
        assert_eq!(order(validated), ["c", "b", "d", "a"]);
        // without a validation set, the training perplexity counts
        let trained =
            vec![result("a", None, Some(4.0), Status::Complete), result("b", None, Some(3.0), Status::Complete)];
        assert_eq!(order(trained), ["b", "a"]);
    }

    #[test]
    fn columns_are_aligned() {
        let table = Table::new(vec![result("0.001", Some(2.0), Some(2.5), Status::Complete)]);
        let text = table.to_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), lines[1].len(), "{text}");
        assert!(lines[1].contains("0.001") && lines[1].contains("0.6931") && lines[1].contains("2.500"), "{text}");
    }
}
