//! The options of a run: a resumed run has those of its folder, and flags replace them.

use std::fs;

use serde_json::{Value, json};

use crate::support::{SMALL, TestDir};
use crate::{result_of, train_args};

fn options(dir: &TestDir, run: &str) -> Value {
    let text = fs::read_to_string(dir.path(run).join("config.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["options"].clone()
}

fn num_checkpoints(dir: &TestDir, run: &str) -> usize {
    fs::read_dir(dir.path(run).join("checkpoints")).map_or(0, Iterator::count)
}

#[test]
fn a_bidirectional_run_can_be_resumed_and_its_weights_reused() {
    let dir = TestDir::new();
    let small = ["--hidden-size", "4", "--num-steps", "10", "--batch-size", "8", "--max-tokens", "1000"];
    let train = |more: &[&str]| dir.run(&[&["train", "--threads", "1"], more].concat());
    let new = |name, epochs| {
        train(&[&["--bidirectional", "--cell", "lstm", "--out", name, "--epochs", epochs], &small[..]].concat())
    };
    new("whole", "25").succeeded();
    new("part", "5").succeeded();
    // samples are due at epochs 10 and 20
    train(&["--resume", "part", "--epochs", "25"]).succeeded();
    assert!(result_of(&dir.path("part")) == result_of(&dir.path("whole")));
    train(&["--init-from", "part", "--epochs", "11", "--batch-size", "8", "--num-steps", "10"]).succeeded();
    assert!(dir.path("runs/sample-lstm-1/model.safetensors").exists(), "the folder has the name of the run's cell");
}

#[test]
fn a_resumed_run_keeps_its_options() {
    let dir = TestDir::new();
    let flags =
        ["--checkpoint-every", "2s", "--keep", "2", "--prefix", "the", "--prefix", "tide", "--sample-every", "1"];
    dir.run(&train_args(&[&flags[..], &["--path", "reference", "--out", "run"]].concat())).succeeded();
    let stored = json!({
        "checkpoint_every": "2s", "keep": 2, "prefixes": ["the", "tide"], "sample_every": 1, "path": "reference",
        "device": "cpu",
    });
    assert_eq!(options(&dir, "run"), stored);
    fs::remove_dir_all(dir.path("run/checkpoints")).unwrap();
    let outcome = dir.run(&["train", "--resume", "run", "--epochs", "5", "--format", "json"]).succeeded();
    for line in ["epoch 4: the", "epoch 4: tide"] {
        assert!(outcome.stderr.contains(line), "{}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
    let result = outcome.json();
    assert_eq!(result["path"], "reference path");
    assert_eq!(result["samples"].as_object().unwrap().keys().collect::<Vec<_>>(), ["the", "tide"]);
    assert_eq!(num_checkpoints(&dir, "run"), 2);
    assert_eq!(options(&dir, "run"), stored);
    dir.run(&train_args(&["--path", "reference", "--out", "whole", "--epochs", "5"])).succeeded();
    assert!(result_of(&dir.path("run")) == result_of(&dir.path("whole")));
}

#[test]
fn flags_replace_the_options_of_a_run() {
    let dir = TestDir::new();
    dir.run(&train_args(&["--out", "run", "--keep", "3", "--checkpoint-every", "1s"])).succeeded();
    let flags = ["--keep", "1", "--checkpoint-every", "3", "--prefix", "sea", "--sample-every", "0"];
    dir.run(&[&["train", "--resume", "run", "--epochs", "4"], &flags[..]].concat()).succeeded();
    assert_eq!(num_checkpoints(&dir, "run"), 1);
    let expected = json!({
        "checkpoint_every": "3", "keep": 1, "prefixes": ["sea"], "sample_every": 0, "path": "fused", "device": "cpu",
    });
    assert_eq!(options(&dir, "run"), expected);
    // the environment replaces them, too
    let mut command = dir.command(&["train", "--quiet", "--resume", "run", "--epochs", "5"]);
    assert!(command.env("RNNLM_KEEP", "2").output().unwrap().status.success());
    assert_eq!(options(&dir, "run")["keep"], 2);
}

#[test]
fn continuing_on_another_path_is_reported() {
    let dir = TestDir::new();
    for (first, second) in [("fused", "reference"), ("reference", "fused")] {
        dir.run(&train_args(&["--out", first, "--path", first])).succeeded();
        let resume = ["train", "--quiet", "--resume", first, "--epochs", "4"];
        let outcome = dir.run(&[&resume[..], &["--path", second]].concat()).succeeded();
        let words = format!("warning: the run was trained on the {first} path and continues on the {second} path");
        assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
        let outcome = dir.run(&["train", "--quiet", "--resume", first, "--epochs", "5"]).succeeded();
        assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
        assert_eq!(options(&dir, first)["path"], second);
    }
}

/// Runs of earlier versions have no options.
#[test]
fn a_run_without_options_uses_those_of_the_command() {
    let dir = TestDir::new();
    let run = dir.path("run");
    fs::create_dir(&run).unwrap();
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/run-format-1");
    for entry in fs::read_dir(fixture).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), run.join(entry.file_name())).unwrap();
    }
    let outcome = dir.run(&["train", "--resume", "run", "--keep", "1"]).succeeded();
    assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
    assert_eq!(
        (options(&dir, "run")["keep"].as_u64(), options(&dir, "run")["path"].as_str()),
        (Some(1), Some("fused"))
    );
    let small = &SMALL[8..10];
    dir.run(&[&["eval", "run", "--corpus", "sample"], small].concat()).succeeded();
}
