//! The text of each error message.

use std::io::{self, Read};

use rnnlm_vocab::{
    Batches, Corpus, CorpusOptions, Error, LikelyContent, Minibatch, Normalization, Sampling, Source, TokenKind, Vocab,
};

fn options(kind: TokenKind, normalization: Normalization) -> CorpusOptions {
    CorpusOptions { kind, normalization, ..CorpusOptions::default() }
}

fn message<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    outcome.expect_err("an error").to_string()
}

#[test]
fn a_missing_file_and_a_folder_are_reported_by_path() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, missing) = (folder.path(), folder.path().join("no.txt"));
    let no_file = format!("`{}` does not exist", missing.display());
    let no_folder = format!("`{}` is a folder, expected a file", folder.display());
    let options = CorpusOptions::default();
    let vocab = Corpus::from_bytes(b"a", &options).unwrap().vocab;
    assert_eq!(message(Corpus::from_path(&missing, &options)), no_file);
    assert_eq!(message(Corpus::from_path(folder, &options)), no_folder);
    assert_eq!(message(Corpus::encode_path(&missing, vocab, 0)), no_file);
    assert_eq!(message(Vocab::load(&missing)), no_file);
    assert_eq!(message(Vocab::load(folder)), no_folder);
}

#[test]
fn an_empty_corpus_is_reported_with_token_kind_and_normalization() {
    let empty = |kind, normalization, text| message(Corpus::from_bytes(text, &options(kind, normalization)));
    assert_eq!(
        empty(TokenKind::Char, Normalization::Book, b"1895\r\n"),
        "`the text` has 6 bytes but no `char` token after normalization `book`"
    );
    assert_eq!(
        empty(TokenKind::Word, Normalization::None, b" \n "),
        "`the text` has 3 bytes but no `word` token after normalization `none`"
    );
    assert!(empty(TokenKind::Char, Normalization::Book, b"1").starts_with("`the text` has 1 byte but no `char` token"));
    for (kind, text) in [(TokenKind::Byte, &b""[..]), (TokenKind::Byte, b"\xEF\xBB\xBF"), (TokenKind::Char, b"")] {
        assert!(empty(kind, Normalization::None, text).contains("no `"));
    }
}

#[test]
fn an_invalid_byte_is_reported_with_offset_and_line() {
    let text = b"one\r\ntwo \xE9t\xE9\n";
    let expected = "`the text` is not UTF-8: byte 0xE9 at offset 9, line 2";
    for kind in [TokenKind::Char, TokenKind::Word] {
        assert_eq!(message(Corpus::from_bytes(text, &options(kind, Normalization::None))), expected);
    }
    assert_eq!(message(Corpus::from_bytes(text, &options(TokenKind::Byte, Normalization::Book))), expected);
    let corpus = Corpus::from_bytes(text, &options(TokenKind::Byte, Normalization::None)).unwrap();
    assert_eq!(corpus.vocab.decode_bytes(&corpus.ids).unwrap(), text);
    let truncated = message(Corpus::from_bytes("né".as_bytes().split_last().unwrap().1, &CorpusOptions::default()));
    assert_eq!(truncated, "`the text` is not UTF-8: byte 0xC3 at offset 1, line 1");
    let vocab = Corpus::from_bytes(b"a", &CorpusOptions::default()).unwrap().vocab;
    assert_eq!(message(vocab.encode_normalized(b"a\na\xFF")), "`the text` is not UTF-8: byte 0xFF at offset 3, line 2");
}

#[test]
fn the_error_for_an_invalid_byte_has_the_likely_content() {
    let likely = |text: &[u8]| match Corpus::from_bytes(text, &CorpusOptions::default()) {
        Err(Error::InvalidUtf8 { likely, .. }) => likely,
        other => panic!("{other:?}"),
    };
    assert_eq!(likely(b"Montr\xE9al est la plus grande ville"), LikelyContent::WesternSingleByte);
    assert_eq!(likely(b"BZh91AY&SY\xC8\x01"), LikelyContent::Compressed("a bzip2 file"));
    // the invalid byte is beyond the first piece
    let late = ["n\u{e9} ".repeat(100_000).as_bytes(), b"\xFF more"].concat();
    assert_eq!(likely(&late), LikelyContent::DamagedUtf8);
}

#[test]
fn a_text_that_needs_more_memory_than_the_limit_is_refused_with_both_numbers() {
    let options = |kind, max_tokens| CorpusOptions { max_tokens, ..options(kind, Normalization::None) };
    let refused = |source: Source<'_>, options: &CorpusOptions| match Corpus::read(source, options) {
        Err(Error::TooLarge { needed, limit, .. }) => assert!(needed > limit && limit == 1 << 20, "{needed} {limit}"),
        other => panic!("{:?} is not too large", other.map(|corpus| corpus.tokens)),
    };
    // one id of 4 bytes for each character, of a text that has a million of them
    let text = b"a".repeat(1_000_000);
    refused(Source::from_bytes(&text).with_memory_limit(1 << 20), &options(TokenKind::Char, 0));
    // a part of the ids fits
    let source = || Source::from_bytes(&text).with_memory_limit(1 << 20);
    assert_eq!(Corpus::read(source(), &options(TokenKind::Char, 1000)).unwrap().tokens, 1_000_000);
    // one word of a million bytes, and a million distinct words
    refused(source(), &options(TokenKind::Word, 0));
    let words: String = (0..1_000_000).map(|number| format!("{number} ")).collect();
    refused(Source::from_bytes(words.as_bytes()).with_memory_limit(1 << 20), &options(TokenKind::Word, 1));
    // a stream has no known end, whatever part of it is kept
    for kind in TokenKind::ALL {
        refused(Source::from_reader(io::repeat(b'a'), "a pipe").with_memory_limit(1 << 20), &options(kind, 10));
        let vocab = Corpus::from_bytes(b"b", &options(kind, 0)).unwrap().vocab;
        let source = Source::from_reader(io::repeat(b'a'), "a pipe").with_memory_limit(1 << 20);
        let outcome = Corpus::encode(source, vocab, 0, Default::default());
        assert!(matches!(outcome, Err(Error::TooLarge { limit: 1_048_576, .. })), "{kind}");
    }
    let message = message(Corpus::read(source(), &options(TokenKind::Char, 0)));
    assert!(message.starts_with("`the text` needs ") && message.ends_with(", the limit is 1048576"), "{message}");
}

#[test]
fn unknown_tokens_count_towards_the_limit() {
    let options = CorpusOptions { min_freq: 2, ..options(TokenKind::Word, Normalization::None) };
    let words: String = (0..5_000).map(|number| format!("{number} ")).collect();
    let read = |limit| Corpus::read(Source::from_bytes(words.as_bytes()).with_memory_limit(limit), &options);
    assert_eq!(read(4 << 20).unwrap().unknown.count(), 5_000);
    assert!(matches!(read(2 << 20), Err(Error::TooLarge { .. })));
}

#[test]
fn a_failed_read_is_reported_with_the_stream_name_and_its_cause() {
    struct FailingReader;
    impl Read for FailingReader {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::BrokenPipe, "gone"))
        }
    }
    let error = Corpus::from_reader(FailingReader, "standard input", &CorpusOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "`standard input` could not be read");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "gone");
}

#[test]
fn an_ambiguous_reserved_token_is_refused() {
    let refused = |kind, reserved: &[&str]| {
        let reserved = reserved.iter().map(|&token| token.to_owned()).collect();
        message(Corpus::from_bytes(b"a b", &CorpusOptions { kind, reserved, ..CorpusOptions::default() }))
    };
    assert_eq!(refused(TokenKind::Char, &[""]), "reserved token `` is empty");
    assert_eq!(refused(TokenKind::Char, &["<unk>"]), "reserved token `<unk>` is always in the vocabulary, with id 0");
    assert_eq!(refused(TokenKind::Word, &["<s>", "<s>"]), "reserved token `<s>` is listed twice");
    assert_eq!(refused(TokenKind::Word, &["a b"]), "reserved token `a b` contains white space");
    assert_eq!(
        refused(TokenKind::Byte, &["a"]),
        "reserved token `a` is the same as an ordinary byte token; write the byte like `<0xE9>`"
    );
}

#[test]
fn an_id_out_of_range_is_reported() {
    let vocab = Corpus::from_bytes(b"ab", &CorpusOptions::default()).unwrap().vocab;
    assert_eq!(message(vocab.decode(&[1, 3])), "token id 3 is out of range for a vocabulary of 3 tokens");
}

#[test]
fn invalid_minibatch_sizes_are_reported_with_their_values() {
    let batches = |len, batch_size, num_steps| {
        let corpus = vec![0; len];
        message(Batches::new(Sampling::Sequential, &corpus, batch_size, num_steps, 0, 0).map(|_| ()))
    };
    assert_eq!(batches(10, 0, 5), "`batch_size` is 0, must be at least 1");
    assert_eq!(batches(10, 5, 0), "`num_steps` is 0, must be at least 1");
    assert_eq!(
        batches(10, usize::MAX, 2),
        format!("minibatches of batch_size {} × num_steps 2 overflow the address space", usize::MAX)
    );
    assert!(batches(10, 1, usize::MAX).ends_with("overflow the address space"));
    assert_eq!(
        batches(1_155, 32, 35),
        "a corpus of 1155 tokens is too short for minibatches of batch_size 32 × num_steps 35: 32·35 + 35 + 1 = 1156 \
         tokens are needed; batch_size 31 fits"
    );
    assert!(batches(70, 32, 35).ends_with("; even batch_size 1 does not fit, num_steps 34 would"));
    assert!(batches(2, 1, 1).ends_with("; every size needs at least 3 tokens"));
}

#[test]
fn a_wrong_minibatch_index_or_shape_is_refused() {
    let corpus = vec![0; 10_000];
    let batches = Batches::new(Sampling::Random, &corpus, 32, 35, 0, 0).unwrap();
    assert_eq!(
        message(batches.fill(8, &mut Minibatch::new(32, 35))),
        "minibatch index 8 is out of range for 8 minibatches"
    );
    assert_eq!(
        message(batches.fill(0, &mut Minibatch::new(35, 32))),
        "the minibatch has (batch_size, num_steps) = (35, 32), expected (32, 35)"
    );
    let mut short = Minibatch::new(32, 35);
    short.targets.pop();
    assert!(batches.fill(0, &mut short).is_err());
}
