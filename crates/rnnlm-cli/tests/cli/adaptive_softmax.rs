//! `--adaptive-softmax` and `--optimizer sparse-adam`: training, resuming, scoring and generation, and their errors.

use std::fs;

use crate::support::TestDir;

/// Words of which `w0` is the most frequent, `w1` the next and so on.
fn words(kinds: usize) -> String {
    (0..kinds).map(|word| format!("w{word} ").repeat(2 * (kinds - word)) + "\n").collect()
}

const MODEL: [&str; 12] = [
    "--corpus",
    "words.txt",
    "--token",
    "word",
    "--cell",
    "lstm",
    "--embedding-size",
    "8",
    "--optimizer",
    "sparse-adam",
    "--adaptive-softmax",
    "5,10",
];

#[test]
fn a_model_with_an_adaptive_softmax_is_used_like_any_other() {
    let dir = TestDir::new();
    dir.write("words.txt", words(20));
    dir.train(&[&MODEL[..], &["--val-fraction", "0.2"]].concat()).succeeded();
    dir.run(&["train", "--resume", "run", "--epochs", "4", "--quiet"]).succeeded();
    let config = fs::read_to_string(dir.path("run/config.json")).expect("a configuration");
    let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["model"]["adaptive_softmax"], serde_json::json!({ "cutoffs": [5, 10] }));
    dir.run(&["eval", "run", "--corpus", "words.txt"]).succeeded();
    dir.write("line.txt", "w0 w3 w19\n");
    dir.run(&["score", "run", "line.txt"]).succeeded();
    for flags in [&["--temperature", "0"][..], &["--temperature", "1", "--top-k", "3"], &["--beam", "3"]] {
        dir.run(&[&["generate", "run", "--num-tokens", "5"], flags].concat()).succeeded();
    }
}

#[test]
fn cutoffs_that_do_not_fit_are_refused_with_both_values() {
    let dir = TestDir::new();
    dir.write("words.txt", words(20));
    let refused = |flags: &[&str], words: &[&str]| {
        let base = ["train", "--corpus", "words.txt", "--token", "word", "--embedding-size", "8"];
        dir.run(&[&base[..], flags].concat()).failed(2, words);
    };
    refused(&["--adaptive-softmax", "10,5"], &["`adaptive_softmax` is 5 after 10", "ascending"]);
    refused(&["--adaptive-softmax", "5,5"], &["`adaptive_softmax` is 5 after 5", "distinct"]);
    refused(&["--adaptive-softmax", "5,21"], &["`adaptive_softmax` is 21 with a vocabulary of 21", "below"]);
    refused(&["--adaptive-softmax", "0,5"], &["`adaptive_softmax` is 0", "at least 1"]);
    refused(&["--adaptive-softmax", "5,x"], &["`x` is not a cutoff"]);
    refused(&["--adaptive-softmax", "5", "--div-value", "0.5"], &["`div_value` is 0.5"]);
    refused(&["--adaptive-softmax", "5", "--div-value", "300"], &["`div_value` is 300 with", "256 features"]);
    refused(&["--div-value", "2"], &["--div-value needs --adaptive-softmax"]);
    refused(&["--head-bias"], &["--head-bias needs --adaptive-softmax"]);
    let smoothing = ["--adaptive-softmax", "5", "--label-smoothing", "0.1"];
    refused(&smoothing, &["`label_smoothing` is 0.1 with `adaptive_softmax`"]);
    let shards = ["--adaptive-softmax", "5", "--shards", "2"];
    refused(&shards, &["`shards` is 2 with `adaptive_softmax`", "1: its sums over rows are not divided"]);
    let tied = ["--adaptive-softmax", "5", "--tie-weights", "--hidden-size", "8"];
    refused(&tied, &["`tie_weights` is true with `adaptive_softmax`"]);
    refused(&["--optimizer", "sparse-adam", "--weight-decay", "0.1"], &["sparse-adam has no --weight-decay"]);
    let one_hot = ["train", "--optimizer", "sparse-adam"];
    dir.run(&one_hot).failed(2, &["`optimizer` is sparse-adam with `embedding_size` 0"]);
    assert_eq!(dir.snapshot().len(), 1, "nothing was trained");
}

#[test]
fn ids_that_are_not_by_descending_frequency_are_refused() {
    let dir = TestDir::new();
    dir.write("words.txt", words(20));
    dir.train(&MODEL).succeeded();
    dir.write("more.txt", "w0 new ".repeat(200));
    let extended = ["train", "--init-from", "run", "--extend-vocab", "--corpus", "more.txt", "--out", "extended"];
    dir.run(&extended).failed(1, &["needs ids by descending frequency", "token 21 `new` occurs 200 times", "hint:"]);
}
