//! `cargo xtask ci`: runs every check that a change must pass, cheapest first, and stops at the first failure. All steps that
//! compile use the same profile and flags, so that dependencies are compiled once.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use outcome::{Outcome, finish};

use crate::process::{cargo, usage_error};

mod outcome;
mod vocab_alone;

/// One check.
struct Step {
    name: &'static str,
    action: Action,
}

enum Action {
    /// Runs cargo with these arguments.
    Cargo(&'static [&'static str]),
    /// Runs cargo with an environment variable (name, value) and these arguments.
    CargoWith(&'static str, &'static str, &'static [&'static str]),
    /// Calls a function.
    Call(fn() -> Outcome),
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
    Step {
        name: "subwords",
        action: Action::Cargo(&["test", "-p", "rnnlm-cli", "--features", "subwords", "--test", "cli", "subwords"]),
    },
    Step { name: "emulation", action: Action::Cargo(&["xtask", "emulation"]) },
    Step { name: "mutations", action: Action::Cargo(&["xtask", "mutations"]) },
    // Passes without NVRTC, with a message.
    Step { name: "cuda-gate", action: Action::Cargo(&["xtask", "cuda-gate"]) },
    Step { name: "verify", action: Action::Cargo(&["xtask", "verify"]) },
    Step { name: "self-test", action: Action::Cargo(&["xtask", "verify", "--self-test"]) },
    // Without `-p rnnlm-model`, which would compile dependencies again with that package's features only.
    Step { name: "stages", action: Action::Cargo(&["run", "--example", "stages"]) },
    Step { name: "package", action: Action::Cargo(&["package", "-p", "rnnlm-vocab", "--allow-dirty"]) },
    Step { name: "vocab-alone", action: Action::Call(vocab_alone::run) },
];

/// Runs the steps named in `arguments`, or all of them, and prints how long each took.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if let Some(unknown) = arguments.iter().find(|name| STEPS.iter().all(|step| step.name != name.as_str())) {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return usage_error(&format!("ci has no step `{unknown}`; it has {}", names.join(", ")));
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
            eprintln!("error: `{name}` failed; to run only this step: cargo xtask ci {name}");
            ExitCode::FAILURE
        }
    }
}

impl Step {
    fn run(&self) -> Outcome {
        match self.action {
            Action::Cargo(arguments) => run_cargo(arguments, None),
            Action::CargoWith(name, value, arguments) => run_cargo(arguments, Some((name, value))),
            Action::Call(function) => function(),
        }
    }
}

/// A line of the summary: name, seconds, outcome.
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

/// Prints a cargo command and runs it in the root of the workspace.
fn run_cargo(arguments: &[&str], variable: Option<(&str, &str)>) -> Outcome {
    let prefix = variable.map_or(String::new(), |(name, value)| format!("{name}=\"{value}\" "));
    println!("$ {prefix}cargo {}", arguments.join(" "));
    finish(cargo().args(arguments).envs(variable))
}

/// Checks the licences and sources of the dependencies. Skipped if cargo-deny is not installed.
fn deny() -> Outcome {
    let found = cargo().args(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if !found {
        return Outcome::Skipped(String::from("cargo-deny is not installed: cargo install cargo-deny"));
    }
    run_cargo(&["deny", "check", "licenses", "bans", "sources"], None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_name_seconds_and_reason() {
        let seconds = Duration::from_millis(12_340);
        assert_eq!(summary("test", seconds, &Outcome::Passed), "test            12.3 s  passed");
        assert!(summary("a", seconds, &Outcome::Skipped("b is missing".to_owned())).ends_with("SKIPPED: b is missing"));
        assert!(
            summary("a", seconds, &Outcome::Failed("exit status: 1".to_owned())).ends_with("FAILED: exit status: 1")
        );
    }

    #[test]
    fn names_of_steps_are_unique() {
        for (index, step) in STEPS.iter().enumerate() {
            assert!(STEPS[..index].iter().all(|other| other.name != step.name), "{}", step.name);
        }
    }
}
