//! What can go wrong from building a model to reading a run back.

use std::path::PathBuf;

use crate::run::Unfit;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A model, a training run or a file that cannot be used as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that makes no training.
    #[error("`{name}` is {value}, it must be {needed}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        needed: &'static str,
    },
    /// A minibatch whose loss or gradient is not a number any more; the parameters are those before it.
    #[error(
        "training diverged at step {step} (epoch {epoch}): loss {loss}, gradient norm {gradient_norm}, learning rate {lr}"
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: u64,
        /// Minibatch since the start of training, from 1.
        step: u64,
        /// Mean loss of the minibatch, in nats a token.
        loss: f32,
        /// Global norm of the gradients before clipping.
        gradient_norm: f32,
        /// Learning rate in force.
        lr: f32,
    },
    /// Weights that cannot be one, since their shapes differ.
    #[error("tied weights need an embedding as wide as the layers' output: {embedding_size} and {output_size}")]
    TiedSizes {
        /// **E**, 0 for one-hot input.
        embedding_size: usize,
        /// Features of the layers' output, `directions·H`.
        output_size: usize,
    },
    /// A text of which nothing can be scored.
    #[error("a text of {tokens} token{} cannot be scored: the first is only read, so at least 2 are needed",
        if *tokens == 1 { "" } else { "s" })]
    NothingToScore {
        /// Tokens in the text.
        tokens: usize,
    },
    /// A model that reads both ways, asked to say what comes next.
    #[error("a bidirectional model cannot generate: its backward half reads what is yet to be said")]
    GenerateBothWays,
    /// A sampling temperature that is not a finite number from 0 up.
    #[error("`temperature` is {0}, it must be a finite number, 0 for greedy")]
    Temperature(f64),
    /// A training to go on from that lacks what this one's optimizer keeps.
    #[error("the optimizer's `{name}` is missing")]
    OptimizerState {
        /// PyTorch's name of the buffer.
        name: &'static str,
    },
    /// A folder that holds no run.
    #[error("`{}` is not a run: {reason}", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A folder that is there already.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A run that was imported, asked for its training.
    #[error("`{}` was imported: it has no training to go on with", path.display())]
    NeverTrained {
        /// The folder.
        path: PathBuf,
    },
    /// A vocabulary that reads a text in another way than asked for.
    #[error("`{name}` is {asked}, the vocabulary says {stated}")]
    OtherVocab {
        /// The setting.
        name: &'static str,
        /// What was asked for.
        asked: String,
        /// What the vocabulary says.
        stated: String,
    },
    /// A file of weights that makes no run.
    #[error("`{}` cannot be imported: {reason}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: Unfit,
    },
    /// A run that another process is writing.
    #[error("`{}` is being written by another process", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A run that is to go on to an earlier end than it was begun for.
    #[error("{asked} epochs are fewer than the {configured} of the run")]
    FewerEpochs {
        /// What was asked for.
        asked: u64,
        /// What the run is configured for.
        configured: u64,
    },
    /// A file whose content is not what was written.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        reason: String,
    },
    /// A file that a newer version of this program wrote.
    #[error("`{}` has format version {found}, this program reads up to {known}", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The version it states.
        found: u64,
        /// The newest version known here.
        known: u64,
    },
    /// Files of a run that do not belong together.
    #[error("`{}` does not fit this run: {reason}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What differs, with both values.
        reason: String,
    },
    /// A file that could not be read or written.
    #[error("`{}` cannot be {action}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// `read`, `written`, `created`.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The text or the vocabulary.
    #[error(transparent)]
    Vocab(#[from] rnnlm_vocab::Error),
    /// The recurrent layers.
    #[error(transparent)]
    Rnn(#[from] rnnlm_rnn::Error),
    /// A tensor operation.
    #[error(transparent)]
    Tensor(#[from] rnnlm_tensor::Error),
}
