//! The `rnnlm` command: trains, evaluates and samples recurrent language models.
//!
//! ```text
//! rnnlm train                        trains on the bundled story
//! rnnlm generate runs/sample-rnn-1   continues a prefix with the trained model
//! ```
//!
//! Each command is a module of [`commands`], with its arguments, its help and its `run` function. This crate is the
//! only one of the workspace that prints, reads the environment and chooses exit codes. The models, the training loop
//! and the files of a run are in the library crates.

mod args;
mod available_memory;
mod chart;
mod commands;
mod compute;
mod corpora;
mod default_prefix;
mod describe;
mod disk_space;
mod escapes;
mod failure;
mod human;
mod memory;
mod output;
mod prefix;
mod process_memory;
mod progress;
mod ranks;
mod repetition;
mod report;
mod run_folder;
mod signals;
mod status_line;
mod terminal;
mod text;
mod token_cache;
mod tokenizer_file;
mod unknown_tokens;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

use commands::ParseError;
use failure::Exit;
use report::report;
use terminal::Escaped;

fn main() -> ExitCode {
    signals::report_file_size_limit();
    #[cfg(feature = "subwords")]
    rnnlm_tokenizer::install();
    let line: Vec<_> = std::env::args_os().collect();
    let (cli, warnings) = match commands::parse(&line) {
        Ok(parsed) => parsed,
        Err(ParseError::Failure(failure)) => return report(&failure).into(),
        // --help and --version arrive here too; clap prints them to standard output
        Err(ParseError::Clap(error)) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            print_parse_error(&error, &line);
            return exit.into();
        }
    };
    for warning in warnings {
        progress::error_line(&warning);
    }
    match commands::run(&cli) {
        Ok(exit) => exit.into(),
        Err(failure) => report(&failure).into(),
    }
}

/// Prints a message of clap, with colors unless it could quote control characters of the command line.
fn print_parse_error(error: &clap::Error, line: &[OsString]) {
    let is_hostile = line.iter().any(|arg| arg.to_string_lossy().contains(char::is_control));
    if is_hostile && error.use_stderr() {
        progress::error_text(&Escaped::text(&error.render().to_string()).on_stderr());
    } else {
        let _ = error.print();
    }
}
