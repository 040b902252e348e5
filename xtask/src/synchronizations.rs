//! Counts how often the host waits for a GPU. The emulated driver counts synchronizations, and a run whose epochs have
//! ten times as many minibatches must synchronize as often as a short one. Part of `cargo xtask emulation`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::emulation::{BuildError, Emulation};

/// Variable of the emulated driver: a file to which it appends a byte per synchronization.
const COUNTER: &str = "RNNLM_EMULATION_SYNCHRONIZATIONS";
/// The most characters of a short and of a long run: 4 and 40 minibatches per epoch, or one less.
const MAX_TOKENS: [&str; 2] = ["85", "805"];
const TRAIN: &str = "train --device cuda --epochs 3 --batch-size 4 --num-steps 5 --hidden-size 8 --dropout 0.5 \
                     --num-layers 2 --optimizer adam --lr 0.001 --quiet";

/// Whether both runs synchronize equally often. Prints the counts.
pub(crate) fn check(emulation: &Emulation, scratch: &Path) -> Result<bool, BuildError> {
    let [short, long] = MAX_TOKENS;
    let counts = [count(emulation, scratch, short)?, count(emulation, scratch, long)?];
    println!("synchronizations in three epochs of 4 and of 40 minibatches: {} and {}", counts[0], counts[1]);
    // one per epoch, and others before and after the epochs
    let is_once_per_epoch = counts[0] == counts[1] && counts[0] >= 3;
    if !is_once_per_epoch {
        eprintln!("error: the host waits for the GPU within an epoch");
    }
    Ok(is_once_per_epoch)
}

/// Trains on the emulated GPU and counts synchronizations.
fn count(emulation: &Emulation, scratch: &Path, max_tokens: &str) -> Result<u64, BuildError> {
    let failed = |path: &Path, error: std::io::Error| BuildError::Failed(format!("`{}`: {error}", path.display()));
    let counter = scratch.join("synchronizations");
    let run = scratch.join("synchronizations-run");
    std::fs::write(&counter, "").map_err(|error| failed(&counter, error))?;
    if run.exists() {
        std::fs::remove_dir_all(&run).map_err(|error| failed(&run, error))?;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["run", "--quiet", "--package", "rnnlm-cli", "--bin", "rnnlm", "--"])
        .current_dir(crate::process::root());
    command.args(TRAIN.split_whitespace()).args(["--max-tokens", max_tokens, "--out"]).arg(&run);
    command.envs(emulation.variables()).env("LD_LIBRARY_PATH", emulation.libraries()).env(COUNTER, &counter);
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| BuildError::Failed(format!("{command:?}: {error}")))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(BuildError::Failed(format!("{command:?}: {}\n{}", output.status, errors.trim())));
    }
    Ok(std::fs::metadata(&counter).map_err(|error| failed(&counter, error))?.len())
}
