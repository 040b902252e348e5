//! `train --documents`: records as documents, and what cannot be combined with them.

use crate::support::TestDir;

const SMALL: [&str; 10] =
    ["--epochs", "2", "--hidden-size", "6", "--batch-size", "2", "--num-steps", "5", "--documents", "lines"];

fn names(dir: &TestDir, file: &str) {
    let names: Vec<String> =
        (0..60).map(|n| format!("{}nn{}\n", ["a", "e", "i"][n % 3], "abcdefgh".repeat(n % 4))).collect();
    dir.write(file, names.concat());
}

#[test]
fn records_are_trained_validated_and_sampled_as_documents() {
    let dir = TestDir::new();
    names(&dir, "names.txt");
    let train = [&["train", "--corpus", "names.txt", "--out", "run", "--val-fraction", "0.2"], &SMALL[..]].concat();
    let outcome = dir.run(&train).succeeded();
    assert!(outcome.stderr.contains(" in 60 documents, "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("\nval     "), "{}", outcome.stderr);
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path("run/config.json")).expect("a file")).expect("JSON");
    assert_eq!(config["corpus"]["options"]["documents"], "lines");
    // the prefix is the start of a document, which has no text
    let generated = dir.run(&["generate", "run", "--num-tokens", "3", "--format", "json"]).succeeded().json();
    assert_eq!((generated["prefix"].as_str(), generated["num_tokens"].as_u64()), (Some(""), Some(3)));
    // the state starts anew with each document, so a document does not depend on the one before it
    let continued = |prefix: &str| {
        let args = ["generate", "run", "--num-tokens", "20", "--prefix", prefix];
        dir.run(&args).succeeded().stdout
    };
    assert_eq!(continued("inn\\n"), format!("inn\n{}", continued("")));
    let resumed = dir.run(&["train", "--resume", "run", "--epochs", "3"]).succeeded();
    assert!(resumed.stderr.contains("in 60 documents"), "{}", resumed.stderr);
}

#[test]
fn what_contradicts_documents_is_refused_before_training() {
    let dir = TestDir::new();
    names(&dir, "names.txt");
    for (flags, expected) in [
        (&["--sampling", "random"][..], "--documents lines and --sampling random cannot be used together"),
        (&["--reset-state"], "--documents lines and --reset-state cannot be used together"),
        (&["--bidirectional"], "--documents lines and --bidirectional cannot be used together"),
    ] {
        let args = [&["train", "--corpus", "names.txt", "--out", "run"], &SMALL[..], flags].concat();
        dir.refuses(&args, 2, &[expected]);
    }
    let args = ["train", "--corpus", "names.txt", "--out", "run", "--no-shuffle"];
    dir.refuses(&args, 2, &["--no-shuffle needs documents"]);
}

#[test]
fn a_text_that_looks_like_records_gets_a_note() {
    let dir = TestDir::new();
    names(&dir, "names.txt");
    let args =
        ["train", "--corpus", "names.txt", "--out", "run", "--epochs", "1", "--batch-size", "2", "--num-steps", "5"];
    let outcome = dir.run(&args).succeeded();
    assert!(outcome.stderr.contains("note    the text looks like records; --documents lines"), "{}", outcome.stderr);
    let outcome = dir.train(&["--force"]).succeeded();
    assert!(!outcome.stderr.contains("looks like records"), "{}", outcome.stderr);
}
