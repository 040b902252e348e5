//! The training text or that of the validation set: in memory, or in a token cache if it is larger than a part of the memory.

use std::fs;
use std::path::{Path, PathBuf};

use rnnlm_model::CorpusRecord;
use rnnlm_vocab::{
    Corpus, CorpusOptions, DocumentList, DocumentSet, IdSource, Ids, PackedIds, TextIds, TokenCache, Vocab,
    is_compressed, read_token_file,
};
use sha2::{Digest, Sha256};

use crate::available_memory::available_memory;
use crate::corpora::{self, TextSource};
use crate::failure::{Failure, Result};
use crate::token_cache;

/// A text whose ids take more than this part of the available memory is trained on from a token cache.
const MEMORY_PARTS: u64 = 8;

/// The length of a text relative to its compressed file: about 3 with gzip and 4 with zstd, more for logs and tables.
const COMPRESSION: u64 = 8;

/// A training text.
#[derive(Debug)]
pub(crate) struct Text {
    /// The text, without its ids.
    pub(crate) corpus: Corpus,
    store: Store,
    /// Number of tokens that are used.
    used: usize,
    /// A digest of the content of each document.
    contents: Vec<u64>,
}

/// The ids of a text.
#[derive(Debug)]
enum Store {
    Memory(PackedIds),
    Cache(Box<TokenCache>),
}

impl From<Corpus> for Text {
    fn from(mut corpus: Corpus) -> Self {
        let contents = corpus.document_contents();
        let ids = std::mem::take(&mut corpus.ids);
        Self { used: ids.len(), corpus, store: Store::Memory(PackedIds::new(ids)), contents }
    }
}

impl Text {
    /// The text of a cache. The ids of documents are read into memory if they are small, because epochs shuffle them.
    pub(crate) fn of_cache(cache: TokenCache, max_tokens: usize) -> Result<Self> {
        let (documents, contents) = cache.documents(max_tokens)?;
        let all = Ids::stored(&cache).len();
        let used = match documents.len().checked_sub(1) {
            Some(last) => documents.range(last).end,
            None if max_tokens == 0 => all,
            None => max_tokens.min(all),
        };
        let mut corpus = cache.describe();
        corpus.documents = documents;
        let is_small = !is_large_in_memory(used as u64);
        let store = match corpus.vocab.end_token() {
            Some(_) if is_small => {
                Store::Memory(PackedIds::read(Ids::stored(&cache).slice(0..used), corpus.vocab.len())?)
            }
            _ => Store::Cache(Box::new(cache)),
        };
        Ok(Self { corpus, store, used, contents })
    }

    /// Reads a text and builds its vocabulary.
    pub(crate) fn read(source: &TextSource, options: &CorpusOptions) -> Result<Self> {
        if let TextSource::Cache(folder) = source {
            return Self::of_cache(corpora::open_cache(folder)?, options.max_tokens);
        }
        match automatic_cache(source, options, None)? {
            Some(cache) => Self::of_cache(cache, options.max_tokens),
            None => Ok(source.read(options)?.into()),
        }
    }

    /// Reads a text with a given vocabulary.
    pub(crate) fn encode(source: &TextSource, vocab: &Vocab, options: &CorpusOptions) -> Result<Self> {
        if let TextSource::Cache(folder) = source {
            let cache = corpora::open_cache(folder)?;
            cache.check_vocab(vocab)?;
            return Self::of_cache(cache, options.max_tokens);
        }
        match automatic_cache(source, options, Some(vocab))? {
            Some(cache) => Self::of_cache(cache, options.max_tokens),
            None => Ok(source.encode(vocab.clone(), options.max_tokens, options.encoding)?.into()),
        }
    }

    /// The ids in a file of nanoGPT or llm.c, plus `shift`: 1 if the vocabulary has an added `<unk>`.
    pub(crate) fn of_token_file(path: &Path, vocab: &Vocab, shift: u32, max_tokens: usize) -> Result<Self> {
        let mut ids = read_token_file(path)?;
        if max_tokens > 0 {
            ids.truncate(max_tokens);
        }
        ids.iter_mut().for_each(|id| *id += shift);
        Ok(Corpus::from_ids(ids, vocab.clone())?.into())
    }

    /// The ids that are used.
    pub(crate) fn ids(&self) -> Ids<'_> {
        let store: &dyn IdSource = match &self.store {
            Store::Memory(ids) => ids,
            Store::Cache(cache) => cache.as_ref(),
        };
        Ids::stored(store).slice(0..self.used)
    }

    /// All of the text.
    pub(crate) fn all(&self) -> TextIds<'_> {
        let documents = &self.corpus.documents;
        match self.corpus.vocab.end_token() {
            Some(end) => DocumentSet::adjacent(self.ids(), documents, 0..documents.len(), end).into(),
            None => TextIds::Stream(self.ids()),
        }
    }

    /// The documents of a list.
    pub(crate) fn documents<'a>(&'a self, list: &'a DocumentList, end_token: u32) -> TextIds<'a> {
        DocumentSet::listed(self.ids(), &self.corpus.documents, list, end_token).into()
    }

    /// Divides the documents into a training and a validation set.
    pub(crate) fn split_documents(&mut self, fraction: f64, seed: u64) -> Result<[DocumentList; 2]> {
        let contents = std::mem::take(&mut self.contents);
        Ok(DocumentList::split(&self.corpus.documents, &contents, fraction, seed)?)
    }

    /// The record of the text in `config.json`.
    pub(crate) fn record(&self, name: &str, options: &CorpusOptions) -> Result<CorpusRecord> {
        match &self.store {
            Store::Cache(cache) if self.used as u64 == self.corpus.tokens => Ok(CorpusRecord {
                name: name.to_owned(),
                options: options.clone(),
                tokens: self.corpus.tokens,
                used_tokens: self.used as u64,
                ids_sha256: cache.ids_sha256().to_owned(),
            }),
            _ => Ok(CorpusRecord::of_ids(name, options, self.corpus.tokens, self.ids())?),
        }
    }
}

/// The path of a file of ids; `None` for other texts.
pub(crate) fn token_file(source: &TextSource) -> Option<&Path> {
    match source {
        TextSource::Path(path) if path.extension().is_some_and(|extension| extension == "bin") => Some(path),
        _ => None,
    }
}

/// The token cache of a text that is too large for memory, which is built if it is missing or outdated.
fn automatic_cache(source: &TextSource, options: &CorpusOptions, vocab: Option<&Vocab>) -> Result<Option<TokenCache>> {
    let Some(paths) = source.paths().filter(|paths| is_large(paths, options.max_tokens)) else { return Ok(None) };
    let folder_of = |vocab: Option<&Vocab>| -> Result<PathBuf> {
        let mut digest = Sha256::new();
        let options = CorpusOptions { max_tokens: 0, ..options.clone() };
        digest.update(serde_json::to_string(&options).unwrap_or_default());
        for path in &paths {
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            digest.update(path.as_os_str().as_encoded_bytes());
            digest.update([0]);
        }
        if let Some(vocab) = vocab {
            digest.update(vocab.to_json().map_err(rnnlm_model::Error::from)?);
        }
        let key: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(corpora::cache().join("tokens").join(format!("{}-{key}", source.stem())))
    };
    // a run that built its vocabulary from the text left a cache with that vocabulary
    if let Some(vocab) = vocab
        && let Ok(cache) = TokenCache::open(folder_of(None)?)
        && cache.check_vocab(vocab).and_then(|()| cache.check_texts()).is_ok()
    {
        return Ok(Some(cache));
    }
    let folder = folder_of(vocab)?;
    let cache = match token_cache::build(&folder, &paths, options, vocab, false) {
        Err(Failure::Library(rnnlm_model::Error::Vocab(
            rnnlm_vocab::Error::CacheMismatch { .. } | rnnlm_vocab::Error::DamagedCache { .. },
        ))) => token_cache::build(&folder, &paths, options, vocab, true)?,
        outcome => outcome?,
    };
    Ok(Some(cache))
}

/// Whether the ids of these files would take more than a part of the available memory. A file with holes is not large: it
/// takes less space than a cache of it.
fn is_large(paths: &[PathBuf], max_tokens: usize) -> bool {
    let bytes: u64 = paths.iter().map(|path| likely_bytes(path)).sum();
    let tokens = if max_tokens == 0 { bytes } else { bytes.min(max_tokens as u64) };
    is_large_in_memory(tokens)
}

/// Whether so many ids take more than a part of the available memory while a text is read.
fn is_large_in_memory(tokens: u64) -> bool {
    available_memory().is_some_and(|available| tokens.saturating_mul(4) > available / MEMORY_PARTS)
}

/// The likely length of the text in a file.
fn likely_bytes(path: &Path) -> u64 {
    let factor = if is_compressed(path) { COMPRESSION } else { 1 };
    factor * bytes_on_disk(path)
}

/// The length of a file, or the space that it takes on the disk if that is less.
fn bytes_on_disk(path: &Path) -> u64 {
    let Ok(metadata) = fs::metadata(path) else { return 0 };
    #[cfg(unix)]
    let allocated = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    #[cfg(not(unix))]
    let allocated = u64::MAX;
    if metadata.is_file() { metadata.len().min(allocated) } else { 0 }
}
