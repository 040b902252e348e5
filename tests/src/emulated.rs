//! The rows of the emulated GPU, beside the walk: stand-ins for the CUDA driver and its compiler must be found by the
//! loader before a process starts, so this program runs itself once more with them and takes over what it finds.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::run::Selection;
use crate::table::{Row, Table};
use crate::{Error, Result};

/// Backend of the rows of an emulated device.
pub const BACKEND: &str = "cuda (emulated)";

/// Where the stand-ins are, or why there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emulation {
    /// The folder with `libcuda.so` and `libnvrtc.so`.
    Libraries(PathBuf),
    /// They cannot be had here.
    Missing(String),
}

/// The selected rows of the emulated device.
///
/// # Errors
/// If this program cannot run itself, or what runs there prints no table.
pub fn rows(emulation: &Emulation, selection: &Selection) -> Result<Vec<Row>> {
    if selection.self_test {
        // damages test the checks, and these are the same as of the other backends
        return Ok(Vec::new());
    }
    match emulation {
        Emulation::Missing(reason) => {
            let row = Row::not_checked("all operations and layers", BACKEND, "", reason);
            Ok(if selection.contains(&row) { vec![row] } else { Vec::new() })
        }
        Emulation::Libraries(folder) => run(folder, selection),
    }
}

fn run(folder: &PathBuf, selection: &Selection) -> Result<Vec<Row>> {
    let program = std::env::current_exe().map_err(|error| Error::Emulation(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(["--backend", "cuda", "--require", "cuda", "--format", "json", "--emulated"]);
    command.args(selection.filter.iter().flat_map(|filter| ["--filter", filter]));
    let others = std::env::var_os("LD_LIBRARY_PATH").filter(|others| !others.is_empty());
    let mut path = OsString::from(folder);
    if let Some(others) = others {
        path.push(":");
        path.push(others);
    }
    // so few that batches of three rows are more than there are blocks at a time, and so many that half of them are enough for
    // the 19 slices of a layer with 300 units and three or four gates
    command.env("RNNLM_EMULATION_MULTIPROCESSORS", "2 38");
    let output = command.env("LD_LIBRARY_PATH", path).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| Error::Emulation(format!("{command:?}: {error}")))?;
    if output.stdout.is_empty() {
        return Err(Error::Emulation(format!("{command:?} printed nothing: {}", output.status)));
    }
    let table: Table = serde_json::from_slice(&output.stdout).map_err(|error| Error::Emulation(error.to_string()))?;
    Ok(table.rows)
}
