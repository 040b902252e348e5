//! Invalid input is refused before work starts. The message has both values, and no file changes.

use std::fs;

use crate::support::{SMALL, TestDir};

/// Runs `train` with `more`, and expects an error and no changed file.
#[track_caller]
fn refused(dir: &TestDir, more: &[&str], code: i32, words: &[&str]) {
    dir.refuses(&[&["train", "--quiet"], &SMALL[..], more].concat(), code, words);
}

#[test]
fn unreadable_texts_are_refused() {
    let dir = TestDir::new();
    dir.write("empty.txt", "");
    dir.write("signs.txt", "1234 5678\n");
    dir.write("latin.txt", b"one\ncaf\xE9\n");
    dir.write("short.txt", "a few words");
    fs::create_dir(dir.path("folder")).expect("a folder");
    refused(&dir, &["--corpus", "missing.txt"], 1, &["`missing.txt` does not exist"]);
    refused(&dir, &["--corpus", "folder"], 1, &["`folder` is a folder without files"]);
    refused(&dir, &["--corpus", "empty.txt"], 1, &["`empty.txt` has 0 bytes"]);
    refused(&dir, &["--corpus", "signs.txt", "--normalize", "book"], 1, &["has 10 bytes but no `char` token"]);
    refused(&dir, &["--corpus", "latin.txt"], 1, &["0xE9", "offset 7", "line 2", "hint: use --token byte"]);
    // 8·10 + 10 + 1 = 91 tokens are needed
    refused(&dir, &["--corpus", "short.txt"], 1, &["11 tokens", "8·10 + 10 + 1 = 91"]);
    refused(
        &dir,
        &["--corpus", "nosuchbook"],
        1,
        &["no corpus or file is called `nosuchbook`", "sample", "timemachine"],
    );
}

#[test]
fn a_failed_download_names_what_was_tried_and_where_to_put_a_copy() {
    let dir = TestDir::new();
    let words = ["timemachine.txt", "https://d2l-data", "put a copy", "eBook 35"];
    refused(&dir, &["--corpus", "timemachine"], 1, &words);
}

#[test]
fn a_named_corpus_with_a_wrong_checksum_is_refused() {
    let dir = TestDir::new();
    fs::create_dir(dir.path("data")).expect("a folder");
    dir.write("data/timemachine.txt", "not the book");
    refused(&dir, &["--corpus", "timemachine"], 1, &["12 bytes", "090b5e7e70c295757f55df93cb0a180b9691891a"]);
}

#[test]
fn invalid_numbers_are_refused() {
    let dir = TestDir::new();
    refused(&dir, &["--out", "run", "--lr", "nan"], 2, &["--lr", "finite"]);
    let cases: [(&[&str], &str); 7] = [
        (&["--hidden-size", "0"], "at least 1"),
        (&["--batch-size", "0"], "at least 1"),
        (&["--num-steps", "0"], "at least 1"),
        (&["--lr", "-1"], "above 0"),
        (&["--clip", "inf"], "finite"),
        (&["--threads", "1000000"], "1000000"),
        (&["--token", "syllable"], "char, word, byte"),
    ];
    for (flags, words) in cases {
        let before = dir.snapshot();
        dir.run(&[&["train", "--quiet", "--epochs", "1"], flags].concat()).failed(2, &[words]);
        assert_eq!(dir.snapshot(), before);
    }
}

#[test]
fn huge_sizes_are_refused_with_the_memory_they_need() {
    let dir = TestDir::new();
    for flags in [["--hidden-size", "1000000000"], ["--hidden-size", "4294967296000000"]] {
        let outcome = dir.run(&[&["train", "--quiet", "--epochs", "1"], &flags[..]].concat());
        outcome.failed(1, &["training needs", "of memory", "is available", "hint: reduce --hidden-size"]);
    }
    let outcome = dir.run(&["train", "--quiet", "--batch-size", "18446744073709551615"]);
    outcome.failed(1, &["of memory"]);
    assert!(dir.snapshot().is_empty());
}

#[test]
fn an_existing_folder_is_refused_and_force_replaces_only_a_run() {
    let dir = TestDir::new();
    fs::create_dir(dir.path("letters")).expect("a folder");
    dir.write("letters/dear.txt", "do not lose me");
    refused(&dir, &["--out", "letters"], 1, &["`letters` exists already", "--force"]);
    refused(&dir, &["--out", "letters", "--force"], 4, &["`letters` is not a run", "config.json"]);
    dir.train(&[]).succeeded();
    dir.train(&[]).failed(1, &["`run` exists already"]);
    dir.train(&["--force"]).succeeded();
}

#[test]
fn an_unwritable_folder_is_refused_before_training() {
    let dir = TestDir::new();
    dir.write("file", "in the way");
    refused(&dir, &["--out", "file/run"], 1, &["`file/run` cannot be created"]);
}

#[test]
fn a_folder_that_is_not_a_run_and_a_damaged_run_are_exit_code_4() {
    let dir = TestDir::new();
    fs::create_dir(dir.path("folder")).expect("a folder");
    let generate = |words: &[&str]| dir.run(&["generate", "run"]).failed(4, words);
    generate(&["`run` is not a run: it does not exist"]);
    dir.run(&["generate", "folder"]).failed(4, &["it has no `config.json`"]);
    dir.train(&[]).succeeded();
    for name in ["model.safetensors", "vocab.json", "config.json"] {
        let path = dir.path("run").join(name);
        let good = fs::read(&path).expect("a file of the run");
        let mut altered = good.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        for bad in [&good[..good.len() / 2], &altered, b""] {
            fs::write(&path, bad).expect("a file of the run");
            let before = dir.snapshot();
            generate(&[&format!("`run/{name}` is damaged")]);
            dir.run(&["eval", "run", "--corpus", "sample"]).failed(4, &[name]);
            assert_eq!(dir.snapshot(), before);
        }
        fs::write(&path, good).expect("a file of the run");
    }
    dir.run(&["generate", "run"]).succeeded();
}

#[test]
fn a_vocabulary_of_another_run_is_refused() {
    let dir = TestDir::new();
    dir.train(&[]).succeeded();
    dir.run(&[&["train", "--quiet", "--out", "other", "--token", "byte"], &SMALL[..]].concat()).succeeded();
    fs::copy(dir.path("other/vocab.json"), dir.path("run/vocab.json")).expect("a copy");
    dir.run(&["generate", "run"]).failed(4, &["does not fit this run", "vocab.json"]);
}

#[test]
fn a_divergence_stops_training_and_keeps_the_last_good_model() {
    let dir = TestDir::new();
    let outcome = dir.train(&["--nonlinearity", "relu", "--lr", "1e30", "--clip", "0"]);
    outcome.failed(
        3,
        &["diverged at step", "gradient norm", "learning rate 1", "hint: reduce the learning rate", "--clip"],
    );
    dir.run(&["generate", "run"]).succeeded();
}
