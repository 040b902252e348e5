//! Documents: their end tokens, the ids of a corpus of documents, and its validation set.

use rnnlm_vocab::{
    Corpus, CorpusOptions, Documents, EOS_TOKEN, Error, Ids, LineEndConversion, Normalization, Source, TextSize,
    TokenKind, Vocab,
};

fn options(kind: TokenKind, documents: Documents) -> CorpusOptions {
    CorpusOptions { kind, documents, normalization: Normalization::None, ..CorpusOptions::default() }
}

fn read(text: &str, options: &CorpusOptions) -> Corpus {
    Corpus::from_bytes(text.as_bytes(), options).expect("a text with tokens")
}

fn tokens(vocab: &Vocab) -> Vec<&str> {
    vocab.tokens().collect()
}

/// The decoded documents, with their end tokens.
fn documents(corpus: &Corpus) -> Vec<String> {
    let set = corpus.document_set(0..corpus.documents.len()).expect("documents");
    let decode = |document: Ids<'_>| corpus.vocab.decode(&document.load().expect("ids in memory"));
    set.iter().map(|document| decode(document).expect("ids of the corpus")).collect()
}

#[test]
fn each_line_of_characters_ends_with_a_line_end() {
    let corpus = read("ab\n\nb", &options(TokenKind::Char, Documents::Lines));
    // `b` and `\n` occur twice; `b` is first
    assert_eq!(tokens(&corpus.vocab), ["<unk>", "b", "\n", "a"]);
    assert_eq!((corpus.vocab.end_token(), corpus.vocab.frequencies()), (Some(2), &[0, 2, 2, 1][..]));
    assert_eq!(corpus.ids, [3, 1, 2, 1, 2]);
    assert_eq!((corpus.documents.len(), corpus.empty_documents, corpus.tokens), (2, 1, 5));
    assert_eq!(corpus.documents.ranges().collect::<Vec<_>>(), [0..3, 3..5]);
    assert_eq!(corpus.text, TextSize { characters: 5, bytes: 5 });
    // the end of a line is the same token in a text that is encoded as a whole
    assert_eq!(corpus.vocab.encode("ab\nb\n").ids, corpus.ids);
}

#[test]
fn each_line_of_words_ends_with_a_reserved_token() {
    let corpus = read("the cat\n \nthe dog\n", &options(TokenKind::Word, Documents::Lines));
    assert_eq!(tokens(&corpus.vocab), ["<unk>", "<eos>", "the", "cat", "dog"]);
    assert_eq!((corpus.vocab.end_token(), corpus.vocab.reserved()), (Some(1), 1));
    assert_eq!((corpus.ids.as_slice(), corpus.vocab.frequencies()), (&[2, 3, 1, 2, 4, 1][..], &[0, 2, 2, 1, 1][..]));
    assert_eq!((corpus.documents.len(), corpus.empty_documents, corpus.vocab.most_frequent_id()), (2, 1, 2));
    assert_eq!(documents(&corpus), ["the cat\n", "the dog\n"]);
    assert_eq!(corpus.vocab.decode(&corpus.ids).unwrap(), "the cat\nthe dog\n");
    assert_eq!(corpus.text, TextSize { characters: 16, bytes: 16 });
    // "cat\nthe": the space before `cat`, but none around the line end
    assert_eq!(corpus.text_size(1..4), TextSize { characters: 8, bytes: 8 });
}

#[test]
fn blank_lines_separate_documents_of_every_token_kind() {
    let text = "\n é\nb\n\n \t\nc\n";
    for (kind, expected) in [
        (TokenKind::Char, &["<unk>", "<eos>", " ", "é", "\n", "b", "c"][..]),
        (TokenKind::Word, &["<unk>", "<eos>", "é", "b", "c"]),
        (TokenKind::Byte, &["<unk>", "<eos>", "<0x20>", "<0xC3>", "<0xA9>", "<0x0A>", "<0x62>", "<0x63>"]),
    ] {
        let corpus = read(text, &options(kind, Documents::BlankLines));
        assert_eq!((tokens(&corpus.vocab).as_slice(), corpus.vocab.end_token()), (expected, Some(1)));
        let first = if kind == TokenKind::Word { "é b\n\n" } else { " é\nb\n\n" };
        assert_eq!(documents(&corpus), [first, "c\n\n"], "{kind}");
        assert_eq!(corpus.text.bytes, first.len() as u64 + 3);
    }
}

#[test]
fn documents_are_divided_after_decoding_and_before_the_normalization() {
    let book = CorpusOptions { normalization: Normalization::Book, ..options(TokenKind::Char, Documents::Lines) };
    let corpus = read("Ada L.\n1895\n - Grace\r\n", &book);
    assert_eq!((documents(&corpus), corpus.empty_documents), (vec!["ada l\n".to_owned(), "grace\n".to_owned()], 1));
    #[cfg(feature = "encodings")]
    {
        let utf_16: Vec<u8> = "\u{feff}Ada L.\nGrace".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(Corpus::from_bytes(&utf_16, &book).unwrap().ids, corpus.ids);
    }
}

#[test]
fn carriage_returns_follow_the_conversion_of_line_ends() {
    let lines = |line_ends| CorpusOptions { line_ends, ..options(TokenKind::Char, Documents::Lines) };
    assert_eq!(documents(&read("a\r\nb\rc\n", &lines(LineEndConversion::Keep))), ["a\r\n", "b\rc\n"]);
    assert_eq!(documents(&read("a\r\nb\rc\n", &lines(LineEndConversion::Lf))), ["a\n", "b\n", "c\n"]);
    let blank = |line_ends| CorpusOptions { line_ends, ..options(TokenKind::Byte, Documents::BlankLines) };
    assert_eq!(documents(&read("a\r\nb\r\n\r\nc\r\n", &blank(LineEndConversion::Keep))), ["a\r\nb\n\n", "c\n\n"]);
    assert_eq!(documents(&read("a\r\nb\r\n\r\nc\r\n", &blank(LineEndConversion::Lf))), ["a\nb\n\n", "c\n\n"]);
}

#[test]
fn the_end_token_is_always_in_the_vocabulary() {
    let rare = CorpusOptions { min_freq: 2, ..options(TokenKind::Char, Documents::Lines) };
    let corpus = read("abb", &rare);
    assert_eq!((tokens(&corpus.vocab), corpus.vocab.end_token()), (vec!["<unk>", "b", "\n"], Some(2)));
    assert_eq!(corpus.ids, [0, 1, 1, 2]);
    let rare = CorpusOptions { min_freq: 9, ..options(TokenKind::Byte, Documents::Lines) };
    assert_eq!(read("abb", &rare).vocab.end_token(), Some(1));
    let rare = CorpusOptions { min_freq: 9, ..options(TokenKind::Word, Documents::BlankLines) };
    assert_eq!(read("abb", &rare).ids, [0, 1]);
    let reserved = CorpusOptions { reserved: vec!["\n".to_owned()], ..options(TokenKind::Char, Documents::Lines) };
    assert_eq!(read("ab", &reserved).ids, [2, 3, 1]);
}

#[test]
fn a_word_that_is_written_like_the_end_token_is_unknown() {
    let corpus = read("a <eos> b\n<eos>\n", &options(TokenKind::Word, Documents::Lines));
    assert_eq!(tokens(&corpus.vocab), ["<unk>", EOS_TOKEN, "a", "b"]);
    assert_eq!(corpus.ids, [2, 0, 3, 1, 0, 1]);
    assert_eq!((corpus.vocab.frequencies(), corpus.vocab.id(EOS_TOKEN)), (&[2, 2, 1, 1][..], Some(1)));
    assert_eq!((corpus.unknown.count(), corpus.unknown.to_string()), (2, r#""<eos>""#.to_owned()));
    assert_eq!(corpus.vocab.encode("<eos> a").ids, [0, 2]);
    assert_eq!(Corpus::encode_bytes(b"a <eos> b\n<eos>\n", corpus.vocab.clone(), 0).unwrap(), corpus);
    // without documents, and in characters, it is ordinary text
    let stream = read("a <eos>", &options(TokenKind::Word, Documents::None));
    assert_eq!((stream.ids.as_slice(), stream.vocab.end_token()), (&[1, 2][..], None));
    let characters = read("<eos>", &options(TokenKind::Char, Documents::BlankLines));
    assert_eq!(characters.ids, [2, 3, 4, 5, 6, 1]);
}

#[test]
fn the_end_token_cannot_be_reserved_again() {
    let reserved = |documents| {
        let options = CorpusOptions { reserved: vec![EOS_TOKEN.to_owned()], ..options(TokenKind::Word, documents) };
        Corpus::from_bytes(b"a", &options).map(|corpus| corpus.vocab.id(EOS_TOKEN))
    };
    assert_eq!(reserved(Documents::None).unwrap(), Some(1));
    let error = reserved(Documents::BlankLines).unwrap_err().to_string();
    assert_eq!(error, "reserved token `<eos>` is always in the vocabulary, as the end token of documents");
}

#[test]
fn max_tokens_keeps_whole_documents() {
    let kept = |max_tokens| {
        let options = CorpusOptions { max_tokens, ..options(TokenKind::Char, Documents::Lines) };
        let corpus = read("abc\n\nd\nefg\nh\n", &options);
        assert_eq!((corpus.tokens, corpus.vocab.len(), corpus.empty_documents), (12, 10, 1));
        let again = Corpus::encode_bytes(b"abc\n\nd\nefg\nh\n", corpus.vocab.clone(), max_tokens).unwrap();
        assert_eq!(again, corpus);
        documents(&corpus).concat()
    };
    assert_eq!(kept(0), "abc\nd\nefg\nh\n");
    assert_eq!(kept(12), "abc\nd\nefg\nh\n");
    assert_eq!(kept(10), "abc\nd\nefg\n");
    // `efg` does not fit, and later documents are left out, too
    assert_eq!(kept(9), "abc\nd\n");
    assert_eq!(kept(4), "abc\n");
    // the first document alone is too long, so it loses its end
    assert_eq!(kept(3), "abc");
    assert_eq!(kept(1), "a");
}

#[test]
fn a_text_without_tokens_in_its_documents_is_empty() {
    for (documents, text) in [(Documents::Lines, "\n\n"), (Documents::BlankLines, " \n\n"), (Documents::Lines, "")] {
        let outcome = Corpus::from_bytes(text.as_bytes(), &options(TokenKind::Char, documents));
        assert!(matches!(outcome, Err(Error::Empty { .. })), "{text:?}");
    }
    let book = CorpusOptions { normalization: Normalization::Book, ..options(TokenKind::Char, Documents::BlankLines) };
    assert!(matches!(Corpus::from_bytes(b"1\n\n2", &book), Err(Error::Empty { bytes: 4, .. })));
}

#[test]
fn memory_for_documents_counts_towards_the_limit() {
    let options = options(TokenKind::Char, Documents::Lines);
    let read = |text: &str, limit| {
        Corpus::read(Source::from_bytes(text.as_bytes()).with_memory_limit(limit), &options).map(|corpus| corpus.tokens)
    };
    // 2^16 documents take 2^17 ids and 2^16 entries of the index, of 4 bytes each, and 8 bytes each in an epoch. With a
    // buffer of 2^16 bytes for the current document, that is 1,376,256 bytes; 3 distinct tokens take below 2,000.
    let text = "a\n".repeat(1 << 16);
    assert_eq!(read(&text, 1_378_256).unwrap(), 1 << 17);
    assert!(matches!(read(&text, 1_376_256), Err(Error::TooLarge { limit: 1_376_256, .. })));
    // one document of a million bytes, of which no id would be kept
    let long = "a".repeat(1_000_000);
    let options = CorpusOptions { max_tokens: 10, ..options.clone() };
    let source = Source::from_bytes(long.as_bytes()).with_memory_limit(1 << 19);
    assert!(matches!(Corpus::read(source, &options), Err(Error::TooLarge { .. })));
}

#[test]
fn one_document_is_encoded_with_its_end() {
    let vocab = read("ab\nb\n", &options(TokenKind::Char, Documents::Lines)).vocab;
    assert_eq!(vocab.encode_document(b"ba").unwrap().ids, [1, 3, 2]);
    assert_eq!(vocab.encode_document(b"").unwrap().ids, [2]);
    let unknown = vocab.encode_document("bé".as_bytes()).unwrap();
    assert_eq!((unknown.ids.as_slice(), unknown.unknown.to_string()), (&[1, 0, 2][..], r#""é""#.to_owned()));
    let line_end = vocab.encode_document(b"ab\nb").unwrap_err();
    assert!(matches!(line_end, Error::LineEndInDocument { offset: 2 }));
    assert_eq!(line_end.to_string(), "the document has a line end at offset 2, but each line is a document");
    assert_eq!(vocab.encode_document(b"a\r").unwrap().ids, [3, 0, 2]);
    let converts = vocab.with_line_ends(LineEndConversion::Lf);
    assert!(matches!(converts.encode_document(b"a\r"), Err(Error::LineEndInDocument { offset: 1 })));
    assert!(matches!(converts.encode_document(b"a\xFF"), Err(Error::InvalidUtf8 { offset: 1, .. })));

    let bytes = read("ab\n\nb", &options(TokenKind::Byte, Documents::BlankLines)).vocab;
    assert_eq!(bytes.encode_document(b"b\n\nb\xFF").unwrap().ids, [2, 0, 0, 2, 0, 1]);
    let stream = read("ab\n", &options(TokenKind::Char, Documents::None)).vocab;
    assert_eq!(stream.encode_document(b"ab\nb").unwrap().ids, [1, 2, 3, 2]);
}

#[test]
fn a_long_document_is_encoded_like_a_short_one() {
    let text = "né one two ".repeat(20_000);
    for kind in TokenKind::ALL {
        let vocab = read(&text, &options(kind, Documents::BlankLines)).vocab;
        let ids = vocab.encode_document(text.as_bytes()).unwrap().ids;
        assert_eq!(ids[..ids.len() - 1], vocab.encode(&text).ids);
    }
}

#[test]
fn text_that_looks_like_records_is_noticed_in_a_stream() {
    let names = "Ada\nGrace\nMary\nHedy\n".repeat(10);
    assert!(read(&names, &options(TokenKind::Char, Documents::None)).looks_like_records);
    assert!(!read(&names, &options(TokenKind::Char, Documents::Lines)).looks_like_records);
    let prose = "the time traveller for so it will be\nconvenient to speak of him\n".repeat(10);
    assert!(!read(&prose, &options(TokenKind::Char, Documents::None)).looks_like_records);
}

#[test]
fn options_store_documents_only_if_there_are_any() {
    let stored = |documents| serde_json::to_value(options(TokenKind::Char, documents)).unwrap();
    assert!(stored(Documents::None).get("documents").is_none());
    for documents in [Documents::Lines, Documents::BlankLines] {
        assert_eq!(stored(documents)["documents"], documents.as_str());
        let again: CorpusOptions = serde_json::from_value(stored(documents)).unwrap();
        assert_eq!(again, options(TokenKind::Char, documents));
    }
    assert_eq!(serde_json::from_str::<CorpusOptions>("{}").unwrap().documents, Documents::None);
}

/// Training and validation set of a text of lines, as sorted documents without their ends.
fn split(text: &str, kind: TokenKind, fraction: f64, seed: u64) -> [Vec<String>; 2] {
    let mut corpus = read(text, &CorpusOptions { min_freq: 2, ..options(kind, Documents::Lines) });
    let before = (corpus.ids.len(), corpus.documents.len(), corpus.text_size(0..corpus.ids.len()));
    let num_training = corpus.split_documents(fraction, seed).expect("distinct documents");
    let len = corpus.ids.len();
    assert_eq!((len, corpus.documents.len(), corpus.text_size(0..len)), before);
    [0..num_training, num_training..corpus.documents.len()].map(|range| {
        let set = corpus.document_set(range).expect("documents");
        let decode =
            |ids: Ids<'_>| corpus.vocab.decode(&ids.load().expect("ids in memory")).expect("ids of the corpus");
        let mut documents: Vec<_> = set.iter().map(|ids| decode(ids).trim().to_owned()).collect();
        documents.sort();
        documents
    })
}

#[test]
fn the_validation_set_follows_from_the_digests() {
    // Computed by a separate Python program: FNV-1a of the text, then SplitMix64, as a fraction of 2^64:
    // seed 0: ada 0.428, grace 0.450, mary 0.418, annie 0.108, the cat 0.250, hedy 0.626, joan 0.687, katherine 0.090
    // seed 1: ada 0.991, grace 0.989, mary 0.357, annie 0.661, the cat 0.446, hedy 0.030, joan 0.208, katherine 0.628
    let text = "ada\ngrace\nmary\nannie\nthe cat\nhedy\njoan\nkatherine\n".repeat(2);
    let validation = |fraction, seed| {
        let of_kind = |kind| {
            let [_, mut documents] = split(&text, kind, fraction, seed);
            documents.dedup();
            documents
        };
        let documents = of_kind(TokenKind::Char);
        assert_eq!(of_kind(TokenKind::Byte), documents);
        assert_eq!(of_kind(TokenKind::Word), documents);
        documents
    };
    assert_eq!(validation(0.1, 0), ["katherine"]);
    assert_eq!(validation(0.42, 0), ["annie", "katherine", "mary", "the cat"]);
    assert_eq!(validation(0.25, 1), ["hedy", "joan"]);
    assert_eq!(validation(0.99, 1).len(), 7);
}

#[test]
fn each_set_has_a_document_if_there_are_two_distinct_ones() {
    // digests with seed 0: grace 0.450, hedy 0.626
    let text = "grace\nhedy\ngrace\nhedy\n";
    assert_eq!(split(text, TokenKind::Char, 0.01, 0), [["hedy"; 2], ["grace"; 2]]);
    assert_eq!(split(text, TokenKind::Char, 0.99, 0), [["hedy"; 2], ["grace"; 2]]);
    assert_eq!(split(text, TokenKind::Char, 0.0, 0), [vec!["grace", "grace", "hedy", "hedy"], vec![]]);
    let mut equal = read("ada\nada\n", &options(TokenKind::Char, Documents::Lines));
    let error = equal.split_documents(0.1, 0).unwrap_err();
    assert!(matches!(error, Error::TooFewDocuments { documents: 2, distinct: 1, .. }));
    assert_eq!(
        error.to_string(),
        "a validation set of 0.1 of the documents needs at least 2 distinct documents, the text has 2 documents, 1 distinct"
    );
    // documents that differ only in what the normalization removes are equal
    let lower = CorpusOptions { normalization: Normalization::Lower, ..options(TokenKind::Char, Documents::Lines) };
    assert!(read("ada\nADA\n", &lower).split_documents(0.5, 0).is_err());
    let mut stream = read("ada\ngrace\n", &options(TokenKind::Char, Documents::None));
    assert!(matches!(stream.split_documents(0.1, 0), Err(Error::TooFewDocuments { documents: 0, .. })));
}

#[test]
fn the_order_of_the_text_does_not_change_the_validation_set() {
    // names that differ in tokens of equal frequency, whose ids depend on the order
    let names: Vec<String> = (0..1000).map(|number: u32| format!("{:x}", number.wrapping_mul(2_654_435_761))).collect();
    let join = |names: &[String]| names.iter().map(|name| format!("{name}\n")).collect::<String>();
    let mut sorted = names.clone();
    sorted.sort();
    assert_ne!(sorted, names);
    for kind in TokenKind::ALL {
        let [training, validation] = split(&join(&names), kind, 0.1, 5);
        assert_eq!(split(&join(&sorted), kind, 0.1, 5), [training, validation.clone()]);
        // 100 are expected, with a standard deviation of 9.5
        assert!(validation.len().abs_diff(100) < 48, "{}", validation.len());
    }
    let [_, other] = split(&join(&names), TokenKind::Char, 0.1, 6);
    assert_ne!(split(&join(&names), TokenKind::Char, 0.1, 5)[1], other);
}

#[test]
fn a_split_keeps_the_order_of_the_text_and_the_names_of_unknown_tokens() {
    // digests with seed 0: annie 0.108, ada 0.428, grace 0.450, joan 0.687
    let words = CorpusOptions { min_freq: 2, ..options(TokenKind::Word, Documents::Lines) };
    let mut corpus = read("joan\nannie\ngrace\nada\njoan\n", &words);
    assert_eq!(corpus.split_documents(0.44, 0).unwrap(), 3);
    assert_eq!(documents(&corpus), ["joan\n", "<unk>\n", "joan\n", "<unk>\n", "<unk>\n"]);
    // joan, grace and joan with their ends, then annie and ada
    assert_eq!(corpus.text_size(0..6).bytes, 5 + 6 + 5);
    assert_eq!((corpus.text_size(6..8).bytes, corpus.text_size(8..10).bytes), (6, 4));
}
