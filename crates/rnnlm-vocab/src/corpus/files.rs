//! Stage 1, files: reading a text that consists of one or several files.

use super::scan::{Scan, Scanned, Scanner, Token};
use crate::encoding::TextEncoding;
use crate::error::{Error, Result};
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
    /// Number of bytes read, after decompression.
    pub(crate) bytes: u64,
    /// Whether a file was read as UTF-8 but is probably UTF-16.
    pub(crate) is_likely_utf_16: bool,
    /// The first encoding that is not UTF-8.
    pub(crate) encoding: TextEncoding,
    endings: EndingCounts,
    byte_order_mark: bool,
    /// The last file, for errors.
    pub(crate) last: TextReader<'a>,
}

impl<'a> Files<'a> {
    /// Calls `sink` with every token of all files, and whether it is among those that are kept.
    pub(crate) fn read(
        sources: impl IntoIterator<Item = Result<Source<'a>>>,
        encoding: TextEncoding,
        scan: Scan,
        mut sink: impl FnMut(Token<'_>, bool, &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<Self> {
        let interpretation = interpretation(scan.kind, scan.normalization, encoding);
        let mut scanner = Scanner::new(scan);
        let mut memory = None;
        let (mut endings, mut bytes, mut found_encoding) = (EndingCounts::default(), 0, TextEncoding::UTF_8);
        let (mut byte_order_mark, mut is_likely_utf_16, mut last) = (false, false, None);
        for source in sources {
            let source = source?;
            let memory = memory.get_or_insert_with(|| source.memory());
            let mut reader = source.into_reader(interpretation)?;
            scanner.read(&mut reader, memory, &mut sink)?;
            endings.merge(reader.endings());
            bytes += reader.bytes_read();
            byte_order_mark |= reader.format().byte_order_mark;
            is_likely_utf_16 |= reader.is_likely_utf_16();
            if found_encoding.is_utf_8() {
                found_encoding = reader.encoding();
            }
            last = Some(reader);
        }
        let (Some(last), Some(memory)) = (last, memory) else {
            let name = "an empty list of files".to_owned();
            return Err(Error::Empty { name, bytes, kind: scan.kind, normalization: scan.normalization });
        };
        let scanned = scanner.finish(&last, bytes)?;
        let encoding = found_encoding;
        Ok(Self { scanned, memory, bytes, is_likely_utf_16, encoding, endings, byte_order_mark, last })
    }

    /// The format of all files.
    pub(crate) fn format(&self) -> TextFormat {
        TextFormat { line_endings: self.endings.kind(), byte_order_mark: self.byte_order_mark }
    }
}

/// Only byte tokens without normalization do not require a text.
fn interpretation(kind: TokenKind, normalization: Normalization, encoding: TextEncoding) -> Interpretation {
    match (kind, normalization) {
        (TokenKind::Byte, Normalization::None) if encoding.is_utf_8() => Interpretation::Bytes,
        _ => Interpretation::Text(encoding),
    }
}
