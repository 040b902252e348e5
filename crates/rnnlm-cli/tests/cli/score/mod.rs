//! `rnnlm score`: golden outputs of a model whose probabilities are powers of 2, and what happens around it.

mod formats;
mod input;
mod nbest;
mod pipes;
mod thresholds;

use std::f64::consts::LN_2;

use serde_json::{Value, json};

use crate::support::TestDir;

/// Words with the bits that each of them has wherever it is: the probabilities 1/16, 1/4, 1/2, 1/8 and 1/16.
const WORDS: [(&str, f64); 5] = [("<unk>", 4.0), ("<eos>", 2.0), ("the", 1.0), ("cat", 3.0), ("dog", 4.0)];
/// The entropy of [`WORDS`] in bits: 4/16 + 2/4 + 1/2 + 3/8 + 4/16.
const ENTROPY_OF_WORDS: f64 = 1.875;
/// Characters with the probabilities 1/8, 1/8, 1/2, 1/8 and 1/8.
const CHARS: [(&str, f64); 5] = [("<unk>", 3.0), ("\n", 3.0), ("a", 1.0), ("b", 3.0), ("é", 3.0)];

/// A model in the folder `run` that gives each token the same number of bits after every other one.
fn unigram(kind: &str, documents: &str, tokens: &[(&str, f64)]) -> TestDir {
    let dir = TestDir::new();
    write_weights(&dir, tokens);
    let reserved = usize::from(tokens.iter().any(|(token, _)| *token == "<eos>"));
    let mut vocab = json!({
        "format_version": 3, "token_kind": kind, "normalization": "none", "line_ends": "lf",
        "text_format": { "line_endings": "lf", "byte_order_mark": false }, "reserved": reserved,
        "tokens": tokens.iter().map(|(token, _)| *token).collect::<Vec<_>>(),
        "frequencies": vec![0; tokens.len()],
    });
    if documents != "none" {
        vocab["documents"] = documents.into();
        vocab["end_token"] = 1.into();
    }
    dir.write("vocab.json", vocab.to_string());
    dir.run(&["import", "weights.safetensors", "--vocab", "vocab.json", "--out", "run"]).succeeded();
    dir
}

/// A model whose weights are 0, so that the biases of the output layer are its logits.
fn write_weights(dir: &TestDir, tokens: &[(&str, f64)]) {
    let (size, vocab_size) = (2, tokens.len());
    let mut values = Vec::new();
    let mut header = serde_json::Map::new();
    let mut add = |name: &str, shape: &[usize], data: &[f64]| {
        let start = values.len();
        values.extend(data.iter().flat_map(|&value| (value as f32).to_le_bytes()));
        header
            .insert(name.to_owned(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, values.len()] }));
    };
    add("rnn.weight_ih_l0", &[size, vocab_size], &vec![0.0; size * vocab_size]);
    add("rnn.weight_hh_l0", &[size, size], &vec![0.0; size * size]);
    add("rnn.bias_ih_l0", &[size], &vec![0.0; size]);
    add("rnn.bias_hh_l0", &[size], &vec![0.0; size]);
    add("linear.weight", &[vocab_size, size], &vec![0.0; size * vocab_size]);
    add("linear.bias", &[vocab_size], &tokens.iter().map(|(_, bits)| -bits * LN_2).collect::<Vec<_>>());
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let length = (header.len() as u64).to_le_bytes();
    dir.write("weights.safetensors", [&length[..], header.as_bytes(), &values].concat());
}

/// Requires the same text, with numbers that agree within the rounding of single precision.
#[track_caller]
fn assert_same(found: &str, expected: &str) {
    let is_separator = |c: char| c.is_whitespace() || "=:,{}[]\"".contains(c);
    let (found_fields, expected_fields): (Vec<_>, Vec<_>) =
        (found.split_inclusive(is_separator).collect(), expected.split_inclusive(is_separator).collect());
    for (one, other) in found_fields.iter().zip(&expected_fields) {
        let number = |field: &str| field.trim_end_matches(is_separator).parse::<f64>().ok();
        let separator = |field: &str| field.trim_start_matches(|c| !is_separator(c)).to_owned();
        let is_same = match (number(one), number(other)) {
            (Some(one_number), Some(other_number)) if one_number.is_finite() => {
                (one_number - other_number).abs() <= 2e-6 * other_number.abs().max(1.0)
                    && separator(one) == separator(other)
            }
            _ => one == other,
        };
        assert!(is_same, "{one:?} is not {other:?} in\n{found}\nexpected\n{expected}");
    }
    assert_eq!(found_fields.len(), expected_fields.len(), "\n{found}\nexpected\n{expected}");
}

/// The lines of `stdout` as JSON objects.
#[track_caller]
fn objects(stdout: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    stdout.lines().map(parse).collect()
}

/// The digest in a weights file.
fn digest(dir: &TestDir, file: &str) -> String {
    let bytes = std::fs::read(dir.path(file)).expect("a model");
    let text = String::from_utf8_lossy(&bytes);
    let start = text.find(r#"sha256\":\""#).expect("a digest") + r#"sha256\":\""#.len();
    text[start..start + 64].to_owned()
}

/// The digits of `logprob` in a row of JSON, which identify its bits. Parsing an object would round them.
#[track_caller]
fn digits(row: &str) -> &str {
    let (_, rest) = row.split_once("\"logprob\":").expect("a log-probability");
    rest.split(',').next().unwrap_or_default()
}
