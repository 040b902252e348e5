//! The files of a text in segments, which are tokenized independently of each other.
//!
//! ```text
//! file     aaaa\nbbbb\ncccc
//! segments aaaa\n│bbbb\n│cccc    cut where the rest is read like a file of its own
//! ```

use std::sync::Arc;

use crate::corpus::{FileFormats, Scan, interpretation};
use crate::encoding::TextEncoding;
use crate::error::Result;
use crate::reader::{Interpretation, TextReader};
use crate::source::Source;
use crate::text::Piece;

/// A part of a file.
pub(super) struct Segment {
    text: Vec<u8>,
    /// Whether `text` is UTF-8.
    is_text: bool,
    /// Whether the next segment is read like a file of its own. Else it continues a token or a document.
    pub(super) is_end: bool,
    /// The name of the file, for errors.
    pub(super) name: Arc<str>,
    /// Number of bytes of the file that were read, for errors.
    pub(super) bytes_read: u64,
}

impl Segment {
    /// Number of bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The text in pieces of a bounded length.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let text = match self.is_text {
            true => Piece::Text(std::str::from_utf8(&self.text).expect("a segment has the whole pieces of a text")),
            false => Piece::Bytes(&self.text),
        };
        text.parts()
    }
}

/// Reads the segments of several files.
pub(super) struct Segments<'a, 'v, I> {
    sources: I,
    scan: Scan<'v>,
    interpretation: Interpretation,
    /// Number of bytes of a segment at least, unless its file ends.
    min_bytes: usize,
    file: Option<(TextReader<'a>, Arc<str>)>,
    /// The start of the next segment.
    rest: Vec<u8>,
    pub(super) formats: FileFormats,
    pub(super) last: Option<TextReader<'a>>,
}

impl<'a, 'v, I: Iterator<Item = Result<Source<'a>>>> Segments<'a, 'v, I> {
    pub(super) fn new(sources: I, encoding: TextEncoding, scan: Scan<'v>, min_bytes: usize) -> Self {
        let (interpretation, formats) = (interpretation(scan, encoding), FileFormats::default());
        Self { sources, scan, interpretation, min_bytes, file: None, rest: Vec::new(), formats, last: None }
    }

    /// The next segment; `None` after the last file.
    pub(super) fn next(&mut self) -> Result<Option<Segment>> {
        if self.file.is_none() {
            let Some(source) = self.sources.next() else { return Ok(None) };
            let reader = source?.into_reader(self.interpretation)?;
            let name = reader.name().into();
            self.file = Some((reader, name));
        }
        let Some((mut reader, name)) = self.file.take() else { return Ok(None) };
        let mut segment =
            Segment { text: std::mem::take(&mut self.rest), is_text: true, is_end: true, name, bytes_read: 0 };
        while let Some(piece) = reader.next()? {
            segment.is_text = matches!(piece, Piece::Text(_));
            segment.text.extend_from_slice(piece.as_bytes());
            if segment.text.len() >= self.min_bytes {
                let end = self.scan.last_boundary(&segment.text);
                segment.is_end = end.is_some();
                segment.bytes_read = reader.bytes_read();
                self.rest.reserve(segment.text.capacity());
                self.rest.extend_from_slice(&segment.text[end.unwrap_or(segment.text.len())..]);
                segment.text.truncate(end.unwrap_or(segment.text.len()));
                self.file = Some((reader, segment.name.clone()));
                return Ok(Some(segment));
            }
        }
        segment.bytes_read = reader.bytes_read();
        self.formats.add(&reader);
        self.last = Some(reader);
        Ok(Some(segment))
    }

    /// Number of bytes that were read of all files so far, after decompression.
    pub(super) fn bytes_read(&self) -> u64 {
        self.formats.bytes + self.file.as_ref().map_or(0, |(reader, _)| reader.bytes_read())
    }
}
