//! Ctrl-C and SIGTERM: the first signal saves, the second stops immediately.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{Outcome, TestDir};

/// Starts a training run that would take hours, and waits for a line that starts with `until`. Returns the process and
/// the lines that follow.
fn start_endless_run(dir: &TestDir, more: &[&str], until: &str) -> (Child, std::thread::JoinHandle<String>) {
    let args = ["train", "--out", "run", "--epochs", "100000000", "--sample-every", "1"];
    let mut command = dir.command(&[&args, more].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command");
    let stderr = child.stderr.take().expect("a pipe");
    let mut lines = BufReader::new(stderr);
    let mut line = String::new();
    while !line.starts_with(until) {
        line.clear();
        assert!(lines.read_line(&mut line).expect("readable output") > 0, "it ended too early");
    }
    // a thread reads the rest, so that the pipe never fills
    let rest = std::thread::spawn(move || std::io::read_to_string(lines).expect("UTF-8"));
    (child, rest)
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
}

#[test]
fn an_interrupted_run_saves_and_exits_with_130() {
    for name in ["-INT", "-TERM"] {
        let dir = TestDir::new();
        let (child, rest) = start_endless_run(&dir, &["--hidden-size", "32"], "epoch 1/");
        signal(&child, name);
        let outcome = Outcome::of(child.wait_with_output().expect("it ends"));
        assert_eq!(outcome.code, Some(130), "{name}: {outcome:?}");
        let rest = rest.join().expect("it was read");
        assert!(rest.contains("interrupted after epoch") && rest.contains("saved in run"), "{rest}");
        dir.run(&["generate", "run", "--num-tokens", "5"]).succeeded();
    }
}

#[test]
fn a_limit_on_cpu_time_saves_like_an_interruption() {
    let dir = TestDir::new();
    let (child, rest) = start_endless_run(&dir, &["--hidden-size", "32"], "epoch 1/");
    // the system sends it every second; a second one does not end the save
    signal(&child, "-XCPU");
    signal(&child, "-XCPU");
    let outcome = Outcome::of(child.wait_with_output().expect("it ends"));
    assert_eq!(outcome.code, Some(130), "{outcome:?}");
    let rest = rest.join().expect("it was read");
    assert!(rest.contains("interrupted after epoch") && rest.contains("saved in run"), "{rest}");
}

/// `nohup` ignores SIGHUP, and a shell without job control ignores SIGINT in background jobs.
#[test]
fn an_ignored_signal_stays_ignored() {
    for (ignored, stops) in [("HUP", "-TERM"), ("INT", "-HUP")] {
        let dir = TestDir::new();
        let args = "train --out run --epochs 100000000 --hidden-size 32 --sample-every 0 --checkpoint-every 1000000";
        let mut command = dir.command(&[]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("trap '' {ignored}; exec \"$0\" {args}")]).arg(command.get_program());
        shell.current_dir(dir.path(".")).stdout(Stdio::null()).stderr(Stdio::piped());
        command.get_envs().for_each(|(name, value)| {
            value.map(|value| shell.env(name, value));
        });
        command = shell;
        let mut child = command.spawn().expect("a shell");
        while std::fs::metadata(dir.path("run/metrics.jsonl")).is_err() {
            std::thread::sleep(Duration::from_millis(5));
            assert!(child.try_wait().expect("a child").is_none(), "it ended too early");
        }
        signal(&child, &format!("-{ignored}"));
        std::thread::sleep(Duration::from_millis(200));
        assert!(child.try_wait().expect("a child").is_none(), "{ignored} was not ignored");
        signal(&child, stops);
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{ignored}");
    }
}

#[test]
fn a_second_signal_does_not_wait_for_the_current_step() {
    let dir = TestDir::new();
    // one step takes longer than the pause between the signals: 40,000 tokens of about 7 million operations each
    let sizes = ["--hidden-size", "1024", "--batch-size", "1000", "--num-steps", "40", "--max-tokens", "0"];
    let (child, rest) = start_endless_run(&dir, &[&sizes[..], &["--threads", "1"]].concat(), "untrained: traveller");
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, "-INT");
    let outcome = Outcome::of(child.wait_with_output().expect("it ends"));
    assert_eq!(outcome.code, Some(130), "{outcome:?}");
    let rest = rest.join().expect("it was read");
    assert!(!rest.contains("interrupted after"), "it waited: {rest}");
}

#[test]
fn an_interrupt_leaves_complete_json_lines() {
    let dir = TestDir::new();
    dir.train(&[]).succeeded();
    let args = ["generate", "run", "--temperature", "1", "--num-samples", "100000000", "--format", "jsonl"];
    let mut child = dir.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut text = String::new();
    lines.read_line(&mut text).expect("a sample");
    signal(&child, "-INT");
    std::io::Read::read_to_string(&mut lines, &mut text).expect("UTF-8");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(text.ends_with('\n'), "{text}");
    for (index, line) in text.lines().enumerate() {
        let object: serde_json::Value = serde_json::from_str(line).expect("a complete object");
        assert_eq!(object["sample"], index);
    }
}
