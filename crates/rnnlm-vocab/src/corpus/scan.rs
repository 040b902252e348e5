//! Stages 1 and 2 combined: one pass over the tokens of a text, as a stream or by document.

use crate::builder::VocabBuilder;
use crate::document_index::DocumentIndex;
use crate::document_splitter::Splitter;
use crate::documents::Documents;
use crate::error::{Error, Result};
use crate::memory::{MemoryUse, Stop};
use crate::normalize::{DroppedLetters, Extent, LineEndConversion, Normalization};
use crate::reader::TextReader;
use crate::records::{SAMPLE_BYTES, looks_like_records};
use crate::subwords::SubwordReader;
use crate::text::{Piece, TextSize};
use crate::tokenize::{TokenKind, Tokenizer};
use crate::vocab::Vocab;

/// How the tokens of a text are read.
#[derive(Clone, Copy)]
pub(crate) struct Scan<'v> {
    pub(crate) kind: TokenKind,
    pub(crate) normalization: Normalization,
    pub(crate) line_ends: LineEndConversion,
    pub(crate) documents: Documents,
    pub(crate) max_tokens: usize,
    /// The tokenizer of [`TokenKind::Subword`].
    pub(crate) subwords: Option<SubwordReader<'v>>,
}

/// A token of a text.
#[derive(Clone, Copy)]
pub(crate) enum Token<'a> {
    /// The raw bytes of a token.
    Raw(&'a [u8]),
    /// The end token of a document.
    End,
}

impl Token<'_> {
    /// Counts the token and returns its provisional id.
    #[inline]
    pub(crate) fn count(self, builder: &mut VocabBuilder, memory: &mut MemoryUse) -> Result<u32, Stop> {
        match self {
            Self::Raw(token) => builder.count(token, memory),
            Self::End => builder.count_ends(1, memory),
        }
    }
}

/// What one pass over a text finds, besides its tokens.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Scanned {
    pub(crate) tokens: u64,
    pub(crate) text: TextSize,
    pub(crate) dropped_letters: DroppedLetters,
    pub(crate) documents: DocumentIndex,
    pub(crate) empty_documents: u64,
    pub(crate) looks_like_records: bool,
}

impl Scanned {
    /// Passes a token of a stream to `sink`.
    #[inline]
    fn add_token(
        &mut self,
        scan: Scan<'_>,
        token: &[u8],
        memory: &mut MemoryUse,
        sink: &mut impl FnMut(Token<'_>, bool, &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let is_kept = scan.max_tokens == 0 || self.tokens < scan.max_tokens as u64;
        self.tokens += 1;
        sink(Token::Raw(token), is_kept, memory)
    }
}

impl<'v> Scan<'v> {
    /// How a text is read with this vocabulary, whole.
    pub(crate) fn of_vocab(vocab: &'v Vocab) -> Self {
        let (kind, normalization) = (vocab.kind(), vocab.normalization());
        let (line_ends, documents) = (vocab.line_ends(), vocab.documents());
        let subwords = vocab.subword_reader();
        Self { kind, normalization, line_ends, documents, max_tokens: 0, subwords }
    }

    /// The end of the longest prefix of `text` after which the rest is read like a file of its own; `None` if there is none.
    #[cfg(feature = "cache")]
    pub(crate) fn last_boundary(self, text: &[u8]) -> Option<usize> {
        let after = |is_last: &dyn Fn(u8) -> bool| text.iter().rposition(|&byte| is_last(byte)).map(|index| index + 1);
        match self.documents {
            Documents::None if self.kind == TokenKind::Subword => {
                let SubwordReader { tokenizer, .. } = self.subwords?;
                tokenizer.split_point(std::str::from_utf8(text).ok()?)
            }
            Documents::None => after(&|byte| self.kind.starts_anew_after(byte, self.normalization)),
            Documents::Lines => after(&|byte| byte == b'\n'),
            Documents::BlankLines => text.windows(2).rposition(|pair| pair == b"\n\n").map(|index| index + 2),
        }
    }

    fn tokenizer(self) -> Tokenizer<'v> {
        Tokenizer::new(self.kind, self.normalization, self.line_ends, Extent::Lines, self.subwords)
    }

    /// Calls `sink` with every token that ends in a piece of the text.
    fn push(
        self,
        tokenizer: &mut Tokenizer<'_>,
        piece: Piece<'_>,
        memory: &mut MemoryUse,
        sink: &mut impl FnMut(&[u8], &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        // the piece can end in a word that grows with every piece
        let pending = if self.kind.is_bounded() { 0 } else { 2 * (tokenizer.pending_bytes() + piece.len()) as u64 };
        memory.check(pending)?;
        tokenizer.push(piece, &mut |token| sink(token, memory))
    }

    fn splitter(self) -> Splitter {
        Splitter::new(self.documents, self.line_ends)
    }

    /// The size of the separators between `tokens` tokens.
    fn separators(self, tokens: u64) -> TextSize {
        let one = TextSize::of(self.kind.separator().as_bytes());
        let count = tokens.saturating_sub(1);
        TextSize { characters: one.characters * count, bytes: one.bytes * count }
    }
}

/// Reads the tokens of one or several files. The end of a file ends a token and a document.
pub(crate) struct Scanner<'v> {
    scan: Scan<'v>,
    tokenizer: Tokenizer<'v>,
    found: Scanned,
    /// The start of the text, to recognize records.
    sample: Vec<u8>,
    /// Divides a file into documents.
    splitter: Splitter,
    /// The start of a document that the next piece continues.
    document: Vec<u8>,
    /// Whether documents are text.
    is_text: bool,
    /// Number of kept tokens of documents.
    kept: usize,
    /// Whether a document did not fit into the tokens that are kept. The later ones are left out, too.
    is_full: bool,
}

impl<'v> Scanner<'v> {
    pub(crate) fn new(scan: Scan<'v>) -> Self {
        Self {
            scan,
            tokenizer: scan.tokenizer(),
            found: Scanned::default(),
            sample: Vec::new(),
            splitter: scan.splitter(),
            document: Vec::new(),
            is_text: true,
            kept: 0,
            is_full: false,
        }
    }

    /// Calls `sink` with every token of the next file, and whether it is among those that are kept.
    pub(crate) fn read(
        &mut self,
        reader: &mut TextReader<'_>,
        memory: &mut MemoryUse,
        mut sink: impl FnMut(Token<'_>, bool, &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<()> {
        while let Some(piece) = reader.next()? {
            self.push(piece, memory, &mut sink).map_err(|stop| stop.in_text(reader))?;
        }
        self.end_file(memory, &mut sink).map_err(|stop| stop.in_text(reader))
    }

    /// Calls `sink` with every token that ends in the next piece of a file.
    pub(crate) fn push(
        &mut self,
        piece: Piece<'_>,
        memory: &mut MemoryUse,
        sink: &mut impl FnMut(Token<'_>, bool, &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if self.scan.documents == Documents::None {
            self.add_to_sample(piece.as_bytes());
            let Self { scan, tokenizer, found, .. } = self;
            return scan
                .push(tokenizer, piece, memory, &mut |token, memory| found.add_token(*scan, token, memory, sink));
        }
        self.is_text = matches!(piece, Piece::Text(_));
        let mut rest = piece.as_bytes();
        while !rest.is_empty() {
            memory.reserve_bytes(&mut self.document, rest.len())?;
            let (consumed, is_complete) = self.splitter.push(rest, &mut self.document);
            rest = &rest[consumed..];
            if is_complete {
                self.add_document(memory, sink)?;
            }
        }
        Ok(())
    }

    /// Ends the last token and the last document of a file.
    pub(crate) fn end_file(
        &mut self,
        memory: &mut MemoryUse,
        sink: &mut impl FnMut(Token<'_>, bool, &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let Self { scan, tokenizer, found, .. } = self;
        if scan.documents == Documents::None {
            tokenizer.finish(&mut |token| found.add_token(*scan, token, memory, sink))?;
            tokenizer.restart();
            return Ok(());
        }
        if self.splitter.finish(&mut self.document) {
            self.add_document(memory, sink)?;
        }
        self.splitter = self.scan.splitter();
        Ok(())
    }

    /// Adds what another scanner has found in the files that follow.
    #[cfg(feature = "cache")]
    pub(crate) fn append(&mut self, other: &Self, memory: &mut MemoryUse) -> Result<(), Stop> {
        let Scanned { tokens, text, documents, empty_documents, .. } = &other.found;
        self.found.tokens += tokens;
        self.found.text += *text;
        self.found.text += other.tokenizer.size();
        self.found.empty_documents += empty_documents;
        self.found.dropped_letters.append(other.tokenizer.dropped_letters());
        documents.ranges().try_for_each(|document| self.found.documents.try_push(document.len(), memory))?;
        self.add_to_sample(&other.sample);
        Ok(())
    }

    fn add_to_sample(&mut self, text: &[u8]) {
        let missing = SAMPLE_BYTES - self.sample.len();
        self.sample.extend_from_slice(&text[..missing.min(text.len())]);
    }

    /// The error for a text without a token.
    pub(crate) fn empty(&self, name: &str, bytes: u64) -> Error {
        let Scan { kind, normalization, .. } = self.scan;
        Error::Empty { name: name.to_owned(), bytes, kind, normalization }
    }

    /// What all files have in common, or an error if they have no token. `last` is the last of them.
    pub(crate) fn finish(self, last: &TextReader<'_>, bytes: u64) -> Result<Scanned> {
        if self.found.tokens == 0 {
            return Err(self.empty(last.name(), bytes));
        }
        let Self { scan, tokenizer, mut found, sample, .. } = self;
        found.text += tokenizer.size();
        if scan.documents == Documents::None {
            found.text += scan.separators(found.tokens);
            found.looks_like_records = looks_like_records(&String::from_utf8_lossy(&sample));
        }
        found.dropped_letters.append(tokenizer.dropped_letters());
        Ok(found)
    }

    /// Calls `sink` with every token of the complete document, and with its end token.
    fn add_document(
        &mut self,
        memory: &mut MemoryUse,
        sink: &mut impl FnMut(Token<'_>, bool, &mut MemoryUse) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut document = std::mem::take(&mut self.document);
        self.add(&document, self.is_text, memory, sink)?;
        document.clear();
        self.document = document;
        Ok(())
    }

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
