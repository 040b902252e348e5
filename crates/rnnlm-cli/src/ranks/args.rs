//! The flags of a run of several processes.

use std::path::PathBuf;

// clap would take a doc comment on a flattened struct as the text of the command
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RankArgs {
    /// MPI library, if the processes were started by mpirun or srun [default: the one of the launcher].
    #[arg(long, value_name = "PATH", help_heading = "Computation")]
    pub(crate) mpi_library: Option<PathBuf>,
    /// Seconds that a process waits for the others before the run ends. It has to exceed the time of a save.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Computation")]
    pub(crate) exchange_timeout: u64,
}
