//! Errors on standard error.

use crate::failure::{Exit, Failure};

/// Prints an error to standard error, unless a reader has closed the pipe: it has read what it wants.
pub(crate) fn report(failure: &Failure) -> Exit {
    if failure.is_closed_pipe() {
        return Exit::Success;
    }
    failure.print();
    failure.exit()
}
