//! The launcher that started this process, recognized by the environment variables that it sets.

/// The MPI libraries that a launcher belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Open MPI: `mpirun` sets `OMPI_COMM_WORLD_SIZE`.
    OpenMpi,
    /// MPICH and its relatives, such as Intel MPI and Cray MPICH: Hydra and PALS set `PMI_SIZE`.
    Mpich,
    /// Slurm, whose `srun` starts programs of any MPI.
    Slurm,
}

impl Family {
    /// The name of the launcher.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenMpi => "mpirun of Open MPI",
            Self::Mpich => "mpiexec of MPICH or Intel MPI",
            Self::Slurm => "srun",
        }
    }
}

/// What a launcher says about this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// The launcher.
    pub family: Family,
    /// The number of this process.
    pub rank: usize,
    /// The number of processes.
    pub size: usize,
    /// The number of this process among those of its machine, if the launcher says so.
    pub local_rank: Option<usize>,
}

/// A launcher with its variables: size, rank, rank on this machine.
const VARIABLES: [(Family, [&str; 3]); 3] = [
    (Family::OpenMpi, ["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"]),
    (Family::Mpich, ["PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"]),
    // a script of sbatch has SLURM_NTASKS too, and is one process; only a step of srun has this one
    (Family::Slurm, ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"]),
];

impl Launcher {
    /// The launcher of this process, given its environment; `None` if it was started without one.
    pub fn detect(variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| variable(name)?.trim().parse::<usize>().ok();
        VARIABLES.iter().find_map(|&(family, [size, rank, local_rank])| {
            let (size, rank) = (number(size)?, number(rank)?);
            (rank < size).then(|| Self { family, rank, size, local_rank: number(local_rank) })
        })
    }
}

/// Whether `torchrun` started this process, given its environment. Its ranks find each other through PyTorch's own store.
pub fn is_torchrun(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    variable("TORCHELASTIC_RUN_ID").is_some() && variable("WORLD_SIZE").is_some_and(|size| size.trim() != "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(set: &[(&str, &str)]) -> Option<Launcher> {
        Launcher::detect(&|name| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn launchers_are_recognized_by_their_variables() {
        let open_mpi = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "3"), ("PMIX_RANK", "3")];
        let found = detect(&open_mpi).unwrap();
        assert_eq!((found.family, found.rank, found.size, found.local_rank), (Family::OpenMpi, 3, 4, None));
        let hydra = [("PMI_SIZE", "2"), ("PMI_RANK", "1"), ("MPI_LOCALRANKID", "0")];
        let found = detect(&hydra).unwrap();
        assert_eq!((found.family, found.rank, found.size, found.local_rank), (Family::Mpich, 1, 2, Some(0)));
        // under srun with PMI-2, both are set; MPICH's variables name the family
        let srun = [("SLURM_STEP_NUM_TASKS", "8"), ("SLURM_PROCID", "5"), ("SLURM_LOCALID", "1")];
        assert_eq!(detect(&srun).unwrap().family, Family::Slurm);
        assert_eq!(
            detect(&[&srun[..], &[("PMI_SIZE", "8"), ("PMI_RANK", "5")]].concat()).unwrap().family,
            Family::Mpich
        );
    }

    #[test]
    fn a_script_of_sbatch_and_a_plain_process_have_no_launcher() {
        assert_eq!(detect(&[("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0"), ("SLURM_JOB_ID", "1")]), None);
        assert_eq!(detect(&[]), None);
        assert_eq!(detect(&[("PMI_SIZE", "2"), ("PMI_RANK", "2")]), None, "a rank of another job");
        assert_eq!(detect(&[("PMI_SIZE", "two"), ("PMI_RANK", "0")]), None);
    }
}
