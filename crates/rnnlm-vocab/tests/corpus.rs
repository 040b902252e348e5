//! Stages 1 and 2: reading and encoding texts, and the figures of *The Time Machine* in the book.

use std::path::PathBuf;

use rnnlm_vocab::{
    Batches, Corpus, CorpusOptions, Documents, LineEndConversion, LineEndings, Normalization, Sampling, Source,
    TextEncoding, TextSize, TokenKind, UnknownToken, most_frequent,
};

fn options(kind: TokenKind, normalization: Normalization) -> CorpusOptions {
    CorpusOptions { kind, normalization, ..CorpusOptions::default() }
}

#[test]
fn path_stream_and_bytes_give_the_same_corpus() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt");
    let text = "One, two.\nThree\n".repeat(2_000); // longer than the buffer of a stream
    std::fs::write(&path, &text).unwrap();
    let options = options(TokenKind::Word, Normalization::Book);
    let corpus = Corpus::from_path(&path, &options).unwrap();
    assert_eq!((corpus.tokens, corpus.vocab.len(), corpus.source_bytes), (6_000, 4, 32_000));
    assert_eq!(Corpus::from_reader(text.as_bytes(), "text", &options).unwrap(), corpus);
    assert_eq!(Corpus::from_bytes(text.as_bytes(), &options).unwrap(), corpus);
    let vocab = corpus.vocab.clone();
    assert_eq!(Corpus::encode_path(&path, vocab.clone(), 0).unwrap(), corpus);
    assert_eq!(Corpus::encode_reader(text.as_bytes(), "text", vocab, 0).unwrap(), corpus);
}

#[test]
fn line_ends_and_byte_order_mark_are_reported_and_do_not_change_book_ids() {
    let plain = Corpus::from_bytes(b"ab c\nd\n", &CorpusOptions::default()).unwrap();
    let other = Corpus::from_bytes(b"\xEF\xBB\xBFab c\r\nd\r\n", &CorpusOptions::default()).unwrap();
    assert_eq!((plain.text_format.line_endings, plain.text_format.byte_order_mark), (LineEndings::Lf, false));
    assert_eq!((other.text_format.line_endings, other.text_format.byte_order_mark), (LineEndings::Crlf, true));
    assert_eq!(other.vocab.text_format(), other.text_format);
    assert_eq!(plain.ids, other.ids);
    assert_eq!(plain.vocab.decode(&plain.ids).unwrap(), "ab cd");
}

#[test]
fn without_normalization_line_ends_are_tokens() {
    let corpus = Corpus::from_bytes(b"\xEF\xBB\xBFa\r\nB\r\n", &options(TokenKind::Char, Normalization::None)).unwrap();
    assert_eq!(corpus.vocab.tokens().collect::<Vec<_>>(), ["<unk>", "\r", "\n", "a", "B"]);
    assert_eq!(corpus.ids, [3, 1, 2, 4, 1, 2]);
    assert_eq!((corpus.source_bytes, corpus.text.bytes), (9, 6));
}

#[test]
fn converted_line_ends_give_the_same_ids_for_every_format() {
    let options = CorpusOptions { line_ends: LineEndConversion::Lf, ..options(TokenKind::Char, Normalization::None) };
    let unix = Corpus::from_bytes(b"a\nB\n", &options).unwrap();
    for text in ["a\r\nB\r\n", "a\rB\r", "a\r\nB\n"] {
        let corpus = Corpus::from_bytes(text.as_bytes(), &options).unwrap();
        assert_eq!((&corpus.ids, corpus.tokens, corpus.text), (&unix.ids, 4, unix.text), "{text:?}");
        assert_ne!(corpus.text_format, unix.text_format);
        // a text that is read later is converted, too
        assert_eq!(Corpus::encode_bytes(text.as_bytes(), unix.vocab.clone(), 0).unwrap().ids, unix.ids);
    }
    let bytes = CorpusOptions { kind: TokenKind::Byte, ..options };
    let corpus = Corpus::from_bytes(b"\xFF\r\n\xE9\r", &bytes).unwrap();
    assert_eq!(corpus.vocab.decode_bytes(&corpus.ids).unwrap(), b"\xFF\n\xE9\n");
}

#[test]
fn lower_keeps_everything_but_upper_case() {
    let corpus =
        Corpus::from_bytes("Ärger, 3×Σ\n".as_bytes(), &options(TokenKind::Char, Normalization::Lower)).unwrap();
    assert_eq!(corpus.vocab.decode(&corpus.ids).unwrap(), "ärger, 3×σ\n");
    assert_eq!(corpus.vocab.encode("ÄRGER").unknown.count(), 0);
    assert_eq!(corpus.dropped_letters.count(), 0);
}

#[test]
fn letters_that_book_drops_are_counted_in_the_whole_text() {
    let book = CorpusOptions { max_tokens: 3, ..CorpusOptions::default() };
    let corpus = Corpus::from_bytes("Crème brûlée, 5 €\nGuðrún".as_bytes(), &book).unwrap();
    assert_eq!(
        (corpus.dropped_letters.count(), corpus.dropped_letters.examples()),
        (5, &['è', 'û', 'é', 'ð', 'ú'][..])
    );
    let ascii = Corpus::from_bytes("don\u{2019}t – 5 €".as_bytes(), &book).unwrap();
    assert_eq!(ascii.dropped_letters.count(), 0);
}

#[cfg(feature = "encodings")]
#[test]
fn a_text_in_another_encoding_has_the_same_ids() {
    use rnnlm_vocab::Source;
    let text = "né, 5 €\n";
    let plain = options(TokenKind::Char, Normalization::None);
    let utf_8 = Corpus::from_bytes(text.as_bytes(), &plain).unwrap();
    let utf_16: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let converted = Corpus::from_bytes(&utf_16, &plain).unwrap();
    assert_eq!((&converted.ids, converted.encoding), (&utf_8.ids, TextEncoding::UTF_16LE));
    let latin: TextEncoding = "latin1".parse().unwrap();
    let bytes = b"n\xE9, 5 \x80\n";
    let converted = Corpus::from_bytes(bytes, &CorpusOptions { encoding: latin, ..plain.clone() }).unwrap();
    assert_eq!((&converted.ids, converted.encoding.as_str()), (&utf_8.ids, "windows-1252"));
    let source = Source::from_bytes(bytes);
    assert_eq!(Corpus::encode(source, utf_8.vocab, 0, latin).unwrap().ids, utf_8.ids);
    // bytes are not text, unless an encoding is given
    let byte_options = |encoding| CorpusOptions { kind: TokenKind::Byte, encoding, ..plain.clone() };
    assert_eq!(Corpus::from_bytes(&utf_16, &byte_options(TextEncoding::UTF_8)).unwrap().tokens, utf_16.len() as u64);
    assert_eq!(Corpus::from_bytes(bytes, &byte_options(latin)).unwrap().text.bytes, text.len() as u64);
}

#[test]
fn utf_16_that_is_read_as_utf_8_is_noticed() {
    let is_likely = |text: &[u8]| Corpus::from_bytes(text, &CorpusOptions::default()).unwrap().is_likely_utf_16;
    assert!(is_likely(b"p\0l\0a\0i\0n\0"));
    assert!(is_likely(b"\0p\0l\0a\0i\0n"));
    assert!(!is_likely(b"plain"));
    assert!(!is_likely(b"a\0\0\0list\0\0of\0names\0"));
}

#[test]
fn options_of_earlier_files_keep_line_ends_and_are_utf_8() {
    let earlier = r#"{"kind":"word","normalization":"none","min_freq":2,"max_tokens":0,"reserved":[]}"#;
    let options: CorpusOptions = serde_json::from_str(earlier).unwrap();
    assert_eq!((options.line_ends, options.encoding), (LineEndConversion::Keep, TextEncoding::UTF_8));
    let later = CorpusOptions { line_ends: LineEndConversion::Lf, ..options };
    let json = serde_json::to_string(&later).unwrap();
    assert!(json.contains(r#""line_ends":"lf","encoding":"UTF-8""#), "{json}");
    assert_eq!(serde_json::from_str::<CorpusOptions>(&json).unwrap(), later);
    assert!(serde_json::from_str::<CorpusOptions>(r#"{"encoding":"klingon"}"#).is_err());
}

#[cfg(feature = "compression")]
#[test]
fn a_compressed_file_is_read_like_its_content() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt"); // the name does not matter
    let text = "One, two.\nThree\n".repeat(20_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    let options = options(TokenKind::Word, Normalization::Book);
    let expected = Corpus::from_bytes(text.as_bytes(), &options).unwrap();
    for file in [gzip.finish().unwrap(), zstd] {
        std::fs::write(&path, &file).unwrap();
        assert_eq!(Corpus::from_path(&path, &options).unwrap(), expected);
        std::fs::write(&path, &file[..file.len() / 2]).unwrap();
        let error = Corpus::from_path(&path, &options).unwrap_err();
        assert!(error.to_string().ends_with("could not be read"), "{error}");
    }
}

#[test]
fn a_literal_unk_is_id_0_for_words_and_five_characters_for_characters() {
    let words = Corpus::from_bytes(b"a <unk> b <unk>", &options(TokenKind::Word, Normalization::None)).unwrap();
    assert_eq!(words.ids, [1, 0, 2, 0]);
    assert_eq!((words.vocab.len(), words.vocab.frequencies()[0], words.unknown.count()), (3, 2, 2));
    assert!(words.unknown.distinct().is_empty());
    assert_eq!(words.vocab.encode(&words.vocab.decode(&words.ids).unwrap()).ids, words.ids);
    let characters = Corpus::from_bytes(b"<unk>", &options(TokenKind::Char, Normalization::None)).unwrap();
    assert_eq!(characters.ids, [1, 2, 3, 4, 5]);
}

#[test]
fn max_tokens_limits_the_ids_but_not_the_vocabulary() {
    let options = CorpusOptions { max_tokens: 2, ..options(TokenKind::Word, Normalization::Book) };
    let corpus = Corpus::from_bytes(b"b a c c a c", &options).unwrap();
    assert_eq!(corpus.vocab.tokens().collect::<Vec<_>>(), ["<unk>", "c", "a", "b"]);
    assert_eq!((corpus.ids, corpus.tokens), (vec![3, 2], 6));
}

#[test]
fn max_vocab_keeps_the_most_frequent_tokens() {
    let most = CorpusOptions { max_vocab: 2, ..options(TokenKind::Word, Normalization::Book) };
    // c occurs 3 times, a and b twice, and b occurs first
    let corpus = Corpus::from_bytes(b"b a c c a c b d", &most).unwrap();
    assert_eq!(corpus.vocab.tokens().collect::<Vec<_>>(), ["<unk>", "c", "b"]);
    assert_eq!((corpus.vocab.frequencies(), corpus.ids.as_slice()), (&[3, 3, 2][..], &[2, 0, 1, 1, 0, 1, 2, 0][..]));
    assert_eq!(corpus.unknown.to_string(), r#""a" "d""#);
    let reserved = CorpusOptions { reserved: vec!["<pad>".to_owned()], ..most };
    assert_eq!(Corpus::from_bytes(b"b a c c a c b d", &reserved).unwrap().vocab.len(), 4);
    // the line end is the third most frequent token, and is kept as the end token
    let lines =
        CorpusOptions { documents: Documents::Lines, kind: TokenKind::Char, max_vocab: 1, ..CorpusOptions::default() };
    let vocab = Corpus::from_bytes(b"abbaa\nbaa\n", &lines).unwrap().vocab;
    assert_eq!(vocab.tokens().collect::<Vec<_>>(), ["<unk>", "a", "\n"]);
    let json = serde_json::to_string(&CorpusOptions::default()).unwrap();
    assert!(!json.contains("max_vocab"), "files of earlier versions stay the same: {json}");
}

#[test]
fn words_with_punctuation_restore_the_text() {
    let text = "\u{feff}Mr. Öz's 42 cats,\r\n  e\u{301}t al. (1898)\n";
    let corpus = Corpus::from_bytes(text.as_bytes(), &options(TokenKind::WordPunct, Normalization::None)).unwrap();
    assert_eq!(corpus.vocab.decode(&corpus.ids).unwrap(), text.trim_start_matches('\u{feff}'));
    let tokens: Vec<&str> = corpus.ids.iter().filter_map(|&id| corpus.vocab.token(id)).collect();
    let expected = [
        "Mr",
        ".",
        " Öz",
        "'",
        "s",
        " 42",
        " cats",
        ",",
        "\r",
        "\n",
        " ",
        " e\u{301}t",
        " al",
        ".",
        " (",
        "1898",
        ")",
        "\n",
    ];
    assert_eq!(tokens, expected);
    assert_eq!(corpus.text_size(0..corpus.ids.len()), corpus.text);
    let book = Corpus::from_bytes(text.as_bytes(), &options(TokenKind::WordPunct, Normalization::Book)).unwrap();
    assert_eq!(book.vocab.decode(&book.ids).unwrap(), "mr z s cats\ne t al\n");
}

#[test]
fn an_extended_vocabulary_appends_new_tokens_by_frequency() {
    let words = options(TokenKind::Word, Normalization::Book);
    let old = Corpus::from_bytes(b"a b a", &words).unwrap().vocab;
    let text = b"x y a z y b y x";
    let new = Corpus::extend([Ok(Source::from_bytes(text))], &old, &words).unwrap();
    assert_eq!(new.vocab.tokens().collect::<Vec<_>>(), ["<unk>", "a", "b", "y", "x", "z"]);
    assert_eq!((new.vocab.frequencies(), new.ids.as_slice()), (&[0, 3, 2, 3, 2, 1][..], &[4, 3, 1, 5, 3, 2, 3, 4][..]));
    let rare = CorpusOptions { min_freq: 3, ..words.clone() };
    let frequent = Corpus::extend([Ok(Source::from_bytes(text))], &old, &rare).unwrap();
    assert_eq!((frequent.vocab.len(), frequent.unknown.count()), (4, 3));
    let one = CorpusOptions { max_vocab: 1, ..words };
    assert_eq!(Corpus::extend([Ok(Source::from_bytes(text))], &old, &one).unwrap().vocab, frequent.vocab);
}

#[test]
fn rare_tokens_become_unk_and_are_listed() {
    let rare = CorpusOptions { min_freq: 2, ..options(TokenKind::Word, Normalization::Book) };
    let corpus = Corpus::from_bytes(b"x a y a x z", &rare).unwrap();
    assert_eq!(corpus.ids, [1, 2, 0, 2, 1, 0]);
    assert_eq!(corpus.vocab.frequencies(), [2, 2, 2]);
    let once = |token: &str| UnknownToken { token: token.to_owned(), count: 1 };
    assert_eq!(corpus.unknown.distinct(), [once("y"), once("z")]);
    let evaluated = Corpus::encode_bytes(b"A new, new x!", corpus.vocab, 0).unwrap();
    assert_eq!(evaluated.ids, [2, 0, 0, 1]);
    assert_eq!(evaluated.unknown.distinct(), [UnknownToken { token: "new".to_owned(), count: 2 }]);
    // " new new x" has 10 characters. Two of the ids are `<unk>`, whose size is recorded separately.
    assert_eq!(evaluated.text_size(1..4), TextSize { characters: 10, bytes: 10 });
}

#[test]
fn text_size_counts_characters_and_bytes_for_every_token_kind() {
    for (kind, tokens) in [(TokenKind::Char, 3), (TokenKind::Byte, 6), (TokenKind::Word, 1)] {
        let corpus = Corpus::from_bytes("né€".as_bytes(), &options(kind, Normalization::None)).unwrap();
        assert_eq!((corpus.tokens, corpus.text), (tokens, TextSize { characters: 3, bytes: 6 }));
    }
}

#[test]
fn a_prefix_keeps_its_final_space() {
    let corpus = Corpus::from_bytes(b"time traveller", &CorpusOptions::default()).unwrap();
    let decode = |ids: &[u32]| corpus.vocab.decode(ids).unwrap();
    assert_eq!(decode(&corpus.vocab.encode("Time traveller, ").ids), "time traveller");
    assert_eq!(decode(&corpus.vocab.encode_prefix("Time traveller, ").ids), "time traveller ");
    let encoding = corpus.vocab.encode_prefix("time box");
    assert_eq!(encoding.unknown.distinct().iter().map(|unknown| &*unknown.token).collect::<Vec<_>>(), ["b", "o", "x"]);
}

#[test]
fn the_most_frequent_id_follows_the_reserved_tokens() {
    let reserved = vec!["<s>".to_owned(), "b".to_owned()];
    let options = CorpusOptions { reserved, ..options(TokenKind::Word, Normalization::Book) };
    let vocab = Corpus::from_bytes(b"a b b c b c", &options).unwrap().vocab;
    assert_eq!((vocab.most_frequent_id(), vocab.token(3)), (3, Some("c")));
    let only_unknown = CorpusOptions { min_freq: 9, ..options };
    let vocab = Corpus::from_bytes(b"a", &only_unknown).unwrap().vocab;
    assert_eq!((vocab.len(), vocab.most_frequent_id()), (3, 0));
}

/// The path of *The Time Machine* in the book's edition, if `RNNLM_DATA_DIR` has it.
#[expect(clippy::print_stdout, reason = "a skipped check must be visible")]
fn time_machine() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("RNNLM_DATA_DIR").unwrap_or_default()).join("timemachine.txt");
    if path.is_file() {
        return Some(path);
    }
    println!("NOT CHECKED: there is no `{}`; set RNNLM_DATA_DIR to its folder", path.display());
    None
}

#[test]
fn the_time_machine_in_characters() {
    let Some(path) = time_machine() else { return };
    let corpus = Corpus::from_path(path, &CorpusOptions { max_tokens: 10_000, ..CorpusOptions::default() }).unwrap();
    assert_eq!((corpus.source_bytes, corpus.tokens, corpus.vocab.len()), (178_979, 170_580, 28));
    assert_eq!(corpus.text, TextSize { characters: 170_580, bytes: 170_580 });
    assert_eq!((corpus.ids.len(), corpus.unknown.count()), (10_000, 0));
    // As printed in section 8.2 of the book.
    let first: Vec<&str> = corpus.vocab.tokens().take(10).collect();
    assert_eq!(first, ["<unk>", " ", "e", "t", "a", "i", "n", "o", "s", "h"]);
    assert_eq!(corpus.vocab.decode(&corpus.ids[..32]).unwrap(), "the time machine by h g wellsith");
    for sampling in [Sampling::Sequential, Sampling::Random] {
        assert_eq!(Batches::new(sampling, &corpus.ids, 32, 35, 0, 0).unwrap().num_minibatches(), 8);
    }
}

#[test]
fn the_time_machine_in_words() {
    let Some(path) = time_machine() else { return };
    let corpus = Corpus::from_path(path, &options(TokenKind::Word, Normalization::Book)).unwrap();
    assert_eq!((corpus.tokens, corpus.vocab.len(), corpus.unknown.count()), (32_775, 4_580, 0));
    // As printed in sections 8.2 and 8.3 of the book.
    let first: Vec<&str> = corpus.vocab.tokens().take(10).collect();
    assert_eq!(first, ["<unk>", "the", "i", "and", "of", "a", "to", "was", "in", "that"]);
    let decode = |ids: &[u32]| corpus.vocab.decode(ids).expect("ids of the corpus");
    let words: Vec<_> = most_frequent::<1>(&corpus.ids, 5).iter().map(|(ids, count)| (decode(ids), *count)).collect();
    let expected = [("the", 2_261), ("i", 1_267), ("and", 1_245), ("of", 1_155), ("a", 816)];
    assert_eq!(words, expected.map(|(word, count)| (word.to_owned(), count)));
    let pairs: Vec<_> = most_frequent::<2>(&corpus.ids, 4).iter().map(|(ids, count)| (decode(ids), *count)).collect();
    let expected = [("of the", 309), ("in the", 169), ("i had", 130), ("i was", 112)];
    assert_eq!(pairs, expected.map(|(words, count)| (words.to_owned(), count)));
    let triples: Vec<_> = most_frequent::<3>(&corpus.ids, 6).iter().map(|(ids, count)| (decode(ids), *count)).collect();
    let expected = [
        ("the time traveller", 59),
        ("the time machine", 30),
        ("the medical man", 24),
        ("it seemed to", 16),
        ("it was a", 15),
        ("here and there", 15),
    ];
    assert_eq!(triples, expected.map(|(words, count)| (words.to_owned(), count)));
}

#[test]
fn several_files_are_one_text_and_end_a_token_and_a_document() {
    let files = |texts: &[&str], options: &CorpusOptions| {
        Corpus::read_files(texts.iter().map(|text| Ok(Source::from_bytes(text.as_bytes()))), options).unwrap()
    };
    let chars = options(TokenKind::Char, Normalization::None);
    let corpus = files(&["ab", "", "\u{feff}c\r\n", "d\n"], &chars);
    assert_eq!(corpus.vocab.decode(&corpus.ids).unwrap(), "abc\r\nd\n");
    assert_eq!(corpus.ids, Corpus::from_bytes(b"abc\r\nd\n", &chars).unwrap().ids);
    assert_eq!((corpus.text_format.line_endings, corpus.text_format.byte_order_mark), (LineEndings::Mixed, true));
    assert_eq!((corpus.source_bytes, corpus.text, corpus.tokens), (10, TextSize { characters: 7, bytes: 7 }, 7));
    let words = files(&["the ca", "t sat"], &options(TokenKind::Word, Normalization::None));
    assert_eq!(words.vocab.decode(&words.ids).unwrap(), "the ca t sat");
    assert_eq!(words.text_size(0..4), words.text);
    let lines = CorpusOptions { documents: Documents::Lines, max_tokens: 8, ..chars.clone() };
    let documents = files(&["ab\ncd", "ef\ngh"], &lines);
    assert_eq!(documents.vocab.decode(&documents.ids).unwrap(), "ab\ncd\n");
    assert_eq!((documents.documents.len(), documents.tokens), (2, 12));
    let encoded = |max_tokens| {
        let sources = ["ab", "cd"].map(|text| Ok(Source::from_bytes(text.as_bytes())));
        Corpus::encode_files(sources, corpus.vocab.clone(), max_tokens, TextEncoding::UTF_8).unwrap()
    };
    assert_eq!(corpus.vocab.decode(&encoded(3).ids).unwrap(), "abc");
    assert_eq!(encoded(0).ids.len(), 4);
    assert!(Corpus::read_files([], &chars).is_err());
}

#[test]
fn the_files_of_a_text_can_have_different_encodings_and_an_error_names_the_file() {
    let chars = options(TokenKind::Char, Normalization::None);
    let utf_16: Vec<u8> = "\u{feff}é".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let sources = || [("one.txt", "né".as_bytes()), ("two.txt", &utf_16), ("three.txt", b"caf\xE9")];
    let read = |count: usize| {
        let sources = sources().into_iter().take(count);
        Corpus::read_files(sources.map(|(name, text)| Ok(Source::from_reader(text, name))), &chars)
    };
    let corpus = read(2).unwrap();
    assert_eq!(
        (corpus.vocab.decode(&corpus.ids).unwrap(), corpus.encoding.to_string()),
        ("néé".to_owned(), "UTF-16LE".to_owned())
    );
    let error = read(3).unwrap_err().to_string();
    assert_eq!(error, "`three.txt` is not UTF-8: byte 0xE9 at offset 3, line 1");
}
