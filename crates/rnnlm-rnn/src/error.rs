//! Errors of building and running layers.

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A layer that cannot be built or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A size of zero.
    #[error("`{name}` is {value}, it must be at least 1")]
    ZeroSize {
        /// The name of the size.
        name: &'static str,
        /// The value given.
        value: usize,
    },
    /// Sizes whose product cannot be addressed.
    #[error("`{name}` would have {rows}×{cols} elements, more than can be addressed")]
    TooLarge {
        /// The parameter or state.
        name: String,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// The device has no fused path for the layer.
    #[error("{cell} with hidden_size {hidden_size} has no fused path on {device}")]
    NoFusedPath {
        /// The cell.
        cell: &'static str,
        /// Its hidden size.
        hidden_size: usize,
        /// The device.
        device: String,
    },
    /// The device's fused path cannot start sequences inside a minibatch.
    #[error("the fused path on {device} cannot start sequences inside a minibatch, the reference path can")]
    NoFusedStarts {
        /// The device.
        device: String,
    },
    /// Weight drop for a cell that has no recurrent weight.
    #[error("weight drop needs a recurrent weight, {cell} has none")]
    NoRecurrentWeight {
        /// The cell.
        cell: &'static str,
    },
    /// Starts inside a minibatch for a stack that also reads it in reverse.
    #[error("a bidirectional stack cannot start sequences inside a minibatch")]
    BidirectionalStarts,
    /// Gradients for another number of shards than the memory was made for.
    #[error("{gradients} sets of gradients for {shards} shards")]
    Shards {
        /// Sets of gradients.
        gradients: usize,
        /// Shards of the memory.
        shards: usize,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] rnnlm_tensor::Error),
}
