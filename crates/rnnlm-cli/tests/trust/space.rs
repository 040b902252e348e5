//! A full disk: a limit on file sizes, a small file system, and `/dev/full`.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::{Outcome, TestDir};
use crate::{leftovers, result_of};

/// A training run whose metrics grow beyond 8 kB, while its other files stay smaller.
const TRAIN_FLAGS: [&str; 14] = [
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

/// A shell script in the folder of `dir`, in which `$rnnlm` is the command.
fn shell(dir: &TestDir, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(dir.path(".")).env("rnnlm", env!("CARGO_BIN_EXE_rnnlm"));
    command
}

fn run(mut command: Command) -> Outcome {
    Outcome::of(command.output().unwrap())
}

#[test]
fn a_file_size_limit_leaves_a_checkpoint_that_can_be_resumed() {
    let dir = TestDir::new();
    dir.run(&[&["train", "--quiet", "--out", "whole"], &TRAIN_FLAGS[..]].concat()).succeeded();
    // 8 blocks of 512 bytes, 1024 in some shells. A larger write sends a signal and is an error, as on a full disk.
    let script = format!("ulimit -f 8; exec \"$rnnlm\" train --quiet --out run {}", TRAIN_FLAGS.join(" "));
    let outcome = run(shell(&dir, &script));
    let words = [
        "warning: `run/metrics.jsonl` cannot be written: File too large",
        "is kept, training continues and retries at each checkpoint without another warning",
        "error: the end of the training run was not saved: `run/metrics.jsonl` cannot be written",
        "is kept in run",
        "rnnlm train --resume run",
    ];
    let outcome = outcome.failed(1, &words);
    // the same error is reported once, although 120 epochs have a dozen checkpoints
    assert_eq!(outcome.stderr.matches("warning: `run/metrics").count(), 1, "{}", outcome.stderr);
    dir.run(&["generate", "run", "--num-tokens", "3"]).succeeded();
    dir.run(&["train", "--quiet", "--resume", "run"]).succeeded();
    assert!(result_of(&dir.path("run")) == result_of(&dir.path("whole")));
    assert_eq!(leftovers(&dir.path("run")), [""; 0]);
}

#[test]
fn a_run_on_a_full_disk_can_be_resumed_after_files_are_removed() {
    let dir = TestDir::new();
    dir.run(&[&["train", "--quiet", "--out", "whole"], &TRAIN_FLAGS[..]].concat()).succeeded();
    fs::create_dir(dir.path("disk")).unwrap();
    // a private file system with space for a dozen files, which an earlier checkpoint per epoch fills
    let script = format!(
        "mount -t tmpfs -o size=48k none disk || exit 99
         \"$rnnlm\" train --quiet --out disk/run --checkpoint-every 1 --keep 1000 {} >/dev/null
         echo exit $? >&2
         rm -r disk/run/checkpoints
         \"$rnnlm\" train --quiet --resume disk/run --keep 0 && cp -r disk/run copy
         \"$rnnlm\" train --quiet --out disk/large --hidden-size 64 --epochs 1",
        TRAIN_FLAGS.join(" ")
    );
    let mut command = Command::new("unshare");
    let script = shell(&dir, &script);
    command
        .args(["-Urm", "sh"])
        .args(script.get_args())
        .current_dir(dir.path("."))
        .env("rnnlm", env!("CARGO_BIN_EXE_rnnlm"));
    match command.output() {
        Ok(output)
            if output.status.code() != Some(99) && !String::from_utf8_lossy(&output.stderr).starts_with("unshare:") =>
        {
            let words = [
                "No space left on device",
                "retries at each checkpoint",
                "exit 1",
                "two checkpoints need",
                "--out on another disk",
            ];
            Outcome::of(output).failed(1, &words);
            assert!(result_of(&dir.path("copy")) == result_of(&dir.path("whole")));
        }
        refused => println!("skipped: private file systems are not permitted here: {refused:?}"),
    }
}

#[test]
fn a_failing_standard_output_does_not_lose_the_run() {
    let dir = TestDir::new();
    let mut command = dir.command(&[&["train", "--quiet", "--out", "run"], &TRAIN_FLAGS[..]].concat());
    command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap()).stderr(Stdio::piped());
    run(command).failed(1, &["standard input or output failed", "No space left on device"]);
    dir.run(&[&["train", "--quiet", "--out", "whole"], &TRAIN_FLAGS[..]].concat()).succeeded();
    assert!(result_of(&dir.path("run")) == result_of(&dir.path("whole")));
}
