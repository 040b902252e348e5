//! `cargo xtask verify`: runs the table of checks on this machine and prints it.
//!
//! Exit codes: 0 if all checks that could run passed, 5 if a check failed, 2 for a wrong command line.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose work is its report")]

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use rnnlm_tests::emulated::{BACKEND, Emulation};
use rnnlm_tests::run::{Selection, run};
use rnnlm_tests::table::Table;

/// Exit code of a check that failed.
const FAILED: u8 = 5;
/// Exit code for a wrong command line, the same as clap's.
const USAGE: u8 = 2;

/// Compares this build on this machine with PyTorch's results and lists every difference
#[derive(Debug, Parser)]
#[command(name = "cargo xtask verify", bin_name = "cargo xtask verify")]
struct Arguments {
    /// Run only the checks of this backend
    #[arg(long, value_enum, default_value_t = Backend::All)]
    backend: Backend,
    /// Count unchecked rows of this backend as failures
    #[arg(long, value_enum, value_name = "BACKEND")]
    require: Vec<Required>,
    /// Run only rows with this text in subject, shape, backend or path
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Change a value upstream of each check, one at a time, and require the check to fail
    #[arg(long)]
    self_test: bool,
    /// Run only the rows of the emulated device; set by this program for its child process
    #[arg(long, hide = true)]
    emulated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Backend {
    Cpu,
    Cuda,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Required {
    Cuda,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Arguments {
    fn selection(&self) -> Selection {
        Selection {
            backend: match self.backend {
                Backend::Cpu => Some("cpu".to_owned()),
                Backend::Cuda => Some("cuda".to_owned()),
                Backend::All => None,
            },
            filter: self.filter.clone(),
            // The emulated device supports every check.
            required: (self.require.iter().map(|Required::Cuda| "cuda"))
                .chain(self.emulated.then_some(BACKEND))
                .map(str::to_owned)
                .collect(),
            self_test: self.self_test,
            emulation: if self.emulated || self.backend == Backend::Cpu { None } else { Some(emulation()) },
        }
    }
}

/// The emulation's libraries that `cargo xtask verify` has built, or why it has not.
fn emulation() -> Emulation {
    if let Some(folder) = std::env::var_os("RNNLM_EMULATION_LIBRARIES") {
        return Emulation::Libraries(folder.into());
    }
    let reason = std::env::var("RNNLM_EMULATION_MISSING");
    Emulation::Missing(
        reason.unwrap_or_else(|_| "only `cargo xtask verify` builds the emulation's libraries".to_owned()),
    )
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The message of a panic is in the check's row.
    std::panic::set_hook(Box::new(|_| {}));
    let table = match run(&arguments.selection()) {
        Ok(table) => table,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(FAILED);
        }
    };
    if table.rows.is_empty() && !arguments.emulated {
        eprintln!("error: no row contains `{}`", arguments.filter.unwrap_or_default());
        return ExitCode::from(USAGE);
    }
    match arguments.format {
        Format::Text => print!("{}", text(&table, arguments.self_test)),
        Format::Json => match table.json() {
            Ok(json) => println!("{json}"),
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(FAILED);
            }
        },
    }
    if table.failed > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

fn text(table: &Table, self_test: bool) -> String {
    let mut text = table.text();
    if self_test {
        let all = table.ok + table.failed;
        text.push_str(&format!("{} of {all} perturbations were detected\n", table.ok));
    }
    text
}
