//! Writes the `tokenizer.json` of a vocabulary, and the ids of texts, to compare them with those of other programs.
//!
//! ```text
//! export char|word|byte|word-punct book|lower|none keep|lf none|lines|blank-lines TEXT tokenizer.json < texts.jsonl
//! ```
//!
//! The vocabulary is that of the file TEXT. Each line of the input is a JSON string, each line of the output has its ids.

use std::io::{BufRead, Write, stdin, stdout};

use rnnlm_vocab::{Corpus, CorpusOptions, Documents};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, normalization, line_ends, documents, text, out] = &args[..] else {
        return Err("usage: export KIND NORMALIZATION LINE_ENDS DOCUMENTS TEXT tokenizer.json < texts.jsonl".into());
    };
    let documents = Documents::ALL.into_iter().find(|value| value.as_str() == documents).ok_or("no such documents")?;
    let options = CorpusOptions {
        kind: serde_json::from_value(Value::from(kind.as_str()))?,
        normalization: serde_json::from_value(Value::from(normalization.as_str()))?,
        line_ends: serde_json::from_value(Value::from(line_ends.as_str()))?,
        min_freq: 2,
        documents,
        ..CorpusOptions::default()
    };
    let vocab = Corpus::from_path(text, &options)?.vocab;
    std::fs::write(out, vocab.tokenizer_json())?;
    let mut out = std::io::BufWriter::new(stdout().lock());
    for line in stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        let ids = match documents {
            Documents::None => vocab.encode(&text).ids,
            // a line has no line end
            _ => vocab.encode_document(text.replace(['\n', '\r'], " ").as_bytes())?.ids,
        };
        writeln!(out, "{}", json!({"ids": ids}))?;
    }
    Ok(())
}
