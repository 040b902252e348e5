//! Unknown tokens, invalid and unusual input, and models that cannot score.

use std::f64::consts::LN_2;

use super::{CHARS, WORDS, digits, objects, unigram};
use crate::support::{SMALL, TestDir};

#[test]
fn unknown_tokens_are_scored_left_out_or_refused() {
    let dir = unigram("word", "lines", &WORDS);
    dir.write("text.txt", "the cat\nthe horse\nhorse cow the\n");
    let score = |unknown: &str| dir.run(&["score", "run", "text.txt", "--format", "jsonl", "--unknown", unknown]);
    let column = |stdout: &str, name: &str| objects(stdout).iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    let outcome = score("unk").succeeded();
    assert_eq!(column(&outcome.stdout, "tokens"), [3, 3, 4]);
    assert_eq!(column(&outcome.stdout, "unknown"), [0, 1, 2]);
    let stderr = &outcome.stderr;
    assert!(
        stderr.contains("warning: 3 tokens (30.0 %) are not in the vocabulary: \"horse\" 2 \"cow\" 1\n"),
        "{stderr}"
    );
    // 6 + 7 + 11 bits in 10 tokens, 12 bits in the 7 known ones; 32 characters, 19 of them known
    let summary = "3 documents, 10 tokens, 3 unknown (30.0 %), perplexity 5.278 (3.281 without unknown tokens), \
                   0.7500 bits per char (0.6316 without unknown tokens)\n";
    assert!(stderr.ends_with(summary), "{stderr}");
    let outcome = score("skip").succeeded();
    assert_eq!(column(&outcome.stdout, "tokens"), [3, 2, 2]);
    assert_eq!(column(&outcome.stdout, "unknown"), [0, 1, 2]);
    let nats: Vec<f64> = objects(&outcome.stdout).iter().filter_map(|row| row["logprob"].as_f64()).collect();
    assert!(nats.iter().zip([6.0, 3.0, 3.0]).all(|(nats, bits)| (nats + bits * LN_2).abs() < 1e-6), "{nats:?}");
    let tokens = dir.run(&["score", "run", "text.txt", "--unknown", "skip", "--tokens"]).succeeded().stdout;
    let tokens: Vec<&str> = tokens.lines().skip(2).filter_map(|row| row.split('\t').nth(2)).collect();
    assert_eq!(tokens, ["the", "cat", "<eos>", "the", "<eos>", "the", "<eos>"]);
    let kenlm = ["score", "run", "text.txt", "--unknown", "skip", "--format", "kenlm"];
    assert!(dir.run(&kenlm).succeeded().stdout.ends_with("OOVs:\t3\nTokens:\t7\n"));
    let outcome = score("error");
    assert_eq!(objects(&outcome.stdout).len(), 1);
    outcome.failed(1, &["line 2 of `text.txt` has tokens that are not in the vocabulary: \"horse\"", "--unknown unk"]);
}

#[test]
fn few_unknown_tokens_are_no_warning() {
    let dir = unigram("char", "lines", &CHARS);
    dir.write("text.txt", "a".repeat(30) + "x");
    let stderr = dir.run(&["score", "run", "text.txt"]).succeeded().stderr;
    assert!(!stderr.contains("warning") && stderr.contains("1 unknown (3.1 %)"), "{stderr}");
    assert_eq!(dir.run(&["score", "run", "text.txt", "--quiet"]).succeeded().stderr, "");
}

#[test]
fn invalid_utf_8_is_an_error_with_its_line_or_left_out() {
    let dir = unigram("char", "lines", &CHARS);
    dir.write("text.txt", b"a\nb\xFFa\nab\n\xFE\n");
    let score = ["score", "run", "text.txt", "--format", "jsonl"];
    let outcome = dir.run(&score);
    assert_eq!(objects(&outcome.stdout).len(), 1, "the results before it are printed");
    let words = ["`text.txt` is not UTF-8: byte 0xFF at offset 3, line 2", "hint: it is probably", "--skip-invalid"];
    outcome.failed(1, &words);
    let outcome = dir.run(&[&score[..], &["--skip-invalid"]].concat()).succeeded();
    // the index counts the documents that are left out
    let indices: Vec<_> = objects(&outcome.stdout).iter().map(|row| row["index"].as_u64()).collect();
    assert_eq!(indices, [Some(0), Some(2)]);
    let warning = "warning: left out 2 documents that are not UTF-8, the first at line 2\n";
    assert!(outcome.stderr.contains(warning), "{}", outcome.stderr);
    // a model of bytes reads any bytes
    let dir = unigram("byte", "none", &[("<unk>", 2.0), ("<0x0A>", 2.0), ("<0xFF>", 1.0)]);
    dir.write("text.txt", b"\xFF\xFF\n");
    let row = dir.run(&["score", "run", "text.txt", "--format", "kenlm"]).succeeded().stdout;
    assert!(row.starts_with("<0xFF>=2 0 -0.3"), "{row}");
}

#[test]
fn a_compressed_text_is_an_error_that_says_so() {
    let dir = unigram("char", "lines", &CHARS);
    // gzip -n of "a\n"
    dir.write("text.gz", b"\x1F\x8B\x08\0\0\0\0\0\x02\x03\x4B\xE4\x02\0\x07\xA1\xEA\xDD\x02\0\0\0");
    dir.refuses_in_place(&["score", "run", "text.gz"], 1, &["line 1", "a gzip file; decompress it first"]);
}

#[test]
fn empty_input_has_no_results() {
    let dir = unigram("char", "lines", &CHARS);
    dir.write("empty.txt", "");
    let outcome = dir.run(&["score", "run", "empty.txt", "--format", "jsonl"]).succeeded();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", "warning: `empty.txt` has no documents\n"));
    // standard input, which is empty here
    let outcome = dir.run(&["score", "run"]).succeeded();
    assert_eq!(outcome.stderr, "warning: `standard input` has no documents\n");
    assert_eq!(outcome.stdout.lines().count(), 2, "{}", outcome.stdout);
    dir.refuses_in_place(&["score", "run", "missing.txt"], 1, &["`missing.txt` does not exist"]);
    dir.refuses_in_place(&["score", "run", "run"], 1, &["`run` is a folder"]);
    dir.refuses_in_place(&["score", "missing", "empty.txt"], 4, &["`missing` is not a run"]);
}

#[test]
fn line_ends_are_those_of_the_vocabulary() {
    let dir = unigram("char", "lines", &CHARS);
    dir.write("text.txt", "a\r\nb\ra\n");
    let rows = objects(&dir.run(&["score", "run", "text.txt", "--format", "jsonl"]).succeeded().stdout);
    let found: Vec<_> = rows.iter().map(|row| (row["tokens"].as_u64(), row["unknown"].as_u64())).collect();
    assert_eq!(found, [(Some(2), Some(0)); 3]);
}

#[test]
fn a_long_document_is_scored_as_a_whole() {
    let dir = unigram("char", "lines", &CHARS);
    let length = 1 << 20;
    dir.write("text.txt", "a".repeat(length));
    let row = dir.run(&["score", "run", "text.txt", "--format", "jsonl"]).succeeded().json();
    assert_eq!(row["tokens"], length + 1);
    let bits = row["logprob"].as_f64().expect("a number") / -LN_2;
    assert!((bits / (length as f64 + 3.0) - 1.0).abs() < 1e-6, "{bits}");
}

#[test]
fn a_document_has_the_same_bits_alone_and_among_others() {
    let dir = TestDir::new();
    let names: String =
        (0..120).map(|number| format!("{}{}\n", ["ann", "bo", "ha"][number % 3].repeat(number % 5), number)).collect();
    dir.write("names.txt", &names);
    let train = ["train", "--quiet", "--corpus", "names.txt", "--documents", "lines", "--cell", "lstm", "--out", "run"];
    dir.run(&[&train[..], &SMALL].concat()).succeeded();
    let all = dir.run(&["score", "run", "names.txt", "--format", "jsonl"]).succeeded().stdout;
    assert_eq!(all.lines().count(), 120);
    for (name, row) in names.lines().zip(all.lines()).step_by(7) {
        dir.write("one.txt", name);
        let alone = dir.run(&["score", "run", "one.txt", "--format", "jsonl"]).succeeded().stdout;
        assert_eq!(digits(&alone), digits(row), "{name}");
        let tokens = dir.run(&["score", "run", "one.txt", "--format", "jsonl", "--tokens"]).succeeded().stdout;
        let scores = tokens.lines().map(|token| digits(token).parse::<f32>().expect("a number"));
        let sum: f64 = scores.map(f64::from).sum();
        assert_eq!(sum.to_string(), digits(row), "{name}");
    }
}

#[test]
fn a_bidirectional_model_is_refused_before_the_text_is_read() {
    let dir = TestDir::new();
    dir.train(&["--bidirectional"]).succeeded();
    let words = ["a bidirectional model cannot score: its backward layers read the token that is scored"];
    dir.refuses_in_place(&["score", "run", "missing.txt"], 1, &words);
}
