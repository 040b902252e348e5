//! `cargo xtask cuda-gate`, beside the walk: every CUDA kernel in every configuration in use compiled by NVRTC for every
//! architecture, with no driver and no GPU. This file looks for an NVRTC and starts the gate of `rnnlm-tests` with it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Where an NVRTC may be said to be: a folder with `libnvrtc.so`, or one that a wheel was installed into.
const FOLDER: &str = "RNNLM_NVRTC_DIR";

/// Runs the gate: exit code 0 if every kernel compiles within its bounds or there is no NVRTC, which it says.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let gate = ["run", "--quiet", "--package", "rnnlm-tests", "--bin", "cuda-gate", "--"];
    let mut command = Command::new(cargo);
    command.args(gate).args(arguments).current_dir(crate::root());
    let own = std::env::var_os("LD_LIBRARY_PATH");
    let own = own.iter().flat_map(std::env::split_paths);
    // what the loader is told already comes first
    match std::env::join_paths(own.chain(folders())) {
        Ok(path) => command.env("LD_LIBRARY_PATH", path),
        Err(error) => {
            eprintln!("error: a folder with an NVRTC cannot be named to the loader: {error}");
            return ExitCode::FAILURE;
        }
    };
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: cargo cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Folders that have an NVRTC and that the loader may not know: the one that the environment names, and what pip has
/// installed for the `python3` of the path.
fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os(FOLDER).map(PathBuf::from);
    let script = "import nvidia; print(*nvidia.__path__, sep='\\n')";
    let python = Command::new("python3").args(["-c", script]).output().ok().filter(|output| output.status.success());
    let python = python.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let wheels = python.lines().map(PathBuf::from);
    let named = named.into_iter().flat_map(|folder| [folder.join("nvidia"), folder]);
    named.chain(wheels).flat_map(|folder| with_nvrtc(&folder)).collect()
}

/// `folder` and the `*/lib` below it, as far as they hold an NVRTC.
fn with_nvrtc(folder: &Path) -> Vec<PathBuf> {
    let below = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path().join("lib"));
    let is_nvrtc = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libnvrtc.so"))
    };
    let all = std::iter::once(folder.to_owned()).chain(below);
    all.filter(|folder| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.any(is_nvrtc))).collect()
}
