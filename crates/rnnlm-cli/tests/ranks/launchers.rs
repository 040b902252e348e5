//! The MPIs of this machine.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::support::Folder;

/// A launcher.
#[derive(Clone, Debug)]
pub(crate) struct Mpi {
    program: PathBuf,
    args: Vec<&'static str>,
}

/// Flags of Open MPI that allow more ranks than cores.
const OPEN_MPI: [&str; 4] = ["--bind-to", "none", "--map-by", ":OVERSUBSCRIBE"];
const OPEN_MPI_4: [&str; 3] = ["--bind-to", "none", "--oversubscribe"];

impl Mpi {
    /// Every MPI that is found. Prints a message if there is none.
    pub(crate) fn all() -> Vec<Self> {
        let folders = std::env::var_os("RNNLM_MPI_DIRS").unwrap_or_default();
        let in_folder = |folder: PathBuf| {
            let args: &[&str] = if folder.join("lib/libmpi.so.40").exists() { &OPEN_MPI } else { &[] };
            Self { program: folder.join("bin/mpiexec"), args: args.to_vec() }
        };
        let mut found: Vec<Self> = std::env::split_paths(&folders).map(in_folder).collect();
        found.push(Self { program: "/usr/bin/mpiexec.mpich".into(), args: Vec::new() });
        found.push(Self { program: "/usr/bin/mpiexec.openmpi".into(), args: OPEN_MPI_4.to_vec() });
        found.retain(|mpi| mpi.program.exists());
        if found.is_empty() {
            eprintln!("SKIPPED: no MPI was found; name installation folders in RNNLM_MPI_DIRS");
        }
        found
    }

    /// Runs the program with `size` processes.
    pub(crate) fn run(&self, folder: &Folder, size: usize, args: &[&str]) -> Output {
        self.command(folder, size, args).output().expect("the launcher starts")
    }

    /// Starts the program with `size` processes.
    pub(crate) fn start(&self, folder: &Folder, size: usize, args: &[&str]) -> Child {
        let mut command = self.command(folder, size, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the launcher starts")
    }

    fn command(&self, folder: &Folder, size: usize, args: &[&str]) -> Command {
        let mut command = folder.command(&self.program);
        command.args(&self.args).args(["-n", &size.to_string(), env!("CARGO_BIN_EXE_rnnlm")]).args(args);
        // Open MPI refuses root otherwise
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        command
    }

    /// Runs two processes with different arguments.
    pub(crate) fn run_two(&self, folder: &Folder, first: &[&str], second: &[&str]) -> Output {
        let mut command = self.command(folder, 1, first);
        command.args([":", "-n", "1", env!("CARGO_BIN_EXE_rnnlm")]).args(second);
        command.output().expect("the launcher starts")
    }

    /// The MPI library of this installation, if it is not Debian's.
    pub(crate) fn library(&self) -> Option<PathBuf> {
        let prefix = self.program.parent()?.parent()?;
        let names = ["lib/libmpi.so.40", "lib/libmpi_abi.so.1"];
        names.iter().map(|name| prefix.join(name)).find(|path| path.exists())
    }

    /// Whether this is Open MPI.
    pub(crate) fn is_open_mpi(&self) -> bool {
        !self.args.is_empty()
    }
}

/// The processes of the program whose working directory is `folder`, in the order of their numbers.
pub(crate) fn processes(folder: &Path) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("Linux").flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let link = |id: u32, name: &str| std::fs::read_link(format!("/proc/{id}/{name}")).unwrap_or_default();
    let folder = folder.canonicalize().expect("the folder exists");
    let program = Path::new(env!("CARGO_BIN_EXE_rnnlm"));
    let mut found: Vec<u32> = ids.filter(|&id| link(id, "cwd") == folder && link(id, "exe") == program).collect();
    found.sort_unstable();
    found
}

/// Sends a signal to a process.
pub(crate) fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), process.to_string()]).stderr(Stdio::null()).status();
    assert!(status.is_ok(), "`kill` starts");
}
