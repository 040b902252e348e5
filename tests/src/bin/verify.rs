//! `cargo xtask verify`, beside the walk: runs the table of checks on this build and this machine and prints it.
//!
//! Exit codes: 0 if all that could run passed, 5 if a check failed, 2 for a command line that cannot be understood.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose work is its report")]

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use rnnlm_tests::emulated::{BACKEND, Emulation};
use rnnlm_tests::run::{Selection, run};
use rnnlm_tests::table::Table;

/// Exit code of a check that failed.
const FAILED: u8 = 5;
/// Exit code of a command line that cannot be understood; clap's own.
const USAGE: u8 = 2;

/// Says whether this build, on this machine, computes what PyTorch computes, and where it does not.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask verify", bin_name = "cargo xtask verify")]
struct Arguments {
    /// Only the rows of this backend
    #[arg(long, value_enum, default_value_t = Backend::All)]
    backend: Backend,
    /// Count what could not be checked on this backend as a failure
    #[arg(long, value_enum, value_name = "BACKEND")]
    require: Vec<Required>,
    /// Only rows with this text in subject, shape, backend or path
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// How to print the table
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Damage a value upstream of every check, one at a time, and see that the check fails
    #[arg(long)]
    self_test: bool,
    /// The rows of the emulated device alone; set by this program for itself
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
            // what is emulated can do all that is checked
            required: (self.require.iter().map(|Required::Cuda| "cuda"))
                .chain(self.emulated.then_some(BACKEND))
                .map(str::to_owned)
                .collect(),
            self_test: self.self_test,
            emulation: if self.emulated || self.backend == Backend::Cpu { None } else { Some(emulation()) },
        }
    }
}

/// Where `cargo xtask verify` has put the stand-ins, or why it has not.
fn emulation() -> Emulation {
    if let Some(folder) = std::env::var_os("RNNLM_EMULATION_LIBRARIES") {
        return Emulation::Libraries(folder.into());
    }
    let reason = std::env::var("RNNLM_EMULATION_MISSING");
    Emulation::Missing(reason.unwrap_or_else(|_| "`cargo xtask verify` builds the stand-ins that it needs".to_owned()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // a check that panics is a row of the table, which carries the message
    std::panic::set_hook(Box::new(|_| {}));
    let table = match run(&arguments.selection()) {
        Ok(table) => table,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(FAILED);
        }
    };
    if table.rows.is_empty() && !arguments.emulated {
        eprintln!("error: no check has `{}` in its row", arguments.filter.unwrap_or_default());
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
        let (caught, all) = (table.ok, table.ok + table.failed);
        text.push_str(&format!("{caught} of {all} damages were caught by their checks\n"));
    }
    text
}
