//! `cargo xtask bench`: measures training and decoding speed for a table of model sizes, the fraction of the machine's peak
//! matrix multiplication speed, and the speed of PyTorch for comparison. `docs/benchmarks.md` has results.
//!
//! Exit codes: 0; 1 if a measurement failed; 2 for a wrong command line.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose work is its report")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};
use rnnlm_tensor::Cpu;
use serde_json::json;

use caches::CacheRow;
use measure::{Failure, Measurement};
use peer::Peer;
use program::Program;
use report::Row;
use sizes::{SIZES, Size};

mod caches;
mod measure;
mod peer;
mod program;
mod report;
mod sizes;

/// The default text.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/sample.txt");

/// Measures training and decoding speed of this build on this machine: medians over processes of medians over epochs
///
/// Throughput varies from minute to minute: compare ratios of consecutive runs on an idle machine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// Run only rows with this text in their name
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Processes per row
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that each process measures
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Threads, 0 for one per core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Plain text file to use instead of the bundled one
    #[arg(long, value_name = "FILE", default_value = SAMPLE, hide_default_value = true)]
    corpus: PathBuf,
    /// Measure this framework as well, alternating with this build
    #[arg(long, value_enum)]
    against: Option<Against>,
    /// Python interpreter with PyTorch
    #[arg(long, env = "RNNLM_PYTHON", default_value = "python3")]
    python: PathBuf,
    /// Also measure a clean release build of `rnnlm`
    #[arg(long)]
    build: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Run one measurement; set by this program for its child processes
    #[arg(long, hide = true)]
    measure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    Torch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.measure {
        Some(name) => run_child(&arguments, name),
        None => bench(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one measurement and prints it for the parent process.
fn run_child(arguments: &Arguments, name: &str) -> Result<(), Failure> {
    let size = SIZES.iter().find(|size| size.name == name).ok_or_else(|| format!("there is no row `{name}`"))?;
    let measurement = measure::measure(size, &arguments.corpus, arguments.threads, arguments.seconds)?;
    println!("{}", serde_json::to_string(&measurement)?);
    Ok(())
}

/// Measures and prints the table.
fn bench(arguments: &Arguments) -> Result<(), Failure> {
    let sizes: Vec<&Size> = SIZES.iter().filter(|size| size.name.contains(&arguments.filter)).collect();
    let caches: Vec<&str> = caches::NAMES.into_iter().filter(|name| name.contains(&arguments.filter)).collect();
    if sizes.is_empty() && caches.is_empty() {
        let names: Vec<&str> = SIZES.iter().map(|size| size.name).chain(caches::NAMES).collect();
        return Err(format!("no row has `{}` in its name; the rows are {}", arguments.filter, names.join(", ")).into());
    }
    let cpu = Cpu::new(arguments.threads)?;
    let peer = arguments.against.and_then(|Against::Torch| match Peer::new(arguments.python.clone()) {
        Ok(peer) => Some(peer),
        Err(error) => {
            eprintln!("no comparison with PyTorch: {error}; set --python or RNNLM_PYTHON");
            None
        }
    });
    let text = arguments.format == Format::Text;
    if text {
        let comparison = peer.as_ref().map_or(String::new(), |peer| format!(", against PyTorch {}", peer.version));
        println!("{}, {}{comparison}\n{}", rnnlm_tensor::Backend::name(&cpu), cpu.isa().name(), report::HEADER);
    }
    let mut rows = Vec::new();
    for size in sizes {
        let row = measure_row(arguments, size, cpu.threads(), peer.as_ref())?;
        if text {
            println!("{}", row.text());
        }
        rows.push(row);
    }
    let mut cache_rows = Vec::new();
    for name in caches {
        let row = CacheRow::measure(name, &arguments.corpus, &cpu, arguments.rounds)?;
        if text {
            println!("{}", row.text());
        }
        cache_rows.push(row);
    }
    let program = Program::measure(&arguments.corpus, cpu.threads(), arguments.rounds, arguments.build)?;
    if text {
        println!("{}", report::program_text(&program));
    } else {
        let torch = peer.map(|peer| peer.version);
        let json =
            json!({"isa": cpu.isa().name(), "torch": torch, "rows": rows, "caches": cache_rows, "program": program});
        println!("{}", serde_json::to_string_pretty(&json)?);
    }
    Ok(())
}

/// Measures all rounds of a row, alternating with the peer.
fn measure_row(arguments: &Arguments, size: &Size, threads: usize, peer: Option<&Peer>) -> Result<Row, Failure> {
    let mut rounds = Vec::new();
    for _ in 0..arguments.rounds.max(1) {
        let rnnlm = measure_in_child(size, &arguments.corpus, threads, arguments.seconds)?;
        let peer = peer.map(|peer| peer.measure(size, &arguments.corpus, threads, arguments.seconds)).transpose()?;
        rounds.push((rnnlm, peer));
    }
    Ok(Row::new(size, threads, &rounds))
}

/// Runs one measurement in a child process.
fn measure_in_child(size: &Size, text: &Path, threads: usize, seconds: f64) -> Result<Measurement, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--measure", size.name, "--threads", &threads.to_string(), "--seconds", &seconds.to_string()]);
    let output = command.arg("--corpus").arg(text).output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", size.name, String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
