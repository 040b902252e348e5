//! Encodes texts with a `tokenizer.json`, to compare the ids and offsets with those of other programs.
//!
//! ```text
//! encode tokenizer.json < texts.jsonl
//! ```
//!
//! Each line of the input is a JSON string. Each line of the output has its ids, the offsets in characters, and the decoded
//! text.

use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;

use rnnlm_tokenizer::HfTokenizer;
use rnnlm_vocab::{SpecialTokens, SubwordTokenizer, Vocab};
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: encode tokenizer.json < texts.jsonl")?;
    let tokenizer = Arc::new(HfTokenizer::from_json(&std::fs::read_to_string(path)?)?);
    let vocab = Vocab::from_tokenizer(tokenizer.clone())?;
    let mut out = std::io::BufWriter::new(stdout().lock());
    for line in stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        let character = |byte: usize| text.char_indices().filter(|&(start, _)| start < byte).count();
        let (mut ids, mut offsets) = (Vec::new(), Vec::new());
        tokenizer.encode(&text, SpecialTokens::Recognized, &mut |id, range| {
            ids.push(id);
            offsets.push([character(range.start), character(range.end)]);
        });
        let text = vocab.decode(&ids)?;
        writeln!(out, "{}", json!({"ids": ids, "offsets": offsets, "text": text}))?;
    }
    Ok(())
}
