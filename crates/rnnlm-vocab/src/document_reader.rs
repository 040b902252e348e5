//! Stage 1, documents: reading the documents of a stream one by one, each as soon as its end is read.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::document_splitter::Splitter;
use crate::documents::Documents;
use crate::error::{Error, Result};
use crate::normalize::LineEndConversion;
use crate::reader::invalid_utf8_in;
use crate::source;
use crate::vocab::{Encoding, Vocab};

/// The byte order mark of UTF-8, which is removed at the start of a stream.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Number of bytes that are split at a time.
const PIECE_BYTES: usize = 1 << 16;
/// The capacity of the buffer that is kept after a longer document, and the maximum length of blank lines after one.
const KEPT_BYTES: usize = 1 << 20;

/// Reads the documents of a stream in UTF-8, or of any bytes. Only one document is in memory at a time.
///
/// A document is returned as soon as its end is read, so a stream that never ends can be read. With
/// [`Documents::Lines`] the end is the line end, with [`Documents::BlankLines`] that of the blank line. The end of the
/// stream ends the last document. With [`Documents::None`] the whole stream is one document.
///
/// ```
/// use rnnlm_vocab::{DocumentReader, Documents, LineEndConversion};
///
/// let mut reader = DocumentReader::new(&b"Ada\nGrace"[..], "names", Documents::Lines, LineEndConversion::Keep);
/// while let Some(document) = reader.read()? {
///     println!("line {}: {}", document.line(), document.text()?);
/// }
/// # Ok::<(), rnnlm_vocab::Error>(())
/// ```
pub struct DocumentReader<R> {
    reader: R,
    name: String,
    splitter: Splitter,
    max_bytes: u64,
    document: Vec<u8>,
    /// Number of bytes of a byte order mark that are read; `None` after the start of the stream.
    mark_bytes: Option<usize>,
    /// Whether the rest of a document that was too large is skipped.
    skips: bool,
}

/// A document of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    bytes: &'a [u8],
    line: u64,
    offset: u64,
    name: &'a str,
}

impl DocumentReader<BufReader<File>> {
    /// A reader of the file at `path`, as [`DocumentReader::new`].
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Folder`], [`Error::Device`], [`Error::Read`].
    pub fn open(path: impl AsRef<Path>, documents: Documents, line_ends: LineEndConversion) -> Result<Self> {
        let path = path.as_ref();
        let (file, _) = source::open(path)?;
        Ok(Self::new(BufReader::new(file), path.display().to_string(), documents, line_ends))
    }
}

impl<R: BufRead> DocumentReader<R> {
    /// A reader of a stream. `name` identifies the stream in errors. `line_ends` decides whether a lone `\r` ends a
    /// line, and whether a line includes the `\r` of `\r\n`: use that of the vocabulary.
    pub fn new(reader: R, name: impl Into<String>, documents: Documents, line_ends: LineEndConversion) -> Self {
        Self {
            reader,
            name: name.into(),
            splitter: Splitter::new(documents, line_ends),
            max_bytes: u64::MAX,
            document: Vec::new(),
            mark_bytes: Some(0),
            skips: false,
        }
    }

    /// Limits the length of a document in bytes; the default is no limit. A longer document is
    /// [`Error::DocumentTooLarge`].
    #[must_use]
    pub fn with_max_bytes(self, max_bytes: u64) -> Self {
        Self { max_bytes, ..self }
    }

    /// Reads the next document, or `None` at the end of the stream. Empty lines are documents with
    /// [`Documents::Lines`].
    ///
    /// # Errors
    ///
    /// [`Error::Read`] and [`Error::DocumentTooLarge`]. After the latter, reading continues with the next document.
    pub fn read(&mut self) -> Result<Option<Document<'_>>> {
        while std::mem::take(&mut self.skips) {
            self.splitter.shrink(&mut self.document);
            self.skips = self.advance()? == Progress::Incomplete;
        }
        self.document.clear();
        self.document.shrink_to(KEPT_BYTES);
        loop {
            let progress = self.advance()?;
            let start = self.splitter.start();
            if let Some(bytes) = self.excess(progress) {
                self.skips = progress == Progress::Incomplete;
                let (name, line, limit) = (self.name.clone(), start.lines + 1, self.max_bytes);
                return Err(Error::DocumentTooLarge { name, line, bytes, limit });
            }
            match progress {
                Progress::Incomplete => {}
                Progress::End => return Ok(None),
                Progress::Complete => {
                    let Self { name, document, .. } = self;
                    return Ok(Some(Document { bytes: document, line: start.lines + 1, offset: start.offset, name }));
                }
            }
        }
    }

    /// The length of the document if it is above the limit. Blank lines after it do not count, unless they are long.
    fn excess(&self, progress: Progress) -> Option<u64> {
        let is_above = |bytes: usize| bytes as u64 > self.max_bytes;
        if !is_above(self.document.len()) {
            return None;
        }
        let content = match progress {
            Progress::Incomplete => self.splitter.content_len(&self.document),
            Progress::Complete | Progress::End => self.document.len(),
        };
        let is_excess = is_above(content) || is_above(self.document.len().saturating_sub(KEPT_BYTES));
        is_excess.then_some(self.document.len() as u64)
    }

    /// Reads what the stream has, up to the end of the document.
    fn advance(&mut self) -> Result<Progress> {
        let Self { reader, name, splitter, document, mark_bytes, .. } = self;
        let to_error = |source| Error::Read { name: name.clone(), source };
        let bytes = loop {
            match reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome.map_err(to_error)?,
            }
        };
        if let Some(matched) = *mark_bytes {
            let rest = &BYTE_ORDER_MARK[matched..];
            let common = rest.iter().zip(bytes).take_while(|(one, other)| one == other).count();
            if common == rest.len() {
                *mark_bytes = None;
                splitter.skip(BYTE_ORDER_MARK.len() as u64);
                reader.consume(common);
                return Ok(Progress::Incomplete);
            }
            if common > 0 && common == bytes.len() {
                *mark_bytes = Some(matched + common);
                reader.consume(common);
                return Ok(Progress::Incomplete);
            }
            *mark_bytes = None;
            splitter.push(&BYTE_ORDER_MARK[..matched], document); // these bytes are not a mark, and end no line
        }
        if bytes.is_empty() {
            return Ok(if splitter.finish(document) { Progress::Complete } else { Progress::End });
        }
        let bytes = &bytes[..bytes.len().min(PIECE_BYTES)];
        let out_of_memory = |_| to_error(io::ErrorKind::OutOfMemory.into());
        document.try_reserve(bytes.len()).map_err(out_of_memory)?;
        let (consumed, is_complete) = splitter.push(bytes, document);
        reader.consume(consumed);
        Ok(if is_complete { Progress::Complete } else { Progress::Incomplete })
    }
}

/// What a part of a stream completes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Incomplete,
    Complete,
    /// The stream has ended, and no document is left.
    End,
}

impl<R> fmt::Debug for DocumentReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentReader").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Document<'a> {
    /// The bytes of the document, without its line end or the blank lines around it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The line of the stream where the document starts, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The offset of the document in the stream in bytes, counted from 0 and including a byte order mark.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The document as UTF-8.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUtf8`] with the offset and the line in the stream.
    pub fn text(&self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes)
            .map_err(|error| self.in_stream(invalid_utf8_in(self.name, self.bytes, error.valid_up_to())))
    }

    /// [`Vocab::encode_document`] of this document.
    ///
    /// # Errors
    ///
    /// Those of [`Vocab::encode_document`]. [`Error::InvalidUtf8`] has the offset and the line in the stream.
    pub fn encode(&self, vocab: &Vocab) -> Result<Encoding> {
        vocab.encode_document(self.bytes).map_err(|error| self.in_stream(error))
    }

    /// The error with positions in the stream instead of the document.
    fn in_stream(&self, error: Error) -> Error {
        match error {
            Error::InvalidUtf8 { byte, offset, line, likely, .. } => Error::InvalidUtf8 {
                name: self.name.to_owned(),
                byte,
                offset: self.offset + offset,
                line: self.line + line - 1,
                likely,
            },
            other => other,
        }
    }
}
