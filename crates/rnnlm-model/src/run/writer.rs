//! Writing a run: one process at a time, and at every moment the folder holds a run that loads.
//!
//! A generation is committed by one rename, that of `trainer.safetensors`: it holds the parameters as well, and says which
//! configuration, which vocabulary, which `model.safetensors` and which lines of `metrics.jsonl` belong to it. What is
//! written before it is not counted until then; `model.safetensors`, written after it, is made from it again where a crash
//! came between the two.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rnnlm_rnn::Recurrence;
use rnnlm_vocab::Vocab;
use serde::Serialize;

use super::compare::{self, differences};
use super::disk::{Disk, System};
use super::files::{
    io_error, lock, only_a_beginning, parent, read_bounded, read_if_there, remove_if_there, sweep, write_whole,
};
use super::log::Log;
use super::metadata::{Metadata, SavedWith, TrainerMetadata};
use super::record::{self, Config, FORMAT_VERSION, Metrics, RunConfig};
use super::weights::{self, Checked};
use super::{BEST, CHECKPOINTS, CONFIG, METRICS, MODEL, Run, TRAINER, VOCAB, require_run};
use crate::{EpochReport, Error, Position, Result, Snapshot, Trainer};

/// A run that this process alone may write.
#[derive(Debug)]
pub struct RunWriter {
    run: Run,
    config: RunConfig,
    disk: Arc<dyn Disk>,
    /// Held until this value goes.
    _lock: File,
    log: Log,
    /// How many generations before the last one stay.
    keep: usize,
    /// The step of the generation in `trainer.safetensors`.
    committed: Option<u64>,
    /// The best model, where its file could not be written.
    waiting_best: Option<Vec<u8>>,
}

impl RunWriter {
    /// Makes the folder and writes vocabulary and configuration. An empty folder, and one in which an earlier attempt ended
    /// before it had saved anything, is as good as none.
    ///
    /// # Errors
    /// [`Error::Exists`] if the path exists and `replace` is false; [`Error::NotARun`] if it exists and is no run, which
    /// is never replaced; [`Error::Locked`] if another process writes it; else if it cannot be written.
    pub fn create(path: &Path, replace: bool, config: RunConfig, vocab: Vocab) -> Result<Self> {
        Self::create_on(Arc::new(System), path, replace, config, vocab)
    }

    /// [`RunWriter::create`] on a disk of the caller's.
    ///
    /// # Errors
    /// As there.
    pub fn create_on(disk: Arc<dyn Disk>, path: &Path, replace: bool, config: RunConfig, vocab: Vocab) -> Result<Self> {
        let lock = prepare(&*disk, path, replace)?;
        let vocab_sha256 = write_vocab(&*disk, path, &vocab)?;
        write_config(&*disk, path, &config)?;
        let run = Run { path: path.to_owned(), config: Config::Trained(Box::new(config.clone())), vocab, vocab_sha256 };
        Ok(Self::of(run, config, disk, lock))
    }

    /// Takes up a run to go on with it, and removes what an earlier process left unfinished.
    ///
    /// # Errors
    /// As [`Run::open`]; [`Error::Locked`] if another process writes it.
    pub fn resume(path: &Path) -> Result<Self> {
        Self::resume_on(Arc::new(System), path)
    }

    /// [`RunWriter::resume`] on a disk of the caller's.
    ///
    /// # Errors
    /// As there.
    pub fn resume_on(disk: Arc<dyn Disk>, path: &Path) -> Result<Self> {
        require_run(path)?;
        let lock = lock(path)?;
        sweep(&*disk, path)?;
        let run = Run::open(path)?;
        let config = run.config()?.clone();
        let trainer = path.join(TRAINER);
        if trainer.exists() {
            // before anybody makes room for a trainer of these sizes
            run.require_room(&trainer)?;
        }
        Ok(Self::of(run, config, disk, lock))
    }

    /// A run of which this process has neither read nor written a generation.
    fn of(run: Run, config: RunConfig, disk: Arc<dyn Disk>, lock: File) -> Self {
        let log = Log::new(run.path.join(METRICS));
        Self { run, config, disk, _lock: lock, log, keep: 0, committed: None, waiting_best: None }
    }

    /// How many generations before the last one to keep, in `checkpoints/step-N.safetensors`. Each is a
    /// `trainer.safetensors`: in its place, the run goes on from there.
    #[must_use]
    pub fn keeping(mut self, generations: usize) -> Self {
        self.keep = generations;
        self
    }

    /// What defines the training.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// The run as a reader sees it.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The run goes on to more epochs than it was begun for.
    ///
    /// # Errors
    /// [`Error::FewerEpochs`] if they are fewer; else if the configuration cannot be written.
    pub fn raise_epochs(&mut self, epochs: u64) -> Result<()> {
        let config = &self.config;
        if epochs < config.train.epochs {
            return Err(Error::FewerEpochs { asked: epochs, configured: config.train.epochs });
        }
        if epochs > config.train.epochs {
            let mut raised = config.clone();
            raised.format_version = FORMAT_VERSION;
            raised.train.epochs = epochs;
            write_config(&*self.disk, &self.run.path, &raised)?;
            self.run.config = Config::Trained(Box::new(raised.clone()));
            self.config = raised;
        }
        Ok(())
    }

    /// Puts a trainer of this run's configuration where the saved one stood, and everything else too: the metrics end where
    /// it was saved, and `model.safetensors` is the one that belongs to it. False for a run that was never saved, whose
    /// trainer stays as it is.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::NewerFormat`] or [`Error::Mismatch`] if a file is not what was written or belongs to
    /// another run; [`Error::Io`] if one cannot be read or written.
    pub fn restore<B: Recurrence>(&mut self, trainer: &mut Trainer<B>) -> Result<bool> {
        let file = self.run.path.join(TRAINER);
        if !file.exists() {
            return self.require_unsaved(&file).map(|()| false);
        }
        let bytes = weights::read_trainer(&file, trainer)?;
        let checked = Checked::new(&file, &bytes, trainer.model().config(), &self.run.vocab_sha256)?;
        let snapshot = checked.snapshot(trainer)?;
        let metrics = self.run.path.join(METRICS);
        self.log = match &checked.trainer()?.saved_with {
            None => Log::resume_unrecorded(&*self.disk, metrics, snapshot.position.epoch)?,
            Some(saved_with) => {
                self.require_configuration(&file, &saved_with.config)?;
                Log::resume(&*self.disk, metrics, &saved_with.metrics)?
            }
        };
        drop(bytes);
        self.restore_model(trainer, &snapshot)?;
        trainer.restore(&snapshot)?;
        self.committed = Some(snapshot.position.step);
        Ok(true)
    }

    /// Adds a line to `metrics.jsonl`. One that cannot be written waits, and [`RunWriter::save`] says so.
    pub fn log(&mut self, report: &EpochReport) {
        let line = serde_json::to_string(&Metrics::from(report)).expect("plain values make JSON");
        self.log.add(&*self.disk, &line);
    }

    /// Commits a generation: metrics, then the trainer's state, then the model alone, and the best one, if its file could not be
    /// written; each file whole or not at all.
    ///
    /// # Errors
    /// If a file cannot be written; the generation before it stays, unless all that is wanting is a model, which the next save
    /// writes.
    pub fn save<B: Recurrence>(&mut self, trainer: &Trainer<B>) -> Result<()> {
        let snapshot = trainer.snapshot()?;
        self.log.sync(&*self.disk)?;
        let (model_file, model_sha256) = self.model_file(trainer, &snapshot);
        let saved_with = SavedWith { config: self.config.clone(), model_sha256, metrics: self.log.record() };
        let about = TrainerMetadata { position: snapshot.position.into(), saved_with: Some(saved_with) };
        let model = trainer.model();
        let metadata = Metadata::new(model.config(), &self.run.vocab_sha256, Some(about));
        let rows = trainer.state().hidden.shape()[0];
        let trainer_file = weights::trainer_file(&snapshot, model.parameters().layout(), rows, &metadata);
        self.keep_generation(snapshot.position)?;
        write_whole(&*self.disk, &self.run.path.join(TRAINER), &trainer_file)?;
        self.committed = Some(snapshot.position.step);
        write_whole(&*self.disk, &self.run.path.join(MODEL), &model_file)?;
        self.write_best()?;
        self.forget_generations()
    }

    /// Writes the model as it stands to `best.safetensors`, beside the generation that is saved next.
    ///
    /// # Errors
    /// If it cannot be written; the one before it stays, and [`RunWriter::save`] tries again.
    pub fn save_best<B: Recurrence>(&mut self, trainer: &Trainer<B>) -> Result<()> {
        let (file, _) = self.model_file(trainer, &trainer.snapshot()?);
        self.waiting_best = Some(file);
        self.write_best()
    }

    fn write_best(&mut self) -> Result<()> {
        if let Some(file) = &self.waiting_best {
            write_whole(&*self.disk, &self.run.path.join(BEST), file)?;
            self.waiting_best = None;
        }
        Ok(())
    }

    /// Writes a file that follows from the others, such as a picture, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written; the one before it stays.
    pub fn write_derived(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_whole(&*self.disk, &self.run.path.join(name), bytes)
    }

    /// The bytes of `model.safetensors`, and their seal.
    fn model_file<B: Recurrence>(&self, trainer: &Trainer<B>, snapshot: &Snapshot) -> (Vec<u8>, String) {
        let model = trainer.model();
        let layout = model.parameters().layout();
        weights::model_file(&snapshot.parameters, layout, model.config(), &self.run.vocab_sha256)
    }

    /// Makes `model.safetensors` again unless it is the one that belongs to the trainer; one that is damaged is not
    /// overwritten.
    fn restore_model<B: Recurrence>(&self, trainer: &Trainer<B>, snapshot: &Snapshot) -> Result<()> {
        let path = self.run.path.join(MODEL);
        let (bytes, sha256) = self.model_file(trainer, snapshot);
        let layout = trainer.model().parameters().layout();
        if let Some(found) = read_if_there(&path, weights::bound(layout.stored_len()))? {
            let model = trainer.model().config();
            if Checked::new(&path, &found, model, &self.run.vocab_sha256)?.metadata.sha256 == sha256 {
                return Ok(());
            }
        }
        write_whole(&*self.disk, &path, &bytes)
    }

    /// An error if the run has been saved and what was saved is gone.
    fn require_unsaved(&self, trainer: &Path) -> Result<()> {
        let traces = [MODEL, METRICS].map(|name| self.run.path.join(name));
        match traces.iter().find(|path| path.metadata().is_ok_and(|about| about.len() > 0)) {
            None => Ok(()),
            Some(trace) => {
                let reason = format!("it is missing, while `{}` is there", trace.display());
                Err(Error::Damaged { path: trainer.to_owned(), reason })
            }
        }
    }

    /// An error if the trainer was saved under other settings than the run's; more epochs are the same training.
    fn require_configuration(&self, trainer: &Path, saved: &RunConfig) -> Result<()> {
        let mut now = self.config.clone();
        (now.train.epochs, now.format_version) = (saved.train.epochs, saved.format_version);
        match differences(saved, &now) {
            differences if differences.is_empty() => Ok(()),
            differences => Err(Error::Mismatch {
                path: trainer.to_owned(),
                reason: format!("it was saved where {} as in config.json", compare::list(&differences)),
            }),
        }
    }

    /// Gives the last generation a second name before another takes its place.
    fn keep_generation(&self, next: Position) -> Result<()> {
        let Some(step) = self.committed.filter(|&step| self.keep > 0 && step != next.step) else { return Ok(()) };
        let folder = self.run.path.join(CHECKPOINTS);
        if !folder.is_dir() {
            self.disk.create_folder(&folder).map_err(io_error(&folder, "created"))?;
        }
        let (last, kept) = (self.run.path.join(TRAINER), folder.join(generation_name(step)));
        remove_if_there(&*self.disk, &kept).map_err(io_error(&kept, "replaced"))?;
        if self.disk.link(&last, &kept).is_err() {
            // a file system without links
            write_whole(&*self.disk, &kept, &read_bounded(&last, u64::MAX)?)?;
        }
        self.disk.sync_folder(&folder).map_err(io_error(&folder, "written"))
    }

    /// Removes all but the newest generations.
    fn forget_generations(&self) -> Result<()> {
        let folder = self.run.path.join(CHECKPOINTS);
        if self.keep == 0 || !folder.is_dir() {
            return Ok(());
        }
        let mut kept = generations(&folder)?;
        kept.sort_unstable();
        let old = kept.len().saturating_sub(self.keep);
        for (_, path) in &kept[..old] {
            self.disk.remove(path).map_err(io_error(path, "removed"))?;
        }
        Ok(())
    }
}

/// Makes the folder of a run, or empties the one that may be replaced, and takes the right to write it.
pub(crate) fn prepare(disk: &dyn Disk, path: &Path, replace: bool) -> Result<File> {
    may_be_made(path, replace)?;
    if path.symlink_metadata().is_err() {
        std::fs::create_dir_all(parent(path)).map_err(io_error(path, "created"))?;
        match disk.create_folder(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => may_be_made(path, replace),
            outcome => outcome.map_err(io_error(path, "created")),
        }?;
        disk.sync_folder(parent(path)).map_err(io_error(path, "created"))?;
    }
    let lock = lock(path)?;
    // once more, now that nobody else can make it
    may_be_made(path, replace)?;
    sweep(disk, path)?;
    // the configuration goes first and comes last: without it the folder is no run, only the beginning of one
    for name in [CONFIG, MODEL, TRAINER, BEST, METRICS, CHECKPOINTS, VOCAB] {
        let old = path.join(name);
        remove_if_there(disk, &old).map_err(io_error(&old, "replaced"))?;
    }
    Ok(lock)
}

/// Writes `vocab.json` and returns its digest.
pub(crate) fn write_vocab(disk: &dyn Disk, folder: &Path, vocab: &Vocab) -> Result<String> {
    let content = serde_json::from_str(&vocab.to_json()?).expect("a vocabulary's own JSON is JSON");
    record::write_sealed(disk, &folder.join(VOCAB), content)
}

/// An error unless a run may be made at `path`.
fn may_be_made(path: &Path, replace: bool) -> Result<()> {
    if path.symlink_metadata().is_err() || Run::is_unfinished(path) {
        return Ok(());
    }
    if replace { require_run(path) } else { Err(Error::Exists { path: path.to_owned() }) }
}

/// Writes `config.json`.
pub(crate) fn write_config(disk: &dyn Disk, folder: &Path, config: &impl Serialize) -> Result<()> {
    let content = serde_json::to_value(config).expect("plain values make JSON");
    record::write_sealed(disk, &folder.join(CONFIG), content).map(|_| ())
}

fn generation_name(step: u64) -> String {
    format!("step-{step}.safetensors")
}

/// Step and path of every generation in a folder.
fn generations(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let error = io_error(folder, "read");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(&error)? {
        let path = entry.map_err(&error)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let step = name.strip_prefix("step-").and_then(|name| name.strip_suffix(".safetensors")?.parse().ok());
        found.extend(step.map(|step| (step, path.clone())));
    }
    Ok(found)
}

impl Run {
    /// Whether the folder is empty, or holds only what is left of a process that was ended before it first saved its run.
    pub fn is_unfinished(path: &Path) -> bool {
        only_a_beginning(path, &[VOCAB, CONFIG])
    }
}
