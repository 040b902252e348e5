//! What keeps a check from giving numbers, beside the walk.

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A check without numbers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This machine or this build cannot run it: a row NOT CHECKED with this reason.
    #[error("{0}")]
    NotChecked(String),
    /// A fixture that is not what its reader expects.
    #[error("fixture `{file}`: {reason}")]
    Fixture {
        /// Its file name.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A computation that panicked.
    #[error("panicked: {0}")]
    Panic(String),
    /// A result that depends on the order in which an emulated device runs its threads.
    #[error("schedule {schedule} gives other bits than the threads in order: {differing} of {values} values")]
    Schedule {
        /// The schedule's number.
        schedule: usize,
        /// How many values have other bits.
        differing: usize,
        /// How many there are.
        values: usize,
    },
    /// A run that did not repeat.
    #[error("a second run of the same training gives other bits")]
    Repeated,
    /// The emulated part of the table, which another process runs.
    #[error("the emulated rows: {0}")]
    Emulation(String),
    /// An operation that failed.
    #[error(transparent)]
    Tensor(#[from] rnnlm_tensor::Error),
    /// A layer that failed.
    #[error(transparent)]
    Rnn(rnnlm_rnn::Error),
    /// A model that failed.
    #[error(transparent)]
    Model(rnnlm_model::Error),
    /// Minibatches or tokens that failed.
    #[error(transparent)]
    Vocab(#[from] rnnlm_vocab::Error),
}

impl From<rnnlm_rnn::Error> for Error {
    fn from(error: rnnlm_rnn::Error) -> Self {
        match error {
            rnnlm_rnn::Error::NoFusedPath { .. } => Self::NotChecked(error.to_string()),
            _ => Self::Rnn(error),
        }
    }
}

impl From<rnnlm_model::Error> for Error {
    fn from(error: rnnlm_model::Error) -> Self {
        match error {
            rnnlm_model::Error::Rnn(inner) => inner.into(),
            _ => Self::Model(error),
        }
    }
}
