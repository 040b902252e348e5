//! Pipes: results as soon as a line arrives, a closed and a slow reader, and interruption.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::{CHARS, unigram};
use crate::support::{Outcome, TestDir};

/// Longer than any step of a test takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts `rnnlm score` with a pipe on both sides.
fn start(dir: &TestDir, more: &[&str]) -> (Child, ChildStdin) {
    let mut command = dir.command(&[&["score", "run", "--format", "rnnlm"], more].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command");
    let stdin = child.stdin.take().expect("a pipe");
    (child, stdin)
}

/// The lines of standard output as they arrive.
fn lines(child: &mut Child) -> Receiver<String> {
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

#[test]
fn each_line_is_scored_as_soon_as_it_arrives() {
    let dir = unigram("char", "lines", &CHARS);
    let (mut child, mut stdin) = start(&dir, &[]);
    let lines = lines(&mut child);
    // 1 + 3 and 3 + 3 bits
    for (line, expected) in [("a\n", "-1.204120"), ("b\n", "-1.806180"), ("a\n", "-1.204120")] {
        stdin.write_all(line.as_bytes()).expect("a pipe");
        assert_eq!(lines.recv_timeout(PATIENCE).expect("a result before the pipe closes"), expected);
    }
    drop(stdin);
    Outcome::of(child.wait_with_output().expect("it ends")).succeeded();
}

#[test]
fn a_closed_pipe_ends_the_command_quietly() {
    let dir = unigram("char", "lines", &CHARS);
    let (mut child, mut stdin) = start(&dir, &[]);
    drop(child.stdout.take());
    // the pipe of the input stays open, as that of `tail -f`
    stdin.write_all(b"a\nb\n").expect("a pipe");
    let start = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        assert!(start.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let outcome = Outcome::of(child.wait_with_output().expect("it ended")).succeeded();
    assert_eq!(outcome.stderr, "");
    drop(stdin);
}

#[test]
fn a_slow_reader_stops_the_reading_of_the_text() {
    let dir = unigram("char", "lines", &CHARS);
    let (mut child, mut stdin) = start(&dir, &[]);
    let (sender, written) = channel();
    let writer = std::thread::spawn(move || {
        let block = b"abababa\n".repeat(1 << 13);
        // 1 GB, unless the pipe is full
        for _ in 0..1 << 14 {
            if stdin.write_all(&block).is_err() || sender.send(block.len()).is_err() {
                break;
            }
        }
    });
    let mut bytes = 0;
    // nobody reads the results: the text is read until the queue is full
    while let Ok(length) = written.recv_timeout(Duration::from_secs(2)) {
        bytes += length;
        assert!(bytes < 64 << 20, "{bytes} bytes were read");
    }
    assert!(bytes > 1 << 20, "{bytes} bytes");
    child.kill().expect("it is waiting");
    child.wait().expect("it ended");
    writer.join().expect("its pipe was closed");
}

#[test]
fn an_interrupt_ends_the_command_while_it_waits() {
    let dir = unigram("char", "lines", &CHARS);
    for name in ["-INT", "-TERM"] {
        let (mut child, mut stdin) = start(&dir, &[]);
        let lines = lines(&mut child);
        stdin.write_all(b"a\n").expect("a pipe");
        lines.recv_timeout(PATIENCE).expect("a result");
        let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{name}");
    }
}
