//! Ctrl-C and SIGTERM: the first signal requests a stop after the current step, the second ends the program
//! immediately.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Exit, Failure, Result};

static STOP_REQUESTED: AtomicBool = AtomicBool::new(false);

/// Installs the signal handler.
pub(crate) fn install() -> Result<()> {
    let on_signal = || {
        if STOP_REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    ctrlc::set_handler(on_signal)
        .map_err(|error| Failure::failed(format!("cannot install the signal handler: {error}")).with_hint("try again"))
}

/// Whether a signal requested a stop.
pub(crate) fn stop_requested() -> bool {
    STOP_REQUESTED.load(Ordering::SeqCst)
}
