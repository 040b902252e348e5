//! Token caches: the ids of a text in files, for texts that are larger than memory.
//!
//! A cache is a folder:
//!
//! | file | content |
//! |---|---|
//! | `tokens-00001.safetensors`, … | the ids as U8, U16 or U32, whichever is the smallest; a SHA-256 per block of 16 MB |
//! | `vocab.json` | the vocabulary |
//! | `documents.safetensors` | the ends of the documents, unless the text is a stream |
//! | `cache.json` | how the text was read, and the digests of the other files |
//!
//! It is built in a folder next to it, which is renamed when it is complete. Ids are read with positioned reads, 64 KB ahead
//! for each row of a minibatch. Files are not memory-mapped: a truncated one is an error, not a signal.
//!
//! ```
//! use rnnlm_vocab::{Batches, CacheProgress, CorpusOptions, Ids, TokenCache};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let text = folder.path().join("text.txt");
//! std::fs::write(&text, "the time traveller was expounding a recondite matter to us. ".repeat(10))?;
//! struct Silent;
//! impl CacheProgress for Silent {}
//! let target = folder.path().join("cache");
//! let cache = TokenCache::build(&target, &[text], &CorpusOptions::default(), None, u64::MAX, &mut Silent)?;
//! for minibatch in Batches::sequential(Ids::stored(&cache), 4, 35, 0, 0)? {
//!     println!("{:?}", cache.vocab().decode(&minibatch.inputs)?);
//! }
//! # Ok(())
//! # }
//! ```

mod builder;
mod documents;
mod lock;
mod manifest;
mod parallel;
mod segments;
mod shard;
mod sinks;
mod windows;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::corpus::{Corpus, CorpusOptions};
use crate::document_index::DocumentIndex;
use crate::error::{Error, Result};
use crate::ids::{IdSource, Ids};
use crate::normalize::DroppedLetters;
use crate::text::TextSize;
use crate::unknown::UnknownTokens;
use crate::vocab::Vocab;
use documents::StoredDocuments;
use manifest::{MANIFEST, Manifest};
use shard::{Shard, sha256};
use windows::Windows;

pub use builder::{CachePass, CacheProgress};

/// The ids of a text in the files of a folder.
#[derive(Debug)]
pub struct TokenCache {
    folder: PathBuf,
    manifest: Manifest,
    vocab: Vocab,
    /// The index of the first id of each shard.
    starts: Vec<usize>,
    state: Mutex<State>,
}

/// What reading changes.
#[derive(Debug)]
struct State {
    shards: Vec<Shard>,
    windows: Windows,
    /// Scratch memory for a block that is verified.
    block: Vec<u8>,
}

impl TokenCache {
    /// Whether a folder is a token cache.
    pub fn is_cache(folder: &Path) -> bool {
        folder.join(MANIFEST).is_file()
    }

    /// Opens the cache in `folder`. Checks all files, except for the ids, which are checked when they are read.
    ///
    /// # Errors
    ///
    /// [`Error::DamagedCache`] with the file, and the block if ids are missing; [`Error::Read`],
    /// [`Error::VocabVersion`] for a newer format.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        let manifest = Manifest::read(&folder)?;
        let path = folder.join("vocab.json");
        let json = std::fs::read(&path).map_err(|source| Error::Read { name: path.display().to_string(), source })?;
        if sha256(&json) != manifest.vocab_sha256 {
            let reason = "it has changed since it was written".to_owned();
            return Err(Error::DamagedCache { path, reason });
        }
        let vocab = Vocab::from_json(&json)?;
        let (mut shards, mut starts, mut start) = (Vec::new(), Vec::new(), 0_usize);
        for record in &manifest.shards {
            shards.push(Shard::open(&folder, record, manifest.dtype)?);
            starts.push(start);
            start = start.saturating_add(record.tokens);
        }
        if start as u64 != manifest.tokens {
            let reason = format!("it has {} tokens, its shards have {start}", manifest.tokens);
            return Err(Error::DamagedCache { path: folder.join(MANIFEST), reason });
        }
        let state = Mutex::new(State { shards, windows: Windows::default(), block: Vec::new() });
        Ok(Self { folder, manifest, vocab, starts, state })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The vocabulary.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// How the text was read.
    pub fn options(&self) -> &CorpusOptions {
        &self.manifest.options
    }

    /// The SHA-256 of all ids as little-endian 32-bit integers, in lower-case hexadecimal.
    pub fn ids_sha256(&self) -> &str {
        &self.manifest.ids_sha256
    }

    /// An error that names the first file of the text that changed after the cache was built. Files that do not exist any
    /// more are not an error: the cache has all that training needs.
    ///
    /// # Errors
    ///
    /// [`Error::CacheMismatch`].
    pub fn check_texts(&self) -> Result<()> {
        match self.manifest.texts.iter().find_map(manifest::TextFile::change) {
            Some(change) => Err(self.mismatch(format!("the text has changed: {change}"))),
            None => Ok(()),
        }
    }

    /// An error if the ids are not those of this vocabulary.
    ///
    /// # Errors
    ///
    /// [`Error::CacheMismatch`] with the difference.
    pub fn check_vocab(&self, vocab: &Vocab) -> Result<()> {
        match self.vocab.difference(vocab) {
            Some(difference) => Err(self.mismatch(format!("its vocabulary is another one: {difference}"))),
            None => Ok(()),
        }
    }

    fn mismatch(&self, reason: String) -> Error {
        Error::CacheMismatch { path: self.folder.clone(), reason }
    }

    /// Describes the text as a corpus without ids and documents. Single unknown tokens are not known, only their number.
    pub fn describe(&self) -> Corpus {
        let Manifest { encoding, tokens, unknown, characters, bytes, source_bytes, .. } = self.manifest;
        Corpus {
            ids: Vec::new(),
            documents: DocumentIndex::default(),
            empty_documents: self.manifest.empty_documents,
            looks_like_records: self.manifest.looks_like_records,
            vocab: self.vocab.clone(),
            text_format: self.manifest.text_format,
            encoding,
            is_likely_utf_16: self.manifest.is_likely_utf_16,
            source_bytes,
            text: TextSize { characters, bytes },
            tokens,
            unknown: UnknownTokens::with_count(unknown),
            dropped_letters: DroppedLetters::default(),
            document_contents: None,
        }
    }

    /// The documents of the first `max_tokens` tokens (0: all), and a digest of the content of each, for
    /// [`DocumentList::split`](crate::DocumentList::split). Only whole documents are among them, unless the first one alone is
    /// longer; there is none if the text is one stream.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] and [`Error::DamagedCache`].
    pub fn documents(&self, max_tokens: usize) -> Result<(DocumentIndex, Vec<u64>)> {
        let Some(digest) = &self.manifest.documents_sha256 else { return Ok(Default::default()) };
        let limit = self.limit(max_tokens);
        let StoredDocuments { ends, mut contents } = StoredDocuments::read(&self.folder, digest)?;
        let whole = ends.partition_point(|&end| end <= limit as u64);
        let mut lengths: Vec<usize> = Vec::with_capacity(whole.max(1));
        let mut start = 0;
        for &end in &ends[..whole] {
            lengths.push(end.saturating_sub(start) as usize);
            start = end;
        }
        if lengths.is_empty() {
            // as in memory, the start of a first document that is too long
            lengths.push(limit);
            start = limit as u64;
        }
        if start > self.manifest.tokens {
            return Err(self.mismatch(format!("its documents have {start} tokens, it has {}", self.manifest.tokens)));
        }
        contents.truncate(lengths.len());
        Ok((DocumentIndex::from_lengths(lengths.into_iter()), contents))
    }

    /// Reads the ids of the first `max_tokens` tokens (0: all) into memory. Of documents, only whole ones are read.
    ///
    /// # Errors
    ///
    /// Those of [`IdSource::read`] and [`TokenCache::documents`].
    pub fn load(&self, max_tokens: usize) -> Result<Corpus> {
        let (documents, contents) = self.documents(max_tokens)?;
        let is_stream = self.manifest.documents_sha256.is_none();
        let end = if is_stream { self.limit(max_tokens) } else { documents.range_of_documents(0..documents.len()).end };
        let ids = Ids::stored(self).slice(0..end).load()?.into_owned();
        Ok(Corpus { ids, documents, document_contents: (!is_stream).then_some(contents), ..self.describe() })
    }

    /// The number of tokens for `max_tokens`.
    fn limit(&self, max_tokens: usize) -> usize {
        if max_tokens == 0 { self.len() } else { max_tokens.min(self.len()) }
    }

    /// Reads the bytes of ids that can be in several shards.
    fn read_bytes(&self, state: &mut State, start: usize, out: &mut [u8]) -> Result<()> {
        let width = self.manifest.dtype.width();
        let (mut id, mut rest) = (start, out);
        while !rest.is_empty() {
            let number = self.starts.partition_point(|&first| first <= id) - 1;
            let within = id - self.starts[number];
            let available = (self.manifest.shards[number].tokens - within) * width;
            let (part, others) = rest.split_at_mut(available.min(rest.len()));
            state.shards[number].read(within * width, part, &mut state.block)?;
            id += part.len() / width;
            rest = others;
        }
        Ok(())
    }
}

impl IdSource for TokenCache {
    fn len(&self) -> usize {
        self.manifest.tokens as usize
    }

    fn read(&self, start: usize, out: &mut [u32]) -> Result<()> {
        let dtype = self.manifest.dtype;
        // a panic while the lock is held leaves nothing inconsistent: windows only repeat what files contain
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let mut windows = std::mem::take(&mut state.windows);
        let bytes = windows
            .bytes(start, out.len(), self.len(), dtype.width(), |start, bytes| self.read_bytes(state, start, bytes));
        let outcome = bytes.map(|bytes| dtype.decode(bytes, out));
        state.windows = windows;
        outcome?;
        match out.iter().find(|&&id| id as usize >= self.vocab.len()) {
            Some(&id) => Err(Error::IdOutOfRange { id, vocab_size: self.vocab.len() }),
            None => Ok(()),
        }
    }
}
