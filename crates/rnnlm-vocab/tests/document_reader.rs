//! Reading the documents of a stream.

use std::io::{self, BufRead, BufReader, Read};

use rnnlm_vocab::{
    Corpus, CorpusOptions, DocumentReader, Documents, Error, LikelyContent, LineEndConversion, Normalization, TokenKind,
};

fn reader<R: BufRead>(stream: R, documents: Documents) -> DocumentReader<R> {
    DocumentReader::new(stream, "the stream", documents, LineEndConversion::Keep)
}

/// The documents as text, with line and offset.
fn read_all<R: BufRead>(mut reader: DocumentReader<R>) -> Vec<(u64, u64, String)> {
    let mut found = Vec::new();
    while let Some(document) = reader.read().expect("a document or the end") {
        found.push((document.line(), document.offset(), document.text().expect("UTF-8").to_owned()));
    }
    assert!(reader.read().expect("still the end").is_none());
    found
}

fn expect(documents: Documents, text: &str, expected: &[(u64, u64, &str)]) {
    let expected: Vec<_> = expected.iter().map(|&(line, offset, text)| (line, offset, text.to_owned())).collect();
    assert_eq!(read_all(reader(text.as_bytes(), documents)), expected, "{text:?}");
    for capacity in [1, 2, 3] {
        let stream = BufReader::with_capacity(capacity, text.as_bytes());
        assert_eq!(read_all(reader(stream, documents)), expected, "{text:?} with a buffer of {capacity}");
    }
}

#[test]
fn documents_have_the_line_and_the_offset_where_they_start() {
    expect(Documents::Lines, "", &[]);
    expect(Documents::Lines, "é\n\nlast", &[(1, 0, "é"), (2, 3, ""), (3, 4, "last")]);
    expect(Documents::BlankLines, "\n a\nb\n\n\nc", &[(2, 1, " a\nb"), (6, 8, "c")]);
    expect(Documents::None, "a\n\nb\n", &[(1, 0, "a\n\nb\n")]);
}

#[test]
fn a_byte_order_mark_is_removed_at_the_start_only() {
    expect(Documents::Lines, "\u{feff}a\n\u{feff}b\n", &[(1, 3, "a"), (2, 5, "\u{feff}b")]);
    expect(Documents::BlankLines, "\u{feff}\n\na", &[(3, 5, "a")]);
    expect(Documents::Lines, "\u{feff}", &[]);
    // the first byte of the mark begins another character
    expect(Documents::Lines, "\u{ff01}\n", &[(1, 0, "\u{ff01}")]);
    expect(Documents::Lines, "\u{f000}", &[(1, 0, "\u{f000}")]);
}

/// A stream that has one piece at a time, and fails if a document is requested before its end is available.
struct Pieces<'a>(Vec<&'a [u8]>);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::WouldBlock, "no more bytes yet")),
            false => {
                let piece = self.0.remove(0);
                buffer[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            }
        }
    }
}

#[test]
fn a_document_is_returned_as_soon_as_its_end_is_read() {
    let mut lines = reader(BufReader::new(Pieces(vec![b"on", b"e\ntwo\nth", b"ree\n"])), Documents::Lines);
    for expected in ["one", "two", "three"] {
        assert_eq!(lines.read().unwrap().unwrap().bytes(), expected.as_bytes());
    }
    assert!(matches!(lines.read(), Err(Error::Read { .. })));
    let mut blank = reader(BufReader::new(Pieces(vec![b"one\n", b"\n", b"two\n"])), Documents::BlankLines);
    assert_eq!(blank.read().unwrap().unwrap().bytes(), b"one");
    assert!(blank.read().is_err());
    // a `\r` that ends a line completes the document, whether or not `\n` follows
    let stream = BufReader::new(Pieces(vec![b"one\r", b"\ntwo\r"]));
    let mut returns = DocumentReader::new(stream, "the stream", Documents::Lines, LineEndConversion::Lf);
    for expected in ["one", "two"] {
        assert_eq!(returns.read().unwrap().unwrap().bytes(), expected.as_bytes());
    }
}

#[test]
fn a_document_above_the_limit_is_an_error_and_the_next_one_is_read() {
    let expect = |documents, text: &str, expected: &[Result<&str, (u64, u64)>]| {
        for capacity in [1, 2, 7, 1000] {
            let stream = BufReader::with_capacity(capacity, text.as_bytes());
            let mut reader = reader(stream, documents).with_max_bytes(4);
            for expected in expected {
                match (reader.read(), expected) {
                    (Ok(Some(document)), Ok(text)) => assert_eq!(document.text().unwrap(), *text),
                    (Err(Error::DocumentTooLarge { line, bytes, limit: 4, .. }), Err((expected, max))) => {
                        assert!(line == *expected && (5..=*max).contains(&bytes), "line {line}, {bytes} bytes");
                    }
                    (found, expected) => panic!("{found:?} instead of {expected:?} in {text:?} by {capacity}"),
                }
            }
            assert!(reader.read().unwrap().is_none());
        }
    };
    expect(
        Documents::Lines,
        "four\nfiver\n\nmore than that\nok",
        &[Ok("four"), Err((2, 5)), Ok(""), Err((4, 14)), Ok("ok")],
    );
    expect(Documents::Lines, "a\ntoo long", &[Ok("a"), Err((2, 8))]);
    expect(
        Documents::BlankLines,
        "a\nb\n\nlong\n\nmore\nand\nmore\n\n\nc\n",
        &[Ok("a\nb"), Ok("long"), Err((6, 13)), Ok("c")],
    );
    let error = reader(&b"12345"[..], Documents::Lines).with_max_bytes(4).read().unwrap_err();
    assert_eq!(error.to_string(), "the document at line 1 of `the stream` has at least 5 bytes, the limit is 4");
}

#[test]
fn an_endless_document_ends_at_the_limit() {
    let stream = BufReader::new(io::repeat(b'a'));
    let error = reader(stream, Documents::Lines).with_max_bytes(1 << 20).read().unwrap_err();
    assert!(matches!(error, Error::DocumentTooLarge { bytes: ..1_100_000, limit: 1_048_576, .. }), "{error}");
}

#[test]
fn a_long_document_is_read() {
    let long = "x".repeat(10_000_000);
    let text = format!("{long}\nshort\n");
    let mut reader = reader(text.as_bytes(), Documents::Lines);
    assert_eq!(reader.read().unwrap().unwrap().bytes().len(), long.len());
    assert_eq!(reader.read().unwrap().unwrap().bytes(), b"short");
}

#[test]
fn invalid_utf_8_is_reported_with_its_position_in_the_stream() {
    let options = CorpusOptions { normalization: Normalization::None, ..CorpusOptions::default() };
    let vocab = Corpus::from_bytes(b"abc", &options).unwrap().vocab;
    let bytes = Corpus::from_bytes(b"abc", &CorpusOptions { kind: TokenKind::Byte, ..options }).unwrap().vocab;
    let text = b"\xEF\xBB\xBFa\n\nb\nc\xE9 a\n\nc\n";
    let mut reader = reader(&text[..], Documents::BlankLines);
    assert_eq!(reader.read().unwrap().unwrap().encode(&vocab).unwrap().ids, [1]);
    let document = reader.read().unwrap().unwrap();
    let message = "`the stream` is not UTF-8: byte 0xE9 at offset 9, line 4";
    assert_eq!(document.text().unwrap_err().to_string(), message);
    let error = document.encode(&vocab).unwrap_err();
    assert!(matches!(error, Error::InvalidUtf8 { likely: LikelyContent::WesternSingleByte, .. }), "{error:?}");
    assert_eq!(error.to_string(), message);
    // byte tokens without normalization accept any bytes
    assert_eq!(document.encode(&bytes).unwrap().ids, [2, 0, 3, 0, 0, 1]);
    // the next document is read
    assert_eq!(reader.read().unwrap().unwrap().encode(&vocab).unwrap().ids, [3]);
}
