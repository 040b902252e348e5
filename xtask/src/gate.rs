//! `cargo xtask cuda-gate`: compiles every CUDA kernel in every configuration for every architecture with NVRTC, which
//! needs neither driver nor GPU. This file finds an NVRTC and starts the compile gate of `rnnlm-tests` with it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Variable for the folder of an NVRTC: one with `libnvrtc.so`, or one that a wheel was installed into.
const FOLDER: &str = "RNNLM_NVRTC_DIR";

/// Runs the gate. Exit code 0 if every kernel compiles within its bounds, or if there is no NVRTC, which is reported.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let gate = ["run", "--quiet", "--package", "rnnlm-tests", "--bin", "cuda-gate", "--"];
    let mut command = Command::new(cargo);
    command.args(gate).args(arguments).current_dir(crate::process::root());
    let inherited = std::env::var_os("LD_LIBRARY_PATH");
    let inherited = inherited.iter().flat_map(std::env::split_paths);
    match std::env::join_paths(inherited.chain(folders())) {
        Ok(path) => command.env("LD_LIBRARY_PATH", path),
        Err(error) => {
            eprintln!("error: LD_LIBRARY_PATH cannot contain the folder of NVRTC: {error}");
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

/// Folders with an NVRTC outside the loader's search path: that of the environment variable, and those of pip packages
/// of `python3`.
fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os(FOLDER).map(PathBuf::from);
    let script = "import nvidia; print(*nvidia.__path__, sep='\\n')";
    let python = Command::new("python3").args(["-c", script]).output().ok().filter(|output| output.status.success());
    let python = python.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let wheels = python.lines().map(PathBuf::from);
    let named = named.into_iter().flat_map(|folder| [folder.join("nvidia"), folder]);
    named.chain(wheels).flat_map(|folder| with_nvrtc(&folder)).collect()
}

/// `folder` and its `*/lib`, if they contain an NVRTC.
fn with_nvrtc(folder: &Path) -> Vec<PathBuf> {
    let below = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path().join("lib"));
    let is_nvrtc = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libnvrtc.so"))
    };
    let all = std::iter::once(folder.to_owned()).chain(below);
    all.filter(|folder| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.any(is_nvrtc))).collect()
}
