//! What can be wrong with a layer before or while it runs.

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A layer that cannot be built or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A size that makes no layer.
    #[error("`{name}` is {value}, it must be at least 1")]
    ZeroSize {
        /// The name of the size.
        name: &'static str,
        /// What was given.
        value: usize,
    },
    /// Sizes whose product no machine can address.
    #[error("`{name}` would have {rows}×{cols} elements, more than can be addressed")]
    TooLarge {
        /// The parameter or state.
        name: String,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// A path that this backend does not have for this layer.
    #[error("{cell} with hidden_size {hidden_size} has no fused path on {device}")]
    NoFusedPath {
        /// The cell.
        cell: &'static str,
        /// Its hidden size.
        hidden_size: usize,
        /// The device.
        device: String,
    },
    /// An operation that failed.
    #[error(transparent)]
    Tensor(#[from] rnnlm_tensor::Error),
}
