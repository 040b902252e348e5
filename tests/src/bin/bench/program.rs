//! Figures of the command `rnnlm`: the time to the first epoch, peak memory, the size of the binary and, optionally, the time
//! of a clean build.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Serialize;

use crate::measure::{Failure, median, peak_of};

/// Epochs of a run of the command, enough to reach its peak memory.
const EPOCHS: usize = 3;

/// The command's figures.
#[derive(Debug, Serialize)]
pub(crate) struct Program {
    /// Median time in seconds from the start of the process to the first epoch.
    pub(crate) seconds_to_first_epoch: f64,
    /// Peak memory in bytes while it trains the book's model, if the system reports it.
    pub(crate) peak_memory: Option<u64>,
    /// The size of the binary in bytes.
    pub(crate) binary_bytes: u64,
    /// The time of a clean release build in seconds, if requested.
    pub(crate) build_seconds: Option<f64>,
}

impl Program {
    /// Runs the command `rounds` times.
    pub(crate) fn measure(text: &Path, threads: usize, rounds: usize, build: bool) -> Result<Self, Failure> {
        let program = std::env::current_exe()?.with_file_name(format!("rnnlm{}", std::env::consts::EXE_SUFFIX));
        let runs = Folder::new()?;
        let mut starts = Vec::new();
        let mut peak_memory = None;
        for round in 0..rounds {
            let (start, peak) = run(&program, text, threads, &runs.0.join(round.to_string()))?;
            starts.push(start);
            peak_memory = peak_memory.max(peak);
        }
        Ok(Self {
            seconds_to_first_epoch: median(&mut starts),
            peak_memory,
            binary_bytes: std::fs::metadata(&program)?.len(),
            build_seconds: if build { Some(clean_build(&runs.0)?) } else { None },
        })
    }
}

/// A short training run: the time in seconds to the first epoch, and the peak memory.
fn run(program: &Path, text: &Path, threads: usize, out: &Path) -> Result<(f64, Option<u64>), Failure> {
    let mut command = Command::new(program);
    command.arg("train").arg("--corpus").arg(text).args(["--normalize", "book", "--max-tokens", "10000"]);
    command.args(["--epochs", &EPOCHS.to_string(), "--sample-every", "1", "--threads", &threads.to_string()]);
    command.arg("--out").arg(out).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("`{}` cannot be started: {error}", program.display()))?;
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut first = None;
    let mut peak = None;
    let mut lines = Vec::new();
    for line in BufReader::new(child.stderr.take().ok_or("no standard error")?).lines() {
        let line = line?;
        // The sample of the untrained model is printed just before the first epoch.
        if line.starts_with("untrained") {
            first = Some(start.elapsed().as_secs_f64());
        }
        peak = peak.max(std::fs::read_to_string(&status).ok().as_deref().and_then(peak_of));
        lines.push(line);
    }
    if !child.wait()?.success() {
        return Err(lines.join("\n").into());
    }
    Ok((first.ok_or("the command did not print `untrained`")?, peak))
}

/// The time in seconds of a release build of the command into an empty folder.
fn clean_build(folder: &Path) -> Result<f64, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let start = Instant::now();
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--package", "rnnlm-cli", "--target-dir"]).arg(folder.join("target"));
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into());
    }
    Ok(start.elapsed().as_secs_f64())
}

/// A temporary folder, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("rnnlm-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that cannot be removed is left to the system, which cleans its temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
