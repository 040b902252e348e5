//! Stages 1 and 2 combined: one pass over the tokens of a text, as a stream or by document.

use crate::document_index::DocumentIndex;
use crate::document_splitter::Splitter;
use crate::documents::Documents;
use crate::error::{Error, Result};
use crate::memory::{MemoryUse, Stop};
use crate::normalize::{DroppedLetters, Extent, LineEndConversion, Normalization};
use crate::reader::TextReader;
use crate::records::{SAMPLE_BYTES, looks_like_records};
use crate::text::{Piece, TextSize};
use crate::tokenize::{TokenKind, Tokenizer};

/// How the tokens of a text are read.
#[derive(Clone, Copy)]
pub(super) struct Scan {
    pub(super) kind: TokenKind,
    pub(super) normalization: Normalization,
    pub(super) line_ends: LineEndConversion,
    pub(super) documents: Documents,
    pub(super) max_tokens: usize,
}

/// A token of a text.
#[derive(Clone, Copy)]
pub(super) enum Token<'a> {
    /// The raw bytes of a token.
    Raw(&'a [u8]),
    /// The end token of a document.
    End,
}

/// What one pass over a text finds, besides its tokens.
#[derive(Default)]
pub(super) struct Scanned {
    pub(super) tokens: u64,
    pub(super) text: TextSize,
    pub(super) dropped_letters: DroppedLetters,
    pub(super) documents: DocumentIndex,
    pub(super) empty_documents: u64,
    pub(super) looks_like_records: bool,
}

impl Scan {
    /// Calls `sink` with every token of a text, and whether it is among those that are kept.
    pub(super) fn read(
        self,
        reader: &mut TextReader<'_>,
        memory: &mut MemoryUse,
        sink: impl FnMut(Token<'_>, bool, &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<Scanned> {
        let scanned = match self.documents {
            Documents::None => self.read_stream(reader, memory, sink)?,
            Documents::Lines | Documents::BlankLines => self.read_documents(reader, memory, sink)?,
        };
        if scanned.tokens == 0 {
            let (name, bytes) = (reader.name().to_owned(), reader.bytes_read());
            return Err(Error::Empty { name, bytes, kind: self.kind, normalization: self.normalization });
        }
        Ok(scanned)
    }

    fn read_stream(
        self,
        reader: &mut TextReader<'_>,
        memory: &mut MemoryUse,
        mut sink: impl FnMut(Token<'_>, bool, &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<Scanned> {
        let mut tokenizer = self.tokenizer();
        let mut tokens = 0;
        let mut keep = |token: &[u8], memory: &mut MemoryUse| {
            let is_kept = self.max_tokens == 0 || tokens < self.max_tokens as u64;
            tokens += 1;
            sink(Token::Raw(token), is_kept, memory)
        };
        let mut sample = Vec::new();
        while let Some(piece) = reader.next()? {
            let missing = SAMPLE_BYTES - sample.len();
            sample.extend_from_slice(&piece.as_bytes()[..missing.min(piece.len())]);
            self.push(&mut tokenizer, piece, memory, &mut keep).map_err(|stop| stop.in_text(reader))?;
        }
        tokenizer.finish(&mut |token| keep(token, memory)).map_err(|stop| stop.in_text(reader))?;
        let mut text = tokenizer.size();
        text += self.separators(tokens);
        let looks_like_records = looks_like_records(&String::from_utf8_lossy(&sample));
        let dropped_letters = tokenizer.dropped_letters().clone();
        Ok(Scanned { tokens, text, dropped_letters, looks_like_records, ..Scanned::default() })
    }

    fn read_documents(
        self,
        reader: &mut TextReader<'_>,
        memory: &mut MemoryUse,
        mut sink: impl FnMut(Token<'_>, bool, &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<Scanned> {
        let mut documents = DocumentScan {
            scan: self,
            tokenizer: self.tokenizer(),
            found: Scanned::default(),
            kept: 0,
            is_full: false,
        };
        let mut splitter = Splitter::new(self.documents, self.line_ends);
        let mut document = Vec::new();
        let mut is_text = true;
        while let Some(piece) = reader.next()? {
            is_text = matches!(piece, Piece::Text(_));
            let mut read = || -> Result<(), Stop> {
                let mut rest = piece.as_bytes();
                while !rest.is_empty() {
                    memory.reserve_bytes(&mut document, rest.len())?;
                    let (consumed, is_complete) = splitter.push(rest, &mut document);
                    rest = &rest[consumed..];
                    if is_complete {
                        documents.add(&document, is_text, memory, &mut sink)?;
                        document.clear();
                    }
                }
                Ok(())
            };
            read().map_err(|stop| stop.in_text(reader))?;
        }
        if splitter.finish(&mut document) {
            documents.add(&document, is_text, memory, &mut sink).map_err(|stop| stop.in_text(reader))?;
        }
        let DocumentScan { tokenizer, mut found, .. } = documents;
        found.text += tokenizer.size();
        found.dropped_letters = tokenizer.dropped_letters().clone();
        Ok(found)
    }

    fn tokenizer(self) -> Tokenizer {
        Tokenizer::new(self.kind, self.normalization, self.line_ends, Extent::Lines)
    }

    /// Calls `sink` with every token that ends in a piece of the text.
    fn push(
        self,
        tokenizer: &mut Tokenizer,
        piece: Piece<'_>,
        memory: &mut MemoryUse,
        sink: &mut impl FnMut(&[u8], &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        // the piece can end in a word that grows with every piece
        let pending = if self.kind.is_bounded() { 0 } else { 2 * (tokenizer.pending_bytes() + piece.len()) as u64 };
        memory.check(pending)?;
        tokenizer.push(piece, &mut |token| sink(token, memory))
    }

    /// The size of the separators between `tokens` tokens.
    fn separators(self, tokens: u64) -> TextSize {
        let one = TextSize::of(self.kind.separator().as_bytes());
        let count = tokens.saturating_sub(1);
        TextSize { characters: one.characters * count, bytes: one.bytes * count }
    }
}

/// The documents of a text so far.
struct DocumentScan {
    scan: Scan,
    tokenizer: Tokenizer,
    found: Scanned,
    /// Number of kept tokens.
    kept: usize,
    /// Whether a document did not fit into the tokens that are kept. The later ones are left out, too.
    is_full: bool,
}

impl DocumentScan {
    /// Calls `sink` with every token of the next document and with its end token.
    fn add(
        &mut self,
        document: &[u8],
        is_text: bool,
        memory: &mut MemoryUse,
        sink: &mut impl FnMut(Token<'_>, bool, &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let document = match is_text {
            true => {
                Piece::Text(std::str::from_utf8(document).expect("a document starts and ends at line ends of a text"))
            }
            false => Piece::Bytes(document),
        };
        let kept = self.kept_tokens(document, memory)?;
        let Self { scan, tokenizer, found, .. } = self;
        let mut tokens = 0;
        let mut keep = |token: &[u8], memory: &mut MemoryUse| {
            let is_kept = tokens < kept;
            tokens += 1;
            sink(Token::Raw(token), is_kept, memory)
        };
        for part in document.parts() {
            scan.push(tokenizer, part, memory, &mut keep)?;
        }
        tokenizer.finish(&mut |token| keep(token, memory))?;
        tokenizer.restart();
        if tokens == 0 {
            found.empty_documents += 1;
            return Ok(());
        }
        sink(Token::End, tokens < kept, memory)?;
        let kept = kept.min(tokens + 1);
        if kept > 0 {
            found.documents.try_push(kept, memory)?;
            self.kept += kept;
        }
        found.tokens += tokens as u64 + 1;
        found.text += scan.separators(tokens as u64);
        found.text += TextSize::of(scan.documents.separator().as_bytes());
        Ok(())
    }

    /// How many tokens of a document are kept, including its end token: all, or as many as fit if it is the first.
    fn kept_tokens(&mut self, document: Piece<'_>, memory: &mut MemoryUse) -> Result<usize, Stop> {
        let max_tokens = self.scan.max_tokens;
        if max_tokens == 0 {
            return Ok(usize::MAX);
        }
        if self.is_full {
            return Ok(0);
        }
        let mut tokens = 0;
        let mut count = |_: &[u8], _: &mut MemoryUse| -> Result<(), Stop> {
            tokens += 1;
            Ok(())
        };
        let mut tokenizer = self.scan.tokenizer();
        for part in document.parts() {
            self.scan.push(&mut tokenizer, part, memory, &mut count)?;
        }
        tokenizer.finish(&mut |token| count(token, memory))?;
        let fits = tokens < max_tokens - self.kept; // with the end token
        self.is_full = tokens > 0 && !fits;
        let is_first = self.kept == 0;
        Ok(if fits || is_first { max_tokens - self.kept } else { 0 })
    }
}
