//! Stage 2: reading, writing and rejecting `vocab.json`.

use std::error::Error as _;

use rnnlm_vocab::{Corpus, CorpusOptions, Error, LineEndConversion, LineEndings, Normalization, TokenKind, Vocab};
use serde_json::{Value, json};

fn valid() -> Value {
    json!({
        "format_version": 1,
        "token_kind": "word",
        "normalization": "none",
        "text_format": { "line_endings": "crlf", "byte_order_mark": true },
        "reserved": 1,
        "tokens": ["<unk>", "<s>", "the", "<0xE9>"],
        "frequencies": [3, 0, 9, 1],
    })
}

fn read(json: &Value) -> Result<Vocab, Error> {
    Vocab::from_json(json.to_string().as_bytes())
}

/// The error message, with its cause, for a valid file after `change`.
fn error_after(change: impl Fn(&mut Value)) -> String {
    let mut json = valid();
    change(&mut json);
    let error = read(&json).expect_err("an error");
    let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
    format!("{error}{cause}")
}

#[test]
fn a_handwritten_file_is_read() {
    let vocab = read(&valid()).unwrap();
    assert_eq!((vocab.kind(), vocab.normalization(), vocab.len()), (TokenKind::Word, Normalization::None, 4));
    assert_eq!((vocab.text_format().line_endings, vocab.text_format().byte_order_mark), (LineEndings::Crlf, true));
    assert_eq!((vocab.token(2), vocab.id("the"), vocab.reserved()), (Some("the"), Some(2), 1));
    assert_eq!((vocab.token(4), vocab.id("then"), vocab.frequencies()), (None, None, &[3, 0, 9, 1][..]));
    assert_eq!(vocab.encode("the\u{2003}<s> <0xE9> <unk> é").ids, [2, 1, 3, 0, 0]);
}

#[test]
fn a_written_file_has_the_documented_fields_and_is_read_back() {
    let vocab = read(&valid()).unwrap();
    let json = vocab.to_json().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), valid());
    assert_eq!(Vocab::from_json(json.as_bytes()).unwrap(), vocab);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vocab.json");
    std::fs::write(&path, json).unwrap();
    assert_eq!(Vocab::load(path).unwrap(), vocab);
}

#[test]
fn byte_tokens_are_escaped() {
    let options = CorpusOptions { kind: TokenKind::Byte, normalization: Normalization::None, ..Default::default() };
    let vocab = Corpus::from_bytes(b"\xE9\xE9a", &options).unwrap().vocab;
    let json: Value = serde_json::from_str(&vocab.to_json().unwrap()).unwrap();
    assert_eq!(json["tokens"], json!(["<unk>", "<0xE9>", "<0x61>"]));
    assert_eq!((vocab.id("<0x61>"), vocab.id("a"), vocab.id("<0xe9>")), (Some(2), None, None));
}

#[test]
fn a_file_without_line_ends_keeps_them() {
    let vocab = |change: &dyn Fn(&mut Value)| {
        let mut json = valid();
        json["token_kind"] = json!("char");
        json["tokens"] = json!(["<unk>", "\r", "\n", "a"]);
        json["reserved"] = json!(0);
        change(&mut json);
        read(&json).unwrap()
    };
    let old = vocab(&|_| {});
    assert_eq!((old.line_ends(), old.encode("a\r\na").ids), (LineEndConversion::Keep, vec![3, 1, 2, 3]));
    let new = vocab(&|json| json["line_ends"] = json!("lf"));
    assert_eq!((new.line_ends(), new.encode("a\r\na").ids), (LineEndConversion::Lf, vec![3, 2, 3]));
    assert_eq!(new.encode_prefix("a\r").ids, [3, 2]);
}

#[test]
fn a_vocabulary_is_written_in_the_oldest_format_that_has_its_fields() {
    let written = |line_ends, normalization| {
        let options = CorpusOptions { normalization, ..CorpusOptions::default() };
        let vocab = Corpus::from_bytes(b"a", &options).unwrap().vocab.with_line_ends(line_ends);
        let json: Value = serde_json::from_str(&vocab.to_json().unwrap()).unwrap();
        (json["format_version"].as_u64().unwrap(), json["line_ends"].as_str().map(str::to_owned))
    };
    assert_eq!(written(LineEndConversion::Keep, Normalization::Book), (1, None));
    assert_eq!(written(LineEndConversion::Keep, Normalization::None), (1, None));
    assert_eq!(written(LineEndConversion::Lf, Normalization::Book), (2, Some("lf".to_owned())));
    assert_eq!(written(LineEndConversion::Keep, Normalization::Lower), (2, None));
}

#[test]
fn a_newer_format_version_is_refused_before_other_fields_are_read() {
    let later = json!({ "format_version": 4, "tokens": { "the": 1 }, "merges": [] });
    assert_eq!(
        read(&later).unwrap_err().to_string(),
        "the vocabulary has `format_version` 4, this version reads up to 3"
    );
    let zero = error_after(|json| json["format_version"] = json!(0));
    assert_eq!(zero, "the vocabulary is inconsistent: `format_version` is 0, versions start at 1");
}

#[test]
fn inconsistent_fields_are_reported() {
    let tokens = |tokens: Value| {
        error_after(|json| {
            json["frequencies"] = tokens.as_array().expect("a list").iter().map(|_| 1).collect();
            json["tokens"] = tokens.clone();
        })
    };
    let start = "the vocabulary is inconsistent: ";
    let repeated = "`tokens`[3] repeats `tokens`[1], which is `<s>`";
    assert_eq!(tokens(json!(["<unk>", "<s>", "the", "<s>"])), format!("{start}{repeated}"));
    let unknown_twice = "`tokens`[3] repeats `tokens`[0], which is `<unk>`";
    assert_eq!(tokens(json!(["<unk>", "<s>", "the", "<unk>"])), format!("{start}{unknown_twice}"));
    assert_eq!(tokens(json!(["the", "<unk>"])), format!("{start}`tokens`[0] is `the`, it must be `<unk>`"));
    assert_eq!(tokens(json!([])), format!("{start}`tokens` is empty, it must begin with `<unk>`"));
    assert_eq!(tokens(json!(["<unk>", "a", "b c"])), format!("{start}`tokens`[2], `b c`, contains white space"));
    assert_eq!(tokens(json!(["<unk>", "a", ""])), format!("{start}`tokens`[2], ``, is empty"));
    let nothing = "`reserved` is 1, but the vocabulary has 0 tokens after `<unk>`";
    assert_eq!(tokens(json!(["<unk>"])), format!("{start}{nothing}"));
    let counts = error_after(|json| json["frequencies"] = json!([1, 2]));
    assert_eq!(counts, format!("{start}`tokens` has length 4 but `frequencies` has length 2"));
    let kind = |kind: &str| error_after(|json| json["token_kind"] = json!(kind));
    assert_eq!(kind("char"), format!("{start}`tokens`[2], `the`, is not one character"));
    assert_eq!(kind("byte"), format!("{start}`tokens`[2], `the`, is not a byte written like `<0xE9>`"));
}

#[test]
fn wrong_types_are_reported_by_field_and_index() {
    let start = "the vocabulary is not in the expected form: ";
    let cases: [(&str, Value, &str); 11] = [
        ("format_version", json!("1"), "`format_version`: invalid type: string \"1\", expected u64"),
        ("token_kind", json!("words"), "`token_kind`: unknown variant `words`, expected one of `char`, `word`, `byte`"),
        ("normalization", json!(1), "`normalization`: "),
        ("line_ends", json!("crlf"), "`line_ends`: unknown variant `crlf`, expected `keep` or `lf`"),
        ("text_format", json!("crlf"), "`text_format`: "),
        ("reserved", json!(-1), "`reserved`: invalid value: integer `-1`, expected usize"),
        ("tokens", json!("abc"), "invalid type: string \"abc\", expected a list in `tokens`"),
        ("tokens", json!(["<unk>", 7]), "`tokens`[1]: invalid type: integer `7`, expected a string"),
        ("frequencies", json!({}), "invalid type: map, expected a list in `frequencies`"),
        ("frequencies", json!([0, 1.5]), "`frequencies`[1]: invalid type: floating point `1.5`, expected u64"),
        ("surplus", json!(0), "unknown field `surplus`"),
    ];
    for (field, value, expected) in cases {
        let message = error_after(|json| json[field] = value.clone());
        assert!(message.starts_with(&format!("{start}{expected}")), "{message}");
    }
    for field in valid().as_object().expect("an object").keys() {
        let message = error_after(|json| {
            json.as_object_mut().expect("an object").remove(field);
        });
        assert!(message.starts_with(&format!("{start}missing field `{field}`")), "{message}");
    }
    let twice = valid().to_string().replacen('{', "{\"reserved\":1,", 1);
    let error = Vocab::from_json(twice.as_bytes()).unwrap_err();
    assert!(error.source().unwrap().to_string().starts_with("duplicate field `reserved`"));
}

#[test]
fn too_many_tokens_are_refused_while_reading() {
    let many = format!("[{}0]", "0,".repeat(rnnlm_vocab::MAX_TOKENS));
    let json = valid().to_string().replace("[3,0,9,1]", &many);
    let error = Vocab::from_json(json.as_bytes()).unwrap_err();
    assert!(error.source().unwrap().to_string().starts_with("`frequencies` has more than 4194304 entries"));
}

#[test]
fn reserved_tokens_of_a_list_follow_the_unknown_token() {
    let list = |reserved| {
        let tokens = ["<unk>", "<pad>", "a"].map(Box::from).to_vec();
        Vocab::from_tokens_with_reserved(TokenKind::Char, Normalization::None, reserved, tokens)
    };
    let vocab = list(1).unwrap();
    assert_eq!((vocab.reserved(), vocab.most_frequent_id(), vocab.encode("a<").ids), (1, 2, vec![2, 0]));
    assert!(list(0).unwrap_err().to_string().contains("`tokens`[1], `<pad>`, is not one character"));
    assert!(list(3).unwrap_err().to_string().contains("`reserved` is 3"));
}
