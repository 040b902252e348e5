//! The rows of the emulated GPU. The dynamic loader must find the emulated CUDA driver and compiler when a process
//! starts, so this program runs itself again with their folder in the search path and reads the table that it prints.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::table::{Row, Table};
use crate::{Error, Result};

/// The backend's name in these rows.
pub const BACKEND: &str = "cuda (emulated)";

/// The emulated libraries, or why there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emulation {
    /// The folder with `libcuda.so` and `libnvrtc.so`.
    Libraries(PathBuf),
    /// The reason why they cannot be built.
    Missing(String),
}

/// The rows of the emulated device that contain `filter`, or one row with the reason why there are none.
///
/// # Errors
/// If this program cannot run itself, or the second process prints no table.
pub fn rows(emulation: &Emulation, filter: Option<&str>) -> Result<Vec<Row>> {
    match emulation {
        Emulation::Missing(reason) => Ok(vec![Row::not_checked("all operations and layers", BACKEND, "", reason)]),
        Emulation::Libraries(folder) => run(folder, filter),
    }
}

fn run(folder: &PathBuf, filter: Option<&str>) -> Result<Vec<Row>> {
    let program = std::env::current_exe().map_err(|error| Error::Emulation(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(["--backend", "cuda", "--require", "cuda", "--format", "json", "--emulated"]);
    command.args(filter.iter().flat_map(|filter| ["--filter", filter]));
    let mut path = OsString::from(folder);
    if let Some(inherited) = std::env::var_os("LD_LIBRARY_PATH").filter(|inherited| !inherited.is_empty()) {
        path.push(":");
        path.push(inherited);
    }
    // Every other device has half of these. With 2, a batch of three rows exceeds the number of multiprocessors; 19 are
    // enough for the slices of a layer with 300 units and three or four gates.
    command.env("RNNLM_EMULATION_MULTIPROCESSORS", "2 38");
    let output = command.env("LD_LIBRARY_PATH", path).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| Error::Emulation(format!("{command:?}: {error}")))?;
    if output.stdout.is_empty() {
        return Err(Error::Emulation(format!("{command:?} printed nothing: {}", output.status)));
    }
    let table: Table = serde_json::from_slice(&output.stdout).map_err(|error| Error::Emulation(error.to_string()))?;
    Ok(table.rows)
}
