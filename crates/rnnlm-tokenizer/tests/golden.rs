//! Ids, offsets and decoded texts are those of the Python library `tokenizers`: the golden files are written by
//! `tests/fixtures/tokenizers/generate.py`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rnnlm_tokenizer::HfTokenizer;
use rnnlm_vocab::{SpecialTokens, SubwordTokenizer, Vocab};
use serde::Deserialize;

const NAMES: [&str; 7] = ["byte-level", "byte-level-prefix", "gpt4", "llama", "unigram", "bert", "words"];

/// A text, and what the library makes of it.
#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    /// In characters.
    offsets: Vec<[usize; 2]>,
    decoded: String,
    ids_without_special: Vec<u32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tokenizers")
}

fn load(name: &str) -> (Arc<HfTokenizer>, Vec<Case>) {
    let read = |name: String| std::fs::read_to_string(folder().join(name)).expect("a golden file");
    let tokenizer = HfTokenizer::from_json(&read(format!("{name}.json"))).expect("a tokenizer");
    (Arc::new(tokenizer), serde_json::from_str(&read(format!("{name}.cases.json"))).expect("cases"))
}

#[test]
fn ids_offsets_and_texts_are_those_of_the_python_library() {
    for name in NAMES {
        let (tokenizer, cases) = load(name);
        let vocab = Vocab::from_tokenizer(tokenizer.clone()).unwrap();
        for Case { text, ids, offsets, decoded, ids_without_special } in cases {
            let character = |byte: usize| text.char_indices().filter(|&(start, _)| start < byte).count();
            let mut found = Vec::new();
            tokenizer.encode(&text, SpecialTokens::Recognized, &mut |id, range| {
                found.push((id, [character(range.start), character(range.end)]));
            });
            let expected: Vec<_> = ids.iter().copied().zip(offsets).collect();
            assert_eq!(found, expected, "{name}: {text:?}");
            assert_eq!(vocab.encode(&text).ids, ids, "{name}: {text:?}");
            assert_eq!(vocab.decode(&ids).unwrap(), decoded, "{name}: {text:?}");
            let mut without_special = Vec::new();
            tokenizer.encode(&text, SpecialTokens::AsText, &mut |id, _| without_special.push(id));
            assert_eq!(without_special, ids_without_special, "{name}: {text:?}");
        }
    }
}

#[test]
fn a_long_text_has_the_tokens_that_it_has_at_once() {
    for name in NAMES {
        let (tokenizer, cases) = load(name);
        let text: String = cases.iter().cycle().take(8000).map(|case| case.text.as_str()).collect();
        assert!(text.len() > 200_000, "{} bytes", text.len());
        let whole = tokenizers::Tokenizer::from_file(folder().join(format!("{name}.json"))).unwrap();
        let whole = whole.encode_char_offsets(text.as_str(), false).unwrap();
        let mut characters = vec![0; text.len() + 1];
        text.char_indices().enumerate().for_each(|(character, (byte, _))| characters[byte] = character);
        characters[text.len()] = text.chars().count();
        let mut found = Vec::new();
        tokenizer.encode(&text, SpecialTokens::Recognized, &mut |id, range| {
            found.push((id, (characters[range.start], characters[range.end])));
        });
        let expected: Vec<_> = whole.get_ids().iter().copied().zip(whole.get_offsets().iter().copied()).collect();
        assert!(found == expected, "{name}");
        let is_divided = tokenizer.split_point(&text).is_some();
        assert_eq!(is_divided, ["byte-level", "gpt4", "words"].contains(&name), "{name}");
    }
}
