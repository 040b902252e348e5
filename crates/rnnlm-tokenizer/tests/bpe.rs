//! `train_bpe`: the file depends on the text and the options only.

use rnnlm_tokenizer::{BpeError, BpeOptions, HfTokenizer, train_bpe};
use rnnlm_vocab::{LineEndConversion, Source, SubwordTokenizer};

const SAMPLE: &str = include_str!("../../../data/sample.txt");

fn train(text: &str, options: &BpeOptions) -> Result<String, BpeError> {
    train_bpe([Ok(Source::from_bytes(text.as_bytes()))], options)
}

#[test]
fn the_file_is_the_same_for_any_number_of_threads() {
    let options = BpeOptions { vocab_size: 2000, ..BpeOptions::default() };
    let mut files = Vec::new();
    for threads in [1, 2, 3, 2, 1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        files.push(pool.install(|| train(SAMPLE, &options)).unwrap());
    }
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn pairs_are_merged_by_frequency() {
    // words: "ab" 3 times, " ab" twice, " b" once. The pairs are a-b 5 times, then Ġ-ab twice
    let json = train("ab\nab ab\nab ab b", &BpeOptions { vocab_size: 300, ..BpeOptions::default() }).unwrap();
    let file: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(file["model"]["merges"], serde_json::json!([["a", "b"], ["Ġ", "ab"]]));
    let tokenizer = HfTokenizer::from_json(&json).unwrap();
    assert_eq!((tokenizer.id("<eos>"), tokenizer.end_token(), tokenizer.tokens().len()), (Some(0), Some(0), 259));
}

#[test]
fn line_ends_are_converted_unless_they_are_kept() {
    let crlf = SAMPLE.replace('\n', "\r\n");
    let options = BpeOptions { vocab_size: 500, ..BpeOptions::default() };
    assert_eq!(train(&crlf, &options).unwrap(), train(SAMPLE, &options).unwrap());
    let keep = BpeOptions { line_ends: LineEndConversion::Keep, ..options };
    assert_ne!(train(&crlf, &keep).unwrap(), train(SAMPLE, &keep).unwrap());
}

#[test]
fn sizes_and_texts_that_cannot_be_used_are_errors() {
    let options = |vocab_size| BpeOptions { vocab_size, ..BpeOptions::default() };
    assert!(matches!(train(SAMPLE, &options(256)), Err(BpeError::VocabSize { requested: 256 })));
    assert!(matches!(train(SAMPLE, &options(1 << 30)), Err(BpeError::VocabSize { .. })));
    assert!(matches!(train("", &options(300)), Err(BpeError::Empty)));
    let invalid = train_bpe([Ok(Source::from_bytes(b"a\xFF"))], &options(300));
    assert!(matches!(invalid, Err(BpeError::Text(rnnlm_vocab::Error::InvalidUtf8 { offset: 1, .. }))));
}
