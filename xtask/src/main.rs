//! `cargo xtask`: the project's own commands, one file per command. This package does not depend on the workspace's crates,
//! so it builds quickly; commands that need them run cargo.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose work is its report")]

use std::process::ExitCode;

mod bench;
mod bundle;
mod ci;
mod emulation;
mod emulation_check;
mod gate;
mod mutations;
mod process;
mod synchronizations;
mod tidy;
mod trust;
mod verify;

/// A command: its name, its line in the help, and the function that takes its arguments.
type Command = (&'static str, &'static str, fn(&[String]) -> ExitCode);

const COMMANDS: &[Command] = &[
    ("bench", "measure training and decoding speed; `bench --against torch` compares with PyTorch", bench::run),
    ("ci", "run every check that a change must pass, cheapest first; `ci STEP...` runs only the named ones", ci::run),
    ("cuda-gate", "compile every CUDA kernel for every architecture, if NVRTC is available", gate::run),
    ("emulation", "build and test the libraries that run CUDA kernels without a GPU", emulation_check::run),
    ("gpu-bundle", "make a folder with everything that `gpu/run.sh` needs on a machine with a GPU", bundle::run),
    ("mutations", "run the mutation tests of the CUDA kernels: each must fail a row of `verify`", mutations::run),
    ("tidy", "check the repository's own rules; `tidy --cycles [WORKSPACE]` lists import cycles only", tidy::run),
    ("trust", "test the guarantees about a run's files, including the long tests that `ci` leaves out", trust::run),
    ("verify", "run the table of checks; see `verify --help`", verify::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", help());
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    match COMMANDS.iter().find(|(known, ..)| known == name) {
        Some((.., run)) => run(rest),
        None => process::usage_error(&format!("there is no command `{name}`")),
    }
}

fn help() -> String {
    let mut text = String::from("usage: cargo xtask COMMAND\n\n");
    for (name, about, _) in COMMANDS {
        text.push_str(&format!("  {name:<10} {about}\n"));
    }
    text
}
