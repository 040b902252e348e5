//! The comparison with PyTorch: runs `xtask/bench/torch_lm.py` in a child process on the same text.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::measure::Failure;
use crate::sizes::Size;

/// A Python interpreter with PyTorch.
#[derive(Debug)]
pub(crate) struct Peer {
    python: PathBuf,
    /// The version of PyTorch.
    pub(crate) version: String,
}

/// The results of one run of the script.
#[derive(Debug, Deserialize)]
pub(crate) struct PeerMeasurement {
    /// Tokens per second: the median over epochs or rounds.
    pub(crate) median: f64,
    pub(crate) peak_memory: Option<u64>,
}

impl Peer {
    /// Fails if this interpreter cannot be started or has no PyTorch.
    pub(crate) fn new(python: PathBuf) -> Result<Self, Failure> {
        let version = Command::new(&python).args(["-c", "import torch; print(torch.__version__)"]).output();
        let output = version.map_err(|error| format!("`{}` cannot be started: {error}", python.display()))?;
        if !output.status.success() {
            return Err(format!("`{}` has no PyTorch", python.display()).into());
        }
        Ok(Self { python, version: String::from_utf8_lossy(&output.stdout).trim().to_owned() })
    }

    /// Runs the script; for a large vocabulary twice, with dense and with sparse gradients of the embedding, of which the
    /// faster counts.
    pub(crate) fn measure(
        &self,
        size: &Size,
        text: &std::path::Path,
        threads: usize,
        seconds: f64,
    ) -> Result<PeerMeasurement, Failure> {
        let dense = self.run(size, text, threads, seconds, false)?;
        if !size.is_zipf {
            return Ok(dense);
        }
        let sparse = self.run(size, text, threads, seconds, true)?;
        Ok(if sparse.median > dense.median { sparse } else { dense })
    }

    /// Runs the script once.
    fn run(
        &self,
        size: &Size,
        text: &std::path::Path,
        threads: usize,
        seconds: f64,
        is_sparse: bool,
    ) -> Result<PeerMeasurement, Failure> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../xtask/bench/torch_lm.py");
        let mut command = Command::new(&self.python);
        command.arg(script).arg("--text").arg(text).args(size.peer_arguments());
        command.args(["--threads", &threads.to_string(), "--seconds", &seconds.to_string(), "--epochs", "4"]);
        command.args(["--sparse", if is_sparse { "1" } else { "0" }]);
        let output = command.output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
