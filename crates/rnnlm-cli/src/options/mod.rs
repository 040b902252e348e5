//! The settings of `rnnlm train`: one list, [`TrainArgs`], from which the flags, the help, the environment's variables and
//! the names in a `--config` file all follow.
//!
//! A setting has the value of the first of these that names it:
//!
//! ```text
//! --hidden-size 512             a flag
//! RNNLM_HIDDEN_SIZE=512         the environment
//! hidden_size = 512             the file of --config
//! --preset rnn-scratch          a preset
//!                               its default
//! ```

mod environment;
mod file;
mod layers;
mod preset;
mod print;
mod settings;
mod training;
pub(crate) mod values;

use std::path::PathBuf;

use clap::Parser;
use rnnlm_model::{Cell, Init, Nonlinearity, OptimizerConfig};
use rnnlm_vocab::{Normalization, Sampling, TokenKind};

pub(crate) use self::layers::{Refusal, parse};
use self::preset::Preset;
pub(crate) use self::print::print;
pub(crate) use self::settings::Settings;
pub(crate) use self::training::train_config;
use self::values::{
    ScheduleName, below_one, cell, factor, finite, init, nonlinearity, normalization, not_negative, optimizer,
    positive, rate, sampling, schedule, share, token_kind,
};
use crate::args::{Args, Command, Compute, Format};
use crate::checkpoint::Interval;

const TRAIN_EXAMPLES: &str = "\
Examples:
  rnnlm train                                        no download, half a minute
  rnnlm train --corpus names.txt --epochs 100        a text of your own, as it is
  rnnlm train --corpus timemachine --token word      the book's text, word by word
  rnnlm train --optimizer adamw --schedule cosine --val-fraction 0.1 --patience 10
  cat *.txt | rnnlm train --corpus - --out runs/all  several texts as one
  rnnlm train --resume runs/sample-rnn-1             on from where it was stopped or killed

Ctrl-C stops after the step under way and saves; a second one does not wait. `rnnlm generate` and `rnnlm eval` use a run.";

/// Everything that training can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct TrainArgs {
    /// Settings that belong together, see the end of this help; what is said elsewhere goes before them.
    #[arg(long, value_name = "NAME", value_parser = preset::find, help_heading = "Settings")]
    pub(crate) preset: Option<&'static Preset>,
    /// Settings from a file in TOML, one `name = value` a line, named as here with _ for -: `hidden_size = 512`.
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    pub(crate) config: Option<PathBuf>,
    /// Print every setting as --config reads it, with where it comes from, and do nothing else.
    #[arg(long, conflicts_with = "resume", help_heading = "Settings")]
    pub(crate) print_config: bool,

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
    pub(crate) cell: Cell,
    /// Of an rnn cell.
    #[arg(long, default_value = "tanh", value_parser = nonlinearity, value_name = "tanh|relu", help_heading = "Model")]
    pub(crate) nonlinearity: Nonlinearity,
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
    /// One tensor as embedding and as the output layer's weight; takes an embedding as wide as the layers' output.
    #[arg(long, help_heading = "Model")]
    pub(crate) tie_weights: bool,
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
    /// Largest global norm of the gradients, 0 for no clipping.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = not_negative, allow_negative_numbers = true, help_heading = "Training")]
    pub(crate) clip: f32,
    /// Largest magnitude of each single gradient, instead of the norm; 0 for no clipping by value.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = not_negative, allow_negative_numbers = true, help_heading = "Training")]
    pub(crate) clip_value: f32,
    /// Probability of dropping each output of a layer on its way to the next; none after the last.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = below_one, allow_negative_numbers = true, help_heading = "Training")]
    pub(crate) dropout: f32,
    /// `sequential`: rows go on from one minibatch to the next and carry their state; `random`: they start anywhere.
    #[arg(long, default_value = "sequential", value_parser = sampling, value_name = "sequential|random",
          help_heading = "Training")]
    pub(crate) sampling: Sampling,
    /// Start every minibatch from the zero state, also in sequential sampling (the book's own "random" run does that).
    #[arg(long, help_heading = "Training")]
    pub(crate) reset_state: bool,
    /// Gradients through all earlier minibatches; refused with the reason.
    #[arg(long, hide = true)]
    pub(crate) no_detach: bool,
    /// The seed of everything that is drawn; the same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Training")]
    pub(crate) seed: u64,

    /// What moves the parameters, by PyTorch's formulas.
    #[arg(long, default_value = "sgd", value_parser = optimizer, value_name = "sgd|adam|adamw|rmsprop", help_heading = "Optimizer")]
    pub(crate) optimizer: OptimizerConfig,
    /// Learning rate [default: 1 for sgd, 0.001 for adam and adamw, 0.01 for rmsprop].
    #[arg(long, value_name = "X", value_parser = rate, allow_negative_numbers = true, help_heading = "Optimizer")]
    pub(crate) lr: Option<f32>,
    /// Of sgd and rmsprop: how much of the earlier steps stays [default: 0].
    #[arg(long, value_name = "X", value_parser = below_one, allow_negative_numbers = true, help_heading = "Optimizer")]
    pub(crate) momentum: Option<f32>,
    /// Of sgd: Nesterov's form of momentum.
    #[arg(long, help_heading = "Optimizer")]
    pub(crate) nesterov: bool,
    /// How much parameters shrink [default: 0, for adamw 0.01].
    #[arg(long, value_name = "X", value_parser = not_negative, allow_negative_numbers = true, help_heading = "Optimizer")]
    pub(crate) weight_decay: Option<f32>,
    /// Of adam and adamw: how much of the mean of gradients stays [default: 0.9].
    #[arg(long, value_name = "X", value_parser = share, allow_negative_numbers = true, help_heading = "Optimizer")]
    pub(crate) beta1: Option<f64>,
    /// Of adam and adamw: how much of the mean of their squares stays [default: 0.999].
    #[arg(long, value_name = "X", value_parser = share, allow_negative_numbers = true, help_heading = "Optimizer")]
    pub(crate) beta2: Option<f64>,
    /// Of rmsprop: how much of the mean of squares stays [default: 0.99].
    #[arg(long, value_name = "X", value_parser = below_one, allow_negative_numbers = true, help_heading = "Optimizer")]
    pub(crate) alpha: Option<f32>,
    /// Of all but sgd: added to the denominator [default: 1e-8].
    #[arg(long, value_name = "X", value_parser = rate, allow_negative_numbers = true, help_heading = "Optimizer")]
    pub(crate) eps: Option<f32>,
    /// How the learning rate changes from epoch to epoch; plateau waits for an epoch that is not better, on held-out text where
    /// there is some.
    #[arg(long, default_value = "constant", value_parser = schedule,
          value_name = "constant|step|exponential|cosine|plateau", help_heading = "Schedule")]
    pub(crate) schedule: ScheduleName,
    /// Epochs in which the learning rate rises to its value, before the schedule begins.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Schedule")]
    pub(crate) warmup: u64,
    /// Of step: epochs between two changes.
    #[arg(long, value_name = "N", help_heading = "Schedule")]
    pub(crate) step_size: Option<u64>,
    /// Of step and exponential: the factor of each change [default of step: 0.1].
    #[arg(long, value_name = "X", value_parser = factor, allow_negative_numbers = true, help_heading = "Schedule")]
    pub(crate) gamma: Option<f64>,
    /// Of cosine: the learning rate at the end [default: 0].
    #[arg(long, value_name = "X", value_parser = finite, allow_negative_numbers = true, help_heading = "Schedule")]
    pub(crate) min_lr: Option<f64>,
    /// Of plateau: the factor of each change [default: 0.1].
    #[arg(long, value_name = "X", value_parser = factor, allow_negative_numbers = true, help_heading = "Schedule")]
    pub(crate) plateau_factor: Option<f64>,
    /// Of plateau: epochs that are put up with before a change [default: 10].
    #[arg(long, value_name = "N", help_heading = "Schedule")]
    pub(crate) plateau_patience: Option<u64>,

    /// Hold out this share of the tokens, the last ones, and score them after every epoch.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = share, allow_negative_numbers = true, help_heading = "Validation")]
    pub(crate) val_fraction: f64,
    /// Score another text after every epoch, with the training's vocabulary: a name or a path.
    #[arg(long, value_name = "NAME|PATH", conflicts_with = "val_fraction", help_heading = "Validation")]
    pub(crate) val_corpus: Option<String>,
    /// End when the held-out text has not been predicted better for N epochs, 0 for never.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Validation")]
    pub(crate) patience: u64,

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
    #[arg(long = "prefix", id = "prefix", value_name = "TEXT", default_values = ["time traveller", "traveller"], help_heading = "Output")]
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

impl TrainArgs {
    /// `rnnlm train` without flags.
    pub(crate) fn without_flags() -> Self {
        match Args::parse_from(["rnnlm", "train"]).command {
            Some(Command::Train(args)) => *args,
            _ => unreachable!("the command line is a constant"),
        }
    }
}
