//! The validation set: its score after every epoch, the best model, and early stopping.

use std::fs;

use serde_json::Value;

use crate::support::{Outcome, SMALL, TestDir};

/// A small training run of `epochs` epochs in the folder `run`.
fn train(dir: &TestDir, epochs: &str, more: &[&str]) -> Outcome {
    let small: Vec<&str> = SMALL.chunks(2).filter(|pair| pair[0] != "--epochs").flatten().copied().collect();
    dir.run(&[&["train", "--quiet", "--out", "run", "--epochs", epochs], &small[..], more].concat())
}

fn metrics(dir: &TestDir) -> Vec<Value> {
    let text = fs::read_to_string(dir.path("run/metrics.jsonl")).expect("metrics");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

#[test]
fn each_epoch_has_the_score_of_eval_and_the_best_model_is_kept() {
    let dir = TestDir::new();
    dir.write("other.txt", "the keeper of the lamp went down to the shore and waited for the tide to turn");
    // a learning rate with which some epochs are worse than the one before
    let flags = ["--val-corpus", "other.txt", "--lr", "4", "--format", "json"];
    let result = train(&dir, "12", &flags).succeeded().json();
    let scores: Vec<f64> = metrics(&dir).iter().map(|line| line["val_perplexity"].as_f64().expect("a score")).collect();
    let eval = |more: &[&str]| {
        let line = [&["eval", "run", "--corpus", "other.txt", "--format", "json", "--threads", "1"], more].concat();
        dir.run(&line).succeeded().json()["perplexity"].as_f64().expect("a perplexity")
    };
    let best = scores.iter().copied().fold(f64::MAX, f64::min);
    assert_eq!((eval(&[]), eval(&["--best"])), (scores[11], best), "{scores:?}");
    assert_eq!(result["best"]["val_perplexity"].as_f64(), Some(best));
    let epoch = 1 + scores.iter().position(|&score| score == best).expect("it is one of them") as u64;
    assert_eq!(result["best"]["epoch"].as_u64(), Some(epoch));
    assert!(fs::read_to_string(dir.path("run/perplexity.svg")).expect("a picture").contains("validation"));
}

#[test]
fn patience_stops_a_run_and_resuming_does_not_restart_it() {
    let dir = TestDir::new();
    let flags = ["--val-fraction", "0.2", "--lr", "4", "--patience", "2", "--format", "json"];
    let result = train(&dir, "400", &flags).succeeded().json();
    let (epochs, best) =
        (result["epochs"].as_u64().expect("epochs"), result["best"]["epoch"].as_u64().expect("the best"));
    assert_eq!((result["stopped_early"].as_bool(), epochs), (Some(true), best + 2));
    assert_eq!(metrics(&dir).len() as u64, epochs);
    let model = fs::read(dir.path("run/model.safetensors")).expect("a model");
    let again = dir.run(&["train", "--resume", "run", "--quiet", "--format", "json"]).succeeded().json();
    assert_eq!(again["epochs"].as_u64(), Some(epochs));
    assert_eq!(fs::read(dir.path("run/model.safetensors")).expect("a model"), model);
}

#[test]
fn a_resumed_run_has_the_same_validation_set() {
    let (whole, parts) = (TestDir::new(), TestDir::new());
    let flags =
        ["--val-fraction", "0.2", "--optimizer", "adamw", "--lr", "0.01", "--dropout", "0.2", "--num-layers", "2"];
    train(&whole, "6", &flags).succeeded();
    train(&parts, "3", &flags).succeeded();
    parts.run(&["train", "--resume", "run", "--epochs", "6", "--quiet"]).succeeded();
    for name in ["model.safetensors", "best.safetensors"] {
        let read = |dir: &TestDir| fs::read(dir.path("run").join(name)).expect("a model");
        assert!(read(&whole) == read(&parts), "{name}");
    }
    let other = ["train", "--resume", "run", "--val-fraction", "0.5", "--epochs", "7"];
    parts.run(&other).failed(4, &["different validation set", "hint: "]);
    parts.run(&["train", "--resume", "run", "--optimizer", "sgd", "--epochs", "7"]).failed(4, &["`optimizer.name` is"]);
}

#[test]
fn the_end_of_a_cosine_schedule_is_fixed() {
    let dir = TestDir::new();
    dir.train(&["--schedule", "cosine"]).succeeded();
    let more = ["train", "--resume", "run", "--epochs", "9"];
    dir.run(&more).failed(1, &["cosine schedule", "ends at epoch 3, not at epoch 9", "hint: use --init-from"]);
    let rates: Vec<f64> = metrics(&dir).iter().map(|line| line["lr"].as_f64().expect("a rate")).collect();
    // (1 + cos(π e / 3)) / 2
    for (found, expected) in rates.iter().zip([1.0, 0.75, 0.25]) {
        assert!((found - expected).abs() < 1e-6, "{rates:?}");
    }
}

#[test]
fn tied_weights_are_saved_under_both_names_and_can_be_loaded() {
    let dir = TestDir::new();
    dir.train(&["--tie-weights", "--embedding-size", "16"]).succeeded();
    let bytes = fs::read(dir.path("run/model.safetensors")).expect("a model");
    // eight bytes with the length of the header, then the header, then the tensors at the offsets in the header
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..start]).expect("a JSON header");
    let offset = |name: &str, end: usize| header[name]["data_offsets"][end].as_u64().expect("an offset") as usize;
    let tensor = |name: &str| &bytes[start + offset(name, 0)..start + offset(name, 1)];
    assert_eq!(tensor("embedding.weight"), tensor("linear.weight"));
    dir.run(&["generate", "run", "--num-tokens", "5"]).succeeded();
    dir.run(&["train", "--resume", "run", "--epochs", "4", "--quiet"]).succeeded();
}

/// A relu network whose state grows without bound on a long validation text, although it trains on short sequences.
const OVERFLOWING: [&str; 25] = [
    "--corpus",
    "text.txt",
    "--nonlinearity",
    "relu",
    "--reset-state",
    "--num-steps",
    "10",
    "--batch-size",
    "8",
    "--hidden-size",
    "64",
    "--weight-decay",
    "0.001",
    "--val-fraction",
    "0.5",
    "--schedule",
    "exponential",
    "--gamma",
    "0.7",
    "--seed",
    "5",
    "--sample-every",
    "0",
    "--format",
    "json",
];

#[test]
fn a_validation_perplexity_that_is_not_finite_is_reported_and_never_the_best() {
    let dir = TestDir::new();
    dir.write("text.txt", "the quick brown fox jumps over the lazy dog. ".repeat(800));
    let train = |more: &[&str]| dir.run(&[&["train", "--quiet", "--out"], more, &OVERFLOWING].concat()).succeeded();
    let outcome = train(&["run", "--epochs", "4"]);
    let words = "warning: the validation perplexity of epoch 1 is NaN";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    let lines = metrics(&dir);
    assert!(lines[0]["val_perplexity"].is_null(), "{lines:?}");
    for line in &lines {
        let is_null = line["val_perplexity"].is_null();
        assert_eq!(line["val_perplexity_reason"], if is_null { Value::from("NaN") } else { Value::Null }, "{line}");
    }
    let best = lines.iter().filter_map(|line| line["val_perplexity"].as_f64()).fold(f64::MAX, f64::min);
    assert_eq!(outcome.json()["best"]["val_perplexity"].as_f64(), Some(best), "{lines:?}");
    let eval = ["eval", "run", "--best", "--corpus", "text.txt", "--format", "json"];
    assert!(dir.run(&eval).succeeded().json()["perplexity"].is_number());
    // a run that has seen no other score has no best model, and an early stop counts these epochs
    let outcome = train(&["stopped", "--epochs", "4", "--patience", "1"]);
    let result = outcome.json();
    assert!(result["best"].is_null() && result["val_perplexity"].is_null(), "{result}");
    assert_eq!((result["val_perplexity_reason"].as_str(), result["epochs"].as_u64()), (Some("NaN"), Some(1)));
    assert_eq!(result["stopped_early"], true);
    assert!(!dir.path("stopped/best.safetensors").exists());
    let eval = ["eval", "stopped", "--corpus", "text.txt", "--format", "json"];
    let outcome = dir.run(&eval).succeeded();
    assert!(outcome.stderr.contains("warning: the perplexity is NaN"), "{}", outcome.stderr);
    let result = outcome.json();
    assert!(result["perplexity"].is_null(), "{result}");
    assert_eq!(result["perplexity_reason"], "NaN");
}
