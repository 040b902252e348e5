//! `rnnlm sweep`: a grid of runs, a table, and what stops it or does not.

use std::fs;

use serde_json::{Value, json};

use crate::support::{SMALL, TestDir};

fn sweep<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["sweep", "--quiet", "--out", "grid", "--format", "json"], &SMALL[..], more].concat()
}

/// The value of a setting, and the status, of each run of the table.
fn rows(table: &Value, name: &str) -> Vec<(String, String)> {
    let runs = table["runs"].as_array().expect("runs").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    runs.map(|run| (text(&run["settings"][name]), text(&run["status"]))).collect()
}

#[test]
fn every_run_is_that_of_train_and_the_best_is_the_first() {
    let dir = TestDir::new();
    let args = sweep(&["--vary", "lr=0.01,1", "--vary=cell=rnn,gru", "--val-fraction", "0.2"]);
    let table = dir.run(&args).succeeded().json();
    let runs = table["runs"].as_array().expect("runs");
    assert_eq!((runs.len(), &table["sweep_dir"]), (4, &json!("grid")));
    let perplexities: Vec<f64> = runs.iter().filter_map(|run| run["val_perplexity"].as_f64()).collect();
    assert!(perplexities.len() == 4 && perplexities.is_sorted(), "{perplexities:?}");
    let nats = runs[0]["val_nats_per_token"].as_f64().expect("a number");
    assert!((nats.exp() / perplexities[0] - 1.0).abs() < 1e-12);
    assert!(runs.iter().all(|run| run["status"] == "complete" && run["epochs"] == 3 && run["error"].is_null()));
    // the same bytes as the same run alone
    dir.train(&["--lr", "1", "--cell", "gru", "--val-fraction", "0.2"]).succeeded();
    let model = |run: &str| fs::read(dir.path(run).join("model.safetensors")).expect("a model");
    assert!(model("grid/lr=1,cell=gru") == model("run"));
    let text = dir.run(&["sweep", "--resume", "grid"]).succeeded();
    let lines: Vec<&str> = text.stdout.lines().collect();
    assert!(lines[0].contains("lr  cell  val perplexity") && lines[5] == "sweep grid", "{}", text.stdout);
    dir.refuses_in_place(&sweep(&["--vary", "lr=1"]), 1, &["`grid` exists already", "rnnlm sweep --resume grid"]);
}

#[test]
fn a_run_that_fails_does_not_end_the_sweep() {
    let dir = TestDir::new();
    // the second one diverges
    let table = dir.run(&sweep(&["--vary", "lr=0.5,1e30,1"])).failed(1, &["training diverged"]).json();
    assert_eq!(rows(&table, "lr").last(), Some(&("1e30".to_owned(), "failed".to_owned())));
    assert!(rows(&table, "lr")[..2].iter().all(|(_, status)| status == "complete"), "{table}");
    let error = table["runs"][2]["error"].as_str().expect("an error");
    assert!(error.starts_with("training diverged at step"), "{error}");
    // locked dropout between layers has no meaning for a single one
    let args = ["sweep", "--vary", "dropout-hidden=0.2,0", "--out", "layers", "--format", "json"];
    let table = dir.run(&[&args[..], &SMALL].concat()).failed(1, &["`dropout_hidden` is 0.2"]).json();
    let expected = [("0", "complete"), ("0.2", "failed")].map(|(value, status)| (value.to_owned(), status.to_owned()));
    assert_eq!(rows(&table, "dropout_hidden"), expected);
}

#[test]
fn a_sweep_is_resumed_where_it_stopped() {
    let dir = TestDir::new();
    let table = dir.run(&sweep(&["--vary", "seed=1,2,3"])).succeeded().json();
    let model = |seed: &str| fs::read(dir.path("grid").join(seed).join("model.safetensors")).expect("a model");
    let models = ["seed=1", "seed=2", "seed=3"].map(model);
    // one run is gone, and one has the files of its last checkpoint only
    fs::remove_dir_all(dir.path("grid/seed=2")).expect("a run");
    fs::remove_file(dir.path("grid/seed=3/model.safetensors")).expect("a model");
    let resumed = dir.run(&["sweep", "--resume", "grid", "--format", "json"]).succeeded().json();
    assert_eq!(["seed=1", "seed=2", "seed=3"].map(model), models);
    let perplexities = |table: &Value| {
        let runs = table["runs"].as_array().expect("runs");
        runs.iter().map(|run| run["perplexity"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(perplexities(&resumed), perplexities(&table));
}

#[test]
fn invalid_grids_are_refused_before_a_run_starts() {
    let dir = TestDir::new();
    let refused = [
        (&["--epochs", "3"][..], &["--vary"][..]),
        (&["--vary", "lr"], &["such as lr=0.001,0.003"]),
        (&["--vary", "lr=0.1,0.1"], &["`0.1` occurs twice"]),
        (&["--vary", "lr=0.1,x"], &["invalid value 'x' for '--lr <X>'"]),
        (&["--vary", "rate=0.1"], &["unexpected argument '--rate' found"]),
        (&["--vary", "lr=0.1", "--lr", "1"], &["'--lr <X>' cannot be used multiple times"]),
        (&["--vary", "lr=0.1", "--force"], &["a sweep has no --force"]),
    ];
    for (flags, words) in refused {
        dir.refuses(&[&["sweep"], flags].concat(), 2, words);
    }
    dir.refuses(&["sweep", "--resume", "nothing"], 4, &["`nothing` is not a sweep"]);
    fs::create_dir(dir.path("grid")).expect("a folder");
    dir.write("grid/sweep.json", "{\"format\": 9, \"flags\": [], \"vary\": []}");
    dir.refuses(&["sweep", "--resume", "grid"], 4, &["has format 9, this program reads 1"]);
}
