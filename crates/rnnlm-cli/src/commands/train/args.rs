//! The arguments of `rnnlm train`. From this one list follow the flags, their help, the environment variables and the
//! names in a `--config` file.

use std::path::PathBuf;

use clap::Parser;
use rnnlm_model::{Cell, Init, Nonlinearity, OptimizerConfig};
use rnnlm_vocab::{Documents, LineEndConversion, Normalization, Sampling, TextEncoding, TokenKind};

use super::adaptive_args::AdaptiveArgs;
use super::checkpoint::Interval;
use super::settings::{Preset, Settings};
use crate::args::{Compute, Format};
use crate::prefix::PrefixText;
use crate::ranks::args::RankArgs;
use crate::values::{
    AverageName, ScheduleName, Seed, at_least_one, average, below_one_f32, below_one_f64, cell, documents, encoding,
    init, line_ends, non_negative_f32, non_negative_f64, nonlinearity, normalization, optimizer, positive_f32,
    positive_fraction, sampling, schedule, token_kind,
};

const EXAMPLES: &str = "\
Examples:
  rnnlm train                                        the bundled story
  rnnlm train --corpus names.txt --epochs 100        a file
  rnnlm train --corpus timemachine --token word      the book's text, by words
  rnnlm train --optimizer adamw --schedule cosine --val-fraction 0.1
  rnnlm train --corpus 'texts/*.txt' --out runs/all  several files
  zcat *.txt.gz | rnnlm train --corpus -             standard input
  rnnlm train --resume runs/sample-rnn-1             a run that was interrupted

Ctrl-C stops after the current step and saves. A second Ctrl-C stops immediately. Use the run with \
`rnnlm generate` and `rnnlm eval`.";

/// Train a model on a text; by default, a character model on the bundled story.
///
/// Defaults and presets follow the book "Dive into Deep Learning".
#[derive(Clone, Debug, Parser)]
#[command(after_help = format!("{}\n{EXAMPLES}", Preset::help()))]
pub(crate) struct TrainArgs {
    /// Named group of settings, listed below. --config, environment variables and flags override it.
    #[arg(long, value_name = "NAME", value_parser = Preset::find, help_heading = "Settings")]
    pub(crate) preset: Option<&'static Preset>,
    /// TOML file of settings, which flags and environment variables override. The names are those of the flags, with _
    /// for -: `hidden_size = 512`.
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    pub(crate) config: Option<PathBuf>,
    /// Print every setting and its origin in the format of --config, and exit.
    #[arg(long, conflicts_with = "resume", help_heading = "Settings")]
    pub(crate) print_config: bool,

    /// Training text: a name from `rnnlm corpus list`, a file, a folder of files, a pattern such as 'texts/*.txt', a token
    /// cache of `rnnlm corpus build`, or - for standard input. Repeat it for several files, which are read as one text; the
    /// end of a file ends a token and a document. Files can be compressed with gzip or zstd. A .bin file of ids of nanoGPT or
    /// llm.c needs --vocab.
    #[arg(long = "corpus", id = "corpus", value_name = "NAME|PATH|-", default_value = "sample", help_heading = "Text")]
    pub(crate) corpora: Vec<String>,
    /// Unit of tokenization. `word` loses white space, as in the book. `word-punct` separates letters, digits and
    /// punctuation, keeps line ends and spaces, and restores the text exactly.
    #[arg(long, default_value = "char", value_parser = token_kind, value_name = "char|word|byte|word-punct",
          help_heading = "Text")]
    pub(crate) token: TokenKind,
    /// Normalization of the text. `book` keeps only the letters A-Z, in lower case, with single spaces, and joins lines
    /// without a space; `lower` keeps every character, in lower case; `none` changes nothing [default: book for named
    /// corpora, none for other texts].
    #[arg(long, value_parser = normalization, value_name = "book|lower|none", help_heading = "Text")]
    pub(crate) normalize: Option<Normalization>,
    /// Line ends of the text: `lf` converts CRLF and CR to LF, `keep` does not. The run stores it for all texts that it
    /// reads later [default: lf; keep for --token byte].
    #[arg(long, value_parser = line_ends, value_name = "keep|lf", help_heading = "Text")]
    pub(crate) line_ends: Option<LineEndConversion>,
    /// Encoding of the texts, such as utf-16le, windows-1252 or shift_jis. A byte order mark overrides it.
    #[arg(long, value_parser = encoding, value_name = "NAME", default_value = "utf-8", help_heading = "Text")]
    pub(crate) encoding: TextEncoding,
    /// Minimum count of a token; rarer tokens become `<unk>`.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Text")]
    pub(crate) min_freq: u64,
    /// Maximum number of tokens in the vocabulary, or of new ones with --extend-vocab, by frequency. 0 keeps all.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Text")]
    pub(crate) max_vocab: usize,
    /// Vocabulary instead of that of the text: a run, a vocab.json, a JSON list or object, or one token per line.
    #[arg(long, value_name = "RUN|FILE", conflicts_with = "init_from", help_heading = "Text")]
    pub(crate) vocab: Option<PathBuf>,
    /// Tokenizer of subwords, with its own vocabulary and normalization: a tokenizer.json of `tokenizers`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vocab", "init_from"], help_heading = "Text")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Documents of the text: each is read from the zero state, and its end is a token. `lines` is for records such as
    /// names or log lines, `blank-lines` for paragraphs; `none` reads one stream, as the book does.
    #[arg(long, default_value = "none", value_parser = documents, value_name = "none|lines|blank-lines",
          help_heading = "Text")]
    pub(crate) documents: Documents,
    /// Number of tokens to use, from the start; 0 uses all [default: 10000 for named corpora, 0 for others].
    #[arg(long, value_name = "N", help_heading = "Text")]
    pub(crate) max_tokens: Option<usize>,

    /// Type of the recurrent layers. The gates of mingru and minlstm depend on the input alone; use several layers of them.
    #[arg(long, default_value = "rnn", value_parser = cell, value_name = "rnn|gru|lstm|mingru|minlstm",
          help_heading = "Model")]
    pub(crate) cell: Cell,
    /// Activation function of the rnn cell.
    #[arg(long, default_value = "tanh", value_parser = nonlinearity, value_name = "tanh|relu", help_heading = "Model")]
    pub(crate) nonlinearity: Nonlinearity,
    /// Apply the reset gate of the gru cell before the recurrent matrix multiplication, as the book's from-scratch code
    /// does. PyTorch applies it after.
    #[arg(long, help_heading = "Model")]
    pub(crate) reset_before: bool,
    /// Size of a learned embedding as the input; 0 uses one-hot input.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Model")]
    pub(crate) embedding_size: usize,
    /// Number of stacked recurrent layers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one, help_heading = "Model")]
    pub(crate) num_layers: usize,
    /// Add layers that read the text backwards. They see the token to predict, so the perplexity is meaningless; the
    /// book shows this as an example of misuse.
    #[arg(long, help_heading = "Model")]
    pub(crate) bidirectional: bool,
    /// Number of hidden units of each layer.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one, help_heading = "Model")]
    pub(crate) hidden_size: usize,
    /// Use the embedding matrix as the weight of the output layer; --embedding-size must equal the output size of the
    /// layers.
    #[arg(long, help_heading = "Model")]
    pub(crate) tie_weights: bool,
    /// Add the input of each layer but the lowest to its output.
    #[arg(long, help_heading = "Model")]
    pub(crate) residual: bool,
    #[command(flatten)]
    pub(crate) adaptive: AdaptiveArgs,
    /// Distribution of the initial weights: `uniform` as in PyTorch, `normal` as in the book's from-scratch code.
    #[arg(long, default_value = "uniform", value_parser = init, value_name = "uniform|normal", help_heading = "Model")]
    pub(crate) init: Init,

    /// Number of passes over the text.
    #[arg(long, value_name = "N", default_value_t = 500, help_heading = "Training")]
    pub(crate) epochs: u64,
    /// Number of sequences in a minibatch.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one, help_heading = "Training")]
    pub(crate) batch_size: usize,
    /// Number of time steps in a minibatch; gradients are truncated after them.
    #[arg(long, value_name = "N", default_value_t = 35, value_parser = at_least_one, help_heading = "Training")]
    pub(crate) num_steps: usize,
    /// Parts of a minibatch whose gradients are added in a fixed order; a power of two that divides --batch-size. The result
    /// depends on their number, and not on the number of processes that compute them [default: 1; with several processes, the
    /// smallest power of two that is at least their number].
    #[arg(long, value_name = "S", value_parser = at_least_one, help_heading = "Training")]
    pub(crate) shards: Option<usize>,
    /// Draw the time steps of each minibatch, with mean --num-steps, and scale its learning rate, as AWD-LSTM does.
    #[arg(long, help_heading = "Training")]
    pub(crate) variable_bptt: bool,
    /// Maximum global norm of the gradients; 0 disables clipping by norm.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = non_negative_f32, allow_negative_numbers = true,
          help_heading = "Training")]
    pub(crate) clip: f32,
    /// Maximum magnitude of each gradient element, instead of --clip; 0 disables clipping by value.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = non_negative_f32, allow_negative_numbers = true,
          help_heading = "Training")]
    pub(crate) clip_value: f32,
    /// Sampling of minibatches: `sequential` continues each sequence in the next minibatch and carries its state;
    /// `random` takes sequences in random order, each from the zero state.
    #[arg(long, default_value = "sequential", value_parser = sampling, value_name = "sequential|random",
          help_heading = "Training")]
    pub(crate) sampling: Sampling,
    /// Start every minibatch from the zero state, also with sequential sampling, as the book's run with random sampling
    /// does.
    #[arg(long, help_heading = "Training")]
    pub(crate) reset_state: bool,
    /// Train on documents in the order of the text instead of shuffling them in each epoch.
    #[arg(long, help_heading = "Training")]
    pub(crate) no_shuffle: bool,
    /// Not supported: backpropagation through all earlier minibatches.
    #[arg(long, hide = true)]
    pub(crate) no_detach: bool,
    /// Seed for initial weights, minibatches and dropout. The same seed gives the same bytes; `random` draws one and
    /// prints it.
    #[arg(long, value_name = "N|random", default_value = "0", help_heading = "Training")]
    pub(crate) seed: Seed,

    /// Probability of zeroing an output between two layers; the last layer has no dropout.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = below_one_f32, allow_negative_numbers = true,
          help_heading = "Regularization")]
    pub(crate) dropout: f32,
    /// Weight drop: probability of zeroing an element of the recurrent weights, the same elements in all time steps of a
    /// minibatch. This and the next options are those of AWD-LSTM; this one is `wdrop` there.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = below_one_f32, allow_negative_numbers = true,
          help_heading = "Regularization")]
    pub(crate) weight_drop: f32,
    /// Locked dropout of the input, `dropouti`: probability of zeroing a feature of the embedding's output in all time
    /// steps of a minibatch.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = below_one_f32, allow_negative_numbers = true,
          help_heading = "Regularization")]
    pub(crate) dropout_input: f32,
    /// Locked dropout between layers, `dropouth`, instead of --dropout.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = below_one_f32, allow_negative_numbers = true,
          help_heading = "Regularization")]
    pub(crate) dropout_hidden: f32,
    /// Locked dropout of the last layer's output, `dropout` of AWD-LSTM.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = below_one_f32, allow_negative_numbers = true,
          help_heading = "Regularization")]
    pub(crate) dropout_output: f32,
    /// Embedding dropout, `dropoute`: probability of zeroing a token's embedding, the same tokens in all of a minibatch.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = below_one_f32, allow_negative_numbers = true,
          help_heading = "Regularization")]
    pub(crate) dropout_embedding: f32,
    /// Activation regularization, `alpha`: factor of the mean square of the last layer's output, after dropout.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = non_negative_f32, allow_negative_numbers = true,
          help_heading = "Regularization")]
    pub(crate) ar: f32,
    /// Temporal activation regularization, `beta`: factor of the mean squared difference of the last layer's output from
    /// one time step to the next.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = non_negative_f32, allow_negative_numbers = true,
          help_heading = "Regularization")]
    pub(crate) tar: f32,
    /// Label smoothing: probability that the loss distributes evenly over the vocabulary. Perplexities are without it.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = below_one_f32, allow_negative_numbers = true,
          help_heading = "Regularization")]
    pub(crate) label_smoothing: f32,

    /// Optimizer, with PyTorch's update rule. `sparse-adam` updates only the rows of the embedding that a minibatch reads, by
    /// SparseAdam, and all other parameters by Adam; plain sgd also leaves the other rows alone.
    #[arg(long, default_value = "sgd", value_parser = optimizer, value_name = "sgd|adam|adamw|sparse-adam|rmsprop",
          help_heading = "Optimizer")]
    pub(crate) optimizer: OptimizerConfig,
    /// Learning rate [default: 1 for sgd, 0.001 for adam, adamw and sparse-adam, 0.01 for rmsprop].
    #[arg(long, value_name = "X", value_parser = positive_f32, allow_negative_numbers = true,
          help_heading = "Optimizer")]
    pub(crate) lr: Option<f32>,
    /// Number of minibatches whose mean gradient an update follows, as that of an N times larger minibatch.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..),
          help_heading = "Optimizer")]
    pub(crate) accumulate: u64,
    /// Average of the weights that is validated and saved: `ema`, an exponential moving average over all updates, or
    /// `nt-asgd`, the mean since the validation perplexity stopped improving for five epochs. A resumed run continues
    /// with the weights themselves.
    #[arg(long, default_value = "none", value_parser = average, value_name = "none|nt-asgd|ema",
          help_heading = "Optimizer")]
    pub(crate) average: AverageName,
    /// Weight of the average so far in each update, for ema [default: 0.999].
    #[arg(long, value_name = "X", value_parser = below_one_f64, allow_negative_numbers = true,
          help_heading = "Optimizer")]
    pub(crate) ema_decay: Option<f64>,
    /// Momentum factor, for sgd and rmsprop [default: 0].
    #[arg(long, value_name = "X", value_parser = below_one_f32, allow_negative_numbers = true,
          help_heading = "Optimizer")]
    pub(crate) momentum: Option<f32>,
    /// Nesterov momentum, for sgd.
    #[arg(long, help_heading = "Optimizer")]
    pub(crate) nesterov: bool,
    /// Weight decay: an L2 penalty, decoupled from the gradient for adamw [default: 0; 0.01 for adamw].
    #[arg(long, value_name = "X", value_parser = non_negative_f32, allow_negative_numbers = true,
          help_heading = "Optimizer")]
    pub(crate) weight_decay: Option<f32>,
    /// Apply no weight decay to biases.
    #[arg(long, help_heading = "Optimizer")]
    pub(crate) no_bias_decay: bool,
    /// Decay rate of the average gradient, for adam, adamw and sparse-adam [default: 0.9].
    #[arg(long, value_name = "X", value_parser = below_one_f64, allow_negative_numbers = true,
          help_heading = "Optimizer")]
    pub(crate) beta1: Option<f64>,
    /// Decay rate of the average squared gradient, for adam, adamw and sparse-adam [default: 0.999].
    #[arg(long, value_name = "X", value_parser = below_one_f64, allow_negative_numbers = true,
          help_heading = "Optimizer")]
    pub(crate) beta2: Option<f64>,
    /// Decay rate of the average squared gradient, for rmsprop [default: 0.99].
    #[arg(long, value_name = "X", value_parser = below_one_f32, allow_negative_numbers = true,
          help_heading = "Optimizer")]
    pub(crate) alpha: Option<f32>,
    /// Term added to the denominator for numerical stability, for all but sgd [default: 1e-8].
    #[arg(long, value_name = "X", value_parser = positive_f32, allow_negative_numbers = true,
          help_heading = "Optimizer")]
    pub(crate) eps: Option<f32>,

    /// Learning rate schedule by epoch; `one-cycle` is by minibatch. `plateau` follows the validation perplexity, or the
    /// training perplexity without a validation set.
    #[arg(long, default_value = "constant", value_parser = schedule,
          value_name = "constant|step|exponential|cosine|one-cycle|plateau", help_heading = "Schedule")]
    pub(crate) schedule: ScheduleName,
    /// Epochs of linear warm-up before the schedule starts.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Schedule")]
    pub(crate) warmup: u64,
    /// Change the rate after every minibatch instead of every epoch: --step-size and --gamma count minibatches, and cosine
    /// reaches --min-lr at the last one.
    #[arg(long, help_heading = "Schedule")]
    pub(crate) schedule_by_step: bool,
    /// Minibatches of linear warm-up, instead of --warmup.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Schedule")]
    pub(crate) warmup_steps: u64,
    /// Epochs between two reductions, for step.
    #[arg(long, value_name = "N", help_heading = "Schedule")]
    pub(crate) step_size: Option<u64>,
    /// Factor of each reduction, for step and exponential [default: 0.1 for step].
    #[arg(long, value_name = "X", value_parser = positive_fraction, allow_negative_numbers = true, help_heading = "Schedule")]
    pub(crate) gamma: Option<f64>,
    /// Epochs at the initial rate before the first reduction, for exponential [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Schedule")]
    pub(crate) decay_after: Option<u64>,
    /// Learning rate after the last epoch, for cosine [default: 0].
    #[arg(long, value_name = "X", value_parser = non_negative_f64, allow_negative_numbers = true,
          help_heading = "Schedule")]
    pub(crate) min_lr: Option<f64>,
    /// Fraction of training in which the rate rises to --lr, for one-cycle [default: 0.3].
    #[arg(long, value_name = "X", value_parser = below_one_f64, allow_negative_numbers = true,
          help_heading = "Schedule")]
    pub(crate) pct_start: Option<f64>,
    /// Ratio of --lr to the first rate, for one-cycle [default: 25].
    #[arg(long, value_name = "X", value_parser = non_negative_f64, allow_negative_numbers = true,
          help_heading = "Schedule")]
    pub(crate) div_factor: Option<f64>,
    /// Ratio of the first rate to the last, for one-cycle [default: 10000].
    #[arg(long, value_name = "X", value_parser = non_negative_f64, allow_negative_numbers = true,
          help_heading = "Schedule")]
    pub(crate) final_div_factor: Option<f64>,
    /// Factor of each reduction, for plateau [default: 0.1].
    #[arg(long, value_name = "X", value_parser = positive_fraction, allow_negative_numbers = true, help_heading = "Schedule")]
    pub(crate) plateau_factor: Option<f64>,
    /// Epochs without improvement before the rate is reduced, for plateau [default: 10].
    #[arg(long, value_name = "N", help_heading = "Schedule")]
    pub(crate) plateau_patience: Option<u64>,

    /// Fraction of the text to use as the validation set, which is scored after every epoch. It is the end of the text;
    /// of documents, those whose digest with the seed is below the fraction, wherever they are.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = below_one_f64, allow_negative_numbers = true,
          help_heading = "Validation")]
    pub(crate) val_fraction: f64,
    /// Validation text: a name or a path. It is read with the vocabulary of the training text.
    #[arg(long, value_name = "NAME|PATH", conflicts_with = "val_fraction", help_heading = "Validation")]
    pub(crate) val_corpus: Option<String>,
    /// Epochs without improvement of the validation perplexity before training stops; 0 never stops early.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Validation")]
    pub(crate) patience: u64,

    /// Resume a run from its last checkpoint, with the settings in its folder. --epochs can raise the number of epochs;
    /// --corpus can name a new location of the same text; --checkpoint-every, --keep, --prefix, --sample-every and --path
    /// replace those of the run.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "force", "init_from", "vocab", "extend_vocab"], help_heading = "Saving")]
    pub(crate) resume: Option<PathBuf>,
    /// Start a new run with the weights, sizes and vocabulary of this run.
    #[arg(long, value_name = "RUN", help_heading = "Saving")]
    pub(crate) init_from: Option<PathBuf>,
    /// With --init-from, add the tokens of the text that its vocabulary does not have. All other tokens keep their ids and
    /// weights; new ones have the initial weights of a new model.
    #[arg(long, help_heading = "Saving")]
    pub(crate) extend_vocab: bool,
    /// Interval between two checkpoints: in epochs (10), in steps (500s; s does not mean seconds), in minutes (5min) or
    /// in hours (1h). Of several, separated by commas, whichever ends first.
    #[arg(long, value_name = "N|Ns|Nmin|Nh", default_value = Interval::DEFAULT, help_heading = "Saving")]
    pub(crate) checkpoint_every: Interval,
    /// Number of earlier checkpoints to keep, in the folder `checkpoints` of the run. To resume from one of them, copy
    /// it over `trainer.safetensors`.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Saving")]
    pub(crate) keep: usize,

    /// Prefix of a sample; may be repeated. Escapes: \n, \t, \xNN for a byte, \u{…} for a character, \\ for a backslash
    /// [default: `time traveller` and `traveller` for timemachine and sample, the start of a line or document for other
    /// texts].
    #[arg(long = "prefix", id = "prefix", value_name = "TEXT", help_heading = "Output")]
    pub(crate) prefixes: Vec<PrefixText>,
    /// File with the prefix of a sample, which is used as it is, with its last line end.
    #[arg(long, value_name = "FILE", conflicts_with = "prefix", help_heading = "Output")]
    pub(crate) prefix_file: Option<PathBuf>,
    /// Epochs between two samples; 0 prints samples only at the end.
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Output")]
    pub(crate) sample_every: u64,
    /// Folder of the run [default: runs/CORPUS-CELL-N with the first free N].
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
    /// Replace the run in --out; a folder that is not a run is never replaced.
    #[arg(long, help_heading = "Output")]
    pub(crate) force: bool,
    /// Format of the result on standard output.
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    pub(crate) format: Format,
    /// Suppress progress output; warnings and errors are still printed.
    #[arg(long, help_heading = "Output")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) compute: Compute,

    #[command(flatten)]
    pub(crate) ranks: RankArgs,

    /// Whether the run is one of a sweep, which prints the results.
    #[arg(skip)]
    pub(crate) is_part_of_sweep: bool,
    /// The values above with their origins.
    #[arg(skip)]
    pub(crate) settings: Settings,
}
