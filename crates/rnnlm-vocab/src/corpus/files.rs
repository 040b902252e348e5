//! Stage 1, files: reading a text that consists of one or several files.

use super::scan::{Scan, Scanned, Scanner, Token};
use crate::encoding::TextEncoding;
use crate::error::Result;
use crate::memory::{MemoryUse, Stop};
use crate::normalize::Normalization;
use crate::reader::{Interpretation, TextReader};
use crate::source::Source;
use crate::text::{EndingCounts, TextFormat};
use crate::tokenize::TokenKind;

/// The files of a text, after they are read.
pub(crate) struct Files<'a> {
    pub(crate) scanned: Scanned,
    /// The memory in use.
    pub(crate) memory: MemoryUse,
    pub(crate) formats: FileFormats,
    /// The last file, for errors.
    pub(crate) last: TextReader<'a>,
}

/// How files are stored.
#[derive(Default)]
pub(crate) struct FileFormats {
    /// Number of bytes read, after decompression.
    pub(crate) bytes: u64,
    /// Whether a file was read as UTF-8 but is probably UTF-16.
    pub(crate) is_likely_utf_16: bool,
    /// The first encoding that is not UTF-8.
    pub(crate) encoding: TextEncoding,
    endings: EndingCounts,
    byte_order_mark: bool,
}

impl FileFormats {
    /// Adds a file that is read.
    pub(crate) fn add(&mut self, reader: &TextReader<'_>) {
        self.endings.merge(reader.endings());
        self.bytes += reader.bytes_read();
        self.byte_order_mark |= reader.format().byte_order_mark;
        self.is_likely_utf_16 |= reader.is_likely_utf_16();
        if self.encoding.is_utf_8() {
            self.encoding = reader.encoding();
        }
    }

    /// The format of all files.
    pub(crate) fn format(&self) -> TextFormat {
        TextFormat { line_endings: self.endings.kind(), byte_order_mark: self.byte_order_mark }
    }
}

impl<'a> Files<'a> {
    /// Calls `sink` with every token of all files, and whether it is among those that are kept.
    pub(crate) fn read(
        sources: impl IntoIterator<Item = Result<Source<'a>>>,
        encoding: TextEncoding,
        scan: Scan<'_>,
        mut sink: impl FnMut(Token<'_>, bool, &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<Self> {
        let interpretation = interpretation(scan, encoding);
        let mut scanner = Scanner::new(scan);
        let (mut memory, mut formats, mut last) = (None, FileFormats::default(), None);
        for source in sources {
            let source = source?;
            let memory = memory.get_or_insert_with(|| source.memory());
            let mut reader = source.into_reader(interpretation)?;
            scanner.read(&mut reader, memory, &mut sink)?;
            formats.add(&reader);
            last = Some(reader);
        }
        let memory = memory.unwrap_or_else(|| MemoryUse::new(0));
        Self::of_scanner(scanner, memory, formats, last)
    }

    /// The files that a scanner has read; an error if they have no token.
    pub(crate) fn of_scanner(
        scanner: Scanner<'_>,
        memory: MemoryUse,
        formats: FileFormats,
        last: Option<TextReader<'a>>,
    ) -> Result<Self> {
        let Some(last) = last else { return Err(scanner.empty("an empty list of files", 0)) };
        let scanned = scanner.finish(&last, formats.bytes)?;
        Ok(Self { scanned, memory, formats, last })
    }
}

/// Only byte tokens without normalization do not require a text.
pub(crate) fn interpretation(scan: Scan<'_>, encoding: TextEncoding) -> Interpretation {
    match (scan.kind, scan.normalization) {
        (TokenKind::Byte, Normalization::None) if encoding.is_utf_8() => Interpretation::Bytes,
        _ => Interpretation::Text(encoding),
    }
}
