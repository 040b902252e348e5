//! The command line: the commands and what they can be told. What `train` can be told is a list of its own, in `options/`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use rnnlm_model::Nonlinearity;
use rnnlm_vocab::{Normalization, TokenKind};

use crate::device::Device;
use crate::options::TrainArgs;
use crate::options::values::{nonlinearity, normalization, temperature, token_kind};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed: a file, a text, memory
  2    the command line makes no sense
  3    training diverged: loss or gradient norm not finite; the last good model is kept
  4    a run is damaged, does not fit, or is from a newer version
  130  interrupted by Ctrl-C or SIGTERM, after saving

Data goes to standard output, progress and errors to standard error. NO_COLOR is honoured.";

const GENERATE_EXAMPLES: &str = "\
Examples:
  rnnlm generate runs/sample-rnn-1
  rnnlm generate runs/sample-rnn-1 --prefix 'the tide ' --num-tokens 300 --temperature 0.7";

const EVAL_EXAMPLES: &str = "\
Examples:
  rnnlm eval runs/sample-rnn-1 --corpus sample --max-tokens 10000
  rnnlm eval runs/sample-rnn-1 --corpus - < other.txt";

const IMPORT_EXAMPLES: &str = "\
Examples:
  rnnlm import gru.safetensors --vocab tokens.json
  rnnlm import rnn.safetensors --vocab runs/sample-rnn-1/vocab.json --nonlinearity relu --out runs/relu

Cell, layers, directions and sizes follow from the tensors' names and shapes; weights of 16 or 64 bits become float32. The
run can be used by `rnnlm generate`, `rnnlm eval` and `rnnlm train --init-from`.";

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
    Train(Box<TrainArgs>),
    /// Let a trained model go on from a prefix.
    Generate(GenerateArgs),
    /// Score a text with a trained model.
    Eval(EvalArgs),
    /// Make a run from a model that PyTorch trained.
    Import(ImportArgs),
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
pub(crate) enum ComputePath {
    /// The device's own where it has one, else the reference.
    Auto,
    Fused,
    /// The equations as they stand in the source, one operation after the other.
    Reference,
}

impl From<ComputePath> for rnnlm_rnn::ExecutionPath {
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

/// What computations run on.
#[derive(Debug, clap::Args)]
pub(crate) struct Compute {
    /// Threads, 0 for one a core; no number changes a bit of the result.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Computation")]
    pub(crate) threads: usize,
    /// auto is the first GPU that can be used, else the CPU; cuda is cuda:0, and fails where that cannot be used.
    #[arg(long, value_name = "auto|cpu|cuda|cuda:N", default_value = "auto", help_heading = "Computation")]
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
    /// The model that predicted held-out text best, instead of the last one.
    #[arg(long)]
    pub(crate) best: bool,
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
    /// The model that predicted held-out text best, instead of the last one.
    #[arg(long)]
    pub(crate) best: bool,
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
#[command(after_help = IMPORT_EXAMPLES)]
pub(crate) struct ImportArgs {
    /// The weights, as `safetensors.torch.save_file(model.state_dict(), FILE)` writes those of a model with the attributes
    /// rnn (torch.nn.RNN, GRU or LSTM), linear (torch.nn.Linear) and, unless its input is one-hot, embedding.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Its vocabulary: a vocab.json of a run, or a JSON array of the tokens in the order of their ids, `<unk>` first.
    #[arg(long, value_name = "FILE")]
    pub(crate) vocab: PathBuf,
    /// Of torch.nn.RNN, which its weights do not tell [default: tanh].
    #[arg(long, value_parser = nonlinearity, value_name = "tanh|relu")]
    pub(crate) nonlinearity: Option<Nonlinearity>,
    /// What a token of a JSON array is [default: char].
    #[arg(long, value_parser = token_kind, value_name = "char|word|byte")]
    pub(crate) token: Option<TokenKind>,
    /// How a text is prepared for the tokens of a JSON array: `book` keeps letters, lower-case [default: book].
    #[arg(long, value_parser = normalization, value_name = "book|none")]
    pub(crate) normalize: Option<Normalization>,
    /// The folder of the run [default: runs/FILE-CELL-N, the first free N].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Replace the run in --out; nothing but a run is ever replaced.
    #[arg(long)]
    pub(crate) force: bool,
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
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
