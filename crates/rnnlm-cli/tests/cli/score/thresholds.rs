//! `--calibrate`, `--above` and `--fail-above`.

use super::{CHARS, unigram};
use crate::support::TestDir;

/// Four documents with 2, 7/3, 5/2 and 3 bits per character: their bits are 1 + 3, 1 + 3 + 3, 1 + 1 + ... with the line end.
const TEXT: &str = "a\nab\nabb\n\n";
/// The bits per character: 4/2, 7/3, 10/4, 3/1.
const SURPRISALS: [f64; 4] = [2.0, 7.0 / 3.0, 2.5, 3.0];

fn dir() -> TestDir {
    let dir = unigram("char", "lines", &CHARS);
    dir.write("text.txt", TEXT);
    dir
}

/// The threshold on standard output.
fn calibrate(dir: &TestDir, more: &[&str]) -> f64 {
    let outcome = dir.run(&[&["score", "run", "--calibrate", "text.txt", "--quantile"], more].concat()).succeeded();
    outcome.stdout.trim_end().parse().expect("a number and nothing else")
}

#[test]
fn a_threshold_flags_at_most_the_share_of_the_normal_documents() {
    let dir = dir();
    // of four documents, 0, 1, 2 and 3 may be beyond
    for (quantile, index) in [("0", 3), ("0.24", 3), ("0.25", 2), ("0.5", 1), ("0.99", 0)] {
        let threshold = calibrate(&dir, &[quantile]);
        assert!((threshold - SURPRISALS[index]).abs() < 1e-6, "{quantile}: {threshold}");
    }
    // in bits: 4, 7, 10, 3; in nats per token; per byte
    assert!((calibrate(&dir, &["0.25", "--base", "2"]) - 7.0).abs() < 1e-6);
    let nats = calibrate(&dir, &["0.25", "--normalize-by", "token"]);
    assert!((nats - 2.5 * std::f64::consts::LN_2).abs() < 1e-6, "{nats}");
    let outcome = dir.run(&["score", "run", "--calibrate", "text.txt", "--quantile", "0.25"]).succeeded();
    assert!(outcome.stderr.contains("1 of 4 documents (25.0 %) are beyond 2.5"), "{}", outcome.stderr);
    assert!(outcome.stderr.trim_end().ends_with(" bits per char"), "{}", outcome.stderr);
}

#[test]
fn the_printed_threshold_flags_the_same_documents() {
    let dir = dir();
    for (quantile, beyond) in [("0", 0), ("0.25", 1), ("0.5", 2), ("0.75", 3)] {
        let threshold =
            dir.run(&["score", "run", "--calibrate", "text.txt", "--quantile", quantile]).succeeded().stdout;
        let above = ["score", "run", "text.txt", "--text", "--above", threshold.trim_end()];
        let rows = dir.run(&above).succeeded().stdout;
        assert_eq!(rows.lines().skip(2).count(), beyond, "{quantile}: {rows}");
    }
}

#[test]
fn only_documents_beyond_the_threshold_are_printed() {
    let dir = dir();
    let lines = |args: &[&str]| -> Vec<String> {
        let stdout = dir.run(&[&["score", "run", "text.txt", "--text"], args].concat()).succeeded().stdout;
        stdout.lines().skip(2).map(|row| row.split('\t').skip(1).step_by(6).collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(lines(&["--above", "2.4"]), ["3 abb", "4 "]);
    assert_eq!(lines(&["--above", "3.5"]).len(), 0);
    assert_eq!(lines(&["--above", "6.5", "--base", "2"]), ["2 ab", "3 abb"]);
    assert_eq!(lines(&["--above", "-1"]).len(), 4);
    // rnnlm prints the documents that tsv prints
    let rnnlm = dir.run(&["score", "run", "text.txt", "--above", "2.9", "--format", "rnnlm"]).succeeded().stdout;
    assert_eq!(rnnlm, "-0.903090\n");
}

#[test]
fn a_document_beyond_the_limit_is_exit_code_1_after_all_results() {
    let dir = dir();
    let outcome = dir.run(&["score", "run", "text.txt", "--fail-above", "2.9"]);
    assert_eq!(outcome.stdout.lines().count(), 2 + 4);
    outcome.failed(1, &["1 of 4 documents are beyond 2.9 bits per char"]);
    let outcome =
        dir.run(&["score", "run", "text.txt", "--fail-above", "3.1", "--above", "2.9", "--quiet"]).succeeded();
    assert_eq!((outcome.stdout.lines().count(), outcome.stderr.as_str()), (3, ""));
}

#[test]
fn flags_of_thresholds_are_checked() {
    let dir = dir();
    let refuses = |args: &[&str], words: &[&str]| dir.refuses_in_place(&[&["score", "run"], args].concat(), 2, words);
    refuses(&["--calibrate", "text.txt"], &["--quantile"]);
    refuses(&["text.txt", "--quantile", "0.1"], &["--calibrate"]);
    refuses(&["--calibrate", "text.txt", "--quantile", "1"], &["at least 0 and below 1"]);
    refuses(&["text.txt", "--calibrate", "text.txt", "--quantile", "0"], &["--calibrate"]);
    refuses(&["text.txt", "--above", "nan"], &["must be a number"]);
    refuses(&["text.txt", "--nbest", "kaldi", "--above", "1"], &["--above"]);
    refuses(&["text.txt", "--format", "kenlm", "--base", "2"], &["--base has no effect"]);
    refuses(&["text.txt", "--format", "rnnlm", "--normalize-by", "char"], &["--normalize-by has no effect"]);
    refuses(&["text.txt", "--format", "kaldi", "--tokens"], &["--tokens needs --format tsv or jsonl"]);
    dir.write("empty.txt", "");
    let empty = ["score", "run", "--calibrate", "empty.txt", "--quantile", "0"];
    dir.refuses_in_place(&empty, 1, &["`empty.txt` has no documents to calibrate on"]);
}
