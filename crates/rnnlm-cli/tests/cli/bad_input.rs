//! Invalid input is refused before work starts. The message has both values, and no file changes.

use std::fs;

use crate::support::{Place, SMALL};

/// Runs `train` with `more`, and expects an error and no changed file.
#[track_caller]
fn refused(place: &Place, more: &[&str], code: i32, words: &[&str]) {
    let before = place.snapshot();
    place.run(&[&["train", "--quiet"], &SMALL[..], more].concat()).failed(code, words);
    assert_eq!(place.snapshot(), before, "files changed");
    assert!(!place.path("runs").exists(), "a folder of a run was left");
}

#[test]
fn unreadable_texts_are_refused() {
    let place = Place::new();
    place.write("empty.txt", "");
    place.write("signs.txt", "1234 5678\n");
    place.write("latin.txt", b"one\ncaf\xE9\n");
    place.write("short.txt", "a few words");
    fs::create_dir(place.path("folder")).expect("a folder");
    refused(&place, &["--corpus", "missing.txt"], 1, &["`missing.txt` does not exist"]);
    refused(&place, &["--corpus", "folder"], 1, &["`folder` is a folder"]);
    refused(&place, &["--corpus", "empty.txt"], 1, &["`empty.txt` has 0 bytes"]);
    refused(&place, &["--corpus", "signs.txt", "--normalize", "book"], 1, &["has 10 bytes but no `char` token"]);
    refused(&place, &["--corpus", "latin.txt"], 1, &["0xE9", "offset 7", "line 2", "hint: use --token byte"]);
    // 8·10 + 10 + 1 = 91 tokens are needed
    refused(&place, &["--corpus", "short.txt"], 1, &["11 tokens", "8·10 + 10 + 1 = 91"]);
    refused(
        &place,
        &["--corpus", "nosuchbook"],
        1,
        &["no corpus or file is called `nosuchbook`", "sample", "timemachine"],
    );
}

#[test]
fn a_failed_download_names_what_was_tried_and_where_to_put_a_copy() {
    let place = Place::new();
    let words = ["timemachine.txt", "https://d2l-data", "may be put", "eBook 35"];
    refused(&place, &["--corpus", "timemachine"], 1, &words);
}

#[test]
fn a_named_corpus_with_a_wrong_checksum_is_refused() {
    let place = Place::new();
    fs::create_dir(place.path("data")).expect("a folder");
    place.write("data/timemachine.txt", "not the book");
    refused(&place, &["--corpus", "timemachine"], 1, &["12 bytes", "090b5e7e70c295757f55df93cb0a180b9691891a"]);
}

#[test]
fn invalid_numbers_are_refused() {
    let place = Place::new();
    refused(&place, &["--out", "run", "--lr", "nan"], 2, &["--lr", "finite"]);
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
        let before = place.snapshot();
        place.run(&[&["train", "--quiet", "--epochs", "1"], flags].concat()).failed(2, &[words]);
        assert_eq!(place.snapshot(), before);
    }
}

#[test]
fn huge_sizes_are_refused_with_the_memory_they_need() {
    let place = Place::new();
    for flags in [["--hidden-size", "1000000000"], ["--hidden-size", "4294967296000000"]] {
        let outcome = place.run(&[&["train", "--quiet", "--epochs", "1"], &flags[..]].concat());
        outcome.failed(1, &["training needs", "of memory", "is available", "hint: reduce --hidden-size"]);
    }
    let outcome = place.run(&["train", "--quiet", "--batch-size", "18446744073709551615"]);
    outcome.failed(1, &["of memory"]);
    assert!(place.snapshot().is_empty());
}

#[test]
fn an_existing_folder_is_refused_and_force_replaces_only_a_run() {
    let place = Place::new();
    fs::create_dir(place.path("letters")).expect("a folder");
    place.write("letters/dear.txt", "do not lose me");
    refused(&place, &["--out", "letters"], 1, &["`letters` exists already", "--force"]);
    refused(&place, &["--out", "letters", "--force"], 4, &["`letters` is not a run", "config.json"]);
    place.train(&[]).succeeded();
    place.train(&[]).failed(1, &["`run` exists already"]);
    place.train(&["--force"]).succeeded();
}

#[test]
fn an_unwritable_folder_is_refused_before_training() {
    let place = Place::new();
    place.write("file", "in the way");
    refused(&place, &["--out", "file/run"], 1, &["`file/run` cannot be created"]);
}

#[test]
fn a_folder_that_is_not_a_run_and_a_damaged_run_are_exit_code_4() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).expect("a folder");
    let generate = |words: &[&str]| place.run(&["generate", "run"]).failed(4, words);
    generate(&["`run` is not a run: it does not exist"]);
    place.run(&["generate", "folder"]).failed(4, &["it has no `config.json`"]);
    place.train(&[]).succeeded();
    for name in ["model.safetensors", "vocab.json", "config.json"] {
        let path = place.path("run").join(name);
        let good = fs::read(&path).expect("a file of the run");
        let mut altered = good.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        for bad in [&good[..good.len() / 2], &altered, b""] {
            fs::write(&path, bad).expect("a file of the run");
            let before = place.snapshot();
            generate(&[&format!("`run/{name}` is damaged")]);
            place.run(&["eval", "run", "--corpus", "sample"]).failed(4, &[name]);
            assert_eq!(place.snapshot(), before);
        }
        fs::write(&path, good).expect("a file of the run");
    }
    place.run(&["generate", "run"]).succeeded();
}

#[test]
fn a_vocabulary_of_another_run_is_refused() {
    let place = Place::new();
    place.train(&[]).succeeded();
    place.run(&[&["train", "--quiet", "--out", "other", "--token", "byte"], &SMALL[..]].concat()).succeeded();
    fs::copy(place.path("other/vocab.json"), place.path("run/vocab.json")).expect("a copy");
    place.run(&["generate", "run"]).failed(4, &["does not fit this run", "vocab.json"]);
}

#[test]
fn a_divergence_stops_training_and_keeps_the_last_good_model() {
    let place = Place::new();
    let outcome = place.train(&["--nonlinearity", "relu", "--lr", "1e30", "--clip", "0"]);
    outcome.failed(
        3,
        &["diverged at step", "gradient norm", "learning rate 1", "hint: reduce the learning rate", "--clip"],
    );
    place.run(&["generate", "run"]).succeeded();
}
