//! `rnnlm plot`: draws the perplexity curves of several runs into one chart.

use std::path::PathBuf;
use std::{fs, io};

use clap::ValueEnum;
use rnnlm_model::{Error, Metrics, Run, TokenSize, TokenSizes};

use crate::chart::{self, Curves};
use crate::failure::{Exit, Failure, Result};
use crate::progress::error_line;
use crate::{human, output};

const EXAMPLES: &str = "\
Examples:
  rnnlm plot runs/sample-rnn-1 runs/sample-gru-1 --out compared.svg
  rnnlm plot runs/* --out all.svg
  rnnlm plot runs/words runs/subwords --per byte --out compared.svg";

/// Draw the perplexity of runs by epoch as one SVG chart.
///
/// The perplexity on a validation set is a dashed line. The last perplexity of each run is printed, with its bits per character
/// and per byte.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlotArgs {
    /// Folders of the runs.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// File to write, whose name ends with .svg. An existing one is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Unit of the perplexity. Runs with different tokens can be compared by characters and bytes only.
    #[arg(long, value_enum, default_value = "token")]
    per: Per,
}

/// The unit of a perplexity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Per {
    Token,
    Char,
    Byte,
}

impl Per {
    /// The name of the perplexity in the chart.
    fn quantity(self) -> &'static str {
        match self {
            Self::Token => "perplexity",
            Self::Char => "perplexity per character",
            Self::Byte => "perplexity per byte",
        }
    }

    /// The numbers of tokens per unit of the text and of the validation set; `None` if they are not known.
    fn tokens(self, sizes: Option<TokenSizes>) -> Option<[f64; 2]> {
        // at a perplexity of 2, a token has one bit
        let per_unit: fn(&TokenSize, f64) -> Option<f64> = match self {
            Self::Token => return Some([1.0; 2]),
            Self::Char => TokenSize::bits_per_char,
            Self::Byte => TokenSize::bits_per_byte,
        };
        let TokenSizes { training, validation } = sizes?;
        Some([per_unit(&training, 2.0)?, per_unit(&validation.unwrap_or(training), 2.0)?])
    }
}

pub(crate) fn run(args: &PlotArgs) -> Result<Exit> {
    let out = args.out.display();
    if args.out.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("svg")) {
        return Err(Failure::usage(format!("--out `{out}` does not end with .svg, the only format")));
    }
    let (mut curves, mut results, mut vocabularies) = (Vec::new(), Vec::new(), Vec::new());
    for (path, name) in args.runs.iter().zip(names(&args.runs)) {
        let run = Run::open(path)?;
        let metrics = metrics(&run)?;
        let of_run = Curves::new(&metrics);
        let sizes = run.config().ok().and_then(|config| config.sizes);
        let left_out = |reason: &str| error_line(&format!("warning: `{}` is left out: {reason}", path.display()));
        if of_run.is_empty() {
            left_out("it has no finished epoch");
        } else if let Some(tokens) = args.per.tokens(sizes) {
            results.extend(result(&name, &metrics, sizes));
            vocabularies.push(run.vocab().clone());
            curves.push((name, of_run.raised(tokens)));
        } else {
            left_out("it does not have the size of its text, because an older version trained it");
        }
    }
    let has_other_tokens = vocabularies.iter().any(|vocab| vocab.difference(&vocabularies[0]).is_some());
    if args.per == Per::Token && has_other_tokens {
        error_line("note: the runs have different tokens, so their perplexities cannot be compared; add --per byte");
    }
    let svg = chart::overlay(&curves, args.per.quantity()).ok_or_else(|| {
        Failure::failed("no run has a perplexity to draw")
            .with_hint("a run has one after its first epoch, or after a thousand minibatches of a long epoch")
    })?;
    fs::write(&args.out, svg).map_err(|error| Failure::failed(format!("`{out}` cannot be written: {error}")))?;
    for result in results {
        output::line(&result)?;
    }
    output::line(&format!("chart {out}"))?;
    Ok(Exit::Success)
}

/// The lines of a run's metrics; none for an imported run, or before the first line.
fn metrics(run: &Run) -> Result<Vec<Metrics>> {
    match run.all_metrics() {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        metrics => Ok(metrics?),
    }
}

/// The last perplexities of a run, and their bits.
fn result(name: &str, metrics: &[Metrics], sizes: Option<TokenSizes>) -> Option<String> {
    let last = metrics.iter().rev().find(|line| line.minibatch.is_none())?;
    let with_bits = |perplexity: f64, size: Option<TokenSize>| {
        let bits =
            size.and_then(|size| human::bits(&size, perplexity)).map_or(String::new(), |bits| format!(", {bits}"));
        format!("perplexity {}{bits}", human::perplexity(perplexity))
    };
    let training = with_bits(last.perplexity, sizes.map(|sizes| sizes.training));
    let of_validation = |perplexity| with_bits(perplexity, sizes.and_then(|sizes| sizes.validation));
    let validation =
        last.val_perplexity.map_or(String::new(), |value| format!("; validation {}", of_validation(value)));
    Some(format!("{name}: {training}{validation}"))
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
