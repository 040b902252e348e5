//! `rnnlm eval` and `rnnlm next`: documents, unknown tokens, several texts.

use serde_json::{Value, json};

use crate::support::TestDir;

/// A run on the lines `ann` and `bob`, as documents or as a stream.
fn names(documents: &str) -> TestDir {
    let dir = TestDir::new();
    dir.write("names.txt", "ann\nbob\n".repeat(40));
    let args = ["train", "--quiet", "--corpus", "names.txt", "--out", "run", "--documents", documents, "--epochs", "3"];
    dir.run(&[&args[..], &["--hidden-size", "8", "--batch-size", "2", "--num-steps", "5"]].concat()).succeeded();
    dir
}

fn eval(dir: &TestDir, more: &[&str]) -> Value {
    dir.run(&[&["eval", "run", "--format", "json"], more].concat()).succeeded().json()
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} in {value}"))
}

#[test]
fn every_token_of_documents_is_scored_and_none_depends_on_the_document_before() {
    let dir = names("lines");
    dir.write("a.txt", "ann\n");
    dir.write("b.txt", "bob\nbo\n");
    let both = eval(&dir, &["--corpus", "a.txt", "--corpus", "b.txt"]);
    let (a, b, total) = (&both["texts"][0], &both["texts"][1], &both["total"]);
    assert_eq!((a["tokens"].as_u64(), a["documents"].as_u64()), (Some(4), Some(1)));
    assert_eq!((b["tokens"].as_u64(), b["documents"].as_u64()), (Some(7), Some(2)));
    assert_eq!(total["tokens"], 11);
    let sum = number(a, "nats") + number(b, "nats");
    assert!((sum / number(total, "nats") - 1.0).abs() < 1e-12, "rounding only");
    dir.write("all.txt", "bo\nann\nbob\n");
    let all = eval(&dir, &["--corpus", "all.txt"]);
    // the order of the sum differs
    assert!((number(&all, "nats") / number(total, "nats") - 1.0).abs() < 1e-12);
    assert!(a["perplexity_interval"].is_null() && all["perplexity_interval"].is_array());
    // 11 characters with three line ends
    let bits = number(&all, "nats") / std::f64::consts::LN_2 / 11.0;
    assert!((number(&all, "bits_per_char") / bits - 1.0).abs() < 1e-12);
}

#[test]
fn unknown_tokens_are_counted_named_and_left_out_of_a_second_result() {
    let dir = names("none");
    dir.write("other.txt", "ann\nbxzxb\nanna\n");
    let outcome = dir.run(&["eval", "run", "--corpus", "other.txt", "--format", "json"]).succeeded();
    let warning = "warning: 3 tokens of `other.txt` (20.0 %) are not in the vocabulary: \"x\" 2 \"z\" 1\n";
    assert_eq!(outcome.stderr, warning);
    let result = outcome.json();
    assert_eq!((result["tokens"].as_u64(), result["unknown_tokens"].as_u64()), (Some(14), Some(3)));
    assert_eq!(result["known"]["tokens"], 11);
    assert!(number(&result["known"], "nats") < number(&result, "nats"));
    let bits = number(&result["known"], "nats") / std::f64::consts::LN_2 / 11.0;
    assert!((number(&result["known"], "bits_per_char") / bits - 1.0).abs() < 1e-12);
    // the counts of several texts are added
    dir.write("third.txt", "yzxzz\n");
    let both = eval(&dir, &["--corpus", "other.txt", "--corpus", "third.txt"]);
    assert_eq!(both["total"]["most_frequent_unknown"], json!(["\"z\" 4", "\"x\" 3", "\"y\" 1"]));
    // leaving the tokens out is as if they were not in the text
    dir.write("without.txt", "ann\nbb\nanna\n");
    let skipped = eval(&dir, &["--corpus", "other.txt", "--unknown", "skip"]);
    let without = eval(&dir, &["--corpus", "without.txt"]);
    for name in ["tokens", "nats", "perplexity", "bits_per_char", "bits_per_byte"] {
        assert_eq!(skipped[name], without[name], "{name}");
    }
    let words = ["3 tokens of `other.txt`", "\"x\" 2 \"z\" 1", "--unknown skip leaves them out"];
    dir.refuses(&["eval", "run", "--corpus", "other.txt", "--unknown", "error"], 1, &words);
}

#[test]
fn next_prints_probabilities_that_eval_confirms() {
    let dir = names("lines");
    let next = dir.run(&["next", "run", "--prefix", "an", "--format", "json"]).succeeded().json();
    let next = next["next"].as_array().expect("a list").clone();
    assert_eq!(next.len(), 6, "a, n, b, o, the line end and <unk>");
    let total: f64 = next.iter().map(|token| number(token, "probability")).sum();
    assert!((total - 1.0).abs() < 1e-9, "{total}");
    let probabilities: Vec<f64> = next.iter().map(|token| number(token, "probability")).collect();
    assert!(probabilities.is_sorted_by(|a, b| a >= b), "{probabilities:?}");
    let logprob = |token: &str| number(next.iter().find(|next| next["token"] == token).expect(token), "logprob");
    let nats = |text: &str| {
        dir.write("text.txt", text);
        number(&eval(&dir, &["--corpus", "text.txt"]), "nats")
    };
    // `an` and its end against `ann` and its end share the first two tokens, which cancel in the sum over all ends
    dir.write("an.txt", "an\n");
    let first = dir.run(&["next", "run", "--prefix", "", "--format", "json"]).succeeded().json();
    let second = dir.run(&["next", "run", "--prefix", "a", "--format", "json"]).succeeded().json();
    let of = |object: &Value, token: &str| {
        let list = object["next"].as_array().expect("a list");
        number(list.iter().find(|next| next["token"] == token).expect(token), "logprob")
    };
    let expected = -(of(&first, "a") + of(&second, "n") + logprob("\n"));
    // both come from float32 logits
    assert!((nats("an\n") - expected).abs() < 1e-5, "{} and {expected}", nats("an\n"));
    let text = dir.run(&["next", "run", "--prefix", "an", "--top", "1"]).succeeded().stdout;
    assert_eq!(text, format!("{:.6}  {:?}\n", probabilities[0], next[0]["token"].as_str().expect("a token")));
}

/// A run on a repetitive text, and another text of the same tokens.
fn stream(epochs: &str) -> TestDir {
    let dir = TestDir::new();
    dir.write("text.txt", "the tide comes in and ".repeat(30));
    dir.write("other.txt", "and the tide in the tide ".repeat(12));
    let sizes = ["--hidden-size", "16", "--batch-size", "2", "--num-steps", "10", "--threads", "1"];
    let args =
        ["train", "--quiet", "--corpus", "text.txt", "--out", "run", "--epochs", epochs, "--val-fraction", "0.1"];
    dir.run(&[&args[..], &sizes].concat()).succeeded();
    dir
}

#[test]
fn blocks_have_no_context_before_them() {
    let dir = stream("10");
    let whole = eval(&dir, &["--corpus", "other.txt"]);
    let block = eval(&dir, &["--corpus", "other.txt", "--block-size", "299"]);
    assert_eq!((&block["nats"], &block["block_size"], &block["tokens"]), (&whole["nats"], &json!(299), &json!(299)));
    // each block is a text of its own, whose first token is the last one of the block before
    let text = std::fs::read_to_string(dir.path("other.txt")).expect("a text");
    let mut nats = 0.0;
    for start in (0..299).step_by(50) {
        dir.write("block.txt", &text[start..300.min(start + 51)]);
        nats += number(&eval(&dir, &["--corpus", "block.txt"]), "nats");
    }
    let blocks = eval(&dir, &["--corpus", "other.txt", "--block-size", "50"]);
    assert!((number(&blocks, "nats") / nats - 1.0).abs() < 1e-12, "rounding only");
    assert_ne!(blocks["nats"], whole["nats"]);
    let text = dir.run(&["eval", "run", "--corpus", "other.txt", "--block-size", "50"]).succeeded().stdout;
    assert!(text.contains("method          blocks of 50 tokens without context"), "{text}");

    let dir = names("lines");
    let args = ["eval", "run", "--corpus", "names.txt", "--block-size", "5"];
    dir.run(&args).failed(2, &["--block-size 5 needs a run on a stream", "each document"]);
}

#[test]
fn a_model_that_adapts_predicts_a_repetitive_text_better_and_the_run_does_not_change() {
    let dir = stream("2");
    let before = dir.snapshot();
    let fixed = number(&eval(&dir, &["--corpus", "other.txt"]), "perplexity");
    let rms = eval(&dir, &["--corpus", "other.txt", "--dynamic", "--dynamic-lr", "0.001", "--dynamic-steps", "10"]);
    let sgd = eval(&dir, &["--corpus", "other.txt", "--dynamic=sgd", "--dynamic-lr", "0.5"]);
    assert!(number(&rms, "perplexity") < 0.9 * fixed && number(&sgd, "perplexity") < 0.9 * fixed, "{rms} {sgd}");
    let settings = json!({ "rule": "rms", "lr": 0.001, "decay": 0.001, "eps": 0.001, "num_steps": 10 });
    assert_eq!((&rms["dynamic"], &rms["tokens"]), (&settings, &json!(299)));
    assert_eq!(sgd["dynamic"]["rule"], "sgd");
    // each text starts from the trained weights
    let both = eval(&dir, &["--corpus", "other.txt", "--corpus", "other.txt", "--dynamic=sgd", "--dynamic-lr", "0.5"]);
    assert_eq!((&both["texts"][0]["nats"], &both["texts"][1]["nats"]), (&sgd["nats"], &sgd["nats"]));
    assert_eq!(dir.snapshot(), before);

    let refused = |flags: &[&str], words: &[&str]| {
        dir.run(&[&["eval", "run", "--corpus", "other.txt"], flags].concat()).failed(2, words);
    };
    refused(&["--dynamic-lr", "0.1"], &["--dynamic"]);
    refused(&["--dynamic", "--block-size", "9"], &["--block-size", "--dynamic"]);
    refused(&["--dynamic=sgd", "--dynamic-eps", "0.1"], &["--dynamic=sgd has no --dynamic-eps"]);
    refused(&["--dynamic=adam"], &["rms, sgd"]);
    refused(&["--dynamic", "--dynamic-decay", "2"], &["`decay` is 2, it must be from 0 to 1"]);
}

#[test]
fn the_training_text_of_the_statistics_is_the_one_of_the_run() {
    let dir = stream("2");
    let expected = eval(&dir, &["--corpus", "other.txt", "--dynamic"]);
    std::fs::rename(dir.path("text.txt"), dir.path("moved.txt")).expect("a file");
    dir.run(&["eval", "run", "--corpus", "other.txt", "--dynamic"]).failed(1, &["text.txt"]);
    let moved = eval(&dir, &["--corpus", "other.txt", "--dynamic", "--training-corpus", "moved.txt"]);
    assert_eq!(moved, expected);
    let args = ["eval", "run", "--corpus", "other.txt", "--dynamic", "--training-corpus", "other.txt"];
    dir.run(&args).failed(4, &["`other.txt` is not the text of the run"]);
}

#[test]
fn documents_adapt_a_model_one_after_another() {
    let dir = names("lines");
    let fixed = eval(&dir, &["--corpus", "names.txt"]);
    let adapted = eval(&dir, &["--corpus", "names.txt", "--dynamic=sgd", "--dynamic-lr", "0.3"]);
    assert_eq!((&adapted["tokens"], &adapted["documents"]), (&fixed["tokens"], &fixed["documents"]));
    assert!(number(&adapted, "perplexity") < number(&fixed, "perplexity"), "{adapted} {fixed}");
}
