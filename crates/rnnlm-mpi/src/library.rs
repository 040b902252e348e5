//! Where the MPI library of a launcher is.

use std::path::{Path, PathBuf};

use crate::launcher::Family;

/// The standard ABI of MPI 5, the ABI of MPICH 3 to 5, that of Open MPI 4 and 5, and Debian's name of MPICH.
const STANDARD: &str = "libmpi_abi.so.1";
const MPICH: &str = "libmpi.so.12";
const OPEN_MPI: &str = "libmpi.so.40";
const DEBIAN_MPICH: &str = "libmpich.so.12";

/// The most processes between the launcher and this one.
const MAX_ANCESTORS: usize = 6;

/// The names of the libraries of a launcher, the preferred ones first.
pub(crate) fn names(family: Family) -> &'static [&'static str] {
    match family {
        Family::OpenMpi => &[OPEN_MPI, STANDARD],
        Family::Mpich => &[STANDARD, MPICH, DEBIAN_MPICH],
        Family::Slurm => &[STANDARD, OPEN_MPI, MPICH, DEBIAN_MPICH],
    }
}

/// The files to try, in order: those of the installation that the launcher is in, those that the environment names, and
/// finally names, which the loader looks up. `variable` reads the environment.
pub(crate) fn candidates(family: Family, variable: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let mut prefixes: Vec<PathBuf> = launcher_folders();
    prefixes.extend(
        ["OPAL_PREFIX", "I_MPI_ROOT", "MPI_HOME", "MPI_ROOT"]
            .iter()
            .filter_map(|name| variable(name))
            .map(PathBuf::from),
    );
    let path = variable("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).filter(|folder| folder.join("mpiexec").exists());
    prefixes.extend(on_path.filter_map(|folder| folder.parent().map(Path::to_owned)));
    let mut found = Vec::new();
    for prefix in prefixes {
        for folder in ["lib", "lib64", "lib/release"] {
            let files = names(family).iter().map(|name| prefix.join(folder).join(name));
            found.extend(files.filter(|file| file.exists()));
        }
    }
    found.extend(names(family).iter().map(PathBuf::from));
    found
}

/// The installation folders of the programs that started this process: `PREFIX` for `PREFIX/bin/mpiexec`.
fn launcher_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut process = "self".to_owned();
    for _ in 0..MAX_ANCESTORS {
        let Some(parent) = parent_of(&process) else { break };
        let program = std::fs::read_link(format!("/proc/{parent}/exe"));
        let folder = program.ok().and_then(|program| Some(program.parent()?.parent()?.to_owned()));
        folders.extend(folder.filter(|folder| folder.parent().is_some()));
        process = parent;
    }
    folders
}

/// The parent of a process.
fn parent_of(process: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
    (parent != "0").then(|| parent.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_in_the_environment_is_tried_before_the_loader() {
        let folder = std::env::temp_dir().join(format!("rnnlm-mpi-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("lib")).unwrap();
        std::fs::write(folder.join("lib/libmpi.so.40"), "").unwrap();
        let root = folder.display().to_string();
        let found = candidates(Family::OpenMpi, &|name| (name == "OPAL_PREFIX").then(|| root.clone()));
        let position = |path: &Path| found.iter().position(|found| found == path).unwrap();
        assert!(position(&folder.join("lib/libmpi.so.40")) < position(Path::new("libmpi.so.40")), "{found:?}");
        assert_eq!(found.last().unwrap(), Path::new(STANDARD));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
