//! Vocabularies of subwords: documents, pieces of a stream, unknown tokens, files, and tokenizers that cannot be used.

use std::path::Path;
use std::sync::Arc;

use rnnlm_tokenizer::{HfTokenizer, install};
use rnnlm_vocab::{
    Corpus, CorpusOptions, Documents, Error, LineEndConversion, Source, TextEncoding, TextSize, TokenKind, Vocab,
};
use serde_json::{Value, json};

fn json(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tokenizers");
    std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("a golden file")
}

fn vocab(name: &str) -> Vocab {
    let tokenizer = HfTokenizer::from_json(&json(name)).expect("a tokenizer");
    Vocab::from_tokenizer(Arc::new(tokenizer)).expect("tokens")
}

fn size(text: &str) -> TextSize {
    TextSize { characters: text.chars().count() as u64, bytes: text.len() as u64 }
}

/// A whole word has a token of its own.
fn words() -> Vocab {
    vocab("words")
}

#[test]
fn a_stream_has_the_tokens_of_the_whole_text() {
    let sample = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sample.txt")).unwrap();
    let text = sample.repeat(3_000_000 / sample.len() + 1);
    for name in ["byte-level", "llama"] {
        let vocab = vocab(name);
        let expected = vocab.encode(&text).ids;
        let corpus = Corpus::encode_bytes(text.as_bytes(), vocab.clone(), 0).unwrap();
        assert!(corpus.ids == expected, "{name}");
        assert_eq!(corpus.text, size(&text), "{name}");
        // the frequencies are those of this text
        let most_frequent = corpus.vocab.most_frequent_id() as usize;
        assert_eq!(corpus.vocab.frequencies()[most_frequent], *corpus.vocab.frequencies().iter().max().unwrap());
        assert_eq!(corpus.vocab.frequencies().iter().sum::<u64>(), expected.len() as u64);
        assert_eq!(corpus.vocab.decode(&corpus.ids).unwrap(), text, "{name}");
    }
}

#[test]
fn documents_end_with_the_end_token_and_cannot_contain_it() {
    let vocab = vocab("byte-level").with_documents(Documents::Lines).unwrap();
    let end = vocab.end_token().unwrap();
    assert_eq!(vocab.token(end), Some("<|endoftext|>"));
    let corpus =
        Corpus::encode_bytes(b"ada\r\ngrace <|endoftext|> mary\n", vocab.with_line_ends(LineEndConversion::Lf), 0);
    let corpus = corpus.unwrap();
    assert_eq!(corpus.ids.iter().filter(|&&id| id == end).count(), 2);
    assert_eq!(corpus.documents.len(), 2);
    assert_eq!(corpus.vocab.decode(&corpus.ids).unwrap(), "ada\ngrace <|endoftext|> mary\n");
    // a stream has the special token
    let stream = self::vocab("byte-level").encode("grace <|endoftext|> mary").ids;
    assert_eq!(stream.iter().filter(|&&id| id == end).count(), 1);
    // a model of whole words has the end token among its words
    let words = words().with_documents(Documents::Lines).unwrap();
    assert_eq!(words.token(words.end_token().unwrap()), Some("<eos>"));
    assert!(!words.encode("<eos>").ids.contains(&words.end_token().unwrap()));
    // no special token ends documents
    let mut file: Value = serde_json::from_str(&json("byte-level")).unwrap();
    file["added_tokens"] = json!([]);
    let without = HfTokenizer::from_json(&file.to_string()).unwrap();
    let error = Vocab::from_tokenizer(Arc::new(without)).unwrap().with_documents(Documents::Lines).unwrap_err();
    assert!(error.to_string().contains("no special token that ends a text"), "{error}");
}

#[test]
fn unknown_tokens_count_with_the_text_that_they_replace() {
    let vocab = words();
    let unknown = vocab.unknown_id().unwrap();
    let encoding = vocab.encode("the xyzzy the");
    assert_eq!(encoding.ids[1], unknown);
    assert_eq!(encoding.unknown.distinct()[0].token, "xyzzy");
    assert_eq!(encoding.unknown.size(), size("xyzzy"));
    assert_eq!(vocab.text_size(&encoding), size("the xyzzy the"));
    assert_eq!(vocab.decode(&encoding.ids).unwrap(), "the <unk> the");
    // every text has tokens of bytes
    let bytes = self::vocab("byte-level");
    assert_eq!(bytes.unknown_id(), None);
    let text = "zzz 東京 \u{10FFFF}\0";
    assert_eq!(bytes.decode(&bytes.encode(text).ids).unwrap(), text);
    assert_eq!(bytes.encode(text).unknown.count(), 0);
}

#[test]
fn tokens_of_a_document_have_their_places_in_it() {
    let vocab = vocab("byte-level").with_line_ends(LineEndConversion::Lf);
    for document in ["the time\r\nthe é\rx 東", "the", ""] {
        let (mut ids, mut ends) = (Vec::new(), vec![0]);
        vocab
            .visit_document::<Error>(document.as_bytes(), |token| {
                ids.push(token.id);
                assert!(document.is_char_boundary(token.range.start), "{document:?}");
                ends.push(token.range.end);
                Ok(())
            })
            .unwrap();
        assert_eq!(ids, vocab.encode_document(document.as_bytes()).unwrap().ids, "{document:?}");
        assert!(ends.is_sorted() && ends.last() == Some(&document.len()), "{document:?}: {ends:?}");
    }
}

#[test]
fn a_vocabulary_is_stored_with_its_tokenizer() {
    install();
    for name in ["byte-level", "llama", "bert"] {
        let vocab = vocab(name).with_documents(Documents::BlankLines).unwrap();
        let stored = Vocab::from_json(vocab.to_json().unwrap().as_bytes()).unwrap();
        assert_eq!(stored, vocab);
        assert_eq!(stored.tokenizer_json(), json(name));
        assert_eq!(stored.difference(&vocab), None);
    }
    let other = vocab("byte-level-prefix");
    assert!(vocab("byte-level").difference(&other).is_some());
    // the same tokens with another normalizer
    let mut file: Value = serde_json::from_str(&json("byte-level")).unwrap();
    file["normalizer"] = json!({"type": "Lowercase"});
    let lower = Vocab::from_tokenizer(Arc::new(HfTokenizer::from_json(&file.to_string()).unwrap())).unwrap();
    assert_eq!(vocab("byte-level").difference(&lower).unwrap(), "its tokenizer.json is another one");
    // tokens that are not those of the tokenizer
    let mut stored: Value = serde_json::from_str(&vocab("byte-level").to_json().unwrap()).unwrap();
    stored["tokens"][5] = "x x".into();
    let error = Vocab::from_json(stored.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("`tokens`[5] is `x x`, its tokenizer has"), "{error}");
    stored["tokenizer"] = Value::Null;
    assert!(matches!(Vocab::from_json(stored.to_string().as_bytes()), Err(Error::SubwordsWithoutTokenizer)));
    stored["tokenizer"] = "{".into();
    assert!(matches!(Vocab::from_json(stored.to_string().as_bytes()), Err(Error::Tokenizer { .. })));
}

#[test]
fn subwords_need_a_tokenizer() {
    let options = CorpusOptions { kind: TokenKind::Subword, ..CorpusOptions::default() };
    let outcome = Corpus::read(Source::from_bytes(b"text"), &options);
    assert!(matches!(outcome, Err(Error::SubwordsWithoutTokenizer)));
    let extended = Corpus::extend([Ok(Source::from_bytes(b"text"))], &words(), &CorpusOptions::default());
    assert!(matches!(extended, Err(Error::VocabContent { .. })));
}

#[test]
fn a_text_that_is_not_utf_8_is_an_error() {
    let outcome = Corpus::encode(Source::from_bytes(b"ab\xFFcd"), vocab("byte-level"), 0, TextEncoding::UTF_8);
    assert!(matches!(outcome, Err(Error::InvalidUtf8 { offset: 2, .. })));
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_the_reason() {
    let reason = |json: &str| HfTokenizer::from_json(json).unwrap_err().to_string();
    let changed = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut file: Value = serde_json::from_str(&json(name)).unwrap();
        change(&mut file);
        reason(&file.to_string())
    };
    let contains = |text: String, part: &str| assert!(text.contains(part), "{text}");
    contains(reason("{\"model\": "), "it is not JSON: EOF while parsing a value at line 1 column 10");
    contains(reason("[1, 2]"), "it has no `model`");
    contains(reason("{\"model\": {\"type\": \"Transformer\"}}"), "it is not a tokenizer.json");
    contains(
        changed("words", &|file| file["model"]["vocab"]["the"] = 7_000_000.into()),
        "`the` has the id 7000000, but there are",
    );
    contains(changed("words", &|file| file["model"]["vocab"]["the"] = 0.into()), "both have the id 0");
    contains(changed("words", &|file| file["model"]["unk_token"] = "[X]".into()), "which is no token");
    let without_fallback = |file: &mut Value| {
        file["model"]["unk_token"] = Value::Null;
        file["model"]["byte_fallback"] = false.into();
    };
    contains(changed("llama", &without_fallback), "no unknown token and not all 256 bytes");
    contains(
        changed("byte-level", &|file| file["pre_tokenizer"] = json!({"type": "WhitespaceSplit"})),
        "no unknown token and not all 256 bytes",
    );
    contains(changed("byte-level", &|file| file["model"]["dropout"] = 0.1.into()), "its dropout is 0.1");
    contains(
        changed("byte-level", &|file| {
            file["decoder"] =
                json!({"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": true});
        }),
        "its decoder `CTC` is not supported",
    );
}

#[test]
fn truncation_of_the_file_does_not_cut_texts() {
    let mut file: Value = serde_json::from_str(&json("byte-level")).unwrap();
    file["truncation"] = json!({"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
    file["padding"] = json!({"strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<|endoftext|>"});
    let tokenizer = HfTokenizer::from_json(&file.to_string()).unwrap();
    let ids = Vocab::from_tokenizer(Arc::new(tokenizer)).unwrap().encode("the time machine stood in the room").ids;
    assert_eq!(ids, vocab("byte-level").encode("the time machine stood in the room").ids);
}
