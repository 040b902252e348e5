//! Building a token cache: one pass over the text counts its tokens, a second one writes their ids.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use sha2::{Digest, Sha256};

use super::TokenCache;
use super::documents::StoredDocuments;
use super::lock::BuildFolder;
use super::manifest::{MANIFEST, Manifest, TextFile};
use super::shard::{BLOCK_BYTES, Dtype, ShardRecord, ShardWriter, hexadecimal, sha256, write_error};
use crate::builder::VocabBuilder;
use crate::corpus::{CorpusOptions, Files, Fnv1a, Scan, Token};
use crate::documents::Documents;
use crate::error::{Error, Result};
use crate::source::Source;
use crate::unknown::UNKNOWN_ID;
use crate::vocab::Vocab;

/// A pass over a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePass {
    /// Counts the tokens, and builds the vocabulary.
    Count,
    /// Writes the ids.
    Write,
}

/// Follows the building of a cache.
pub trait CacheProgress {
    /// Called after each read with the bytes of all files that the pass has read, and those that it will read.
    fn progress(&mut self, pass: CachePass, bytes: u64, total: u64) {
        let _ = (pass, bytes, total);
    }

    /// Called between the passes with the bytes that the cache in `folder` will take. An error ends the building.
    ///
    /// # Errors
    ///
    /// Such as [`Error::DiskSpace`].
    fn announce(&mut self, folder: &Path, bytes: u64) -> Result<()> {
        let _ = (folder, bytes);
        Ok(())
    }
}

impl TokenCache {
    /// Builds the cache of a text in one or several files, or opens it if `folder` has it already. `vocab` is a given
    /// vocabulary, which also decides how the text is read; else the vocabulary is built from the text. `max_tokens` is not
    /// used. `memory_limit` bounds the memory for the vocabulary and for each document, in bytes.
    ///
    /// The cache is built in the folder `.NAME.building` next to `folder`, which is renamed at the end, so it is complete or
    /// absent. An interrupted build starts again.
    ///
    /// # Errors
    ///
    /// [`Error::CacheMismatch`] if `folder` has the cache of another text, vocabulary or tokenization, or a text changes while
    /// it is read; [`Error::Exists`] if it is something else; [`Error::CacheBusy`], [`Error::Write`]; those of
    /// [`Corpus::read`](crate::Corpus::read) and of `progress`.
    pub fn build(
        folder: &Path,
        texts: &[PathBuf],
        options: &CorpusOptions,
        vocab: Option<&Vocab>,
        memory_limit: u64,
        progress: &mut (dyn CacheProgress + '_),
    ) -> Result<Self> {
        let build = Build::new(texts, options, vocab, memory_limit)?;
        if Self::is_cache(folder) {
            let cache = Self::open(folder)?;
            build.check(&cache)?;
            return Ok(cache);
        }
        if folder.exists() {
            return Err(Error::Exists { path: folder.to_owned() });
        }
        build.publish(folder, progress)
    }

    /// Like [`TokenCache::build`]; replaces a cache in `folder`.
    ///
    /// # Errors
    ///
    /// Those of [`TokenCache::build`], except that another cache is not an error.
    pub fn rebuild(
        folder: &Path,
        texts: &[PathBuf],
        options: &CorpusOptions,
        vocab: Option<&Vocab>,
        memory_limit: u64,
        progress: &mut (dyn CacheProgress + '_),
    ) -> Result<Self> {
        if folder.exists() && !Self::is_cache(folder) {
            return Err(Error::Exists { path: folder.to_owned() });
        }
        Build::new(texts, options, vocab, memory_limit)?.publish(folder, progress)
    }
}

/// A cache to build.
struct Build<'a> {
    paths: &'a [PathBuf],
    texts: Vec<TextFile>,
    options: CorpusOptions,
    vocab: Option<&'a Vocab>,
    memory_limit: u64,
}

/// The progress of a build, which every file reports.
struct Reporter<'p>(RefCell<&'p mut (dyn CacheProgress + 'p)>);

/// What the writing thread returns.
struct Written {
    shards: Vec<ShardRecord>,
    ids_sha256: String,
}

impl<'a> Build<'a> {
    fn new(paths: &'a [PathBuf], options: &CorpusOptions, vocab: Option<&'a Vocab>, memory_limit: u64) -> Result<Self> {
        let texts = paths.iter().map(|path| TextFile::of(path).ok_or_else(|| Error::Missing { path: path.clone() }));
        let mut options = CorpusOptions { max_tokens: 0, ..options.clone() };
        if let Some(vocab) = vocab {
            options.kind = vocab.kind();
            options.normalization = vocab.normalization();
            options.line_ends = vocab.line_ends();
            options.documents = vocab.documents();
            (options.min_freq, options.max_vocab, options.reserved) = (0, 0, Vec::new());
        }
        Ok(Self { paths, texts: texts.collect::<Result<_>>()?, options, vocab, memory_limit })
    }

    /// An error if a cache is not that of this text.
    fn check(&self, cache: &TokenCache) -> Result<()> {
        let mismatch = |reason: String| Err(Error::CacheMismatch { path: cache.folder.clone(), reason });
        let Manifest { options, texts, has_given_vocab, .. } = &cache.manifest;
        if let Some(vocab) = self.vocab {
            cache.check_vocab(vocab)?;
        } else if *has_given_vocab {
            return mismatch("it was built with a given vocabulary".to_owned());
        }
        if *options != self.options {
            let json = |options: &CorpusOptions| serde_json::to_string(options).unwrap_or_default();
            return mismatch(format!("it was built with {}, not with {}", json(options), json(&self.options)));
        }
        cache.check_texts()?;
        let paths = |texts: &[TextFile]| texts.iter().map(|text| text.path.clone()).collect::<Vec<_>>();
        let (built, requested) = (paths(texts), paths(&self.texts));
        if built != requested {
            return mismatch(format!("it was built from {built:?}, not from {requested:?}"));
        }
        Ok(())
    }

    fn publish(self, folder: &Path, progress: &mut (dyn CacheProgress + '_)) -> Result<TokenCache> {
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(write_error(parent))?;
        }
        let building = BuildFolder::create(folder)?;
        match self.write(building.path(), folder, progress) {
            Ok(()) => building.publish(folder)?,
            Err(error) => {
                building.discard();
                return Err(error);
            }
        }
        TokenCache::open(folder)
    }

    /// Writes all files of the cache into `building`, which will be moved to `target`.
    fn write(&self, building: &Path, target: &Path, progress: &mut (dyn CacheProgress + '_)) -> Result<()> {
        let progress = Reporter(RefCell::new(progress));
        let (built, counted) = self.count(&progress)?;
        let vocab = self.vocab.unwrap_or(&built);
        let dtype = Dtype::for_vocab(vocab.len());
        let json = vocab.to_json()?;
        let bytes = counted * dtype.width() as u64 + json.len() as u64;
        progress.0.borrow_mut().announce(target, bytes)?;

        let (sender, receiver) = sync_channel(1);
        let (files, written) = std::thread::scope(|scope| {
            let writer = scope.spawn(move || write_blocks(building, dtype, &receiver));
            let send = |block: Vec<u8>| sender.send(block).map_err(|_| stopped(building));
            let files = self.encode(vocab, dtype, &progress, send);
            drop(sender);
            (files, writer.join())
        });
        // an error of the writer is the reason for that of the encoder
        let written = written.map_err(|_| stopped(building))??;
        let Encoded { files, documents, unknown } = files?;
        let current: Vec<Option<TextFile>> = self.paths.iter().map(|path| TextFile::of(path)).collect();
        let is_unchanged = current.iter().map(Option::as_ref).eq(self.texts.iter().map(Some));
        if files.scanned.tokens != counted || !is_unchanged {
            let reason = "the text has changed while it was read".to_owned();
            return Err(Error::CacheMismatch { path: target.to_owned(), reason });
        }
        write(&building.join("vocab.json"), json.as_bytes())?;
        let has_documents = self.options.documents != Documents::None;
        let documents_sha256 = has_documents.then(|| documents.write(building)).transpose()?;
        let manifest = Manifest {
            format_version: Manifest::version(),
            options: CorpusOptions { encoding: self.options.encoding, ..self.options.clone() },
            has_given_vocab: self.vocab.is_some(),
            texts: self.texts.clone(),
            vocab_sha256: sha256(json.as_bytes()),
            dtype,
            tokens: counted,
            ids_sha256: written.ids_sha256,
            shards: written.shards,
            documents_sha256,
            empty_documents: files.scanned.empty_documents,
            unknown,
            characters: files.scanned.text.characters,
            bytes: files.scanned.text.bytes,
            source_bytes: files.bytes,
            text_format: files.format(),
            encoding: files.encoding,
            is_likely_utf_16: files.is_likely_utf_16,
            looks_like_records: files.scanned.looks_like_records,
        };
        write(&building.join(MANIFEST), &manifest.to_bytes()?)
    }

    /// The files, whose reads are reported.
    fn sources<'b>(&'b self, pass: CachePass, progress: &'b Reporter<'_>) -> impl Iterator<Item = Result<Source<'b>>> {
        let total = self.texts.iter().map(|text| text.bytes).sum();
        let before = std::rc::Rc::new(Cell::new(0));
        let mut start = 0;
        self.paths.iter().zip(&self.texts).map(move |(path, text)| {
            before.set(start);
            start += text.bytes;
            let before = before.clone();
            let source = Source::open(path)?.with_memory_limit(self.memory_limit);
            Ok(source.with_progress(move |bytes| progress.0.borrow_mut().progress(pass, before.get() + bytes, total)))
        })
    }

    /// The vocabulary of the text, and the number of its tokens.
    fn count(&self, progress: &Reporter<'_>) -> Result<(Vocab, u64)> {
        let CorpusOptions { kind, normalization, line_ends, documents, encoding, .. } = self.options;
        let scan = Scan { kind, normalization, line_ends, documents, max_tokens: 0 };
        let mut builder = match self.vocab {
            Some(vocab) => VocabBuilder::extending(vocab),
            None => VocabBuilder::new(kind, normalization, line_ends, documents, &self.options.reserved)?,
        };
        let is_given = self.vocab.is_some();
        let files = Files::read(self.sources(CachePass::Count, progress), encoding, scan, |token, _, memory| {
            if !is_given {
                token.count(&mut builder, memory)?;
            }
            Ok(())
        })?;
        let built = builder.finish(self.options.min_freq, self.options.max_vocab, files.format())?;
        Ok((built.vocab, files.scanned.tokens))
    }

    /// Passes the ids of the text to `send`, in blocks.
    fn encode<'b>(
        &'b self,
        vocab: &Vocab,
        dtype: Dtype,
        progress: &'b Reporter<'_>,
        send: impl Fn(Vec<u8>) -> Result<()>,
    ) -> Result<Encoded<'b>> {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let (mut documents, mut content, mut unknown) = (StoredDocuments::default(), Content::default(), 0);
        let (end_token, separator) = (vocab.end_token(), vocab.kind().separator());
        let scan = Scan::of_vocab(vocab);
        let sources = self.sources(CachePass::Write, progress);
        let files = Files::read(sources, self.options.encoding, scan, |token, _, _| {
            let id = match (token, end_token) {
                (Token::Raw(raw), _) => {
                    if end_token.is_some() {
                        content.add(raw, separator);
                    }
                    vocab.id_of(raw)
                }
                (Token::End, Some(end)) => {
                    content.finish(&mut documents);
                    end
                }
                (Token::End, None) => return Ok(()),
            };
            unknown += u64::from(id == UNKNOWN_ID);
            dtype.push(id, &mut block);
            if block.len() == BLOCK_BYTES {
                send(std::mem::replace(&mut block, Vec::with_capacity(BLOCK_BYTES)))?;
            }
            Ok(())
        })?;
        if !block.is_empty() {
            send(block)?;
        }
        Ok(Encoded { files, documents, unknown })
    }
}

/// What the second pass finds.
struct Encoded<'a> {
    files: Files<'a>,
    documents: StoredDocuments,
    unknown: u64,
}

/// The content of the current document.
#[derive(Default)]
struct Content {
    hash: Fnv1a,
    /// Number of tokens of the document.
    tokens: u64,
    /// Number of tokens of all documents before it, with their end tokens.
    before: u64,
}

impl Content {
    fn add(&mut self, raw: &[u8], separator: &str) {
        if self.tokens > 0 {
            self.hash.add(separator.as_bytes());
        }
        self.hash.add(raw);
        self.tokens += 1;
    }

    fn finish(&mut self, documents: &mut StoredDocuments) {
        self.before += self.tokens + 1;
        documents.ends.push(self.before);
        documents.contents.push(std::mem::take(&mut self.hash).value());
        self.tokens = 0;
    }
}

/// Writes blocks into shards, with their digests.
fn write_blocks(folder: &Path, dtype: Dtype, blocks: &Receiver<Vec<u8>>) -> Result<Written> {
    let (mut shards, mut shard, mut all_ids) = (Vec::new(), None, Sha256::new());
    let mut ids = vec![0; 4096];
    let mut id_bytes = Vec::with_capacity(4 * ids.len());
    for block in blocks {
        for part in block.chunks(ids.len() * dtype.width()) {
            let ids = &mut ids[..part.len() / dtype.width()];
            dtype.decode(part, ids);
            id_bytes.clear();
            ids.iter().for_each(|id| id_bytes.extend_from_slice(&id.to_le_bytes()));
            all_ids.update(&id_bytes);
        }
        let mut current = match shard.take() {
            Some(current) => current,
            None => ShardWriter::create(folder.join(format!("tokens-{:05}.safetensors", shards.len() + 1)))?,
        };
        current.write(&block)?;
        match current.is_full() {
            true => shards.push(current.finish(dtype)?),
            false => shard = Some(current),
        }
    }
    shards.extend(shard.map(|shard| shard.finish(dtype)).transpose()?);
    Ok(Written { shards, ids_sha256: hexadecimal(&all_ids.finalize()) })
}

/// The error of a thread whose partner has ended, which has the reason.
fn stopped(folder: &Path) -> Error {
    write_error(folder)(std::io::ErrorKind::BrokenPipe.into())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).and_then(|()| fs::File::open(path)?.sync_all()).map_err(write_error(path))
}
