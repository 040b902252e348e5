//! How a step of `cargo xtask ci` ended.

use std::process::Command;

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    /// It could not run here; the reason.
    Skipped(String),
    /// It failed; how.
    Failed(String),
}

/// Runs `command` and judges its exit status.
pub(super) fn finish(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(status.to_string()),
        Err(error) => Outcome::Failed(format!("{:?} cannot be run: {error}", command.get_program())),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;
    use crate::process::cargo;

    #[test]
    fn a_command_is_judged_by_its_exit_status() {
        assert_eq!(finish(cargo().arg("--version").stdout(Stdio::null())), Outcome::Passed);
        assert!(matches!(finish(cargo().arg("--no-such-option").stderr(Stdio::null())), Outcome::Failed(_)));
        assert!(matches!(finish(&mut Command::new("no-such-program")), Outcome::Failed(_)));
    }
}
