//! `cargo xtask ci`, beside the walk: every check that a change must pass, the cheapest first, up to the first that
//! fails. Every step that compiles uses the one profile and no flags of its own for dependencies, so that they are
//! compiled once.

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

mod vocab_alone;

/// One check: its name, and what it does.
struct Step {
    name: &'static str,
    action: Action,
}

enum Action {
    /// Runs cargo with these arguments.
    Cargo(&'static [&'static str]),
    /// Runs cargo with these arguments and a variable set.
    CargoWith(&'static str, &'static str, &'static [&'static str]),
    /// Calls a function.
    Call(fn() -> Outcome),
}

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// It could not run here, and why.
    Skipped(String),
    /// It failed, and how.
    Failed(String),
}

const STEPS: &[Step] = &[
    Step { name: "fmt", action: Action::Cargo(&["fmt", "--all", "--check"]) },
    Step { name: "tidy", action: Action::Cargo(&["xtask", "tidy"]) },
    Step { name: "deny", action: Action::Call(deny) },
    Step { name: "clippy", action: Action::Cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]) },
    Step {
        name: "doc",
        action: Action::CargoWith("RUSTDOCFLAGS", "-D warnings", &["doc", "--workspace", "--no-deps"]),
    },
    Step { name: "test", action: Action::Cargo(&["test", "--workspace"]) },
    Step { name: "emulation", action: Action::Cargo(&["xtask", "emulation"]) },
    Step { name: "mutations", action: Action::Cargo(&["xtask", "mutations"]) },
    // skipped, with a message, if there is no NVRTC
    Step { name: "cuda-gate", action: Action::Cargo(&["xtask", "cuda-gate"]) },
    Step { name: "verify", action: Action::Cargo(&["xtask", "verify"]) },
    Step { name: "self-test", action: Action::Cargo(&["xtask", "verify", "--self-test"]) },
    // Without `-p rnnlm-model`, which would compile dependencies again, with the features that one package asks for.
    Step { name: "stages", action: Action::Cargo(&["run", "--example", "stages"]) },
    Step { name: "package", action: Action::Cargo(&["package", "-p", "rnnlm-vocab", "--allow-dirty"]) },
    Step { name: "vocab-alone", action: Action::Call(vocab_alone::run) },
];

/// Runs the steps named in `arguments`, or all of them, and lists what they took.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if let Some(unknown) = arguments.iter().find(|name| STEPS.iter().all(|step| step.name != name.as_str())) {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return crate::usage_error(&format!("ci has no step `{unknown}`; it has {}", names.join(", ")));
    }
    let chosen = STEPS.iter().filter(|step| arguments.is_empty() || arguments.iter().any(|name| name == step.name));
    let start = Instant::now();
    let mut lines = Vec::new();
    let mut failed = None;
    for step in chosen {
        let step_start = Instant::now();
        println!("\n==> {}", step.name);
        let outcome = step.run();
        lines.push(summary(step.name, step_start.elapsed(), &outcome));
        println!("{}", lines[lines.len() - 1]);
        if let Outcome::Failed(_) = outcome {
            failed = Some(step.name);
            break;
        }
    }
    println!("\n{}\n{}", lines.join("\n"), duration("all", start.elapsed()));
    match failed {
        None => ExitCode::SUCCESS,
        Some(name) => {
            eprintln!("error: `{name}` failed; alone: cargo xtask ci {name}");
            ExitCode::FAILURE
        }
    }
}

impl Step {
    fn run(&self) -> Outcome {
        match self.action {
            Action::Cargo(arguments) => cargo(arguments, None),
            Action::CargoWith(name, value, arguments) => cargo(arguments, Some((name, value))),
            Action::Call(function) => function(),
        }
    }
}

/// A line of the list: name, seconds, outcome.
fn summary(name: &str, elapsed: Duration, outcome: &Outcome) -> String {
    let outcome = match outcome {
        Outcome::Passed => String::from("passed"),
        Outcome::Skipped(reason) => format!("SKIPPED: {reason}"),
        Outcome::Failed(how) => format!("FAILED: {how}"),
    };
    format!("{}  {outcome}", duration(name, elapsed))
}

fn duration(name: &str, elapsed: Duration) -> String {
    format!("{name:<12} {:7.1} s", elapsed.as_secs_f64())
}

/// The cargo that runs this program.
fn cargo_command() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from(env!("CARGO")));
    let mut command = Command::new(cargo);
    command.current_dir(crate::root());
    command
}

/// Runs cargo in the root of the workspace, after saying so.
fn cargo(arguments: &[&str], variable: Option<(&str, &str)>) -> Outcome {
    let prefix = variable.map_or(String::new(), |(name, value)| format!("{name}=\"{value}\" "));
    println!("$ {prefix}cargo {}", arguments.join(" "));
    finish(cargo_command().args(arguments).envs(variable))
}

/// Waits for a command and judges its exit status.
fn finish(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(status.to_string()),
        Err(error) => Outcome::Failed(format!("{:?} cannot be run: {error}", command.get_program())),
    }
}

/// Licences and sources of the dependencies. It needs no network and no compiler, but a program that not everyone has.
fn deny() -> Outcome {
    let found = cargo_command().args(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if !found {
        return Outcome::Skipped(String::from("cargo-deny is not installed: cargo install cargo-deny"));
    }
    cargo(&["deny", "check", "licenses", "bans", "sources"], None)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_command_is_judged_by_its_exit_status() {
        assert_eq!(finish(cargo_command().arg("--version").stdout(Stdio::null())), Outcome::Passed);
        assert!(matches!(finish(cargo_command().arg("--no-such-option").stderr(Stdio::null())), Outcome::Failed(_)));
        assert!(matches!(finish(&mut Command::new("no-such-program")), Outcome::Failed(_)));
    }

    #[test]
    fn the_list_names_step_seconds_and_reason() {
        let seconds = Duration::from_millis(12_340);
        assert_eq!(summary("test", seconds, &Outcome::Passed), "test            12.3 s  passed");
        assert!(summary("a", seconds, &Outcome::Skipped("b is missing".to_owned())).ends_with("SKIPPED: b is missing"));
        assert!(
            summary("a", seconds, &Outcome::Failed("exit status: 1".to_owned())).ends_with("FAILED: exit status: 1")
        );
    }

    #[test]
    fn steps_have_names_of_their_own() {
        for (index, step) in STEPS.iter().enumerate() {
            assert!(STEPS[..index].iter().all(|other| other.name != step.name), "{}", step.name);
        }
    }
}
