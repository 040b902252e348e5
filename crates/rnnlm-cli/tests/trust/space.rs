//! A disk that is really full: a limit on the size of files, a small file system, a device that takes nothing.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::{Outcome, Place};
use crate::{ending, litter};

/// A training whose metrics outgrow 8 kB, which its other files never do.
const TRAINING: [&str; 14] = [
    "--hidden-size",
    "2",
    "--epochs",
    "120",
    "--batch-size",
    "4",
    "--num-steps",
    "10",
    "--max-tokens",
    "300",
    "--threads",
    "1",
    "--sample-every",
    "0",
];

/// Runs a script in the folder of `place`, where `$rnnlm` is the command.
fn shell(place: &Place, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(place.path(".")).env("rnnlm", env!("CARGO_BIN_EXE_rnnlm"));
    command
}

fn run(mut command: Command) -> Outcome {
    Outcome::of(command.output().unwrap())
}

#[test]
fn a_limit_on_files_leaves_the_last_good_save_to_go_on_from() {
    let place = Place::new();
    place.run(&[&["train", "--quiet", "--out", "whole"], &TRAINING[..]].concat()).succeeded();
    // 8 blocks of 512 or, in some shells, 1024 bytes; without the signal, a write beyond them is an error as on a full disk
    let script = format!("trap '' XFSZ; ulimit -f 8; exec \"$rnnlm\" train --quiet --out run {}", TRAINING.join(" "));
    let outcome = run(shell(&place, &script));
    let words = [
        "warning: `run/metrics.jsonl` cannot be written: File too large",
        "is kept, training goes on and tries again later",
        "error: the last of the training is not saved: `run/metrics.jsonl` cannot be written",
        "is kept in run",
        "rnnlm train --resume run",
    ];
    let outcome = outcome.failed(1, &words);
    assert!(outcome.stderr.matches("warning: `run/metrics").count() > 2, "it tries again: {}", outcome.stderr);
    place.run(&["generate", "run", "--num-tokens", "3"]).succeeded();
    place.run(&["train", "--quiet", "--resume", "run"]).succeeded();
    assert!(ending(&place.path("run")) == ending(&place.path("whole")));
    assert_eq!(litter(&place.path("run")), [""; 0]);
}

#[test]
fn a_disk_that_fills_up_and_is_cleared_up_again() {
    let place = Place::new();
    place.run(&[&["train", "--quiet", "--out", "whole"], &TRAINING[..]].concat()).succeeded();
    fs::create_dir(place.path("disk")).unwrap();
    // a file system of the process's own, with room for a dozen files: an earlier save for every epoch fills it
    let script = format!(
        "mount -t tmpfs -o size=48k none disk || exit 99
         \"$rnnlm\" train --quiet --out disk/run --checkpoint-every 1 --keep 1000 {} >/dev/null
         echo exit $? >&2
         rm -r disk/run/checkpoints
         \"$rnnlm\" train --quiet --resume disk/run && cp -r disk/run copy
         \"$rnnlm\" train --quiet --out disk/large --hidden-size 64 --epochs 1",
        TRAINING.join(" ")
    );
    let mut command = Command::new("unshare");
    let script = shell(&place, &script);
    command
        .args(["-Urm", "sh"])
        .args(script.get_args())
        .current_dir(place.path("."))
        .env("rnnlm", env!("CARGO_BIN_EXE_rnnlm"));
    match command.output() {
        Ok(output)
            if output.status.code() != Some(99) && !String::from_utf8_lossy(&output.stderr).starts_with("unshare:") =>
        {
            let words =
                ["No space left on device", "tries again later", "exit 1", "two saves need", "--out on another disk"];
            Outcome::of(output).failed(1, &words);
            assert!(ending(&place.path("copy")) == ending(&place.path("whole")));
        }
        refused => println!("not checked: no file system of one's own here: {refused:?}"),
    }
}

#[test]
fn an_output_that_takes_nothing_does_not_cost_the_run() {
    let place = Place::new();
    let mut command = place.command(&[&["train", "--quiet", "--out", "run"], &TRAINING[..]].concat());
    command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap()).stderr(Stdio::piped());
    run(command).failed(1, &["standard input or output failed", "No space left on device"]);
    place.run(&[&["train", "--quiet", "--out", "whole"], &TRAINING[..]].concat()).succeeded();
    assert!(ending(&place.path("run")) == ending(&place.path("whole")));
}
