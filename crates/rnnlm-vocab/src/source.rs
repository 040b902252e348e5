//! Stage 1, sources: where the bytes of a text come from, and how much memory reading them may take.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Cursor, ErrorKind, Read};
use std::path::Path;

#[cfg(feature = "compression")]
use crate::compression;
use crate::encoding::TextEncoding;
use crate::error::{Error, Result};
use crate::memory::MemoryUse;
use crate::normalize::{Extent, LineEndConversion, Normalization, Normalizer};
use crate::reader::{Interpretation, TextReader};
use crate::text::Piece;

/// The bytes of a text: a file, a stream or memory. With the feature `compression`, gzip and zstd are recognized by
/// their first bytes and decompressed.
///
/// ```
/// use rnnlm_vocab::{Corpus, CorpusOptions, Source};
///
/// let source = Source::from_reader(&b"time traveller"[..], "standard input").with_memory_limit(1 << 20);
/// let corpus = Corpus::read(source, &CorpusOptions::default())?;
/// assert_eq!(corpus.tokens, 14);
/// # Ok::<(), rnnlm_vocab::Error>(())
/// ```
pub struct Source<'a> {
    name: String,
    reader: Box<dyn Read + 'a>,
    /// The length in bytes; `None` for a stream, which may be endless.
    length: Option<u64>,
    memory_limit: u64,
    /// Whether the length is not limited, because the text is not kept in memory.
    has_any_length: bool,
}

impl<'a> Source<'a> {
    /// The file at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Folder`], [`Error::Device`], [`Error::Read`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let (file, length) = open(path)?;
        Ok(Self { length, ..Self::from_reader(file, name) })
    }

    /// A stream of unknown length. `name` identifies it in errors.
    pub fn from_reader(reader: impl Read + 'a, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reader: Box::new(reader),
            length: None,
            memory_limit: u64::MAX,
            has_any_length: false,
        }
    }

    /// A text in memory. Errors call it `the text`.
    pub fn from_bytes(text: &'a [u8]) -> Self {
        Self { length: Some(text.len() as u64), ..Self::from_reader(text, "the text") }
    }

    /// Limits the memory that reading may allocate, in bytes; the default is no limit. A larger text is
    /// [`Error::TooLarge`], which is found before the memory is allocated.
    ///
    /// A stream or a compressed file may also decode to at most this many bytes, even if only a part of them is kept,
    /// so that an endless one ends with an error.
    #[must_use]
    pub fn with_memory_limit(self, bytes: u64) -> Self {
        Self { memory_limit: bytes, ..self }
    }

    /// Lets the text be longer than the memory, because it is not kept there.
    #[cfg(feature = "cache")]
    #[must_use]
    pub(crate) fn with_any_length(self) -> Self {
        Self { has_any_length: true, ..self }
    }

    /// Calls `progress` with the number of bytes read so far, before decompression, after each read.
    #[must_use]
    pub fn with_progress(self, progress: impl FnMut(u64) + 'a) -> Self {
        let mut progress = progress;
        let mut bytes = 0;
        let reader = Observed {
            reader: self.reader,
            observe: move |length| {
                bytes += length as u64;
                progress(bytes);
            },
        };
        Self { reader: Box::new(reader), ..self }
    }

    /// The length of the file or the text in bytes, before decompression; `None` for a stream.
    #[expect(clippy::len_without_is_empty, reason = "a stream is not known to be empty before it is read")]
    pub fn len(&self) -> Option<u64> {
        self.length
    }

    /// Reads a whole text into memory: decompressed, without its byte order mark, and converted to UTF-8 if that is one
    /// of UTF-16. Other bytes are not changed.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::InvalidEncoding`], [`Error::TooLarge`].
    pub fn read_to_end(self) -> Result<Vec<u8>> {
        let mut memory = self.memory();
        let mut reader = self.into_reader(Interpretation::TextIfMarked)?;
        let mut text = Vec::new();
        while let Some(piece) = reader.next()? {
            let outcome = memory.reserve_bytes(&mut text, piece.len());
            match piece {
                _ if outcome.is_err() => {}
                Piece::Text(piece) => text.extend_from_slice(piece.as_bytes()),
                Piece::Bytes(piece) => text.extend_from_slice(piece),
            }
            outcome.map_err(|excess| excess.in_text(&reader))?;
        }
        Ok(text)
    }

    /// Calls `visit` with the text piece by piece: decompressed, converted to UTF-8 from `encoding` unless a byte order mark
    /// determines another one, without the mark, and with converted line ends. Pieces end anywhere.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::InvalidUtf8`], [`Error::InvalidEncoding`], [`Error::TooLarge`], and those of `visit`.
    pub fn for_each_text<E: From<Error>>(
        self,
        encoding: TextEncoding,
        line_ends: LineEndConversion,
        mut visit: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reader = self.into_reader(Interpretation::Text(encoding))?;
        let mut normalizer = Normalizer::new(Normalization::None, line_ends, Extent::Lines);
        while let Some(piece) = reader.next()? {
            if let Piece::Text(text) = normalizer.push(piece) {
                visit(text)?;
            }
        }
        Ok(())
    }

    /// No memory in use, with the limit of this source.
    pub(crate) fn memory(&self) -> MemoryUse {
        MemoryUse::new(self.memory_limit)
    }

    /// Decompresses and decodes the text.
    pub(crate) fn into_reader(mut self, interpretation: Interpretation) -> Result<TextReader<'a>> {
        let mut head = Vec::new();
        if let Err(source) = self.reader.by_ref().take(MAGIC_BYTES).read_to_end(&mut head) {
            return Err(Error::Read { name: self.name, source });
        }
        let is_compressed = compression::is_compressed(&head);
        let reader: Box<dyn Read + 'a> = match is_compressed {
            true => compression::decompress(head, self.reader, self.memory_limit),
            false => Box::new(Cursor::new(head).chain(self.reader)),
        };
        // the length of a file is finite, that of a stream or of the content of a compressed file is not known
        let has_finite_length = self.length.is_some() && !is_compressed;
        let max_bytes = if has_finite_length || self.has_any_length { u64::MAX } else { self.memory_limit };
        TextReader::new(reader, self.name, interpretation, max_bytes)
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("length", &self.length).finish_non_exhaustive()
    }
}

/// Number of bytes that show whether a file is compressed.
const MAGIC_BYTES: u64 = 4;

/// Whether a file begins like one that [`Source`] decompresses. A file that cannot be read does not.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("text.txt");
/// std::fs::write(&path, "a text")?;
/// assert!(!rnnlm_vocab::is_compressed(&path));
/// # Ok(())
/// # }
/// ```
pub fn is_compressed(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    let mut head = Vec::new();
    // what is read of a pipe is lost to others
    let file = path.is_file().then(|| File::open(path).ok()).flatten();
    let read = file.and_then(|file| file.take(MAGIC_BYTES).read_to_end(&mut head).ok());
    read.is_some() && compression::is_compressed(&head)
}

/// Without the feature `compression`, no file is recognized as compressed.
#[cfg(not(feature = "compression"))]
mod compression {
    use std::io::Read;

    pub(super) fn is_compressed(_: &[u8]) -> bool {
        false
    }

    pub(super) fn decompress<'a>(_: Vec<u8>, rest: Box<dyn Read + 'a>, _: u64) -> Box<dyn Read + 'a> {
        rest
    }
}

/// A reader whose reads are observed.
struct Observed<R, F> {
    reader: R,
    observe: F,
}

impl<R: Read, F: FnMut(usize)> Read for Observed<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        (self.observe)(length);
        Ok(length)
    }
}

/// Opens the file at `path`. Returns its length, too, unless it is a pipe.
///
/// # Errors
///
/// [`Error::Missing`], [`Error::Folder`], [`Error::Device`], [`Error::Read`].
pub(crate) fn open(path: &Path) -> Result<(File, Option<u64>)> {
    let to_error = |source: io::Error| match source.kind() {
        ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Read { name: path.display().to_string(), source },
    };
    // checked before opening, because opening a device can have effects
    let metadata = fs::metadata(path).map_err(to_error)?;
    if metadata.is_dir() {
        return Err(Error::Folder { path: path.to_owned() });
    }
    if is_device(&metadata) {
        return Err(Error::Device { path: path.to_owned() });
    }
    let file = File::open(path).map_err(to_error)?;
    Ok((file, metadata.is_file().then_some(metadata.len())))
}

#[cfg(unix)]
fn is_device(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_char_device() || metadata.file_type().is_block_device()
}

#[cfg(not(unix))]
fn is_device(_: &fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_large(outcome: Result<Vec<u8>>) -> (u64, u64) {
        match outcome {
            Err(Error::TooLarge { needed, limit, .. }) => (needed, limit),
            other => panic!("{other:?} is not too large"),
        }
    }

    #[test]
    fn an_endless_stream_ends_at_the_limit() {
        let source = Source::from_reader(io::repeat(b'a'), "a pipe").with_memory_limit(1_000_000);
        let (needed, limit) = too_large(source.read_to_end());
        assert!(limit == 1_000_000 && needed > limit && needed <= 2_000_000, "{needed}");
    }

    #[test]
    fn progress_is_reported_in_bytes_of_the_file() {
        let text = vec![b'a'; 200_000];
        let mut seen = Vec::new();
        let source = Source::from_reader(&text[..], "x").with_progress(|bytes| seen.push(bytes));
        assert_eq!(source.read_to_end().unwrap(), text);
        assert_eq!(seen.last(), Some(&200_000));
        assert!(seen.is_sorted() && seen.len() > 3, "{seen:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_refused() {
        assert!(matches!(Source::open("/dev/zero"), Err(Error::Device { .. })));
        assert!(matches!(Source::open("/dev/null"), Err(Error::Device { .. })));
    }

    #[test]
    fn marked_utf_16_and_other_bytes_are_read_as_a_whole() {
        let read = |text: &[u8]| Source::from_bytes(text).read_to_end().unwrap();
        assert_eq!(read(b"\xFF\n\xE9"), b"\xFF\n\xE9");
        assert_eq!(read("\u{feff}né".as_bytes()), "né".as_bytes());
        #[cfg(feature = "encodings")]
        assert_eq!(read(b"\xFF\xFEn\0\xE9\0"), "né".as_bytes());
    }

    #[cfg(feature = "compression")]
    #[test]
    fn a_decompression_bomb_ends_at_the_limit() {
        use std::io::Write;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        (0..100).for_each(|_| gzip.write_all(&[0; 1 << 20]).unwrap());
        let gzip = gzip.finish().unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(
            io::repeat(0).take(100 << 20),
            ruzstd::encoding::CompressionLevel::Fastest,
        );
        for bomb in [gzip, zstd] {
            assert!(bomb.len() < 1 << 20);
            let (needed, limit) = too_large(Source::from_bytes(&bomb).with_memory_limit(8 << 20).read_to_end());
            assert!(limit == 8 << 20 && needed > limit, "{needed}");
        }
    }
}
