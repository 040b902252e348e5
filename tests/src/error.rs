//! Why a check has no result.

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A check that could not compare anything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This machine or build cannot run it: the row is NOT CHECKED with this reason.
    #[error("{0}")]
    NotChecked(String),
    /// A fixture that cannot be read.
    #[error("fixture `{file}`: {reason}")]
    Fixture {
        /// The file name.
        file: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// A computation that panicked.
    #[error("panicked: {0}")]
    Panic(String),
    /// A result that depends on the order in which an emulated device runs its threads.
    #[error("schedule {schedule} and the sequential one give different bits: {differing} of {values} values differ")]
    Schedule {
        /// The schedule's number.
        schedule: usize,
        /// The number of values with different bits.
        differing: usize,
        /// The number of values.
        values: usize,
    },
    /// A training run that gave different bits when repeated.
    #[error("repeating the training run gives different bits")]
    Repeated,
    /// The process that runs the emulated part of the table.
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
            rnnlm_rnn::Error::NoFusedPath { .. } | rnnlm_rnn::Error::NoFusedStarts { .. } => {
                Self::NotChecked(error.to_string())
            }
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
