//! A build without the feature `mpi`.

use std::sync::Arc;

use rnnlm_model::Collective;

use super::args::RankArgs;
use crate::failure::{Failure, Result};

/// Has no value.
#[derive(Debug)]
pub(crate) enum Handle {}

impl Handle {
    pub(super) fn describe(&self) -> String {
        match *self {}
    }

    pub(super) fn finish(&self) -> Result<()> {
        match *self {}
    }
}

/// An error if a launcher started several processes: each would train alone.
pub(super) fn start(_args: &RankArgs) -> Result<Option<(Handle, Arc<dyn Collective>)>> {
    let variables = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];
    let size = variables.iter().find_map(|name| std::env::var(name).ok()?.trim().parse::<usize>().ok());
    match size.filter(|&size| size > 1) {
        Some(size) => Err(Failure::usage(format!(
            "a launcher started {size} processes, and this build has no MPI: it was built without the feature `mpi`"
        ))),
        None => Ok(None),
    }
}
