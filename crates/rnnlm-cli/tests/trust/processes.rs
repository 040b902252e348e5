//! Several processes that use the same run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::support::{Outcome, TestDir};
use crate::{leftovers, result_of, train_args};

/// Starts a training run without an end, and waits for its first epoch.
fn start_endless_run(dir: &TestDir) -> Child {
    let args = ["train", "--out", "run", "--epochs", "100000000", "--hidden-size", "16", "--sample-every", "1"];
    let mut child = dir.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("epoch 1/") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended too early");
    }
    // a thread reads the rest, so that the pipe never fills
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    child
}

#[test]
fn one_process_writes_a_run_and_others_can_read_it() {
    let dir = TestDir::new();
    let mut child = start_endless_run(&dir);
    let locked = ["`run` is being written by another process", "stop it with Ctrl-C"];
    // first the command that would finish on its own
    dir.run(&train_args(&["--out", "run", "--force"])).failed(1, &locked);
    dir.run(&["train", "--quiet", "--resume", "run"]).failed(1, &locked);
    for _ in 0..5 {
        dir.run(&["generate", "run", "--num-tokens", "3"]).succeeded();
    }
    assert!(child.try_wait().unwrap().is_none(), "the first process continues");
    // a killed process leaves its lock file, which does not block others
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(dir.path("run/.rnnlm.lock").exists());
    dir.run(&train_args(&["--out", "run", "--force"])).succeeded();
    assert_eq!(leftovers(&dir.path("run")), [""; 0]);
}

/// Starts the same command eight times and waits for all of them.
fn run_concurrently(dir: &TestDir, args: &[&str]) -> Vec<Outcome> {
    let start = |_| dir.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<Child> = (0..8).map(start).collect();
    children.into_iter().map(|child| Outcome::of(child.wait_with_output().unwrap())).collect()
}

#[test]
fn concurrent_runs_get_different_folders() {
    let dir = TestDir::new();
    for outcome in run_concurrently(&dir, &train_args(&[])) {
        outcome.succeeded();
    }
    let runs = fs::read_dir(dir.path("runs")).unwrap().count();
    assert_eq!(runs, 8);
    let first = result_of(&dir.path("runs/sample-rnn-1"));
    assert!((2..=8).all(|number| result_of(&dir.path(&format!("runs/sample-rnn-{number}"))) == first));
}

#[test]
fn concurrent_runs_in_the_same_folder_leave_one_run() {
    let dir = TestDir::new();
    let outcomes = run_concurrently(&dir, &train_args(&["--out", "run"]));
    let (good, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|outcome| outcome.code == Some(0));
    assert_eq!(good.len(), 1, "{refused:?}");
    for outcome in refused {
        let text = &outcome.stderr;
        assert!(text.contains("exists already") || text.contains("another process"), "{outcome:?}");
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
    }
    dir.run(&train_args(&["--out", "whole"])).succeeded();
    assert!(result_of(&dir.path("run")) == result_of(&dir.path("whole")));
}
