//! [`Run`]: reads a run from a folder or from memory.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rnnlm_rnn::{ExecutionPath, Recurrence};
use rnnlm_vocab::{VOCAB_FORMAT_VERSION, Vocab};

use super::folder::{is_unfinished, require_run};
use super::log::{MAX_LOG_BYTES, parse_metrics};
use super::names::{BEST, CONFIG, MAX_CONFIG_BYTES, MAX_VOCAB_BYTES, METRICS, MODEL, TOKENIZER, TRAINER, VOCAB};
use super::record::{Config, FORMAT_VERSION, Metrics, RunConfig, parse_with_digest};
use super::source::Source;
use super::weights::{self, WeightsFile};
use crate::{Error, LanguageModel, ModelConfig, Result};

/// A run to read: its configuration and its vocabulary, and access to its model.
#[derive(Debug)]
pub struct Run {
    source: Source,
    config: Config,
    vocab: Vocab,
    vocab_sha256: String,
}

impl Run {
    /// Opens the run in a folder: reads its configuration and its vocabulary.
    ///
    /// # Errors
    /// [`Error::NotARun`] if the folder has no run; [`Error::Damaged`], [`Error::NewerFormat`] or [`Error::Mismatch`] if a
    /// file is not what was written; [`Error::Io`] if a file cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        require_run(path)?;
        let source = Source::Folder(path.to_owned());
        let mut config = source.read(CONFIG, MAX_CONFIG_BYTES)?.into_owned();
        loop {
            let vocab = source.read(VOCAB, MAX_VOCAB_BYTES)?.into_owned();
            let current = source.read(CONFIG, MAX_CONFIG_BYTES)?.into_owned();
            if current == config {
                let run = Self::parse(source, &config, &vocab)?;
                run.check_tokenizer()?;
                return Ok(run);
            }
            // another process changed the run in the meantime, so the two files may not belong together
            config = current;
        }
    }

    /// Opens a run from the contents of `config.json`, `vocab.json` and `model.safetensors`, with the same checks as
    /// [`Run::open`]. A program can embed a model with [`include_bytes!`].
    ///
    /// No files are read or written. [`Run::load`] checks the model's bytes. The run has no metrics and no best model.
    ///
    /// ```ignore
    /// let run = Run::from_bytes(
    ///     include_bytes!("run/config.json"),
    ///     include_bytes!("run/vocab.json"),
    ///     &include_bytes!("run/model.safetensors")[..],
    /// )?;
    /// ```
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::NewerFormat`] or [`Error::Mismatch`] if `config` or `vocab` is not what was written.
    pub fn from_bytes(config: &[u8], vocab: &[u8], model: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        Self::parse(Source::Memory(model.into()), config, vocab)
    }

    fn parse(source: Source, config: &[u8], vocab: &[u8]) -> Result<Self> {
        let path = source.path(CONFIG);
        let (content, _) = parse_with_digest(&path, config, FORMAT_VERSION)?;
        let config = Config::from_json(content).map_err(|error| error.to_string());
        let config = config.and_then(Config::checked).map_err(|reason| Error::Damaged { path, reason })?;
        let path = source.path(VOCAB);
        let (content, vocab_sha256) = parse_with_digest(&path, vocab, VOCAB_FORMAT_VERSION)?;
        let vocab = Vocab::from_json(content.to_string().as_bytes()).map_err(|error| match error {
            // the file is in order, but this program cannot use it
            rnnlm_vocab::Error::NoSubwords => Error::Vocab(error),
            error => Error::Damaged { path: path.clone(), reason: error.to_string() },
        })?;
        let vocab_size = config.model().vocab_size;
        if vocab.len() != vocab_size {
            let reason = format!("it has {} entries, config.json has vocab_size {vocab_size}", vocab.len());
            return Err(Error::Mismatch { path, reason });
        }
        Ok(Self { source, config, vocab, vocab_sha256 })
    }

    /// An error if the `tokenizer.json` of a run of subwords is not the one in `vocab.json`, whose digest is checked. Those of
    /// other runs are for other programs, and are not read.
    fn check_tokenizer(&self) -> Result<()> {
        let Some(tokenizer) = self.vocab.tokenizer_of_subwords() else { return Ok(()) };
        let found = self.source.read(TOKENIZER, MAX_VOCAB_BYTES)?;
        if *found == *tokenizer.json().as_bytes() {
            return Ok(());
        }
        let reason = "it is not the tokenizer that vocab.json has".to_owned();
        Err(Error::Damaged { path: self.source.path(TOKENIZER), reason })
    }

    /// The run that was just written to a folder.
    pub(crate) fn written(path: &Path, config: Config, vocab: Vocab, vocab_sha256: String) -> Self {
        Self { source: Source::Folder(path.to_owned()), config, vocab, vocab_sha256 }
    }

    /// Whether a folder is empty, or contains only the files of a process that ended before it saved its run for the first
    /// time. A new run may be created there.
    pub fn is_unfinished(path: &Path) -> bool {
        is_unfinished(path)
    }

    /// The folder; the empty path for a run that was opened from bytes.
    pub fn path(&self) -> &Path {
        self.source.folder()
    }

    /// The path of one of the run's files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.source.path(name)
    }

    /// The settings of the run.
    ///
    /// # Errors
    /// [`Error::NeverTrained`] for an imported run.
    pub fn config(&self) -> Result<&RunConfig> {
        match &self.config {
            Config::Trained(config) => Ok(config),
            Config::Imported(_) => Err(Error::NeverTrained { path: self.path().to_owned() }),
        }
    }

    pub(crate) fn set_config(&mut self, config: RunConfig) {
        self.config = Config::Trained(Box::new(config));
    }

    /// The settings of the model.
    pub fn model(&self) -> &ModelConfig {
        self.config.model()
    }

    /// The vocabulary.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// The digest of `vocab.json`.
    pub(crate) fn vocab_sha256(&self) -> &str {
        &self.vocab_sha256
    }

    /// The lines of `metrics.jsonl` for finished epochs.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is damaged.
    pub fn metrics(&self) -> Result<Vec<Metrics>> {
        let mut metrics = self.all_metrics()?;
        metrics.retain(|line| line.minibatch.is_none());
        Ok(metrics)
    }

    /// Every line of `metrics.jsonl`, also those within epochs.
    ///
    /// # Errors
    /// As [`Run::metrics`].
    pub fn all_metrics(&self) -> Result<Vec<Metrics>> {
        parse_metrics(&self.file(METRICS), &self.source.read(METRICS, MAX_LOG_BYTES)?)
    }

    /// Whether the last saved model has its initial, random weights, because no step was saved yet.
    ///
    /// # Errors
    /// If `trainer.safetensors` cannot be read or is damaged.
    pub fn is_untrained(&self) -> Result<bool> {
        let Config::Trained(config) = &self.config else { return Ok(false) };
        let Some(metadata) = weights::read_metadata(&self.source, TRAINER, self.model())? else { return Ok(false) };
        let Some(trainer) = metadata.trainer else { return Ok(false) };
        Ok(trainer.position(&self.file(TRAINER))?.step == 0 && config.init_from.is_none())
    }

    /// The digest of the last saved model, or of the best one: the SHA-256 that its file contains. `None` if there is no such
    /// model.
    ///
    /// # Errors
    /// If a file cannot be read or is damaged.
    pub fn model_sha256(&self, is_best: bool) -> Result<Option<String>> {
        let read = |name| weights::read_metadata(&self.source, name, self.model());
        if is_best {
            return Ok(read(BEST)?.map(|metadata| metadata.sha256));
        }
        // the trainer has the digest of a model that a crash kept from being written
        let saved = read(TRAINER)?.and_then(|metadata| metadata.trainer).and_then(|trainer| trainer.saved_with);
        match saved {
            Some(saved) => Ok(Some(saved.model_sha256)),
            None => Ok(read(MODEL)?.map(|metadata| metadata.sha256)),
        }
    }

    /// Loads the last saved model to a device. Nothing is written.
    ///
    /// If a crash during a save left a `model.safetensors` that is older than `trainer.safetensors`, the model comes from the
    /// trainer's file. The next process that resumes the run writes `model.safetensors` again.
    ///
    /// # Errors
    /// If a file is not what was written or does not fit the run, or the device has not enough memory.
    pub fn load<B: Recurrence>(&self, backend: &B, path: ExecutionPath) -> Result<LanguageModel<B>> {
        let trainer =
            weights::read_metadata(&self.source, TRAINER, self.model())?.and_then(|metadata| metadata.trainer);
        let saved = trainer.and_then(|trainer| trainer.saved_with);
        let found = weights::read_metadata(&self.source, MODEL, self.model())?.map(|metadata| metadata.sha256);
        let stale = match (&found, &saved) {
            (None, None) => return Err(self.without(MODEL)),
            (None, Some(_)) => true,
            (Some(found), saved) => saved.as_ref().is_some_and(|saved| saved.model_sha256 != *found),
        };
        if stale && found.is_some() {
            // an older model of this run is replaced; a damaged one or another run's is an error
            let bytes = self.read_weights(MODEL)?;
            WeightsFile::parse(&self.file(MODEL), &bytes, self.model(), &self.vocab_sha256)?;
        }
        self.load_file(if stale { TRAINER } else { MODEL }, backend, path)
    }

    /// Loads the model with the best perplexity on the validation set to a device.
    ///
    /// # Errors
    /// [`Error::NoBestModel`] if the run has none; otherwise as [`Run::load`].
    pub fn load_best<B: Recurrence>(&self, backend: &B, path: ExecutionPath) -> Result<LanguageModel<B>> {
        if !self.source.has(BEST) {
            let reason = match &self.config {
                Config::Imported(_) => "it was imported",
                Config::Trained(config) if config.validation.is_none() => "it was trained without a validation set",
                Config::Trained(_) => "no epoch has a perplexity on the validation set yet",
            };
            return Err(Error::NoBestModel { path: self.path().to_owned(), reason });
        }
        self.load_file(BEST, backend, path)
    }

    /// Loads the model in one of the run's weights files.
    fn load_file<B: Recurrence>(&self, name: &str, backend: &B, path: ExecutionPath) -> Result<LanguageModel<B>> {
        let bytes = self.read_weights(name)?;
        let file = self.file(name);
        let weights = WeightsFile::parse(&file, &bytes, self.model(), &self.vocab_sha256)?;
        let mut model = LanguageModel::new(backend, self.model(), path)?;
        let values = weights.parameters(model.parameters().layout())?;
        model.parameters_mut().write(backend, &values)?;
        Ok(model)
    }

    /// An error if a weights file is too short for the model that `config.json` describes. It is checked before memory of
    /// that size is allocated.
    pub(crate) fn check_min_length(&self, name: &str) -> Result<()> {
        let parameters = self.model().num_parameters();
        let length = self.source.len(name)?;
        if parameters > length.into() {
            let reason = format!("it has {length} bytes, too few for {parameters} parameters");
            return Err(Error::Damaged { path: self.file(name), reason });
        }
        Ok(())
    }

    /// Reads a weights file, which is at least as long as the model and at most as long as a trainer's file.
    fn read_weights(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        self.check_min_length(name)?;
        // an optimizer has a few values per parameter, and the carried state is at most that of a large minibatch
        let state = self.model().state_len(self.config.batch_size());
        let values = self.model().num_parameters().saturating_mul(8).saturating_add(state.saturating_mul(2));
        self.source.read(name, weights::max_file_bytes(self.model(), usize::try_from(values).unwrap_or(usize::MAX)))
    }

    fn without(&self, name: &str) -> Error {
        Error::NotARun { path: self.path().to_owned(), reason: format!("it has no `{name}`") }
    }
}
