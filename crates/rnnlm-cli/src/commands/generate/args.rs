//! The arguments of `rnnlm generate`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use rnnlm_model::sampler::FilterName;

use crate::args::{Compute, SavedModel};
use crate::prefix::{PrefixText, Unknown};
use crate::values::{Seed, at_least_one, finite_f64, non_negative_f64, positive_f64, positive_fraction, unit_interval};

const EXAMPLES: &str = "\
Examples:
  rnnlm generate runs/sample-rnn-1
  rnnlm generate runs/sample-rnn-1 --prefix 'the tide ' --temperature 0.7
  rnnlm generate runs/names --num-samples 20 --temperature 1 --unique
  rnnlm generate runs/names --regex '[a-z]{3,6}' --temperature 1
  rnnlm generate runs/sample-rnn-1 --beam 8 --num-results 3

docs/sampling.md shows what each option does.";

/// Generate text with a trained model.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(super) model: SavedModel,
    /// Text to continue, repeatable; an empty prefix starts from the most frequent token, or starts a document. Escapes:
    /// \n, \t, \xNN for a byte, \u{…} for a character, \\ for a backslash [default: the prefix of the run's samples, or
    /// `time traveller` for timemachine and sample, or the start of a line].
    #[arg(long = "prefix", value_name = "TEXT")]
    pub(super) prefixes: Vec<PrefixText>,
    /// File with the text to continue, which is used as it is, with its last line end; - for standard input.
    #[arg(long, value_name = "FILE|-", conflicts_with = "prefixes")]
    pub(super) prefix_file: Option<PathBuf>,
    /// Maximum number of tokens to generate [default: 50; 1000 for a run on documents, which end earlier].
    #[arg(long, value_name = "N")]
    pub(super) num_tokens: Option<usize>,
    /// Number of samples of each prefix, decoded as one batch. A sample depends only on the seed and the numbers of its
    /// prefix and sample.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub(super) num_samples: usize,
    /// Sampling temperature: 0 takes the most probable token, 1 samples from the model's distribution, larger values
    /// flatten it.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = non_negative_f64,
          allow_negative_numbers = true)]
    pub(super) temperature: f64,
    /// Seed for sampling; `random` draws one and prints it.
    #[arg(long, value_name = "N|random", default_value = "0")]
    pub(super) seed: Seed,
    /// Handling of tokens in the prefix that are not in the vocabulary.
    #[arg(long, value_enum, default_value = "unk")]
    pub(super) unknown: Unknown,
    #[command(flatten)]
    pub(super) filters: FilterArgs,
    #[command(flatten)]
    pub(super) ends: EndArgs,
    #[command(flatten)]
    pub(super) beam: BeamArgs,
    /// Format of the result on standard output.
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    pub(super) format: Format,
    /// Report the K most probable tokens and their log-probabilities at each token; needs JSON.
    #[arg(long, value_name = "K", help_heading = "Output")]
    pub(super) logprobs: Option<usize>,
    #[command(flatten)]
    pub(super) compute: Compute,
}

// clap would take a doc comment on a flattened struct as the text of the command
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters of the next token")]
pub(super) struct FilterArgs {
    /// Keep the K most probable tokens; 0 keeps all.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(super) top_k: usize,
    /// Keep the most probable tokens until their probabilities sum to P, with the token that reaches P.
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = positive_fraction)]
    pub(super) top_p: f64,
    /// Keep the tokens with at least P times the largest probability.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = unit_interval, allow_negative_numbers = true)]
    pub(super) min_p: f64,
    /// Keep the tokens whose information is closest to the entropy, until their probabilities sum to P.
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = positive_fraction)]
    pub(super) typical: f64,
    /// Divide positive logits of tokens that occurred by X, and multiply negative ones.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = positive_f64)]
    pub(super) repetition_penalty: f64,
    /// Subtract X from the logits of tokens that were generated.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = finite_f64, allow_negative_numbers = true)]
    pub(super) presence_penalty: f64,
    /// Subtract X from the logit of a token each time it was generated.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = finite_f64, allow_negative_numbers = true)]
    pub(super) frequency_penalty: f64,
    /// Order of the filters, separated by commas or semicolons, for example `top-k,top-p,temperature` [default:
    /// repetition-penalty, presence-penalty, frequency-penalty, temperature, top-k, top-p, min-p, typical].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) samplers: Option<Vec<FilterNames>>,
    /// Add X to the logit of a token, repeatable. Escapes as in --prefix.
    #[arg(long = "logit-bias", value_name = "TOKEN=X")]
    pub(super) biases: Vec<Bias>,
    /// Never generate this token, repeatable. Escapes as in --prefix.
    #[arg(long = "ban", value_name = "TOKEN")]
    pub(super) bans: Vec<PrefixText>,
    /// Allow `<unk>`, which is never generated otherwise.
    #[arg(long)]
    pub(super) allow_unknown: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Ends and content of the text")]
pub(super) struct EndArgs {
    /// End the text before TEXT, repeatable. Escapes as in --prefix.
    #[arg(long, value_name = "TEXT", value_parser = non_empty)]
    pub(super) stop: Vec<PrefixText>,
    /// End the text where its document ends; the default for a run on documents.
    #[arg(long)]
    pub(super) until_document_end: bool,
    /// Continue with the next document where a document ends, up to --num-tokens.
    #[arg(long, conflicts_with = "until_document_end")]
    pub(super) across_documents: bool,
    /// Generate only texts that are not documents, or lines, of FILE.
    #[arg(long, value_name = "FILE")]
    pub(super) not_in: Option<PathBuf>,
    /// Generate no text twice.
    #[arg(long)]
    pub(super) unique: bool,
    /// Generate only texts that match the whole regular expression R, in the syntax of the crate `regex`. The prefix does
    /// not count.
    #[arg(long, value_name = "R")]
    pub(super) regex: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Beam search")]
pub(super) struct BeamArgs {
    /// Search for the most probable text with a beam of K hypotheses, instead of sampling.
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    pub(super) beam: Option<usize>,
    /// Divide the log-probability of a text of L tokens by L to the power of X, so that longer texts are not worse.
    #[arg(long, value_name = "X", default_value_t = 0.75, value_parser = non_negative_f64,
          allow_negative_numbers = true, requires = "beam")]
    pub(super) length_penalty: f64,
    /// Number of texts to print, each after its score and its log-probability, the best first.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = at_least_one, requires = "beam")]
    pub(super) num_results: usize,
}

/// The format of generated text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// The texts, the only one as it is generated.
    Text,
    /// One JSON object, or an array of several.
    Json,
    /// One JSON object per line, each when its text is complete.
    Jsonl,
}

/// Names of filters between semicolons.
#[derive(Clone, Debug)]
pub(super) struct FilterNames(pub(super) Vec<FilterName>);

impl FromStr for FilterNames {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(';').map(|name| name.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

/// The value of `--logit-bias`.
#[derive(Clone, Debug)]
pub(super) struct Bias {
    pub(super) token: PrefixText,
    pub(super) bias: f64,
}

impl FromStr for Bias {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (token, bias) = text.rsplit_once('=').ok_or("expected TOKEN=X, for example e=-2")?;
        Ok(Self { token: token.parse()?, bias: finite_f64(bias)? })
    }
}

fn non_empty(text: &str) -> Result<PrefixText, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { text.parse() }
}
