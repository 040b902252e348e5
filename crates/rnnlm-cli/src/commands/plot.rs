//! `rnnlm plot`: draws the perplexity curves of several runs into one chart.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rnnlm_model::{Error, Metrics, Run};

use crate::chart::{self, Curves};
use crate::failure::{Exit, Failure, Result};
use crate::output;
use crate::progress::error_line;

const EXAMPLES: &str = "\
Examples:
  rnnlm plot runs/sample-rnn-1 runs/sample-gru-1 --out compared.svg
  rnnlm plot runs/* --out all.svg";

/// Draw the perplexity of runs by epoch as one SVG chart.
///
/// The perplexity on a validation set is a dashed line.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlotArgs {
    /// Folders of the runs.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// File to write, whose name ends with .svg. An existing one is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(args: &PlotArgs) -> Result<Exit> {
    let out = args.out.display();
    if args.out.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("svg")) {
        return Err(Failure::usage(format!("--out `{out}` does not end with .svg, the only format")));
    }
    let mut curves = Vec::new();
    for (path, name) in args.runs.iter().zip(names(&args.runs)) {
        let of_run = Curves::new(&metrics(path)?);
        if of_run.is_empty() {
            error_line(&format!("warning: `{}` is left out: it has no finished epoch", path.display()));
        } else {
            curves.push((name, of_run));
        }
    }
    let svg = chart::overlay(&curves).ok_or_else(|| {
        Failure::failed("no run has a perplexity to draw")
            .with_hint("a run has one after its first epoch, or after a thousand minibatches of a long epoch")
    })?;
    fs::write(&args.out, svg).map_err(|error| Failure::failed(format!("`{out}` cannot be written: {error}")))?;
    output::line(&format!("chart {out}"))?;
    Ok(Exit::Success)
}

/// The lines of a run's metrics; none for an imported run, or before the first line.
fn metrics(path: &Path) -> Result<Vec<Metrics>> {
    match Run::open(path)?.all_metrics() {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        metrics => Ok(metrics?),
    }
}

/// The names of the runs in the chart: those of their folders, or their paths if two have the same name.
fn names(runs: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let names: Vec<_> = runs.iter().map(name).collect();
    let is_unique = |name: &Option<String>| name.is_some() && names.iter().filter(|other| *other == name).count() == 1;
    let label = |(path, name): (&PathBuf, &Option<String>)| match name {
        Some(unique) if is_unique(name) => unique.clone(),
        _ => path.display().to_string(),
    };
    runs.iter().zip(&names).map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_by_their_folders_unless_two_have_the_same_name() {
        let runs = ["runs/a", "old/a/", "runs/b", "."].map(PathBuf::from);
        assert_eq!(names(&runs), ["runs/a", "old/a/", "b", "."]);
    }
}
