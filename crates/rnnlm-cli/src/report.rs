//! Errors on standard error.

use crate::failure::{Exit, Failure};
use crate::progress;

/// Prints an error with its causes and hints to standard error.
pub(crate) fn report(failure: &Failure) -> Exit {
    // a reader that closes the pipe has read what it wants
    if failure.is_closed_pipe() {
        return Exit::Success;
    }
    progress::error_line(&format!("error: {failure}"));
    let mut source = std::error::Error::source(failure);
    while let Some(error) = source {
        progress::error_line(&format!("  caused by: {error}"));
        source = error.source();
    }
    for hint in failure.hints() {
        progress::error_line(&format!("hint: {hint}"));
    }
    failure.exit()
}
