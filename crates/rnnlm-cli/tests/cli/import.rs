//! Models that PyTorch trained: what a run of them can do, and what is refused before anything is written.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Place, SMALL};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/import").join(format!("{name}.safetensors"))
}

/// A place with a checkpoint as `model.safetensors` and a vocabulary of its size.
fn place(name: &str) -> Place {
    let place = Place::new();
    place.write("model.safetensors", fs::read(fixture(name)).expect("a fixture"));
    place.write("tokens.json", r#"["<unk>", " ", "e", "t", "a", "i", "m"]"#);
    place
}

const IMPORT: [&str; 4] = ["import", "model.safetensors", "--vocab", "tokens.json"];

/// Expects a refusal, and that no file came, went or changed.
#[track_caller]
fn refused(place: &Place, args: &[&str], code: i32, words: &[&str]) {
    let before = place.snapshot();
    place.run(args).failed(code, words);
    assert_eq!(place.snapshot(), before, "files changed");
    assert!(!place.path("runs").exists(), "a run's folder was left behind");
}

#[test]
fn an_imported_run_generates_scores_and_begins_a_training() {
    let place = place("gru-2-layers");
    let outcome = place.run(&IMPORT).succeeded();
    assert_eq!(outcome.stdout, "run runs/model-gru-1\n");
    // 3·6·(7 + 6 + 2) + 3·6·(6 + 6 + 2) + 7·6 + 7
    let words = "gru, 2 layers, 6 hidden units, one-hot input, 571 parameters";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("7 tokens of kind char, texts normalised: book"), "{}", outcome.stderr);
    let run = "runs/model-gru-1";
    let text = place.run(&["generate", run, "--prefix", "a tim", "--num-tokens", "8"]).succeeded().stdout;
    assert!(text.starts_with("a tim"), "{text}");
    place.write("text.txt", "I am at a time, a tea, a team. ".repeat(40));
    let score = place.run(&["eval", run, "--corpus", "text.txt", "--format", "json"]).succeeded().json();
    // an untrained model of seven tokens
    assert!(score["perplexity"].as_f64().is_some_and(|found| (5.0..9.0).contains(&found)), "{score}");
    let train = ["train", "--quiet", "--init-from", run, "--corpus", "text.txt", "--out", "more", "--epochs", "2"];
    place.run(&[&train[..], &["--batch-size", "4", "--num-steps", "8", "--format", "json"]].concat()).succeeded();
    let config = fs::read_to_string(place.path("more/config.json")).expect("a configuration");
    assert!(config.contains("\"init_from\": \"runs/model-gru-1\""), "{config}");
    let before = place.snapshot();
    place.run(&["train", "--resume", run]).failed(
        4,
        &["`runs/model-gru-1` was imported: it has no training state to resume", "hint: --init-from begins"],
    );
    assert_eq!(place.snapshot(), before);
}

#[test]
fn what_an_rnn_is_must_be_said_and_the_folder_may_be_chosen() {
    let place = place("rnn-relu");
    let tanh = place.run(&[&IMPORT[..], &["--out", "tanh"]].concat()).succeeded();
    assert!(tanh.stderr.contains("rnn tanh") && tanh.stderr.contains("--nonlinearity"), "{}", tanh.stderr);
    let flags = ["--nonlinearity", "relu", "--out", "relu", "--format", "json"];
    let relu = place.run(&[&IMPORT[..], &flags[..]].concat()).succeeded();
    assert_eq!(relu.stderr, "");
    let report = relu.json();
    assert_eq!((&report["run_dir"], &report["model"]["nonlinearity"]), (&"relu".into(), &"relu".into()));
    refused(&place, &[&IMPORT[..], &["--out", "relu"]].concat(), 1, &["`relu` exists already", "--force"]);
    place.run(&[&IMPORT[..], &["--out", "relu", "--force"]].concat()).succeeded();
    let config = fs::read_to_string(place.path("relu/config.json")).expect("a configuration");
    assert!(config.contains("\"tanh\"") && config.contains("\"imported_from\": \"model.safetensors\""), "{config}");
}

#[test]
fn a_run_of_our_own_comes_back_with_its_vocabulary() {
    let place = Place::new();
    place.train(&["--cell", "gru", "--reset-before"]).succeeded();
    place.run(&["import", "run/model.safetensors", "--vocab", "run/vocab.json", "--out", "back"]).succeeded();
    let [first, second] = ["run", "back"].map(|run| place.run(&["eval", run, "--corpus", "sample"]).succeeded().stdout);
    assert_eq!(first, second);
    let config = fs::read_to_string(place.path("back/config.json")).expect("a configuration");
    assert!(config.contains("\"reset_before\": true"), "the metadata of the file was not read: {config}");
    place.run(&[&["train", "--quiet", "--out", "run", "--force"], &SMALL[..]].concat()).succeeded();
}

#[test]
fn what_makes_no_run_is_refused_before_anything_is_written() {
    let place = place("gru-2-layers");
    place.write("six.json", r#"["<unk>", " ", "e", "t", "a", "i"]"#);
    place.write("model.pt", b"PK\x03\x04 and so on");
    place.write("text.txt", "not a model");
    fs::create_dir(place.path("folder")).expect("a folder");
    let with = |file: &'static str, vocab: &'static str| ["import", file, "--vocab", vocab];
    let missing = with("missing.safetensors", "tokens.json");
    refused(&place, &missing, 1, &["`missing.safetensors` cannot be read"]);
    refused(&place, &with("folder", "tokens.json"), 4, &["`folder`", "not a file"]);
    refused(&place, &with("model.pt", "tokens.json"), 4, &["`torch.save`", "hint: safetensors.torch.save_file"]);
    refused(&place, &with("text.txt", "tokens.json"), 4, &["`text.txt` cannot be imported: it is not safetensors"]);
    let words = ["`linear.weight` has 7 rows, the vocabulary has 6 entries", "hint: --vocab"];
    refused(&place, &with("model.safetensors", "six.json"), 4, &words);
    refused(&place, &with("model.safetensors", "missing.json"), 1, &["`missing.json` cannot be read"]);
    refused(&place, &with("model.safetensors", "text.txt"), 1, &["the vocabulary is not in the expected form"]);
    refused(&place, &[&IMPORT[..], &["--nonlinearity", "relu"]].concat(), 4, &["`nonlinearity` is relu", "`gru`"]);
    refused(&place, &[&IMPORT[..], &["--nonlinearity", "sine"]].concat(), 2, &["tanh, relu"]);
    refused(&place, &[&IMPORT[..], &["--token", "byte"]].concat(), 1, &["is not a byte spelled like"]);
    refused(&place, &[&IMPORT[..], &["--out", "folder/../text.txt/run"]].concat(), 1, &["cannot be created"]);
    refused(&place, &["import", "model.safetensors"], 2, &["--vocab"]);
}
