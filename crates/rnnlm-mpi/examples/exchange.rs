//! Gathers bytes of several lengths and prints a digest on rank 0, which is the same with every MPI library:
//! `mpiexec -n 3 exchange`. An argument limits the bytes of a call, a second one names the library.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use rnnlm_model::Collective;
use rnnlm_mpi::{Launcher, Mpi, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variable = |name: &str| std::env::var(name).ok();
    let launcher = Launcher::detect(&variable).ok_or("start this program with mpiexec")?;
    let mut options = Options { report: |message| eprintln!("{message}"), ..Options::default() };
    let mut arguments = std::env::args().skip(1);
    if let Some(limit) = arguments.next() {
        options.max_bytes = limit.parse()?;
    }
    options.library = arguments.next().map(Into::into);
    let mpi = Mpi::start(&launcher, options, &variable)?;
    let (rank, size) = (mpi.rank(), mpi.size());
    let len = |rank: usize| [100_000, 0, 1, 4_097][rank % 4];
    let bytes = |rank: usize| (0..len(rank)).map(|i| (i * 31 + rank * 7) as u8).collect::<Vec<u8>>();
    for round in 0..20 {
        let all = mpi.gather_all(&bytes((rank + round) % size))?;
        let expected: Vec<Vec<u8>> = (0..size).map(|rank| bytes((rank + round) % size)).collect();
        if all != expected {
            return Err(format!("rank {rank} received other bytes in round {round}").into());
        }
    }
    mpi.barrier()?;
    if rank == 0 {
        println!("{size} ranks exchanged the right bytes: {}", mpi.describe());
    }
    mpi.finish()?;
    Ok(())
}
