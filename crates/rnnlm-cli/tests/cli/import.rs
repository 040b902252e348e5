//! `rnnlm import`: an imported run works like a trained one, and an invalid file is refused before anything is written.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{SMALL, TestDir};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/import").join(format!("{name}.safetensors"))
}

/// A folder with a fixture as `model.safetensors` and a vocabulary of its size.
fn dir(name: &str) -> TestDir {
    let dir = TestDir::new();
    dir.write("model.safetensors", fs::read(fixture(name)).expect("a fixture"));
    dir.write("tokens.json", r#"["<unk>", " ", "e", "t", "a", "i", "m"]"#);
    dir
}

const IMPORT: [&str; 4] = ["import", "model.safetensors", "--vocab", "tokens.json"];

#[test]
fn an_imported_run_generates_scores_and_initializes_a_run() {
    let dir = dir("gru-2-layers");
    let outcome = dir.run(&IMPORT).succeeded();
    assert_eq!(outcome.stdout, "run runs/model-gru-1\n");
    // 3·6·(7 + 6 + 2) + 3·6·(6 + 6 + 2) + 7·6 + 7
    let words = "gru, 2 layers, 6 hidden units, one-hot input, 571 parameters";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("7 char tokens, normalization book"), "{}", outcome.stderr);
    let run = "runs/model-gru-1";
    let text = dir.run(&["generate", run, "--prefix", "a tim", "--num-tokens", "8"]).succeeded().stdout;
    assert!(text.starts_with("a tim"), "{text}");
    dir.write("text.txt", "I am at a time, a tea, a team. ".repeat(40));
    let score = dir.run(&["eval", run, "--corpus", "text.txt", "--format", "json"]).succeeded().json();
    // an untrained model of seven tokens
    assert!(score["perplexity"].as_f64().is_some_and(|found| (5.0..9.0).contains(&found)), "{score}");
    let train = ["train", "--quiet", "--init-from", run, "--corpus", "text.txt", "--out", "more", "--epochs", "2"];
    dir.run(&[&train[..], &["--batch-size", "4", "--num-steps", "8", "--format", "json"]].concat()).succeeded();
    let config = fs::read_to_string(dir.path("more/config.json")).expect("a configuration");
    assert!(config.contains("\"init_from\": \"runs/model-gru-1\""), "{config}");
    let before = dir.snapshot();
    dir.run(&["train", "--resume", run])
        .failed(4, &["`runs/model-gru-1` was imported: it has no training state to resume", "hint: use --init-from"]);
    assert_eq!(dir.snapshot(), before);
}

#[test]
fn the_nonlinearity_of_an_rnn_and_the_folder_are_flags() {
    let dir = dir("rnn-relu");
    let tanh = dir.run(&[&IMPORT[..], &["--out", "tanh"]].concat()).succeeded();
    assert!(tanh.stderr.contains("rnn tanh") && tanh.stderr.contains("--nonlinearity"), "{}", tanh.stderr);
    let flags = ["--nonlinearity", "relu", "--out", "relu", "--format", "json"];
    let relu = dir.run(&[&IMPORT[..], &flags[..]].concat()).succeeded();
    assert_eq!(relu.stderr, "");
    let report = relu.json();
    assert_eq!((&report["run_dir"], &report["model"]["nonlinearity"]), (&"relu".into(), &"relu".into()));
    dir.refuses(&[&IMPORT[..], &["--out", "relu"]].concat(), 1, &["`relu` exists already", "--force"]);
    dir.run(&[&IMPORT[..], &["--out", "relu", "--force"]].concat()).succeeded();
    let config = fs::read_to_string(dir.path("relu/config.json")).expect("a configuration");
    assert!(config.contains("\"tanh\"") && config.contains("\"imported_from\": \"model.safetensors\""), "{config}");
}

#[test]
fn the_model_and_the_vocabulary_of_a_run_can_be_imported_again() {
    let dir = TestDir::new();
    dir.train(&["--cell", "gru", "--reset-before"]).succeeded();
    dir.run(&["import", "run/model.safetensors", "--vocab", "run/vocab.json", "--out", "back"]).succeeded();
    let [first, second] = ["run", "back"].map(|run| dir.run(&["eval", run, "--corpus", "sample"]).succeeded().stdout);
    assert_eq!(first, second);
    let config = fs::read_to_string(dir.path("back/config.json")).expect("a configuration");
    assert!(config.contains("\"reset_before\": true"), "the metadata of the file was not read: {config}");
    dir.run(&[&["train", "--quiet", "--out", "run", "--force"], &SMALL[..]].concat()).succeeded();
}

#[test]
fn invalid_files_are_refused_before_anything_is_written() {
    let dir = dir("gru-2-layers");
    dir.write("six.json", r#"["<unk>", " ", "e", "t", "a", "i"]"#);
    dir.write("model.pt", b"PK\x03\x04 and so on");
    dir.write("text.txt", "not a model");
    fs::create_dir(dir.path("folder")).expect("a folder");
    let with = |file: &'static str, vocab: &'static str| ["import", file, "--vocab", vocab];
    let missing = with("missing.safetensors", "tokens.json");
    dir.refuses(&missing, 1, &["`missing.safetensors` cannot be read"]);
    dir.refuses(&with("folder", "tokens.json"), 4, &["`folder`", "not a file"]);
    dir.refuses(
        &with("model.pt", "tokens.json"),
        4,
        &["`torch.save`", "hint: write the file with safetensors.torch.save_file"],
    );
    dir.refuses(&with("text.txt", "tokens.json"), 4, &["`text.txt` cannot be imported: it is not safetensors"]);
    let words = ["`linear.weight` has 7 rows, the vocabulary has 6 entries", "hint: pass the vocabulary"];
    dir.refuses(&with("model.safetensors", "six.json"), 4, &words);
    dir.refuses(&with("model.safetensors", "missing.json"), 1, &["`missing.json` cannot be read"]);
    dir.refuses(&with("model.safetensors", "text.txt"), 1, &["the vocabulary is not in the expected form"]);
    dir.refuses(&[&IMPORT[..], &["--nonlinearity", "relu"]].concat(), 4, &["`nonlinearity` is relu", "`gru`"]);
    dir.refuses(&[&IMPORT[..], &["--nonlinearity", "sine"]].concat(), 2, &["tanh, relu"]);
    dir.refuses(&[&IMPORT[..], &["--token", "byte"]].concat(), 1, &["is not a byte written like"]);
    dir.refuses(&[&IMPORT[..], &["--out", "folder/../text.txt/run"]].concat(), 1, &["cannot be created"]);
    dir.refuses(&["import", "model.safetensors"], 2, &["--vocab"]);
}
