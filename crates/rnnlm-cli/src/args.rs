//! The command line: what can be said, with the defaults of the book.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use rnnlm_model::{CellKind, Init, NonlinearityKind};
use rnnlm_vocab::{Normalization, Sampling, TokenKind};

use crate::checkpoint::Interval;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed: a file, a text, memory
  2    the command line makes no sense
  3    training diverged: loss or gradient norm not finite; the last good model is kept
  4    a run is damaged, does not fit, or is from a newer version
  130  interrupted by Ctrl-C or SIGTERM, after saving

Data goes to standard output, progress and errors to standard error. NO_COLOR is honoured.";

const TRAIN_EXAMPLES: &str = "\
Examples:
  rnnlm train                                        no download, half a minute
  rnnlm train --corpus names.txt --epochs 100        a text of your own, as it is
  rnnlm train --corpus timemachine --token word      the book's text, word by word
  cat *.txt | rnnlm train --corpus - --out runs/all  several texts as one
  rnnlm train --resume runs/sample-rnn-1             on from where it was stopped or killed

Ctrl-C stops after the step under way and saves; a second one does not wait. `rnnlm generate` and `rnnlm eval` use a run.";

const GENERATE_EXAMPLES: &str = "\
Examples:
  rnnlm generate runs/sample-rnn-1
  rnnlm generate runs/sample-rnn-1 --prefix 'the tide ' --num-tokens 300 --temperature 0.7";

const EVAL_EXAMPLES: &str = "\
Examples:
  rnnlm eval runs/sample-rnn-1 --corpus sample --max-tokens 10000
  rnnlm eval runs/sample-rnn-1 --corpus - < other.txt";

/// Trains, evaluates and samples recurrent language models.
///
/// Start with `rnnlm train`: it needs no download, and half a minute.
#[derive(Debug, Parser)]
#[command(name = "rnnlm", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model on a text; without flags, the book's character model on the bundled story.
    Train(TrainArgs),
    /// Let a trained model go on from a prefix.
    Generate(GenerateArgs),
    /// Score a text with a trained model.
    Eval(EvalArgs),
    /// List, fetch and look at texts.
    Corpus(CorpusArgs),
    /// Show what computations can run on.
    Devices(DevicesArgs),
}

/// Output for people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    /// Exactly one JSON object on standard output.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Device {
    /// The first usable GPU, else the CPU; this build has the CPU alone.
    Auto,
    Cpu,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComputePath {
    /// The device's own where it has one, else the reference.
    Auto,
    Fused,
    /// The equations as they stand in the source, one operation after the other.
    Reference,
}

impl From<ComputePath> for rnnlm_rnn::Path {
    fn from(path: ComputePath) -> Self {
        match path {
            ComputePath::Auto => Self::Auto,
            ComputePath::Fused => Self::Fused,
            ComputePath::Reference => Self::Reference,
        }
    }
}

/// What is done with characters that the vocabulary does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unknown {
    /// They are read as `<unk>`, with a warning that names them.
    Unk,
    /// An error that names them.
    Error,
    /// They are left out, with a warning.
    Skip,
}

#[derive(Debug, clap::Args)]
#[command(after_help = TRAIN_EXAMPLES)]
pub(crate) struct TrainArgs {
    /// A name from `rnnlm corpus list`, a path, or - for standard input.
    #[arg(long, value_name = "NAME|PATH|-", default_value = "sample", help_heading = "Text")]
    pub(crate) corpus: String,
    /// What a token is.
    #[arg(long, default_value = "char", value_parser = token_kind, value_name = "char|word|byte", help_heading = "Text")]
    pub(crate) token: TokenKind,
    /// `book`: letters only, lower-case, one space between; `none`: the text as it is [default: book for names, none
    /// for paths].
    #[arg(long, value_parser = normalization, value_name = "book|none", help_heading = "Text")]
    pub(crate) normalize: Option<Normalization>,
    /// Tokens seen fewer times become `<unk>`.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Text")]
    pub(crate) min_freq: u64,
    /// Train on the first N tokens, 0 for all [default: 10000 for names, 0 for paths].
    #[arg(long, value_name = "N", help_heading = "Text")]
    pub(crate) max_tokens: Option<usize>,

    /// The kind of recurrent layer.
    #[arg(long, default_value = "rnn", value_parser = cell, value_name = "rnn|gru|lstm", help_heading = "Model")]
    pub(crate) cell: CellKind,
    /// Of an rnn cell.
    #[arg(long, default_value = "tanh", value_parser = nonlinearity, value_name = "tanh|relu", help_heading = "Model")]
    pub(crate) nonlinearity: NonlinearityKind,
    /// Of a gru cell: the reset gate before the recurrent product, as in the book's from-scratch code; PyTorch's is after.
    #[arg(long, help_heading = "Model")]
    pub(crate) reset_before: bool,
    /// Learn a row of N numbers for each entry of the vocabulary as the layers' input; 0 is one-hot input.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Model")]
    pub(crate) embedding_size: usize,
    /// Recurrent layers on top of each other.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, help_heading = "Model")]
    pub(crate) num_layers: usize,
    /// A second set of layers that reads the text backwards, and so sees the token that is to be predicted: the wrong use
    /// that the book's 9.4 shows.
    #[arg(long, help_heading = "Model")]
    pub(crate) bidirectional: bool,
    /// Units of each layer.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = positive, help_heading = "Model")]
    pub(crate) hidden_size: usize,
    /// Initial values: `uniform` as PyTorch, `normal` as the book's from-scratch code.
    #[arg(long, default_value = "uniform", value_parser = init, value_name = "uniform|normal", help_heading = "Model")]
    pub(crate) init: Init,

    /// Times through the text.
    #[arg(long, value_name = "N", default_value_t = 500, help_heading = "Training")]
    pub(crate) epochs: u64,
    /// Rows of a minibatch.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = positive, help_heading = "Training")]
    pub(crate) batch_size: usize,
    /// Steps through which gradients flow.
    #[arg(long, value_name = "N", default_value_t = 35, value_parser = positive, help_heading = "Training")]
    pub(crate) num_steps: usize,
    /// Learning rate of SGD.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = rate, allow_negative_numbers = true, help_heading = "Training")]
    pub(crate) lr: f32,
    /// Largest global norm of the gradients, 0 for no clipping.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = clip, allow_negative_numbers = true, help_heading = "Training")]
    pub(crate) clip: f32,
    /// `sequential`: rows go on from one minibatch to the next and carry their state; `random`: they start anywhere.
    #[arg(long, default_value = "sequential", value_parser = sampling, value_name = "sequential|random",
          help_heading = "Training")]
    pub(crate) sampling: Sampling,
    /// Start every minibatch from the zero state, also in sequential sampling (the book's own "random" run does that).
    #[arg(long, help_heading = "Training")]
    pub(crate) reset_state: bool,
    /// The seed of everything that is drawn; the same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Training")]
    pub(crate) seed: u64,

    /// Go on with a run exactly where it was last saved. What defines it is in its folder; --epochs may be raised, and
    /// --corpus may say where the same text is now.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "force", "init_from"], help_heading = "Saving")]
    pub(crate) resume: Option<PathBuf>,
    /// Begin a new run with the weights, sizes and vocabulary of this one, and nothing else of it.
    #[arg(long, value_name = "RUN", help_heading = "Saving")]
    pub(crate) init_from: Option<PathBuf>,
    /// Epochs between saves, or, with an s behind the number, steps.
    #[arg(long, value_name = "N|Ns", default_value = "10", help_heading = "Saving")]
    pub(crate) checkpoint_every: Interval,
    /// Earlier saves to keep, in the run's folder `checkpoints`; one of them in place of trainer.safetensors is gone on with.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Saving")]
    pub(crate) keep: usize,

    /// What the samples go on from; may be repeated.
    #[arg(long = "prefix", value_name = "TEXT", default_values = ["time traveller", "traveller"], help_heading = "Output")]
    pub(crate) prefixes: Vec<String>,
    /// Epochs between samples, 0 for none until the end.
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Output")]
    pub(crate) sample_every: u64,
    /// The folder of the run [default: runs/CORPUS-CELL-N, the first free N].
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
    /// Replace the run in --out; nothing but a run is ever replaced.
    #[arg(long, help_heading = "Output")]
    pub(crate) force: bool,
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    pub(crate) format: Format,
    /// No progress; warnings and errors stay.
    #[arg(long, help_heading = "Output")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) compute: Compute,
}

/// What computations run on.
#[derive(Debug, clap::Args)]
pub(crate) struct Compute {
    /// Threads, 0 for one a core; no number changes a bit of the result.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Computation")]
    pub(crate) threads: usize,
    #[arg(long, value_enum, default_value = "auto", help_heading = "Computation")]
    pub(crate) device: Device,
    /// Which implementation of the recurrent layers.
    #[arg(long, value_enum, default_value = "auto", help_heading = "Computation")]
    pub(crate) path: ComputePath,
}

#[derive(Debug, clap::Args)]
#[command(after_help = GENERATE_EXAMPLES)]
pub(crate) struct GenerateArgs {
    /// The folder of a run.
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// What to go on from; empty starts from the commonest token.
    #[arg(long, value_name = "TEXT", default_value = "time traveller")]
    pub(crate) prefix: String,
    /// How many tokens to add.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) num_tokens: usize,
    /// 0 takes the likeliest token each time; 1 draws as the model believes; more is wilder.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = temperature, allow_negative_numbers = true)]
    pub(crate) temperature: f64,
    /// The seed of the draws.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// What to do with what the vocabulary does not know.
    #[arg(long, value_enum, default_value = "unk")]
    pub(crate) unknown: Unknown,
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) compute: Compute,
}

#[derive(Debug, clap::Args)]
#[command(after_help = EVAL_EXAMPLES)]
pub(crate) struct EvalArgs {
    /// The folder of a run.
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// A name, a path, or - for standard input.
    #[arg(long, value_name = "NAME|PATH|-")]
    pub(crate) corpus: String,
    /// Score the first N tokens, 0 for all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) max_tokens: usize,
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) compute: Compute,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CorpusArgs {
    #[command(subcommand)]
    pub(crate) command: CorpusCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CorpusCommand {
    /// The texts that have names, and where they are.
    List,
    /// Have a named text ready: find it or download it, checked.
    Fetch {
        /// A name from `rnnlm corpus list`.
        name: String,
    },
    /// Size, tokens, vocabulary, commonest tokens and n-grams.
    Stats {
        /// A name, a path, or - for standard input.
        #[arg(value_name = "NAME|PATH|-")]
        corpus: String,
        /// What a token is.
        #[arg(long, default_value = "word", value_parser = token_kind, value_name = "char|word|byte")]
        token: TokenKind,
        /// [default: book for names, none for paths].
        #[arg(long, value_parser = normalization, value_name = "book|none")]
        normalize: Option<Normalization>,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct DevicesArgs {
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

impl TrainArgs {
    /// `rnnlm train` without flags.
    pub(crate) fn without_flags() -> Self {
        match Args::parse_from(["rnnlm", "train"]).command {
            Some(Command::Train(args)) => args,
            _ => unreachable!("the command line is a constant"),
        }
    }
}

/// One of some names, or an error that lists them.
fn one_of<T: Copy>(text: &str, names: &[(&str, T)]) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| *name == text).map(|&(_, value)| value);
    found.ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        format!("one of {} is needed", names.join(", "))
    })
}

fn token_kind(text: &str) -> Result<TokenKind, String> {
    one_of(text, &TokenKind::ALL.map(|kind| (kind.as_str(), kind)))
}

fn normalization(text: &str) -> Result<Normalization, String> {
    one_of(text, &Normalization::ALL.map(|value| (value.as_str(), value)))
}

fn cell(text: &str) -> Result<CellKind, String> {
    one_of(text, &[CellKind::Rnn, CellKind::Gru, CellKind::Lstm].map(|cell| (cell.as_str(), cell)))
}

fn nonlinearity(text: &str) -> Result<NonlinearityKind, String> {
    one_of(text, &[("tanh", NonlinearityKind::Tanh), ("relu", NonlinearityKind::Relu)])
}

fn init(text: &str) -> Result<Init, String> {
    one_of(text, &[("uniform", Init::Uniform), ("normal", Init::Normal)])
}

fn sampling(text: &str) -> Result<Sampling, String> {
    one_of(text, &[("sequential", Sampling::Sequential), ("random", Sampling::Random)])
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(value) => Ok(value),
        Err(error) => Err(error.to_string()),
    }
}

/// A number for which `good` holds, or an error that says what is needed.
fn number<T>(text: &str, good: impl Fn(T) -> bool, needed: &str) -> Result<T, String>
where
    T: std::str::FromStr + Copy,
    T::Err: std::fmt::Display,
{
    match text.parse::<T>() {
        Ok(value) if good(value) => Ok(value),
        Ok(_) => Err(needed.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn rate(text: &str) -> Result<f32, String> {
    number(text, |x: f32| x.is_finite() && x > 0.0, "it must be a finite number above 0")
}

fn clip(text: &str) -> Result<f32, String> {
    number(text, |x: f32| x.is_finite() && x >= 0.0, "it must be a finite number, 0 for no clipping")
}

fn temperature(text: &str) -> Result<f64, String> {
    number(text, |x: f64| x.is_finite() && x >= 0.0, "it must be a finite number, 0 for greedy")
}
