//! What can go wrong below the layers: shapes that do not fit, ids outside a table, a device that refuses.

/// The result of every tensor operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation that could not be carried out; nothing was written unless a device failed half-way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two operands whose shapes do not fit each other.
    #[error("{op}: {left_name} is {}×{}, {right_name} is {}×{}", left[0], left[1], right[0], right[1])]
    Shape {
        /// The operation, by its function's name.
        op: &'static str,
        /// Which operand came first.
        left_name: &'static str,
        /// Its shape, rows × columns.
        left: [usize; 2],
        /// Which operand did not fit it.
        right_name: &'static str,
        /// Its shape, rows × columns.
        right: [usize; 2],
    },
    /// A list of ids or values whose length differs from what the operation needs.
    #[error("{op}: {expected} {what} are needed, {found} were given")]
    Length {
        /// The operation, by its function's name.
        op: &'static str,
        /// What is counted.
        what: &'static str,
        /// How many the shapes call for.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// An id that names no row or column of a table.
    #[error("{op}: id {id} is outside a table of {bound}")]
    IdOutOfRange {
        /// The operation, by its function's name.
        op: &'static str,
        /// The offending id.
        id: u32,
        /// The number of entries.
        bound: usize,
    },
    /// A buffer that the device could not supply.
    #[error("{device}: {bytes} bytes could not be allocated")]
    OutOfMemory {
        /// The device, by name.
        device: String,
        /// The size asked for.
        bytes: usize,
    },
    /// A device that refused or failed.
    #[error("{device}: {reason}")]
    Device {
        /// The device, by name.
        device: String,
        /// What its driver said.
        reason: String,
    },
    /// A pool of threads that could not be started.
    #[error("a pool of {threads} threads could not be started: {reason}")]
    Threads {
        /// The number asked for.
        threads: usize,
        /// What the operating system said.
        reason: String,
    },
}
