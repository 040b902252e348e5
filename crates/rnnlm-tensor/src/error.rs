//! Errors of tensor operations: shapes that do not match, ids outside a table, a device that fails.

/// The result of every tensor operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation. Its output is unchanged, unless the device failed while writing it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two operands whose shapes do not match.
    #[error("{op}: {left_name} is {}×{}, {right_name} is {}×{}", left[0], left[1], right[0], right[1])]
    Shape {
        /// The operation's name.
        op: &'static str,
        /// The first operand's name.
        left_name: &'static str,
        /// The first operand's shape, rows × columns.
        left: [usize; 2],
        /// The second operand's name.
        right_name: &'static str,
        /// The second operand's shape, rows × columns.
        right: [usize; 2],
    },
    /// A list of ids or values with the wrong length.
    #[error("{op}: {expected} {what} are needed, {found} were given")]
    Length {
        /// The operation's name.
        op: &'static str,
        /// What the list contains.
        what: &'static str,
        /// The length that the shapes require.
        expected: usize,
        /// The actual length.
        found: usize,
    },
    /// An id that is not below the number of entries of a table.
    #[error("{op}: id {id} is outside a table of {bound}")]
    IdOutOfRange {
        /// The operation's name.
        op: &'static str,
        /// The id.
        id: u32,
        /// The number of entries.
        bound: usize,
    },
    /// An `ndarray` array that is not row-major and contiguous, so a view cannot refer to its memory.
    #[error(
        "an array of shape {}×{} needs strides [{}, 1] to become a view, it has [{}, {}]",
        shape[0], shape[1], shape[1], strides[0], strides[1]
    )]
    NotRowMajor {
        /// The array's shape, rows × columns.
        shape: [usize; 2],
        /// The array's strides in elements.
        strides: [isize; 2],
    },
    /// An allocation that failed.
    #[error("{device}: {bytes} bytes could not be allocated")]
    OutOfMemory {
        /// The device's name.
        device: String,
        /// The requested size.
        bytes: usize,
    },
    /// A device that failed.
    #[error("{device}: {reason}")]
    Device {
        /// The device's name.
        device: String,
        /// The driver's message.
        reason: String,
    },
    /// A thread pool that could not be started.
    #[error("a pool of {threads} threads could not be started: {reason}")]
    Threads {
        /// The requested number of threads.
        threads: usize,
        /// The operating system's message.
        reason: String,
    },
}

/// An error unless `found == expected`.
pub(crate) fn check_len(op: &'static str, what: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::Length { op, what, expected, found }) }
}

/// An error unless both shapes are equal.
pub(crate) fn check_same(
    op: &'static str,
    (left_name, left): (&'static str, [usize; 2]),
    (right_name, right): (&'static str, [usize; 2]),
) -> Result<()> {
    if left == right { Ok(()) } else { Err(Error::Shape { op, left_name, left, right_name, right }) }
}

/// An error unless the operand has the shape that the other operands require.
pub(crate) fn check_shape(op: &'static str, name: &'static str, found: [usize; 2], needed: [usize; 2]) -> Result<()> {
    check_same(op, (name, found), ("the shape needed", needed))
}

/// An error unless every id is below `bound`.
pub(crate) fn check_ids(op: &'static str, ids: &[u32], bound: usize) -> Result<()> {
    match ids.iter().max() {
        Some(&id) if id as usize >= bound => Err(Error::IdOutOfRange { op, id, bound }),
        _ => Ok(()),
    }
}
