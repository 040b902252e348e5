//! The arguments of `rnnlm score`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::record::{Form, NbestList};
use super::unit::{Base, NormalizeBy, Unit};
use crate::args::{Compute, SavedModel};
use crate::failure::{Failure, Result};
use crate::prefix::Unknown;
use crate::values::{below_one_f64, from_zero_to_one, threshold};

const EXAMPLES: &str = "\
Examples:
  rnnlm score runs/names names.txt
  rnnlm score runs/names names.txt --tokens --format jsonl
  tail -f app.log | rnnlm score runs/log --above 2.5 --text
  rnnlm score runs/log --calibrate normal.log --quantile 0.01
  rnnlm score runs/words nbest.moses --nbest moses > rescored.moses";

const DETAILS: &str = "\
Documents:
  A model that was trained on documents reads them as it was trained: each line, or the text between blank lines. The end \
token is the context of the first token, and is scored as the last one. For a model that was trained on a stream, each line \
is a document; the line end is context and last token. If its vocabulary has no line end, the most frequent token is the \
context, and there is no end. The header says which. The text is UTF-8, and may be a pipe: each result is printed as soon as \
it is known. A document has the same score alone and among others.

Scores:
  A log-probability is the sum of ln p over the tokens of a document, the end token included. --base and --normalize-by \
change its column, whose name has the unit. The surprisal is the negative log-probability: larger is stranger. --above, \
--fail-above and --calibrate use bits per character, or with --base or --normalize-by the negative of the column.

Formats:
  tsv      a comment with the settings, the names of the columns, and a row for each document or token
  jsonl    one object in each row; logprob is natural
  kenlm    as `query`: TOKEN=ID 0 LOG10 for each token, Total and OOV for each document, and the perplexities
  srilm    as `ngram -ppl -debug 2`; unknown tokens are OOVs, which its sums leave out
  kaldi    lines ID WORDS become ID COST, where the cost is -ln p
  rnnlm    the log-probability to base 10 of each document
  In kenlm and srilm, the end token is </s>, and white space in tokens is written as <0x20>. Offsets of --tokens are those in \
the document before normalization, in bytes and in characters, from 0.

Exit codes:
  1 if a document is beyond --fail-above, and for the other reasons of `rnnlm --help`.";

/// The value of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ScoreFormat {
    /// Tab-separated values.
    Tsv,
    /// JSON lines.
    Jsonl,
    /// The output of kenlm's `query`.
    Kenlm,
    /// The output of SRILM's `ngram -ppl -debug 2`.
    Srilm,
    /// Utterances and their costs.
    Kaldi,
    /// One log-probability to base 10 in each line.
    Rnnlm,
}

/// Print the log-probability of each line, document or hypothesis.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{DETAILS}"))]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    pub(super) model: SavedModel,
    /// Text to score; - or nothing for standard input.
    #[arg(value_name = "FILE|-")]
    file: Option<PathBuf>,
    /// Format of the results on standard output.
    #[arg(long, value_enum, default_value = "tsv")]
    pub(super) format: ScoreFormat,
    /// Print one row for each token, with offsets, rank and entropy.
    #[arg(long)]
    pub(super) tokens: bool,
    /// Add the text of each document, with escapes as in --prefix.
    #[arg(long, conflicts_with = "tokens")]
    pub(super) text: bool,
    /// Base of the logarithms [default: e].
    #[arg(long, value_enum, value_name = "e|2|10")]
    base: Option<Base>,
    /// What log-probabilities are divided by [default: none].
    #[arg(long, value_enum, value_name = "none|token|char|byte", conflicts_with = "tokens")]
    normalize_by: Option<NormalizeBy>,
    /// Handling of tokens that are not in the vocabulary.
    #[arg(long, value_enum, default_value = "unk")]
    pub(super) unknown: Unknown,
    /// Leave out documents that are not UTF-8, instead of stopping at the first one.
    #[arg(long)]
    pub(super) skip_invalid: bool,
    /// Read an n-best list and print it with scores.
    #[arg(long, value_enum, conflicts_with_all = ["format", "tokens", "text", "above", "fail_above"], help_heading = "N-best lists")]
    nbest: Option<NbestList>,
    /// Mix the probability of each token with that of another model: p = X·ours + (1 − X)·other. FILE has the output of
    /// --tokens, as tsv or jsonl, or one probability in each line. Rank and entropy stay those of this model.
    #[arg(long, value_name = "FILE", requires = "lambda", help_heading = "N-best lists")]
    pub(super) mix: Option<PathBuf>,
    /// Weight X of this model in a mixture.
    #[arg(long, value_name = "X", requires = "mix", value_parser = from_zero_to_one, help_heading = "N-best lists")]
    pub(super) lambda: Option<f64>,
    /// Score the normal documents in FILE, and print the smallest threshold that at most a share of them exceeds.
    #[arg(long, value_name = "FILE|-", requires = "quantile", help_heading = "Thresholds",
          conflicts_with_all = ["file", "format", "tokens", "text", "nbest", "above", "fail_above"])]
    calibrate: Option<PathBuf>,
    /// Share of normal documents beyond the threshold, such as 0.01.
    #[arg(long, value_name = "Q", value_parser = below_one_f64, help_heading = "Thresholds")]
    pub(super) quantile: Option<f64>,
    /// Print only documents whose surprisal is above X.
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = threshold, help_heading = "Thresholds")]
    pub(super) above: Option<f64>,
    /// Exit with code 1 if the surprisal of a document is above X.
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = threshold, help_heading = "Thresholds")]
    pub(super) fail_above: Option<f64>,
    /// Suppress the notes and the summary on standard error.
    #[arg(long, short)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) compute: Compute,
}

impl ScoreArgs {
    /// The file to score; `None` for standard input.
    pub(super) fn file(&self) -> Option<&Path> {
        self.calibrate.as_deref().or(self.file.as_deref()).filter(|path| *path != Path::new("-"))
    }

    /// The n-best list to read; the format `kaldi` is one, too.
    pub(super) fn nbest(&self) -> Option<NbestList> {
        self.nbest.or((self.format == ScoreFormat::Kaldi).then_some(NbestList::Kaldi))
    }

    pub(super) fn form(&self) -> Form {
        self.nbest().map_or(Form::Plain, Form::Nbest)
    }

    /// The unit of the column of the log-probability.
    pub(super) fn unit(&self) -> Unit {
        Unit { base: self.base.unwrap_or(Base::E), normalize_by: self.normalize_by.unwrap_or(NormalizeBy::None) }
    }

    /// The unit of a threshold.
    pub(super) fn threshold_unit(&self) -> Unit {
        if self.base.is_none() && self.normalize_by.is_none() { Unit::BITS_PER_CHAR } else { self.unit() }
    }

    /// An error if flags contradict each other.
    pub(super) fn check(&self) -> Result<()> {
        // `requires` of clap has no effect next to FILE, with which --calibrate conflicts
        if self.quantile.is_some() && self.calibrate.is_none() {
            return Err(Failure::usage("--quantile needs --calibrate FILE, the normal documents"));
        }
        let is_table = self.nbest.is_none() && matches!(self.format, ScoreFormat::Tsv | ScoreFormat::Jsonl);
        let format = self.format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        for (name, is_given) in [("--tokens", self.tokens), ("--text", self.text)] {
            if is_given && !is_table {
                return Err(Failure::usage(format!("{name} needs --format tsv or jsonl, the format is {format}")));
            }
        }
        let has_threshold = self.calibrate.is_some() || self.above.is_some() || self.fail_above.is_some();
        let has_unit = is_table || has_threshold || self.nbest == Some(NbestList::Tsv);
        for (name, is_given) in [("--base", self.base.is_some()), ("--normalize-by", self.normalize_by.is_some())] {
            if is_given && !has_unit {
                return Err(Failure::usage(format!("{name} has no effect: the format has its own unit"))
                    .with_hint("use --format tsv or jsonl, --nbest tsv, or a threshold"));
            }
        }
        Ok(())
    }
}
