//! Prefixes of generated text: escapes and files.

use std::io::Write;
use std::process::Stdio;

use crate::support::{Outcome, SMALL, TestDir};

/// A run on a text with line ends and tabs.
fn trained(more: &[&str]) -> TestDir {
    let dir = TestDir::new();
    dir.write("text.txt", "a tab\tand a line\n".repeat(60));
    let args = [&["train", "--quiet", "--corpus", "text.txt", "--out", "run"], &SMALL[..], more].concat();
    dir.run(&args).succeeded();
    dir
}

/// The output for a prefix, without a continuation.
#[track_caller]
fn generate(dir: &TestDir, args: &[&str]) -> String {
    let outcome = dir.run(&[&["generate", "run", "--num-tokens", "0"], args].concat()).succeeded();
    assert_eq!(outcome.stderr, "");
    outcome.stdout
}

#[test]
fn escapes_in_a_prefix_are_resolved() {
    let dir = trained(&["--normalize", "none"]);
    assert_eq!(generate(&dir, &["--prefix", r"tab\tand\n"]), "tab\tand\n\n");
    assert_eq!(generate(&dir, &["--prefix", r"\x61\u{62}"]), "ab\n");
    let json = dir.run(&["generate", "run", "--prefix", r"a\\n", "--format", "json"]).succeeded();
    assert_eq!(json.json()["prefix"], r"a\n");
    assert!(
        json.stderr.contains(r#"warning: prefix "a\\n" has a token that is not in the vocabulary: "\\""#),
        "{json:?}"
    );
    dir.run(&["generate", "run", "--prefix", r"a\q"]).failed(2, &[r"unknown escape `\q`", r"\\ for a backslash"]);
    dir.run(&["generate", "run", "--prefix", r"\xe9"]).failed(1, &["is not UTF-8", r"\u{e9}"]);
}

#[test]
fn escapes_are_resolved_for_samples_of_a_training_run_too() {
    let dir = trained(&[]);
    let args =
        [&["train", "--quiet", "--corpus", "text.txt", "--out", "next", "--format", "json"], &SMALL[..]].concat();
    let json = dir.run(&[&args[..], &["--prefix", r"line\n"]].concat()).succeeded().json();
    let sample = json["samples"][r"line\n"].as_str().expect("a sample").to_owned();
    assert!(sample.starts_with("line\n"), "{sample:?}");
    dir.write("settings.toml", "prefix = [\"a\\\\q\"]\n");
    dir.run(&["train", "--config", "settings.toml"]).failed(2, &["settings.toml:1", r"unknown escape `\q`"]);
    dir.write("prefix.txt", "a tab\t");
    let from_file = [&args[..], &["--prefix-file", "prefix.txt", "--force"]].concat();
    let json = dir.run(&from_file).succeeded().json();
    assert!(json["samples"][r"a tab\t"].as_str().is_some_and(|sample| sample.starts_with("a tab\t")), "{json}");
}

#[test]
fn any_byte_can_be_the_prefix_of_a_byte_model() {
    let dir = TestDir::new();
    dir.write("text.txt", [b"\xFF\x00\xE9".repeat(300), b"abc".repeat(100)].concat());
    let args = [&["train", "--quiet", "--corpus", "text.txt", "--out", "run", "--token", "byte"], &SMALL[..]].concat();
    dir.run(&args).succeeded();
    let output = dir.command(&["generate", "run", "--num-tokens", "0", "--prefix", r"\xff\x00\xe9"]).output();
    assert_eq!(output.expect("the command starts").stdout, b"\xFF\x00\xE9\n");
}

#[test]
fn a_prefix_can_come_from_a_file_or_from_standard_input() {
    let dir = trained(&["--normalize", "none"]);
    dir.write("prefix.txt", "line\n\\n");
    let args = ["generate", "run", "--num-tokens", "0", "--prefix-file"];
    let outcome = dir.run(&[&args[..], &["prefix.txt"]].concat()).succeeded();
    // no escape is resolved, and the vocabulary has no backslash
    assert_eq!(outcome.stdout, "line\n<unk>n\n");
    let mut command = dir.command(&[&args[..], &["-"]].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command");
    child.stdin.take().expect("a pipe").write_all(b"a tab\t").expect("it is read");
    assert_eq!(Outcome::of(child.wait_with_output().expect("it ends")).succeeded().stdout, "a tab\t\n");
    // the rules of the run hold for the file: line ends are converted, and a byte order mark is no token
    dir.write("prefix.txt", "\u{feff}a\r\n");
    assert_eq!(generate(&dir, &["--prefix-file", "prefix.txt"]), "a\n\n");
    dir.run(&["generate", "run", "--prefix-file", "none.txt"]).failed(1, &["`none.txt` does not exist"]);
    let both = ["generate", "run", "--prefix", "a", "--prefix-file", "prefix.txt"];
    dir.run(&both).failed(2, &["--prefix-file", "--prefix"]);
    let stdin_twice = ["train", "--corpus", "-", "--prefix-file", "-"];
    dir.run(&stdin_twice).failed(2, &["cannot both be standard input"]);
}
