//! How often the host waits for a GPU, beside the walk: the emulated driver counts it, and a training whose epochs have ten
//! times the minibatches must wait as often as a short one. Part of `cargo xtask emulation`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::emulation::{Absence, Emulation};

/// Variable of the driver's stand-in: a file that grows by a byte with each wait.
const WAITS: &str = "RNNLM_EMULATION_WAITS";
/// Characters to train on, of a short and of a long training: 4 and 40 minibatches, or one less.
const TOKENS: [&str; 2] = ["85", "805"];
const TRAINING: &str = "train --device cuda --epochs 3 --batch-size 4 --num-steps 5 --hidden-size 8 --dropout 0.5 \
                        --num-layers 2 --optimizer adam --lr 0.001 --quiet";

/// Whether both trainings wait equally often; says how often.
pub(crate) fn check(emulation: &Emulation, scratch: &Path) -> Result<bool, Absence> {
    let [short, long] = TOKENS;
    let waits = [count(emulation, scratch, short)?, count(emulation, scratch, long)?];
    println!("waits of three epochs, of 4 minibatches each and of 40: {} and {}", waits[0], waits[1]);
    // three epochs, and whatever is asked for before and after them
    let is_once_an_epoch = waits[0] == waits[1] && waits[0] >= 3;
    if !is_once_an_epoch {
        eprintln!("error: the host waits for the GPU within an epoch");
    }
    Ok(is_once_an_epoch)
}

/// Trains on the emulated GPU, and counts.
fn count(emulation: &Emulation, scratch: &Path, tokens: &str) -> Result<u64, Absence> {
    let broken = |what: &Path, error: std::io::Error| Absence::Broken(format!("`{}`: {error}", what.display()));
    let (file, run) = (scratch.join("waits"), scratch.join("waits-run"));
    std::fs::write(&file, "").map_err(|error| broken(&file, error))?;
    if run.exists() {
        std::fs::remove_dir_all(&run).map_err(|error| broken(&run, error))?;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--package", "rnnlm-cli", "--bin", "rnnlm", "--"]).current_dir(crate::root());
    command.args(TRAINING.split_whitespace()).args(["--max-tokens", tokens, "--out"]).arg(&run);
    command.envs(emulation.variables()).env("LD_LIBRARY_PATH", emulation.libraries()).env(WAITS, &file);
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Absence::Broken(format!("{command:?}: {error}")))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(Absence::Broken(format!("{command:?}: {}\n{}", output.status, words.trim())));
    }
    Ok(std::fs::metadata(&file).map_err(|error| broken(&file, error))?.len())
}
