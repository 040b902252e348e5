//! The training text: in memory, or in a token cache if it is larger than a part of the memory.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rnnlm_model::CorpusRecord;
use rnnlm_vocab::{Corpus, CorpusOptions, Ids, TextIds, TokenCache, Vocab, read_token_file};
use sha2::{Digest, Sha256};

use crate::available_memory::available_memory;
use crate::corpora::{self, TextSource};
use crate::failure::{Failure, Result};
use crate::token_cache;

/// A text whose ids take more than this part of the available memory is trained on from a token cache.
const MEMORY_PARTS: u64 = 8;

/// A training text.
#[derive(Debug)]
pub(crate) struct Text {
    /// The text; without ids if they are in `cache`.
    pub(crate) corpus: Corpus,
    /// The ids of the text, if it is one stream and they are not in memory.
    cache: Option<Box<TokenCache>>,
    /// Number of tokens that are used.
    used: usize,
}

impl From<Corpus> for Text {
    fn from(corpus: Corpus) -> Self {
        Self { used: corpus.ids.len(), corpus, cache: None }
    }
}

impl Text {
    /// The text of a cache. The ids of documents are read into memory, because epochs shuffle them.
    pub(crate) fn of_cache(cache: TokenCache, max_tokens: usize) -> Result<Self> {
        if cache.vocab().end_token().is_some() {
            return Ok(cache.load(max_tokens)?.into());
        }
        let all = Ids::stored(&cache).len();
        let used = if max_tokens == 0 { all } else { max_tokens.min(all) };
        Ok(Self { corpus: cache.describe(), cache: Some(Box::new(cache)), used })
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
        match &self.cache {
            Some(cache) => Ids::stored(cache.as_ref()).slice(0..self.used),
            None => Ids::Memory(&self.corpus.ids),
        }
    }

    /// Number of tokens, or of documents.
    pub(crate) fn len(&self) -> usize {
        if self.corpus.vocab.end_token().is_some() { self.corpus.documents.len() } else { self.used }
    }

    /// A range of its tokens, or of its documents.
    pub(crate) fn part(&self, range: Range<usize>) -> TextIds<'_> {
        match self.corpus.document_set(range.clone()) {
            Some(documents) => TextIds::Documents(documents),
            None => TextIds::Stream(self.ids().slice(range)),
        }
    }

    /// The record of the text in `config.json`.
    pub(crate) fn record(&self, name: &str, options: &CorpusOptions) -> Result<CorpusRecord> {
        match &self.cache {
            Some(cache) if self.used as u64 == self.corpus.tokens => Ok(CorpusRecord {
                name: name.to_owned(),
                options: options.clone(),
                tokens: self.corpus.tokens,
                used_tokens: self.used as u64,
                ids_sha256: cache.ids_sha256().to_owned(),
            }),
            Some(_) => Ok(CorpusRecord::of_ids(name, options, self.corpus.tokens, self.ids())?),
            None => Ok(CorpusRecord::new(name, options, &self.corpus)),
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
    let bytes: u64 = paths.iter().map(|path| bytes_on_disk(path)).sum();
    let tokens = if max_tokens == 0 { bytes } else { bytes.min(max_tokens as u64) };
    available_memory().is_some_and(|available| tokens.saturating_mul(4) > available / MEMORY_PARTS)
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
