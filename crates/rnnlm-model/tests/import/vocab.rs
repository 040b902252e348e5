//! Vocabularies of imported models.

use std::fs;

use rnnlm_model::{Error, ImportVocab, Normalization, Result, TokenKind, read_vocab};

use crate::support::{fixture, read as read_checkpoint, vocab};

#[test]
fn a_vocabulary_is_read_from_a_run_or_a_list_of_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vocab.json");
    let read = |content: &str, kind, normalization| {
        fs::write(&path, content).unwrap();
        read_vocab(&path, kind, normalization).map(|read| read.vocab().clone())
    };
    let list = r#"["<unk>", "b", "A"]"#;
    let listed = read(list, None, None).unwrap();
    assert_eq!(
        (listed.kind(), listed.normalization(), listed.id("A")),
        (TokenKind::Char, Normalization::Book, Some(2))
    );
    let words = read(list, Some(TokenKind::Word), Some(Normalization::None)).unwrap();
    assert_eq!((words.kind(), words.encode("A\nx b").ids), (TokenKind::Word, vec![2, 0, 1]));
    let own = words.to_json().unwrap();
    assert_eq!(read(&own, None, None).unwrap(), words);
    assert_eq!(read(&own, Some(TokenKind::Word), Some(Normalization::None)).unwrap(), words);
    let other = read(&own, Some(TokenKind::Byte), None).unwrap_err().to_string();
    assert_eq!(other, "`token` is byte, the vocabulary has word");
    let other = read(&own, None, Some(Normalization::Book)).unwrap_err().to_string();
    assert_eq!(other, "`normalize` is book, the vocabulary has none");
    let run = folder.path().join("run");
    let imported = read_checkpoint(&fixture("gru-2-layers")).unwrap().with_vocab(vocab(7).into()).unwrap();
    imported.save(&run, false).unwrap();
    assert_eq!(read_vocab(&run.join("vocab.json"), None, None).unwrap(), vocab(7).into());
    let damaged = fs::read_to_string(run.join("vocab.json")).unwrap().replace("\"c\"", "\"x\"");
    assert!(matches!(read(&damaged, None, None), Err(Error::Damaged { .. })));
    for (bad, expected) in [
        (r#"["<unk>", "a", "a"]"#, "`tokens`[2] repeats `tokens`[1], which is `a`"),
        (r#"["<unk>", "ab"]"#, "`tokens`[1], `ab`, is not one character"),
        ("[]", "`tokens` is empty"),
        ("[1]", "not in the expected form"),
        ("{", "not in the expected form"),
    ] {
        let message = read(bad, None, None).unwrap_err().to_string();
        assert!(message.contains(expected), "{bad}: {message}");
    }
}

/// Reads a vocabulary from a file of this name and content.
fn read_file(name: &str, content: &[u8], kind: TokenKind) -> Result<ImportVocab> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    let read = read_vocab(&path, Some(kind), Some(Normalization::None));
    assert_eq!(fs::read(&path).unwrap(), content, "the file was changed");
    read
}

fn tokens(vocab: &ImportVocab) -> Vec<&str> {
    vocab.vocab().tokens().collect()
}

#[test]
fn all_forms_of_a_file_give_the_same_vocabulary() {
    let forms: [(&str, &str); 8] = [
        ("tokens.json", r#"["the", "<unk>", "cat"]"#),
        ("tokens.txt", " [\"the\", \"<unk>\",\n\"cat\"] "),
        ("tokens.json", "\u{feff}[\"the\", \"<unk>\", \"cat\"]"),
        ("ids.json", r#"{"cat": 2, "the": 0, "<unk>": 1}"#),
        ("tokens_by_id.json", r#"{"2": "cat", "0": "the", "1": "<unk>"}"#),
        ("tokens.txt", "the\n<unk>\ncat\n"),
        ("tokens.txt", "\u{feff}the\n<unk>\ncat"),
        ("tokens", "the\r\n<unk>\r\ncat\r\n"),
    ];
    for (name, content) in forms {
        let read = read_file(name, content.as_bytes(), TokenKind::Word).unwrap();
        assert_eq!(tokens(&read), ["<unk>", "the", "cat"], "{content}");
        assert_eq!((read.unknown(), read.file_len()), (Some(("<unk>", 1)), 3), "{content}");
    }
    // a text that is not JSON, although its first token looks like it
    for (content, expected) in [("[UNK]\n{\n", ["<unk>", "{"]), ("{\n[UNK]\n", ["<unk>", "{"])] {
        assert_eq!(tokens(&read_file("vocab.txt", content.as_bytes(), TokenKind::Word).unwrap()), expected);
    }
}

#[test]
fn a_line_of_one_line_end_is_the_line_end_character() {
    for (content, expected) in [
        ("a\n\n\nb\n", ["<unk>", "a", "\n", "b"]),
        ("\n\na\nb\n", ["<unk>", "\n", "a", "b"]),
        ("a\nb\n\n", ["<unk>", "a", "b", "\n"]),
        ("a\n \n\n\n", ["<unk>", "a", " ", "\n"]),
        ("a\r\n\r\n\r\n\t\r\n", ["<unk>", "a", "\n", "\t"]),
    ] {
        let read = read_file("vocab.txt", content.as_bytes(), TokenKind::Char).unwrap();
        assert_eq!(tokens(&read), expected, "{content:?}");
    }
}

#[test]
fn the_unknown_token_may_have_any_id_and_the_usual_spellings() {
    for spelling in ["<unk>", "<UNK>", "[UNK]", "[unk]", "<unknown>", "<UNKNOWN>", "<oov>", "<OOV>"] {
        for kind in [TokenKind::Char, TokenKind::Word] {
            let read = read_file("vocab.txt", format!("b\na\n{spelling}\n").as_bytes(), kind).unwrap();
            assert_eq!((tokens(&read), read.unknown()), (vec!["<unk>", "b", "a"], Some((spelling, 2))));
        }
    }
    // `<unk>` itself takes precedence
    let both = read_file("vocab.txt", b"<UNK>\n<unk>\n", TokenKind::Word).unwrap();
    assert_eq!((tokens(&both), both.unknown()), (vec!["<unk>", "<UNK>"], Some(("<unk>", 1))));
    let none = read_file("vocab.txt", b"b\na\n", TokenKind::Char).unwrap();
    assert_eq!((tokens(&none), none.unknown(), none.file_len()), (vec!["<unk>", "b", "a"], None, 2));
}

#[test]
fn special_tokens_among_characters_and_bytes_are_reserved() {
    let characters = read_file("v.json", br#"["a", "<pad>", "<", "[EOS]", "]"]"#, TokenKind::Char).unwrap();
    assert_eq!(tokens(&characters), ["<unk>", "<pad>", "[EOS]", "a", "<", "]"]);
    assert_eq!(characters.vocab().reserved(), 2);
    assert_eq!(characters.vocab().encode("<pad>a").ids, [4, 0, 3, 0, 0, 3]);
    let bytes = read_file("v.json", br#"["<0x61>", "<eos>", "<0x0A>"]"#, TokenKind::Byte).unwrap();
    assert_eq!((tokens(&bytes), bytes.vocab().reserved()), (vec!["<unk>", "<eos>", "<0x61>", "<0x0A>"], 1));
    // a word in brackets is a word
    let words = read_file("v.json", br#"["the", "<eos>"]"#, TokenKind::Word).unwrap();
    assert_eq!((tokens(&words), words.vocab().reserved()), (vec!["<unk>", "the", "<eos>"], 0));
}

#[test]
fn invalid_vocabularies_are_refused_with_the_token() {
    let word = TokenKind::Word;
    let cases: [(&str, &[u8], TokenKind, &str); 20] = [
        ("v.json", br#"["a", "b", "a"]"#, word, "`tokens`[2] repeats `tokens`[0], which is `a`"),
        ("v.json", br#"["a", "<unk>", "<unk>"]"#, word, "`tokens`[2] repeats `tokens`[1], which is `<unk>`"),
        ("v.json", br#"["a", "b c", "<unk>"]"#, word, "`tokens`[1], `b c`, contains white space"),
        ("v.json", br#"["a", "<>", "<unk>"]"#, TokenKind::Char, "`tokens`[1], `<>`, is not one character"),
        (
            "v.json",
            br#"["<UNK>", "[UNK]"]"#,
            word,
            "`tokens`[0], `<UNK>`, and `tokens`[1], `[UNK]`, could both be `<unk>`",
        ),
        ("v.json", br#"{"a": 1, "b": 2}"#, word, "the id of `b` is 2, the ids of 2 tokens must be 0 to 1"),
        ("v.json", br#"{"a": 0, "b": 0}"#, word, "`a` and `b` both have the id 0"),
        ("v.json", br#"{"a": 0, "a": 1}"#, word, "`tokens`[1] repeats `tokens`[0], which is `a`"),
        ("v.json", br#"{"a": 0, "b": 18446744073709551615}"#, word, "the id of `b` is 18446744073709551615"),
        ("v.json", br#"{"a": -1}"#, word, "the id of `a` is -1, it must be a whole number"),
        ("v.json", br#"{"a": 0.5}"#, word, "the id of `a` is 0.5, it must be a whole number"),
        ("v.json", br#"{"a": null}"#, word, "the id of `a` is null"),
        ("v.json", br#"{"a": [0]}"#, word, "the id of `a` is an array"),
        ("v.json", br#"{"stoi": {"a": 0}}"#, word, "the id of `stoi` is an object"),
        ("v.json", br#"{"a": "b"}"#, word, "the id of `a` is the text `b`, it must be a number"),
        ("v.json", b"{}", word, "`tokens` is empty"),
        ("v.json", b"the\ncat\n", word, "not in the expected form"),
        ("v.txt", b"", word, "`tokens` is empty"),
        ("v.txt", b"the\n\ncat\n", word, "`tokens`[1], ``, is empty"),
        ("v.txt", b"the\nc\xFFt\n", word, "line 2 is not UTF-8"),
    ];
    for (name, content, kind, expected) in cases {
        let message = read_file(name, content, kind).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}, expected {expected}");
    }
}

#[test]
fn a_vocabulary_has_a_maximum_number_of_tokens() {
    let lines = "\n\n".repeat((1 << 22) + 1);
    let message = read_file("v.txt", lines.as_bytes(), TokenKind::Char).unwrap_err().to_string();
    assert!(message.contains("the maximum is 4194304"), "{message}");
    let list = format!("[{}\"\"]", "\"\",".repeat(1 << 22));
    let error = read_file("v.json", list.as_bytes(), TokenKind::Word).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("more than 4194304 tokens"), "{source}");
}

#[test]
fn damaged_vocabularies_give_a_vocabulary_or_an_error_but_no_panic() {
    let contents: [&[u8]; 3] =
        [br#"{"a": 0, "<unk>": 1, "<pad>": 2}"#, br#"["a", "<unk>", "<pad>"]"#, b"a\n<unk>\n\n\nb\n"];
    for content in contents {
        for at in 0..content.len() {
            for bit in 0..8 {
                let mut changed = content.to_vec();
                changed[at] ^= 1 << bit;
                let _ = read_file("v.txt", &changed, TokenKind::Char);
                let _ = read_file("v.json", &changed, TokenKind::Word);
            }
            let _ = read_file("v.txt", &content[..at], TokenKind::Byte);
        }
    }
}
