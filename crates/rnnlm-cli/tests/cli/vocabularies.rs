//! Vocabularies that are limited, given or extended, and words with punctuation.

use serde_json::{Value, json};

use crate::support::TestDir;

const TEXT: &str = "The cat sat on the mat, and the dog sat on the log.\nThe end. 42 cats!\n";

fn vocab(dir: &TestDir, run: &str) -> Value {
    let bytes = std::fs::read(dir.path(run).join("vocab.json")).expect("a vocabulary");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn train(dir: &TestDir, out: &str, more: &[&str]) -> crate::support::Outcome {
    let flags = ["train", "--quiet", "--hidden-size", "8", "--epochs", "2", "--batch-size", "2", "--num-steps", "5"];
    dir.run(&[&flags[..], &["--threads", "1", "--out", out], more].concat())
}

#[test]
fn max_vocab_limits_the_vocabulary_to_the_most_frequent_tokens() {
    let dir = TestDir::new();
    dir.write("text.txt", TEXT.repeat(5));
    train(&dir, "run", &["--corpus", "text.txt", "--token", "word", "--max-vocab", "3"]).succeeded();
    // "the" occurs 3 times, and "The", "sat" and "on" twice, of which the first two occur first
    assert_eq!(vocab(&dir, "run")["tokens"], json!(["<unk>", "the", "The", "sat"]));
    let config: Value = serde_json::from_slice(&std::fs::read(dir.path("run/config.json")).unwrap()).unwrap();
    assert_eq!(config["corpus"]["options"]["max_vocab"], json!(3));
    dir.run(&["train", "--quiet", "--resume", "run", "--epochs", "3"]).succeeded();
    dir.run(&["train", "--quiet", "--resume", "run", "--max-vocab", "4"]).failed(4, &["`max_vocab` is 3 and not 4"]);
}

#[test]
fn words_with_punctuation_are_generated_as_text() {
    let dir = TestDir::new();
    dir.write("text.txt", TEXT.repeat(5));
    train(&dir, "run", &["--corpus", "text.txt", "--token", "word-punct"]).succeeded();
    let vocab = vocab(&dir, "run");
    assert_eq!((&vocab["token_kind"], &vocab["format_version"]), (&json!("word-punct"), &json!(4)));
    let tokens = vocab["tokens"].as_array().unwrap();
    assert!([" cat", ",", "\n", " 42", "!"].iter().all(|token| tokens.contains(&json!(token))), "{tokens:?}");
    let outcome = dir.run(&["generate", "run", "--prefix", "The cat sat", "--num-tokens", "5", "--unknown", "error"]);
    assert!(outcome.succeeded().stdout.contains("The cat sat"));
    dir.run(&["eval", "run", "--corpus", "text.txt"]).succeeded();
    dir.run(&["train", "--quiet", "--resume", "run", "--epochs", "3"]).succeeded();
}

#[test]
fn a_text_is_read_with_a_given_vocabulary() {
    let dir = TestDir::new();
    dir.write("text.txt", TEXT.repeat(5));
    dir.write("other.txt", "the cat on the log sat and sat\n".repeat(5));
    let with = |out: &str, more: &[&str]| train(&dir, out, &[&["--corpus", "other.txt"], more].concat());
    train(&dir, "run", &["--corpus", "text.txt"]).succeeded();
    with("of-run", &["--vocab", "run"]).succeeded();
    with("of-file", &["--vocab", "run/vocab.json"]).succeeded();
    assert_eq!(vocab(&dir, "of-run"), vocab(&dir, "run"));
    assert_eq!(vocab(&dir, "of-file"), vocab(&dir, "run"));
    // a list has no settings: the flags and the defaults of a file apply
    dir.write("tokens.txt", "<pad>\n<UNK>\nthe\nsat\non\n");
    with("of-list", &["--vocab", "tokens.txt", "--token", "word"]).succeeded();
    let stored = vocab(&dir, "of-list");
    assert_eq!(stored["tokens"], json!(["<unk>", "<pad>", "the", "sat", "on"]));
    assert_eq!([&stored["normalization"], &stored["line_ends"]], [&json!("none"), &json!("lf")]);
    dir.run(&["train", "--quiet", "--resume", "of-list", "--epochs", "3"]).succeeded();

    let refuses = |more: &[&str], code: i32, words: &[&str]| {
        with("refused", more).failed(code, words);
        assert!(!dir.path("refused").exists());
    };
    refuses(
        &["--vocab", "run", "--token", "word"],
        4,
        &["the settings of `run` differ", "`kind` is \"char\" and not \"word\""],
    );
    refuses(
        &["--vocab", "run/vocab.json", "--normalize", "lower"],
        2,
        &["`normalize` is lower, the vocabulary has none"],
    );
    refuses(&["--vocab", "run", "--min-freq", "2"], 4, &["`min_freq` is 0 and not 2"]);
    refuses(&["--vocab", "run", "--max-vocab", "2"], 4, &["`max_vocab`"]);
    refuses(&["--vocab", "run", "--init-from", "run"], 2, &["cannot be used with"]);
    refuses(&["--vocab", "tokens.txt"], 1, &["`the`, is not one character", "--token word"]);
    refuses(&["--vocab", "missing.json"], 1, &["missing.json"]);
}

#[test]
fn an_extended_vocabulary_keeps_ids_and_weights() {
    let dir = TestDir::new();
    dir.write("text.txt", TEXT.repeat(5));
    dir.write("new.txt", "the zebra quickly 7 zz\n".repeat(10));
    train(&dir, "run", &["--corpus", "text.txt", "--embedding-size", "4"]).succeeded();
    let more = ["--corpus", "new.txt", "--init-from", "run", "--extend-vocab"];
    train(&dir, "extended", &more).succeeded();
    let (old, new) = (vocab(&dir, "run"), vocab(&dir, "extended"));
    let [old, new] = [&old, &new].map(|vocab| vocab["tokens"].as_array().unwrap());
    assert_eq!(new[..old.len()], old[..]);
    // by frequency in the new text, then by first occurrence
    assert_eq!(
        new[old.len()..],
        [json!("z"), json!("b"), json!("r"), json!("q"), json!("u"), json!("i"), json!("k"), json!("y"), json!("7")][..]
    );
    dir.run(&["train", "--quiet", "--resume", "extended", "--epochs", "3"]).succeeded();
    train(&dir, "limited", &[&more[..], &["--max-vocab", "2"]].concat()).succeeded();
    assert_eq!(vocab(&dir, "limited")["tokens"].as_array().unwrap().len(), old.len() + 2);
    train(&dir, "refused", &["--corpus", "new.txt", "--extend-vocab"]).failed(2, &["--extend-vocab needs --init-from"]);
}
