//! A run from training to use: results, files, reproducibility, generation and evaluation.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::support::{Outcome, SMALL, TestDir};

#[test]
fn json_output_is_one_object_with_every_result() {
    let dir = TestDir::new();
    let report = dir.train(&["--format", "json"]).succeeded().json();
    for key in ["perplexity", "tokens_per_second", "seconds"] {
        assert!(report[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {report}");
    }
    assert_eq!(report["epochs"], 3);
    // (2000 − offset − 1) / 8 / 10 = 24 minibatches of 80 tokens, whatever the offset in 0..=10
    assert_eq!(report["tokens_per_epoch"], 24 * 80);
    assert_eq!(report["device"], "cpu (1 thread)");
    assert_eq!((&report["seed"], &report["run_dir"]), (&0.into(), &"run".into()));
    // 28·16 + 16·16 + 2·16 + 16·28 + 28
    assert_eq!(report["parameters"], 448 + 256 + 32 + 448 + 28);
    let sample = report["samples"]["time traveller"].as_str().expect("a sample");
    assert!(sample.starts_with("time traveller") && sample.len() == "time traveller".len() + 50, "{sample}");
    for name in ["config.json", "vocab.json", "model.safetensors", "trainer.safetensors", "perplexity.svg"] {
        assert!(dir.path("run").join(name).metadata().is_ok_and(|file| file.len() > 0), "{name}");
    }
    assert_eq!(fs::read_to_string(dir.path("run/metrics.jsonl")).expect("metrics").lines().count(), 3);
}

#[test]
fn progress_goes_to_standard_error_and_the_result_to_standard_output() {
    let dir = TestDir::new();
    let outcome = dir.run(&[&["train", "--sample-every", "2"], &SMALL[..]].concat()).succeeded();
    for words in [
        "2,000 of 42,000 characters, 28 distinct tokens, letters only, lower-case",
        "untrained: time traveller",
        "epoch 2: ",
    ] {
        assert!(outcome.stderr.contains(words), "`{words}` is missing in {}", outcome.stderr);
    }
    assert!(outcome.stdout.starts_with("perplexity "), "{}", outcome.stdout);
    assert!(outcome.stdout.trim_end().ends_with("run runs/sample-rnn-1"), "{}", outcome.stdout);
    assert!(!outcome.stderr.contains('\u{1b}'), "no colors outside of a terminal");
    dir.run(&[&["train", "--quiet"], &SMALL[..]].concat()).succeeded();
    assert!(dir.path("runs/sample-rnn-2").is_dir(), "the first free number");
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_any_number_of_threads() {
    let dir = TestDir::new();
    let flags = ["--hidden-size", "33", "--epochs", "4", "--batch-size", "24", "--max-tokens", "3000"];
    let model = |name: &str, more: &[&str]| {
        dir.run(&[&["train", "--quiet", "--out", name], &flags[..], more].concat()).succeeded();
        fs::read(dir.path(name).join("model.safetensors")).expect("a model")
    };
    for sampling in ["sequential", "random"] {
        for path in ["fused", "reference"] {
            let common = ["--sampling", sampling, "--path", path];
            let name = |run: &str| format!("{sampling}-{path}-{run}");
            let one = model(&name("1"), &[&common[..], &["--threads", "1"]].concat());
            assert!(one == model(&name("2"), &[&common[..], &["--threads", "2"]].concat()), "{sampling} {path}");
            assert!(one == model(&name("again"), &[&common[..], &["--threads", "2"]].concat()), "{sampling} {path}");
            assert!(one != model(&name("seed"), &[&common[..], &["--seed", "1"]].concat()), "{sampling} {path}");
        }
    }
}

#[test]
fn a_run_generates_text_without_its_corpus() {
    let dir = TestDir::new();
    dir.train(&[]).succeeded();
    let text = dir.run(&["generate", "run", "--prefix", "the ", "--num-tokens", "20"]).succeeded().stdout;
    assert!(text.starts_with("the ") && text.len() == "the ".len() + 20 + 1, "{text:?}");
    let object = dir.run(&["generate", "run", "--temperature", "0.8", "--seed", "5", "--format", "json"]).json();
    assert_eq!(object["prefix"], "time traveller");
    let again = dir.run(&["generate", "run", "--temperature", "0.8", "--seed", "5", "--format", "json"]).json();
    assert_eq!(object, again);
    // an empty prefix starts from the most frequent character of English text, the space
    let empty = dir.run(&["generate", "run", "--prefix", "", "--num-tokens", "3", "--format", "json"]).json();
    assert!(empty["text"].as_str().is_some_and(|text| text.starts_with(' ') && text.len() == 4), "{empty}");
}

#[test]
fn eval_scores_every_token_after_the_first() {
    let dir = TestDir::new();
    dir.train(&[]).succeeded();
    dir.write("text.txt", "The tide, and the time.\n");
    let score = dir.run(&["eval", "run", "--corpus", "text.txt", "--format", "json"]).succeeded().json();
    // "the tide and the time" has 21 characters
    assert_eq!((&score["tokens"], &score["unknown_tokens"]), (&20.into(), &0.into()));
    let (nats, perplexity) = (score["nats_per_token"].as_f64().unwrap(), score["perplexity"].as_f64().unwrap());
    assert!((nats.exp() - perplexity).abs() < 1e-9 * perplexity);
    let bits = score["bits_per_char"].as_f64().unwrap();
    assert!((bits - nats / 2.0_f64.ln()).abs() < 1e-9, "one character per token: {bits}");
    dir.write("one.txt", "a");
    dir.run(&["eval", "run", "--corpus", "one.txt"]).failed(1, &["a text of 1 token cannot be scored"]);
}

#[test]
fn unknown_characters_in_a_prefix_are_listed() {
    let dir = TestDir::new();
    dir.write("abc.txt", "abcabc".repeat(200));
    dir.run(&[&["train", "--quiet", "--corpus", "abc.txt", "--out", "run"], &SMALL[..10]].concat());
    dir.run(&[&["train", "--quiet", "--corpus", "abc.txt", "--out", "run", "--force"], &SMALL[..]].concat())
        .succeeded();
    let generate = |how: &str| dir.run(&["generate", "run", "--prefix", "axb", "--num-tokens", "1", "--unknown", how]);
    let outcome = generate("unk").succeeded();
    assert!(outcome.stderr.contains("warning") && outcome.stderr.contains("\"x\""), "{}", outcome.stderr);
    assert!(outcome.stdout.starts_with("a<unk>b"), "{}", outcome.stdout);
    assert!(generate("skip").succeeded().stdout.starts_with("ab"));
    generate("error").failed(1, &["\"x\"", "--unknown unk"]);
}

#[test]
fn a_text_from_standard_input_is_not_normalized() {
    let dir = TestDir::new();
    let args = [&["train", "--quiet", "--corpus", "-", "--out", "run", "--format", "json"], &SMALL[..8]].concat();
    let mut child = dir.command(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all("Été 1921: the tide!\n".repeat(50).as_bytes()).expect("it is read");
    drop(input);
    Outcome::of(child.wait_with_output().expect("it ends")).succeeded();
    let vocab = fs::read_to_string(dir.path("run/vocab.json")).expect("a vocabulary");
    assert!(vocab.contains("\"É\"") && vocab.contains("\"none\""), "{vocab}");
}

#[test]
fn a_closed_pipe_ends_the_program_without_an_error() {
    let dir = TestDir::new();
    dir.train(&[]).succeeded();
    let mut command = dir.command(&["generate", "run", "--num-tokens", "10000000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command");
    drop(child.stdout.take());
    let outcome = Outcome::of(child.wait_with_output().expect("it ends"));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn corpora_and_devices_can_be_listed() {
    let dir = TestDir::new();
    let list = dir.run(&["corpus", "list"]).succeeded().stdout;
    assert!(list.contains("sample") && list.contains("bundled") && list.contains("timemachine"), "{list}");
    assert!(dir.run(&["corpus", "fetch", "sample"]).succeeded().stdout.contains("bundled"));
    dir.run(&["corpus", "fetch", "nosuchbook"]).failed(1, &["nosuchbook", "timemachine"]);
    dir.write("words.txt", "to be or not to be\n");
    let stats = dir.run(&["corpus", "stats", "words.txt", "--format", "json"]).succeeded().json();
    assert_eq!((&stats["tokens"], &stats["vocab_size"]), (&6.into(), &5.into()));
    assert_eq!(stats["bigrams"][0], serde_json::json!(["to be", 2]));
    let devices = dir.run(&["devices", "--format", "json"]).succeeded().json();
    assert_eq!(devices["devices"][0]["name"], "cpu");
    assert!(dir.run(&[]).succeeded().stdout.contains("train"));
    assert!(dir.run(&["--help"]).succeeded().stdout.contains("130"));
    dir.run(&["train", "--no-such-flag"]).failed(2, &["--no-such-flag"]);
}
