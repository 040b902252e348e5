//! The error type of this crate.

use std::path::PathBuf;

use crate::collective::CollectiveError;
use crate::import_error::ImportError;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An invalid model, setting, text or file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting with an invalid value.
    #[error("`{name}` is {value}, it must be {needed}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// The condition for valid values.
        needed: &'static str,
    },
    /// A step whose loss or gradient norm is not finite. Its update was skipped.
    #[error(
        "training diverged at step {step} (epoch {epoch}): loss {loss}, gradient norm {gradient_norm}, learning rate {lr}"
    )]
    Diverged {
        /// Number of the epoch, from 1.
        epoch: u64,
        /// Number of the step since the start of training, from 1.
        step: u64,
        /// Mean loss of the minibatch, in nats per token.
        loss: f32,
        /// Global norm of the gradients before clipping.
        gradient_norm: f32,
        /// Learning rate of the step.
        lr: f32,
    },
    /// An exchange between ranks that failed during training.
    #[error("step {step}: {cause}")]
    Exchange {
        /// Number of the step since the start of training, from 1.
        step: u64,
        /// What failed.
        cause: CollectiveError,
    },
    /// An exchange between ranks that failed outside of a step.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
    /// Tied weights with different shapes.
    #[error("tied weights need an embedding as wide as the layers' output: {embedding_size} and {output_size}")]
    TiedSizes {
        /// **E**, 0 for one-hot input.
        embedding_size: usize,
        /// Features of the layers' output, `directions·H`.
        output_size: usize,
    },
    /// A text that is too short to be scored.
    #[error("a text of {tokens} token{} cannot be scored: the first is only read, so at least 2 are needed",
        if *tokens == 1 { "" } else { "s" })]
    NothingToScore {
        /// Tokens of the text.
        tokens: usize,
    },
    /// Generation with a bidirectional model.
    #[error("a bidirectional model cannot generate: its backward layers need future tokens")]
    BidirectionalGeneration,
    /// Documents with minibatches that do not carry the state.
    #[error("documents need sequential sampling with a carried state, not random sampling or a state that is reset")]
    DocumentSampling,
    /// Scoring documents with a bidirectional model.
    #[error("a bidirectional model cannot score: its backward layers read the token that is scored")]
    BidirectionalScoring,
    /// Dynamic evaluation by a rule whose gradient statistics were not collected.
    #[error("dynamic evaluation by RMS needs the gradient statistics of the training text")]
    NoGradientStatistics,
    /// Generation from an empty prefix.
    #[error("the prefix is empty, generation needs at least one token")]
    EmptyPrefix,
    /// A sampling temperature that is negative or not finite.
    #[error("`temperature` is {0}, it must be a finite number, 0 for greedy")]
    Temperature(f64),
    /// A choice among no tokens.
    #[error("no token may come next: all of them are banned or excluded")]
    NoCandidates,
    /// A request to a decoder that has no free slot.
    #[error("all {slots} slots of the decoder are in use")]
    NoFreeSlot {
        /// The number of slots.
        slots: usize,
    },
    /// A regular expression that cannot constrain generated text.
    #[error("the regular expression `{pattern}` {reason}")]
    Regex {
        /// The expression.
        pattern: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// A snapshot without a buffer that the optimizer needs.
    #[error("the optimizer's `{name}` is missing")]
    OptimizerState {
        /// PyTorch's name of the buffer.
        name: &'static str,
    },
    /// A folder without a run.
    #[error("`{}` is not a run: {reason}", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A run without a best model.
    #[error("`{}` has no best model: {reason}", path.display())]
    NoBestModel {
        /// The folder.
        path: PathBuf,
        /// Why it has none.
        reason: &'static str,
    },
    /// A folder that exists already.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Training settings of an imported run, which has none.
    #[error("`{}` was imported: it has no training state to resume", path.display())]
    NeverTrained {
        /// The folder.
        path: PathBuf,
    },
    /// A requested setting that differs from the vocabulary's.
    #[error("`{name}` is {requested}, the vocabulary has {actual}")]
    VocabMismatch {
        /// Name of the setting.
        name: &'static str,
        /// The requested value.
        requested: String,
        /// The value in the vocabulary.
        actual: String,
    },
    /// A weights file that cannot become a run.
    #[error("`{}` cannot be imported: {reason}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Why it cannot be imported.
        reason: ImportError,
    },
    /// A run that another process is writing.
    #[error("`{}` is being written by another process", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A request for fewer epochs than a run was configured for.
    #[error("{requested} epoch{} fewer than the {configured} of the run", if *requested == 1 { " is" } else { "s are" })]
    FewerEpochs {
        /// The requested number.
        requested: u64,
        /// The number in the run's configuration.
        configured: u64,
    },
    /// A file whose content is not what was written.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A checkpoint that is resumed although the run went back to an earlier one after it was saved.
    #[error(
        "`{}` is the checkpoint of step {step}, which was abandoned when the run was resumed from an earlier one",
        path.display()
    )]
    Abandoned {
        /// The file.
        path: PathBuf,
        /// Its number of completed minibatches.
        step: u64,
    },
    /// A file that a newer version of this program wrote.
    #[error("`{}` has format version {found}, this program reads up to {known}", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        found: u64,
        /// The newest version that this program reads.
        known: u64,
    },
    /// A file that does not belong to the run.
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
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// An error of the text, the vocabulary or the minibatches.
    #[error(transparent)]
    Vocab(#[from] rnnlm_vocab::Error),
    /// An error of the recurrent layers.
    #[error(transparent)]
    Rnn(#[from] rnnlm_rnn::Error),
    /// An error of a tensor operation.
    #[error(transparent)]
    Tensor(#[from] rnnlm_tensor::Error),
}

impl Error {
    /// A setting with an invalid value.
    pub(crate) fn setting(name: &'static str, value: impl ToString, needed: &'static str) -> Self {
        Self::Setting { name, value: value.to_string(), needed }
    }
}
