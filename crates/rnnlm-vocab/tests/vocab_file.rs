//! Stage 2: reading, writing and rejecting `vocab.json`.

use std::error::Error as _;

use rnnlm_vocab::{
    Corpus, CorpusOptions, Documents, Error, LineEndConversion, LineEndings, Normalization, TokenKind, Vocab,
};
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
fn documents_and_their_end_token_are_stored() {
    for (kind, documents, version, stored) in [
        (TokenKind::Char, Documents::Lines, 3, json!({ "documents": "lines", "end_token": 2 })),
        (TokenKind::Word, Documents::Lines, 3, json!({ "documents": "lines", "end_token": 1 })),
        (TokenKind::Byte, Documents::BlankLines, 3, json!({ "documents": "blank-lines", "end_token": 1 })),
        (TokenKind::WordPunct, Documents::Lines, 4, json!({ "documents": "lines", "end_token": 1 })),
    ] {
        let options = CorpusOptions { kind, documents, ..CorpusOptions::default() };
        let vocab = Corpus::from_bytes(b"aa", &options).unwrap().vocab;
        let text = vocab.to_json().unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["format_version"], json!(version));
        assert_eq!(json!({ "documents": json["documents"], "end_token": json["end_token"] }), stored);
        let again = Vocab::from_json(text.as_bytes()).unwrap();
        assert_eq!((again.documents(), again.end_token(), &again), (documents, vocab.end_token(), &vocab));
    }
    let stream = read(&valid()).unwrap();
    assert_eq!((stream.documents(), stream.end_token()), (Documents::None, None));
}

#[test]
fn an_inconsistent_end_token_is_reported() {
    let error = |documents: &str, end_token: Value, tokens: Value, kind: &str| {
        error_after(|json| {
            json["documents"] = json!(documents);
            json["end_token"] = end_token.clone();
            json["token_kind"] = json!(kind);
            json["frequencies"] = tokens.as_array().expect("a list").iter().map(|_| 1).collect();
            json["tokens"] = tokens.clone();
        })
    };
    let start = "the vocabulary is inconsistent: ";
    let words = json!(["<unk>", "<eos>", "the"]);
    let cases = [
        ("lines", json!(2), words.clone(), "word", "`end_token` is 2, but it must be 1 with `documents` `lines`"),
        (
            "lines",
            Value::Null,
            words.clone(),
            "word",
            "`end_token` is absent, but it must be 1 with `documents` `lines`",
        ),
        ("none", json!(1), words.clone(), "word", "`end_token` is 1, but it must be absent with `documents` `none`"),
        (
            "blank-lines",
            json!(2),
            json!(["<unk>", "<s>", "<eos>"]),
            "word",
            "`documents` is `blank-lines`, but \"<eos>\" is not in the reserved tokens",
        ),
        (
            "lines",
            json!(2),
            json!(["<unk>", "<s>", "a"]),
            "char",
            "`documents` is `lines`, but \"\\n\" is not in the vocabulary",
        ),
        (
            "lines",
            json!(2),
            json!(["<unk>", "<s>", "<0x0D>"]),
            "byte",
            "`documents` is `lines`, but \"<0x0A>\" is not in the vocabulary",
        ),
        (
            "lines",
            json!(1),
            json!(["<unk>", "<eos>", "<eos>"]),
            "word",
            "`tokens`[2] repeats `tokens`[1], which is `<eos>`",
        ),
    ];
    for (documents, end_token, tokens, kind, expected) in cases {
        assert_eq!(error(documents, end_token, tokens, kind), format!("{start}{expected}"));
    }
    let unknown = error("paragraphs", json!(1), words, "word");
    assert!(
        unknown.contains("`documents`: unknown variant `paragraphs`, expected one of `none`, `lines`"),
        "{unknown}"
    );
}

#[test]
fn a_list_of_tokens_can_have_documents() {
    let list = |tokens: &[&str], reserved| {
        let tokens = tokens.iter().map(|&token| token.into()).collect();
        Vocab::from_tokens_with_reserved(TokenKind::Char, Normalization::None, reserved, tokens).unwrap()
    };
    let lines = list(&["<unk>", "a", "\n"], 0).with_documents(Documents::Lines).unwrap();
    assert_eq!((lines.end_token(), lines.encode_document(b"a").unwrap().ids), (Some(2), vec![1, 2]));
    assert!(list(&["<unk>", "a"], 0).with_documents(Documents::Lines).is_err());
    let blank = list(&["<unk>", "<pad>", "<eos>", "a"], 2).with_documents(Documents::BlankLines).unwrap();
    assert_eq!((blank.end_token(), blank.encode_document(b"a").unwrap().ids), (Some(2), vec![3, 2]));
    let stream = blank.clone().with_documents(Documents::None).unwrap();
    assert_eq!((stream.id("<eos>"), stream.with_documents(Documents::BlankLines).unwrap()), (Some(2), blank));
}

#[test]
fn a_newer_format_version_is_refused_before_other_fields_are_read() {
    let later = json!({ "format_version": 6, "tokens": { "the": 1 }, "merges": [] });
    assert_eq!(
        read(&later).unwrap_err().to_string(),
        "the vocabulary has `format_version` 6, this version reads up to 5"
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
