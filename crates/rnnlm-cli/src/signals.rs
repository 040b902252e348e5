//! Signals. Ctrl-C, SIGTERM and SIGHUP: the first one requests a stop after the current step, the second one ends the program
//! immediately. Limits of the process: one on CPU time requests a stop, one on file sizes becomes an error of the write.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

#[cfg(unix)]
use signal_hook::consts::{SIGHUP, SIGXCPU, SIGXFSZ};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::{Exit, Failure, Result};

static STOP_REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The signals that request a stop.
#[cfg(unix)]
const STOP: [c_int; 3] = [SIGINT, SIGTERM, SIGHUP];
#[cfg(not(unix))]
const STOP: [c_int; 2] = [SIGINT, SIGTERM];

/// The signals that request a stop, without those that the parent process chose to ignore: `nohup` and background jobs of
/// scripts ignore some of them.
fn handled() -> impl Iterator<Item = c_int> {
    let ignored = ignored();
    STOP.into_iter().filter(move |signal| ignored >> (signal - 1) & 1 == 0)
}

/// Makes the signals that request a stop end the program immediately, for a command that has nothing to save and can wait
/// for its input or for the reader of its output.
pub(crate) fn install_immediate() -> Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    let mut signals = handled();
    let installed = signals.try_for_each(|signal| {
        flag::register_conditional_shutdown(signal, Exit::Interrupted as c_int, always.clone()).map(drop)
    });
    installed.map_err(cannot_install)
}

fn cannot_install(error: io::Error) -> Failure {
    Failure::failed(format!("cannot install the signal handler: {error}")).with_hint("try again")
}

/// Installs the handlers of signals that request a stop, unless they are installed. For a process of a launcher, a second signal
/// has no effect: the launcher forwards the signal that the terminal has sent already, and ends its processes itself.
pub(crate) fn install(has_launcher: bool) -> Result<()> {
    static IS_INSTALLED: AtomicBool = AtomicBool::new(false);
    // a second handler would take the first signal for the second one
    if IS_INSTALLED.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let installed = handled().try_for_each(|signal| {
        if !has_launcher {
            // the flag is still unset when the first signal arrives here
            flag::register_conditional_shutdown(signal, Exit::Interrupted as c_int, STOP_REQUESTED.clone())?;
        }
        request_stop(signal)
    });
    #[cfg(unix)]
    // the system repeats this signal every second
    let installed = installed.and_then(|()| request_stop(SIGXCPU));
    installed.map_err(cannot_install)
}

fn request_stop(signal: c_int) -> io::Result<()> {
    flag::register(signal, STOP_REQUESTED.clone()).map(drop)
}

/// Turns the signal that a write beyond the limit on file sizes sends into an error of the write. By default, it would end the
/// process. Without the handler, everything else works.
pub(crate) fn report_file_size_limit() {
    #[cfg(unix)]
    let _ = flag::register(SIGXFSZ, Arc::default());
}

/// Whether a signal requested a stop.
pub(crate) fn stop_requested() -> bool {
    STOP_REQUESTED.load(Ordering::SeqCst)
}

/// The signals that the parent process chose to ignore, as a set of bits; none where this is unknown.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let digits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    digits.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}
