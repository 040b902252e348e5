//! Stage 1, reading: a byte stream as pieces of UTF-8.
//!
//! A byte order mark is removed. The pieces have a bounded length, so that a text without line ends needs no more
//! memory than any other.

use std::io::{self, Read};

use crate::content::{LikelyContent, utf_16_without_mark};
use crate::encoding::{Decoder, TextEncoding};
use crate::error::{Error, Result};
use crate::text::{EndingCounts, Piece, TextFormat};

/// Number of bytes that are read and decoded at a time.
const PIECE_BYTES: usize = 1 << 16;
/// Number of bytes at the start that show what a text is.
const HEAD_BYTES: usize = 4096;

/// How the bytes of a text are interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interpretation {
    /// Text in this encoding, or in that of its byte order mark.
    Text(TextEncoding),
    /// Any bytes. Only a byte order mark of UTF-8 is removed.
    Bytes,
    /// Text if there is a byte order mark of UTF-16, else any bytes.
    TextIfMarked,
}

/// How [`TextReader`] makes pieces of bytes.
enum Decoding {
    Bytes,
    Utf8,
    Other { decoder: Decoder, decoded: String, finished: bool },
}

/// A text, read in pieces into one reused buffer.
pub(crate) struct TextReader<'a> {
    reader: Box<dyn Read + 'a>,
    name: String,
    decoding: Decoding,
    encoding: TextEncoding,
    /// The maximum number of bytes to read.
    max_bytes: u64,
    /// Bytes that are read and not decoded: `buffer[start..end]`.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Number of bytes before `start`, including a byte order mark.
    offset: u64,
    /// Whether the reader has returned its last byte.
    is_at_end: bool,
    /// Line ends in the pieces so far.
    endings: EndingCounts,
    byte_order_mark: bool,
    /// The first bytes of the text.
    head: Vec<u8>,
}

impl<'a> TextReader<'a> {
    /// A reader of at most `max_bytes` bytes. Reads the start of the text to find a byte order mark.
    pub(crate) fn new(
        reader: Box<dyn Read + 'a>,
        name: String,
        interpretation: Interpretation,
        max_bytes: u64,
    ) -> Result<Self> {
        let mut text = Self {
            reader,
            name,
            decoding: Decoding::Bytes,
            encoding: TextEncoding::UTF_8,
            max_bytes,
            buffer: vec![0; PIECE_BYTES].into(),
            start: 0,
            end: 0,
            offset: 0,
            is_at_end: false,
            endings: EndingCounts::default(),
            byte_order_mark: false,
            head: Vec::new(),
        };
        while text.end < HEAD_BYTES && !text.is_at_end {
            text.fill()?;
        }
        text.head = text.buffer[..text.end.min(HEAD_BYTES)].to_vec();
        text.interpret(interpretation);
        Ok(text)
    }

    /// Chooses the decoder, and skips a byte order mark.
    fn interpret(&mut self, interpretation: Interpretation) {
        let mark = TextEncoding::of_byte_order_mark(&self.head);
        let marked = mark.map(|(encoding, _)| encoding);
        let encoding = match interpretation {
            Interpretation::Text(encoding) => Some(marked.unwrap_or(encoding)),
            Interpretation::TextIfMarked => marked.filter(|encoding| !encoding.is_utf_8()),
            Interpretation::Bytes => None,
        };
        let decoder = encoding.and_then(Decoder::new);
        let in_use = if decoder.is_some() { encoding.unwrap_or_default() } else { TextEncoding::UTF_8 };
        self.encoding = in_use;
        self.decoding = match (decoder, encoding) {
            (Some(decoder), _) => {
                Decoding::Other { decoder, decoded: String::with_capacity(PIECE_BYTES), finished: false }
            }
            (None, Some(_)) => Decoding::Utf8,
            (None, None) => Decoding::Bytes,
        };
        if let Some((_, length)) = mark.filter(|&(encoding, _)| encoding == in_use) {
            self.byte_order_mark = true;
            self.consume(length);
        }
    }

    /// The next piece, or `None` at the end of the text.
    pub(crate) fn next(&mut self) -> Result<Option<Piece<'_>>> {
        match self.decoding {
            Decoding::Bytes => self.next_bytes(),
            Decoding::Utf8 => self.next_utf8(),
            Decoding::Other { .. } => self.next_decoded(),
        }
    }

    fn next_bytes(&mut self) -> Result<Option<Piece<'_>>> {
        if self.start == self.end {
            self.fill()?;
        }
        let piece = self.start..self.end;
        if piece.is_empty() {
            return Ok(None);
        }
        self.endings.add(&self.buffer[piece.clone()]);
        self.consume(piece.len());
        Ok(Some(Piece::Bytes(&self.buffer[piece])))
    }

    fn next_utf8(&mut self) -> Result<Option<Piece<'_>>> {
        let valid = loop {
            let bytes = &self.buffer[self.start..self.end];
            match std::str::from_utf8(bytes) {
                Ok(text) if !text.is_empty() => break text.len(),
                Ok(_) if self.is_at_end => return Ok(None),
                Ok(_) => {}
                Err(error) => {
                    let may_be_incomplete = error.error_len().is_none() && !self.is_at_end;
                    if !may_be_incomplete {
                        return Err(self.invalid_utf8(error.valid_up_to()));
                    }
                    if error.valid_up_to() > 0 {
                        break error.valid_up_to();
                    }
                }
            }
            self.fill()?;
        };
        let piece = self.start..self.start + valid;
        self.endings.add(&self.buffer[piece.clone()]);
        self.consume(valid);
        let text = std::str::from_utf8(&self.buffer[piece]).expect("it is valid up to this index");
        Ok(Some(Piece::Text(text)))
    }

    fn next_decoded(&mut self) -> Result<Option<Piece<'_>>> {
        loop {
            if self.start == self.end {
                self.fill()?;
            }
            let bytes = &self.buffer[self.start..self.end];
            let Decoding::Other { decoder, decoded, finished } = &mut self.decoding else { return Ok(None) };
            if *finished {
                return Ok(None);
            }
            decoded.clear();
            let outcome = decoder.decode(bytes, self.is_at_end, decoded);
            *finished = outcome.finished;
            self.endings.add(decoded.as_bytes());
            self.consume(outcome.consumed);
            if let Some(length) = outcome.invalid {
                let offset = self.offset - length as u64;
                let line = self.endings.total() + 1;
                return Err(Error::InvalidEncoding { name: self.name.clone(), encoding: self.encoding, offset, line });
            }
            let is_empty = matches!(&self.decoding, Decoding::Other { decoded, .. } if decoded.is_empty());
            if !is_empty {
                break;
            }
        }
        match &self.decoding {
            Decoding::Other { decoded, .. } => Ok(Some(Piece::Text(decoded))),
            Decoding::Bytes | Decoding::Utf8 => Ok(None),
        }
    }

    /// Reads more bytes into the buffer, after those that are not decoded.
    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let length = loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(length) => break length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { name: self.name.clone(), source }),
            }
        };
        self.end += length;
        self.is_at_end = length == 0;
        let bytes = self.offset + self.end as u64;
        if bytes > self.max_bytes {
            return Err(Error::TooLarge { name: self.name.clone(), bytes, needed: bytes, limit: self.max_bytes });
        }
        Ok(())
    }

    fn consume(&mut self, length: usize) {
        self.start += length;
        self.offset += length as u64;
    }

    /// Number of bytes in the pieces so far, with the byte order mark. At the end it is the length of the text.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.offset
    }

    /// The format of the pieces so far.
    pub(crate) fn format(&self) -> TextFormat {
        TextFormat { line_endings: self.endings.kind(), byte_order_mark: self.byte_order_mark }
    }

    /// The line ends of the pieces so far.
    pub(crate) fn endings(&self) -> EndingCounts {
        self.endings
    }

    /// The encoding that the text is decoded from.
    pub(crate) fn encoding(&self) -> TextEncoding {
        self.encoding
    }

    /// Whether the text is read as UTF-8, but has the zero bytes of UTF-16 without a byte order mark.
    pub(crate) fn is_likely_utf_16(&self) -> bool {
        matches!(self.decoding, Decoding::Utf8) && utf_16_without_mark(&self.head).is_some()
    }

    /// The path, or the name that the caller gave the stream.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The error for a buffer whose first byte that is not UTF-8 is `valid` bytes after `start`.
    fn invalid_utf8(&self, valid: usize) -> Error {
        let bytes = &self.buffer[self.start..self.end];
        let likely = LikelyContent::of(&self.head, &bytes[valid..], self.is_at_end);
        invalid_utf8(&self.name, bytes, valid, likely, self.offset, self.endings)
    }
}

/// The error for `bytes` whose first byte that is not UTF-8 is at index `valid`.
pub(crate) fn invalid_utf8_in(name: &str, bytes: &[u8], valid: usize) -> Error {
    let likely = LikelyContent::of(bytes, &bytes[valid..], true);
    invalid_utf8(name, bytes, valid, likely, 0, EndingCounts::default())
}

fn invalid_utf8(
    name: &str,
    bytes: &[u8],
    valid: usize,
    likely: LikelyContent,
    offset: u64,
    mut endings: EndingCounts,
) -> Error {
    endings.add(&bytes[..valid]);
    Error::InvalidUtf8 {
        name: name.to_owned(),
        byte: bytes[valid],
        offset: offset + valid as u64,
        line: endings.total() + 1,
        likely,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a byte or two at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(self.0.len()).min(1 + self.0.len() % 2);
            self.0.read(&mut buffer[..length])
        }
    }

    fn read_as(text: &[u8], interpretation: Interpretation) -> Result<(Vec<u8>, TextFormat, u64)> {
        let mut reader = TextReader::new(Box::new(Slow(text)), "x.txt".to_owned(), interpretation, u64::MAX)?;
        let mut whole = Vec::new();
        while let Some(piece) = reader.next()? {
            match piece {
                Piece::Text(text) => whole.extend_from_slice(text.as_bytes()),
                Piece::Bytes(bytes) => whole.extend_from_slice(bytes),
            }
        }
        Ok((whole, reader.format(), reader.bytes_read()))
    }

    fn read(text: &[u8]) -> Result<(Vec<u8>, TextFormat, u64)> {
        read_as(text, Interpretation::Text(TextEncoding::UTF_8))
    }

    #[test]
    fn only_the_first_byte_order_mark_is_removed() {
        let (text, format, length) = read("\u{feff}a\n\u{feff}b".as_bytes()).unwrap();
        assert_eq!(text, "a\n\u{feff}b".as_bytes());
        assert_eq!((format.byte_order_mark, length), (true, 9));
        let (text, format, length) = read(b"\xEF\xBB\xBF").unwrap();
        assert_eq!((text.len(), format.byte_order_mark, length), (0, true, 3));
        let (text, format, _) = read_as(b"\xEF\xBB\xBF\xFF", Interpretation::Bytes).unwrap();
        assert_eq!((text, format.byte_order_mark), (b"\xFF".to_vec(), true));
    }

    #[test]
    fn characters_may_be_split_between_two_reads() {
        let text = "né 東京 🦀 e\u{301}\r\n".repeat(3);
        assert_eq!(read(text.as_bytes()).unwrap().0, text.as_bytes());
    }

    #[test]
    fn an_invalid_byte_is_reported_with_offset_and_line() {
        let error = read(b"\xEF\xBB\xBFab\r\nc\rd\xFFe\n").unwrap_err().to_string();
        assert_eq!(error, "`x.txt` is not UTF-8: byte 0xFF at offset 10, line 3");
    }

    #[test]
    fn a_text_that_is_longer_than_allowed_is_refused() {
        let read = |max_bytes| {
            let interpretation = Interpretation::Text(TextEncoding::UTF_8);
            let mut reader =
                TextReader::new(Box::new(Slow(b"abcdefgh")), "x.txt".to_owned(), interpretation, max_bytes)?;
            while reader.next()?.is_some() {}
            Ok(reader.bytes_read())
        };
        assert_eq!(read(8).map_err(|error: Error| error.to_string()), Ok(8));
        assert!(matches!(read(7), Err(Error::TooLarge { needed: 8, limit: 7, .. })));
    }

    #[cfg(feature = "encodings")]
    #[test]
    fn utf_16_with_a_byte_order_mark_is_decoded() {
        let text = "né 東京 🦀\r\n";
        let little: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [&little, &big] {
            let (decoded, format, length) = read(bytes).unwrap();
            assert_eq!((decoded.as_slice(), length), (text.as_bytes(), bytes.len() as u64));
            assert_eq!((format.byte_order_mark, format.line_endings), (true, crate::LineEndings::Crlf));
            assert_eq!(read_as(bytes, Interpretation::TextIfMarked).unwrap().0, text.as_bytes());
            assert_eq!(&read_as(bytes, Interpretation::Bytes).unwrap().0, bytes);
        }
        let half = read(b"\xFF\xFEn\0\xE9").unwrap_err().to_string();
        assert_eq!(half, "`x.txt` is not UTF-16LE: invalid sequence at offset 4, line 1");
        // a lone surrogate after a line end
        let lone = read(b"\xFF\xFEa\0\n\0\x3D\xD8b\0").unwrap_err().to_string();
        assert_eq!(lone, "`x.txt` is not UTF-16LE: invalid sequence at offset 6, line 2");
    }

    #[cfg(feature = "encodings")]
    #[test]
    fn other_encodings_are_decoded() {
        let decode = |bytes: &[u8], label: &str| {
            read_as(bytes, Interpretation::Text(label.parse().unwrap()))
                .map(|(text, ..)| String::from_utf8(text).unwrap())
        };
        assert_eq!(decode(b"caf\xE9 \x80", "latin1").unwrap(), "café €");
        assert_eq!(decode(b"\xCF\xF0\xE8\xE2\xE5\xF2", "windows-1251").unwrap(), "Привет");
        assert_eq!(decode(b"\x93\xFA\x96\x7B\x8C\xEA", "shift_jis").unwrap(), "日本語");
        assert_eq!(decode(b"a\0b\0", "utf-16le").unwrap(), "ab");
        // a byte order mark overrides the encoding
        assert_eq!(decode(b"\xEF\xBB\xBFcaf\xC3\xA9", "latin1").unwrap(), "café");
        let invalid = decode(b"ok\n\x93\xFA\xFF", "shift_jis").unwrap_err().to_string();
        assert_eq!(invalid, "`x.txt` is not Shift_JIS: invalid sequence at offset 5, line 2");
        assert!("utf-7".parse::<TextEncoding>().is_err());
    }
}
