//! `cargo xtask`: the project's own commands, beside the walk. One file a command, nothing but the standard library, so
//! that it builds in a second; what needs the workspace's crates runs cargo.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose work is its report")]

use std::path::Path;
use std::process::ExitCode;

mod bench;
mod bundle;
mod ci;
mod emulation;
mod gate;
mod mutations;
mod synchronizations;
mod tidy;
mod trust;
mod verify;

/// A command: its name, what the help says of it, and the function that takes its arguments.
type Command = (&'static str, &'static str, fn(&[String]) -> ExitCode);

const COMMANDS: &[Command] = &[
    ("bench", "how fast training and decoding are here; `bench --against torch` beside PyTorch", bench::run),
    ("ci", "every check that a change must pass, the cheapest first; `ci STEP...` runs only the named ones", ci::run),
    ("cuda-gate", "compile every CUDA kernel for every architecture, if there is an NVRTC", gate::run),
    ("emulation", "build and test the emulated CUDA driver and compiler, which need no GPU", emulation::run),
    ("gpu-bundle", "make a folder with everything that `gpu/run.sh` needs on a machine with a GPU", bundle::run),
    ("mutations", "mutation tests of the CUDA kernels: each must make a row of `verify` fail", mutations::run),
    ("tidy", "the rules of this repository that no compiler knows", tidy::run),
    ("trust", "what is promised of a run's files, with the kills and the long run that `ci` leaves out", trust::run),
    ("verify", "the table of checks for this build on this machine; `verify --help` says more", verify::run),
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
        None => usage_error(&format!("there is no command `{name}`")),
    }
}

fn help() -> String {
    let mut text = String::from("usage: cargo xtask COMMAND\n\n");
    for (name, about, _) in COMMANDS {
        text.push_str(&format!("  {name:<10} {about}\n"));
    }
    text
}

/// Reports a command line that cannot be understood. Exit code 2, as from the commands of `rnnlm`.
fn usage_error(message: &str) -> ExitCode {
    eprint!("error: {message}\n\n{}", help());
    ExitCode::from(2)
}

/// The folder of the workspace, the one above this package.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}
