//! Building a token cache: one pass over the text counts its tokens, unless the vocabulary is given, and one writes their ids.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use super::TokenCache;
use super::documents::{DOCUMENT_BYTES, StoredDocuments};
use super::lock::BuildFolder;
use super::manifest::{MANIFEST, Manifest, TextFile};
use super::parallel::{Combined, Reading, SEGMENT_BYTES};
use super::shard::{Dtype, sha256, write_error};
use super::sinks::{Counts, Encoded};
use super::writer::{Written, write_ids};
use crate::builder::VocabBuilder;
use crate::corpus::{CorpusOptions, Files, Scan};
use crate::documents::Documents;
use crate::error::{Error, Result};
use crate::source::Source;
use crate::vocab::{SubwordCounter, Vocab};

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

    /// Called before the first id is written, with the bytes that the cache in `folder` will take. If the vocabulary is given,
    /// they are estimated from the start of the text. An error ends the building.
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
struct Reporter<'p> {
    progress: RefCell<&'p mut (dyn CacheProgress + 'p)>,
    /// Number of bytes of all files that the current pass has read.
    bytes: Cell<u64>,
}

impl<'a> Build<'a> {
    fn new(paths: &'a [PathBuf], options: &CorpusOptions, vocab: Option<&'a Vocab>, memory_limit: u64) -> Result<Self> {
        let texts = paths.iter().map(|path| match TextFile::of(path) {
            None => Err(Error::Missing { path: path.clone() }),
            // the bytes of a pipe can be read once
            Some(_) if !path.is_file() && !path.is_dir() => Err(Error::Device { path: path.clone() }),
            Some(text) => Ok(text),
        });
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
        let progress = Reporter { progress: RefCell::new(progress), bytes: Cell::new(0) };
        let counted = if self.vocab.is_none() { Some(self.count(&progress)?) } else { None };
        let vocab = match (self.vocab, &counted) {
            (Some(vocab), _) | (None, Some(Counted { vocab, .. })) => vocab,
            (None, None) => return Err(stopped(building)),
        };
        let dtype = Dtype::for_vocab(vocab.len());
        let mut json = vocab.to_json()?;
        let json_bytes = json.len() as u64;
        let announce = |size: u64| progress.progress.borrow_mut().announce(target, size + json_bytes);
        if let Some(counted) = &counted {
            announce(counted.tokens * dtype.width() as u64 + counted.documents * DOCUMENT_BYTES)?;
        }
        let mut estimate = |size: u64| if counted.is_none() { announce(size) } else { Ok(()) };
        let (files, Found { unknown, contents, counter }, written) =
            self.write_ids(building, vocab, dtype, &progress, &mut estimate)?;
        if let Some(counter) = counter {
            // the announced file has as many lines, with shorter frequencies
            json = vocab.clone().counted(counter).to_json()?;
        }
        let tokens = files.scanned.tokens;
        let current: Vec<Option<TextFile>> = self.paths.iter().map(|path| TextFile::of(path)).collect();
        let is_unchanged = current.iter().map(Option::as_ref).eq(self.texts.iter().map(Some));
        if counted.as_ref().is_some_and(|counted| counted.tokens != tokens) || !is_unchanged {
            let reason = "the text has changed while it was read".to_owned();
            return Err(Error::CacheMismatch { path: target.to_owned(), reason });
        }
        let ends = files.scanned.documents.ranges().map(|document| document.end as u64).collect();
        let documents = StoredDocuments { ends, contents };
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
            tokens,
            ids_sha256: written.ids_sha256,
            shards: written.shards,
            documents_sha256,
            empty_documents: files.scanned.empty_documents,
            unknown,
            characters: files.scanned.text.characters,
            bytes: files.scanned.text.bytes,
            source_bytes: files.formats.bytes,
            text_format: files.formats.format(),
            encoding: files.formats.encoding,
            is_likely_utf_16: files.formats.is_likely_utf_16,
            looks_like_records: files.scanned.looks_like_records,
        };
        write(&building.join(MANIFEST), &manifest.to_bytes()?)
    }

    /// The second pass. Calls `announce` with the estimated size of all ids and documents before it writes the first ones.
    fn write_ids<'b>(
        &'b self,
        building: &Path,
        vocab: &Vocab,
        dtype: Dtype,
        progress: &'b Reporter<'_>,
        announce: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<(Files<'b>, Found, Written)> {
        let (sender, receiver) = sync_channel(1);
        let (written, files) = std::thread::scope(|scope| {
            let writer = scope.spawn(move || write_ids(building, dtype, &receiver));
            let mut found = Found::default();
            let mut is_first = true;
            let files = self.reading(Scan::of_vocab(vocab)).read(
                self.sources(CachePass::Write, progress),
                || Encoded::new(vocab, dtype),
                |encoded, combined, _| {
                    if std::mem::take(&mut is_first) {
                        let size = encoded.ids.len() as u64 + encoded.contents.len() as u64 * DOCUMENT_BYTES;
                        announce(self.estimate(size, combined, progress.bytes.get()))?;
                    }
                    found.unknown += encoded.unknown;
                    found.counter = Some(encoded.counter.merged(found.counter.take()));
                    found.contents.extend_from_slice(&encoded.contents);
                    Ok(sender.send(encoded.ids).map_err(|_| stopped(building))?)
                },
            );
            drop(sender);
            (writer.join(), files.map(|files| (files, found)))
        });
        // an error of the writer is the reason for that of the encoder
        let written = written.map_err(|_| stopped(building))??;
        let (files, found) = files?;
        Ok((files, found, written))
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
            let source = Source::open(path)?.with_memory_limit(self.memory_limit).with_any_length();
            Ok(source.with_progress(move |bytes| {
                progress.bytes.set(before.get() + bytes);
                progress.progress.borrow_mut().progress(pass, progress.bytes.get(), total);
            }))
        })
    }

    /// How the passes read the text.
    fn reading<'v>(&self, scan: Scan<'v>) -> Reading<'v> {
        let (encoding, memory_limit) = (self.options.encoding, self.memory_limit);
        Reading { scan, encoding, memory_limit, segment_bytes: SEGMENT_BYTES }
    }

    /// The first pass.
    fn count(&self, progress: &Reporter<'_>) -> Result<Counted> {
        let CorpusOptions { kind, normalization, line_ends, documents, ref reserved, .. } = self.options;
        let scan = Scan { kind, normalization, line_ends, documents, max_tokens: 0, subwords: None };
        let mut builder = VocabBuilder::new(kind, normalization, line_ends, documents, reserved)?;
        let files = self.reading(scan).read(
            self.sources(CachePass::Count, progress),
            Counts::default,
            |counts: Counts, _, memory| counts.add_to(&mut builder, memory),
        )?;
        let built = builder.finish(self.options.min_freq, self.options.max_vocab, files.formats.format())?;
        let (tokens, documents) = (files.scanned.tokens, files.scanned.documents.len() as u64);
        Ok(Counted { vocab: built.vocab, tokens, documents })
    }

    /// The size of the whole text, if its first segment has this size, and all of it is like that. `bytes` were read of the
    /// files so far.
    fn estimate(&self, size: u64, first: &Combined, bytes: u64) -> u64 {
        let all_bytes: u64 = self.texts.iter().map(|text| text.bytes).sum();
        // the length of the text differs from that of its files if they are compressed
        let text_bytes = all_bytes.max(bytes) as f64 / bytes.max(1) as f64 * first.bytes_read as f64;
        (size as f64 * (text_bytes / first.segment_bytes.max(1) as f64).max(1.0)).ceil() as u64
    }
}

/// What the first pass finds.
struct Counted {
    vocab: Vocab,
    tokens: u64,
    documents: u64,
}

/// What the second pass finds.
#[derive(Default)]
struct Found {
    unknown: u64,
    /// The digest of the content of each document.
    contents: Vec<u64>,
    /// Counts subwords.
    counter: Option<SubwordCounter>,
}

/// The error of a thread whose partner has ended, which has the reason.
fn stopped(folder: &Path) -> Error {
    write_error(folder)(std::io::ErrorKind::BrokenPipe.into())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).and_then(|()| fs::File::open(path)?.sync_all()).map_err(write_error(path))
}
