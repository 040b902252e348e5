//! [`RunWriter`]: writes a run. One process writes at a time, and the folder contains a run that loads at every moment.
//!
//! Renaming `trainer.safetensors` commits a save. The file has the parameters, and records the configuration, the
//! vocabulary, the `model.safetensors` and the lines of `metrics.jsonl` that belong to it. Files that are written before the
//! rename do not count until then. `model.safetensors` is written after it; if a crash prevents that, it is recreated from
//! `trainer.safetensors`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rnnlm_rnn::Recurrence;
use rnnlm_vocab::Vocab;

use super::branches;
use super::checkpoints;
use super::compare::{self, differences};
use super::disk::{Disk, System};
use super::files::{read_if_exists, write_atomically};
use super::folder::{Folder, require_run, write_config, write_vocab};
use super::log::{Log, LogRecord};
use super::metadata::{Metadata, SavedWith, TrainerMetadata};
use super::names::{BEST, CHECKPOINTS, METRICS, MODEL, TRAINER};
use super::options::RunOptions;
use super::reader::Run;
use super::record::{Config, FORMAT_VERSION, Metrics, RunConfig};
use super::weights::{self, WeightsFile};
use crate::{EpochProgress, EpochReport, Error, Position, Result, Snapshot, Trainer};

/// A run that this process writes. No other process can write it at the same time.
#[derive(Debug)]
pub struct RunWriter {
    run: Run,
    config: RunConfig,
    disk: Arc<dyn Disk>,
    /// Locked until this value is dropped.
    folder: Folder,
    log: Log,
    /// How many earlier checkpoints are kept.
    kept_checkpoints: usize,
    /// The step of the `trainer.safetensors` in the folder.
    saved_step: Option<u64>,
    /// The content of `best.safetensors`, if it could not be written yet.
    pending_best: Option<Vec<u8>>,
}

impl RunWriter {
    /// Creates the folder, and writes vocabulary and configuration. The folder may exist if it is empty or a process ended
    /// there before its first save. A run that is replaced stays complete until the first [`RunWriter::save`] is.
    ///
    /// # Errors
    /// [`Error::Exists`] if the path exists and `replace` is false; [`Error::NotARun`] if it exists and is not a run, which
    /// is never replaced; [`Error::Locked`] if another process writes it; [`Error::Io`] if a file cannot be written.
    pub fn create(path: &Path, replace: bool, config: RunConfig, vocab: Vocab) -> Result<Self> {
        Self::create_on(Arc::new(System), path, replace, config, vocab)
    }

    /// Like [`RunWriter::create`], with the operations of `disk`.
    ///
    /// # Errors
    /// As [`RunWriter::create`].
    pub fn create_on(disk: Arc<dyn Disk>, path: &Path, replace: bool, config: RunConfig, vocab: Vocab) -> Result<Self> {
        let folder = Folder::create(&*disk, path, replace)?;
        let vocab_sha256 = write_vocab(&*disk, &folder, &vocab)?;
        write_config(&*disk, &folder, &config)?;
        let run = Run::written(path, Config::Trained(Box::new(config.clone())), vocab, vocab_sha256);
        Ok(Self::new(run, config, disk, folder))
    }

    /// Opens a run to resume it, and removes the unfinished files of an earlier process.
    ///
    /// # Errors
    /// As [`Run::open`]; [`Error::Locked`] if another process writes it; [`Error::NeverTrained`] if it was imported.
    pub fn resume(path: &Path) -> Result<Self> {
        Self::resume_on(Arc::new(System), path)
    }

    /// Like [`RunWriter::resume`], with the operations of `disk`.
    ///
    /// # Errors
    /// As [`RunWriter::resume`].
    pub fn resume_on(disk: Arc<dyn Disk>, path: &Path) -> Result<Self> {
        require_run(path)?;
        let folder = Folder::lock(&*disk, path)?;
        let run = Run::open(path)?;
        let config = run.config()?.clone();
        if folder.file(TRAINER).exists() {
            // before the caller allocates a trainer of the configured size
            run.check_min_length(TRAINER)?;
        }
        Ok(Self::new(run, config, disk, folder))
    }

    /// A writer that has neither read nor written a save.
    fn new(run: Run, config: RunConfig, disk: Arc<dyn Disk>, folder: Folder) -> Self {
        let log = Log::new(folder.file(METRICS));
        Self { run, config, disk, folder, log, kept_checkpoints: 0, saved_step: None, pending_best: None }
    }

    /// The path at which a file is written.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }

    /// Keeps the last `count` saves before the current one as `checkpoints/step-N.safetensors`; none by default. To resume
    /// from one of them, copy it over `trainer.safetensors`.
    #[must_use]
    pub fn keep_checkpoints(mut self, count: usize) -> Self {
        self.kept_checkpoints = count;
        self
    }

    /// The settings of the run.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// The run, to read.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Increases the number of epochs in the configuration.
    ///
    /// # Errors
    /// [`Error::FewerEpochs`] if `epochs` is less than the configured number; [`Error::Io`] if the configuration cannot be
    /// written.
    pub fn raise_epochs(&mut self, epochs: u64) -> Result<()> {
        let config = &self.config;
        if epochs < config.train.epochs {
            return Err(Error::FewerEpochs { requested: epochs, configured: config.train.epochs });
        }
        if epochs > config.train.epochs {
            let mut raised = config.clone();
            raised.format_version = FORMAT_VERSION;
            raised.train.epochs = epochs;
            self.replace_config(raised)?;
        }
        Ok(())
    }

    /// Replaces the options in the configuration.
    ///
    /// # Errors
    /// [`Error::Io`] if the configuration cannot be written.
    pub fn set_options(&mut self, options: RunOptions) -> Result<()> {
        if options == self.config.options {
            return Ok(());
        }
        self.replace_config(RunConfig { format_version: FORMAT_VERSION, options, ..self.config.clone() })
    }

    fn replace_config(&mut self, config: RunConfig) -> Result<()> {
        write_config(&*self.disk, &self.folder, &config)?;
        self.run.set_config(config.clone());
        self.config = config;
        Ok(())
    }

    /// Restores the last save: the state of `trainer`, which has the run's configuration, the length of `metrics.jsonl`, and
    /// `model.safetensors`. Returns false for a run that was never saved, and does not change the trainer.
    ///
    /// If `trainer.safetensors` is an earlier checkpoint, the checkpoints after it are abandoned: they are renamed, and are the
    /// first to be removed.
    ///
    /// If several ranks train, rank 0 calls this, and the others call [`Trainer::receive`].
    ///
    /// # Errors
    /// [`Error::Abandoned`] if `trainer.safetensors` is a checkpoint that was abandoned;
    /// [`Error::Damaged`], [`Error::NewerFormat`] or [`Error::Mismatch`] if a file is not what was written or belongs to
    /// another run; [`Error::Io`] if a file cannot be read or written.
    pub fn restore<B: Recurrence>(&mut self, trainer: &mut Trainer<B>) -> Result<bool> {
        let file = self.file(TRAINER);
        if !file.exists() {
            self.require_unsaved(&file)?;
            trainer.send(None)?;
            return Ok(false);
        }
        let bytes = weights::read_trainer(&file, trainer)?;
        let weights = WeightsFile::parse(&file, &bytes, trainer.model().config(), self.run.vocab_sha256())?;
        let snapshot = weights.snapshot(trainer)?;
        let metrics = self.file(METRICS);
        self.log = match &weights.trainer()?.saved_with {
            None => Log::resume_unrecorded(&*self.disk, metrics, snapshot.position.epoch)?,
            Some(saved_with) => {
                self.check_configuration(&file, &saved_with.config)?;
                self.restore_metrics(&metrics, &weights.metadata.sha256, &saved_with.metrics, snapshot.position)?
            }
        };
        drop(bytes);
        self.restore_model(trainer, &snapshot)?;
        trainer.restore(&snapshot)?;
        trainer.send(Some(&snapshot))?;
        self.saved_step = Some(snapshot.position.step);
        Ok(true)
    }

    /// Appends a line to `metrics.jsonl`. If it cannot be written, [`RunWriter::save`] tries again and reports the error. After
    /// a gigabyte, which is about seven million epochs, lines are dropped.
    pub fn log(&mut self, report: &EpochReport) {
        let line = serde_json::to_string(&Metrics::from(report)).expect("plain values are valid JSON");
        self.add_line(&line);
    }

    /// The log of a resumed run, without the lines after the last save. Marks the checkpoints that are abandoned.
    fn restore_metrics(&self, metrics: &Path, sha256: &str, record: &LogRecord, position: Position) -> Result<Log> {
        if let Err(error) = Log::check(metrics, record) {
            let (path, step) = (self.file(TRAINER), position.step);
            let is_abandoned = branches::is_abandoned(&self.run, sha256);
            return Err(if is_abandoned { Error::Abandoned { path, step } } else { error });
        }
        // before the lines are truncated that show what is abandoned
        branches::mark_abandoned(&*self.disk, &self.run, record)?;
        Log::resume(&*self.disk, metrics.to_owned(), record)
    }

    /// Appends a line for the part of an epoch, like [`RunWriter::log`].
    pub fn log_progress(&mut self, progress: &EpochProgress) {
        let line = serde_json::to_string(&Metrics::from(progress)).expect("plain values are valid JSON");
        self.add_line(&line);
    }

    fn add_line(&mut self, line: &str) {
        self.log.add(line);
        if self.folder.is_writable() {
            self.log.try_flush(&*self.disk);
        }
    }

    /// Saves: the metrics, then the trainer's state, then the model, and the best model if it is pending. Each file is
    /// replaced atomically.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be written. If the trainer's state could not be replaced, the previous save remains; if
    /// only a model is missing, the next save writes it.
    pub fn save<B: Recurrence>(&mut self, trainer: &Trainer<B>) -> Result<()> {
        let snapshot = trainer.snapshot()?;
        if !self.folder.is_writable() {
            self.complete_folder()?;
        }
        self.log.sync(&*self.disk)?;
        let (model_file, model_sha256) = self.model_file(trainer, &snapshot);
        let saved_with = SavedWith { config: self.config.clone(), model_sha256, metrics: self.log.record() };
        let trainer_metadata = TrainerMetadata::new(snapshot.position, Some(saved_with));
        let model = trainer.model();
        let metadata = Metadata::new(model.config(), self.run.vocab_sha256(), Some(trainer_metadata));
        let [[rows, _], _] = trainer.state_shapes();
        let trainer_file = weights::trainer_file(&snapshot, model.parameters().layout(), rows, &metadata);
        self.keep_checkpoint(snapshot.position)?;
        write_atomically(&*self.disk, &self.file(TRAINER), &trainer_file)?;
        self.saved_step = Some(snapshot.position.step);
        write_atomically(&*self.disk, &self.file(MODEL), &model_file)?;
        self.complete_folder()?;
        self.write_best()?;
        match self.kept_checkpoints {
            0 => Ok(()),
            count => checkpoints::remove_old(&*self.disk, &self.file(CHECKPOINTS), count),
        }
    }

    /// Replaces the run that was in the folder before, if there was one.
    fn complete_folder(&mut self) -> Result<()> {
        let completed = self.folder.complete(&*self.disk);
        self.log.set_path(self.file(METRICS));
        completed
    }

    /// Writes the current model to `best.safetensors`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written. The previous file remains, and [`RunWriter::save`] tries again.
    pub fn save_best<B: Recurrence>(&mut self, trainer: &Trainer<B>) -> Result<()> {
        let (file, _) = self.model_file(trainer, &trainer.snapshot()?);
        self.pending_best = Some(file);
        if self.folder.is_writable() { self.write_best() } else { Ok(()) }
    }

    fn write_best(&mut self) -> Result<()> {
        if let Some(file) = &self.pending_best {
            write_atomically(&*self.disk, &self.folder.file(BEST), file)?;
            self.pending_best = None;
        }
        Ok(())
    }

    /// Writes a file that is derived from the others, such as a chart, atomically.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written. The previous file remains.
    pub fn write_derived(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_atomically(&*self.disk, &self.file(name), bytes)
    }

    /// The bytes of `model.safetensors`, and their digest.
    fn model_file<B: Recurrence>(&self, trainer: &Trainer<B>, snapshot: &Snapshot) -> (Vec<u8>, String) {
        let model = trainer.model();
        let layout = model.parameters().layout();
        let parameters = snapshot.evaluated_parameters(trainer.config().average);
        weights::model_file(parameters, layout, model.config(), self.run.vocab_sha256())
    }

    /// Writes `model.safetensors` again if it is missing or older than the trainer's state. A damaged one is an error.
    fn restore_model<B: Recurrence>(&self, trainer: &Trainer<B>, snapshot: &Snapshot) -> Result<()> {
        let path = self.file(MODEL);
        let (bytes, sha256) = self.model_file(trainer, snapshot);
        let layout = trainer.model().parameters().layout();
        if let Some(found) =
            read_if_exists(&path, weights::max_file_bytes(trainer.model().config(), layout.stored_len()))?
        {
            let model = trainer.model().config();
            if WeightsFile::parse(&path, &found, model, self.run.vocab_sha256())?.metadata.sha256 == sha256 {
                return Ok(());
            }
        }
        write_atomically(&*self.disk, &path, &bytes)
    }

    /// An error if the run was saved, although its `trainer.safetensors` is missing.
    fn require_unsaved(&self, trainer: &Path) -> Result<()> {
        let saved = [MODEL, METRICS].map(|name| self.file(name));
        match saved.iter().find(|path| path.metadata().is_ok_and(|metadata| metadata.len() > 0)) {
            None => Ok(()),
            Some(other) => {
                let reason = format!("it is missing, while `{}` exists", other.display());
                Err(Error::Damaged { path: trainer.to_owned(), reason })
            }
        }
    }

    /// An error if the trainer was saved with other settings than the run's. The number of epochs and the options may differ.
    fn check_configuration(&self, trainer: &Path, saved: &RunConfig) -> Result<()> {
        let mut current = self.config.clone();
        current.train.epochs = saved.train.epochs;
        current.format_version = saved.format_version;
        current.options = saved.options.clone();
        match differences(saved, &current) {
            differences if differences.is_empty() => Ok(()),
            differences => Err(Error::Mismatch {
                path: trainer.to_owned(),
                reason: format!("it was saved where {} as in config.json", compare::list(&differences)),
            }),
        }
    }

    /// Keeps the previous save as a checkpoint, before another replaces it.
    fn keep_checkpoint(&self, next: Position) -> Result<()> {
        let keeps = |&step: &u64| self.kept_checkpoints > 0 && step != next.step;
        match self.saved_step.filter(keeps) {
            Some(step) => checkpoints::keep(&*self.disk, &self.file(CHECKPOINTS), &self.file(TRAINER), step),
            None => Ok(()),
        }
    }
}
