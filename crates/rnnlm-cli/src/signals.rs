//! Ctrl-C and SIGTERM: the first asks training to stop after the step under way, the second ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Exit, Failure, Result};

static STOP: AtomicBool = AtomicBool::new(false);

/// Takes the signals over.
pub(crate) fn listen() -> Result<()> {
    let on_signal = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    ctrlc::set_handler(on_signal)
        .map_err(|error| Failure::new(format!("signals cannot be handled: {error}"), "try again"))
}

/// Whether somebody has asked for an end.
pub(crate) fn stop_requested() -> bool {
    STOP.load(Ordering::SeqCst)
}
