//! MPI, with the crate `rnnlm-mpi`.

use std::sync::Arc;
use std::time::Duration;

use rnnlm_model::Collective;
use rnnlm_mpi::{Launcher, Mpi, Options, is_torchrun};

use super::args::RankArgs;
use crate::failure::{Failure, Result};
use crate::progress;

/// MPI of this process.
#[derive(Debug)]
pub(crate) struct Handle(Arc<Mpi>);

impl Handle {
    /// The library and its version.
    pub(super) fn describe(&self) -> String {
        self.0.describe()
    }

    /// Ends MPI on all ranks.
    pub(super) fn finish(&self) -> Result<()> {
        self.0.finish().map_err(|error| Failure::failed(error.to_string()))
    }
}

/// Starts MPI if a launcher started several processes.
pub(super) fn start(args: &RankArgs) -> Result<Option<(Handle, Arc<dyn Collective>)>> {
    let variable = |name: &str| std::env::var(name).ok();
    let launcher = Launcher::detect(&variable);
    if launcher.is_none() && is_torchrun(&variable) {
        let message = "torchrun started several processes, which could not exchange gradients";
        return Err(Failure::usage(message).with_hint("start them with mpirun or srun"));
    }
    let Some(launcher) = launcher.filter(|launcher| launcher.size > 1) else { return Ok(None) };
    let timeout = Duration::from_secs(args.exchange_timeout);
    let options = Options { library: args.mpi_library.clone(), timeout, report, ..Options::default() };
    let mpi = Arc::new(Mpi::start(&launcher, options, &variable).map_err(|error| failure(&error))?);
    Ok(Some((Handle(mpi.clone()), mpi)))
}

/// Prints the message of a lost rank, whichever rank this is.
fn report(message: &str) {
    progress::set_silent(false);
    progress::error_line(&format!("error: {message}"));
    progress::error_line("hint: the last save remains; continue with `rnnlm train --resume RUN`");
}

fn failure(error: &rnnlm_mpi::Error) -> Failure {
    let hint = match error {
        rnnlm_mpi::Error::NotFound { .. } | rnnlm_mpi::Error::Open { .. } | rnnlm_mpi::Error::Symbol { .. } => {
            "name the library of the launcher with --mpi-library, such as /usr/lib/libmpi.so.40"
        }
        rnnlm_mpi::Error::OtherLauncher { .. } => {
            "use the launcher of that library, or name the library of the launcher with --mpi-library"
        }
        _ => "use another MPI library with --mpi-library",
    };
    Failure::failed(error.to_string()).with_hint(hint)
}
