//! The folder of a run. Everything that using the model needs is in it; no corpus is needed to generate or score.
//!
//! ```text
//! config.json          everything that defines the run, resolved
//! vocab.json           tokens in id order, normalisation
//! model.safetensors    parameters under PyTorch's names
//! trainer.safetensors  parameters, carried state, position: what exact resumption needs
//! metrics.jsonl        a line an epoch
//! ```
//!
//! The first four carry a digest of their own bytes, which is checked whenever they are read, and are written whole or not
//! at all.

mod digest;
mod files;
mod metadata;
mod record;
mod weights;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rnnlm_rnn::{Path as ComputePath, Recurrence};
use rnnlm_vocab::{VOCAB_FORMAT_VERSION, Vocab};

use self::files::{io_error, read_bounded, write_whole};
use self::metadata::{Metadata, SavedWith, TrainerMetadata};
pub use self::record::{CorpusRecord, FORMAT_VERSION, Metrics, RunConfig};
use self::weights::Checked;
use crate::{EpochReport, Error, LanguageModel, Result, Trainer};

const CONFIG: &str = "config.json";
const VOCAB: &str = "vocab.json";
const MODEL: &str = "model.safetensors";
const TRAINER: &str = "trainer.safetensors";
const METRICS: &str = "metrics.jsonl";
/// A configuration is a few hundred bytes.
const CONFIG_BOUND: u64 = 1 << 20;
/// A vocabulary of ten million words is below this.
const VOCAB_BOUND: u64 = 1 << 30;

/// A run folder that has a configuration and a vocabulary.
#[derive(Debug)]
pub struct Run {
    path: PathBuf,
    config: RunConfig,
    vocab: Vocab,
    vocab_sha256: String,
}

impl Run {
    /// Makes the folder and writes configuration and vocabulary.
    ///
    /// # Errors
    /// [`Error::Exists`] if the path exists and `replace` is false; [`Error::NotARun`] if it exists and is no run, which
    /// is never replaced; else if it cannot be written.
    pub fn create(path: &Path, replace: bool, config: RunConfig, vocab: Vocab) -> Result<Self> {
        if path.symlink_metadata().is_ok() {
            if !replace {
                return Err(Error::Exists { path: path.to_owned() });
            }
            require_run(path)?;
        }
        fs::create_dir_all(path).map_err(io_error(path, "created"))?;
        for name in [MODEL, TRAINER, METRICS] {
            match fs::remove_file(path.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io_error(&path.join(name), "replaced")(error));
                }
                _ => {}
            }
        }
        let content = serde_json::to_value(&config).expect("plain values make JSON");
        record::write_sealed(&path.join(CONFIG), content)?;
        let content = serde_json::from_str(&vocab.to_json()?).expect("a vocabulary's own JSON is JSON");
        let vocab_sha256 = record::write_sealed(&path.join(VOCAB), content)?;
        Ok(Self { path: path.to_owned(), config, vocab, vocab_sha256 })
    }

    /// Reads configuration and vocabulary of an existing run.
    ///
    /// # Errors
    /// [`Error::NotARun`] if the folder holds none; [`Error::Damaged`], [`Error::NewerFormat`] or [`Error::Mismatch`] if a
    /// file is not what was written; [`Error::Io`] if one cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        require_run(path)?;
        let file = path.join(CONFIG);
        let (content, _) = record::read_sealed(&file, CONFIG_BOUND, FORMAT_VERSION)?;
        let config: RunConfig = serde_json::from_value(content)
            .map_err(|error| Error::Damaged { path: file, reason: error.to_string() })?;
        let file = path.join(VOCAB);
        let (content, vocab_sha256) = record::read_sealed(&file, VOCAB_BOUND, VOCAB_FORMAT_VERSION)?;
        let vocab = Vocab::from_json(content.to_string().as_bytes())
            .map_err(|error| Error::Damaged { path: file.clone(), reason: error.to_string() })?;
        if vocab.len() != config.model.vocab_size {
            let reason = format!("it has {} entries, config.json says {}", vocab.len(), config.model.vocab_size);
            return Err(Error::Mismatch { path: file, reason });
        }
        Ok(Self { path: path.to_owned(), config, vocab, vocab_sha256 })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What defines the run.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Its vocabulary.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// Writes the trainer's state, then the model alone; each file whole or not at all.
    ///
    /// # Errors
    /// If a file cannot be written; the one before it stays.
    pub fn save<B: Recurrence>(&self, trainer: &Trainer<B>) -> Result<()> {
        let snapshot = trainer.snapshot()?;
        let (model, rows) = (trainer.model(), trainer.state().hidden.shape()[0]);
        let layout = model.parameters().layout();
        let (model_file, model_sha256) =
            weights::model_file(&snapshot.parameters, layout, model.config(), &self.vocab_sha256);
        let saved_with = Some(SavedWith { config: self.config.clone(), model_sha256 });
        let about = TrainerMetadata { position: snapshot.position.into(), saved_with };
        let metadata = Metadata::new(model.config(), &self.vocab_sha256, Some(about));
        let trainer_file = weights::trainer_file(&snapshot, layout, rows, &metadata);
        write_whole(&self.path.join(TRAINER), &trainer_file)?;
        write_whole(&self.path.join(MODEL), &model_file)
    }

    /// Adds a line to `metrics.jsonl`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn log(&self, report: &EpochReport) -> Result<()> {
        let path = self.path.join(METRICS);
        let line = serde_json::to_string(&Metrics::from(report)).expect("plain values make JSON");
        let file = fs::OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| writeln!(file, "{line}")).map_err(io_error(&path, "written"))
    }

    /// Every line of `metrics.jsonl`.
    ///
    /// # Errors
    /// If it cannot be read or a line is no record.
    pub fn metrics(&self) -> Result<Vec<Metrics>> {
        let path = self.path.join(METRICS);
        // a line has some 150 bytes; a billion epochs are not a run
        let text = String::from_utf8(read_bounded(&path, 1 << 32)?)
            .map_err(|error| Error::Damaged { path: path.clone(), reason: error.to_string() })?;
        let record = |(index, line): (usize, &str)| {
            serde_json::from_str(line)
                .map_err(|error| Error::Damaged { path: path.clone(), reason: format!("line {}: {error}", index + 1) })
        };
        text.lines().enumerate().map(record).collect()
    }

    /// The model, on a device.
    ///
    /// # Errors
    /// If the file is not what was written or does not fit the run, or the device has no room.
    pub fn load<B: Recurrence>(&self, backend: &B, path: ComputePath) -> Result<LanguageModel<B>> {
        let file = self.path.join(MODEL);
        let mut model = LanguageModel::new(backend, &self.config.model, path)?;
        let layout = model.parameters().layout().clone();
        let bytes = weights::read_model(&file, &layout)?;
        let values = Checked::new(&file, &bytes, &self.config.model, &self.vocab_sha256)?.parameters(&layout)?;
        model.parameters_mut().write(backend, &values)?;
        Ok(model)
    }

    /// Puts a trainer of this run's configuration where the saved one stood.
    ///
    /// # Errors
    /// As [`Run::load`].
    pub fn restore<B: Recurrence>(&self, trainer: &mut Trainer<B>) -> Result<()> {
        let file = self.path.join(TRAINER);
        let bytes = weights::read_trainer(&file, trainer)?;
        let snapshot = Checked::new(&file, &bytes, trainer.model().config(), &self.vocab_sha256)?.snapshot(trainer)?;
        trainer.restore(&snapshot)
    }
}

/// An error unless the folder holds what every run has.
fn require_run(path: &Path) -> Result<()> {
    let not_a_run = |reason: String| Err(Error::NotARun { path: path.to_owned(), reason });
    if !path.exists() {
        return not_a_run("it does not exist".to_owned());
    }
    if !path.is_dir() {
        return not_a_run("it is not a folder".to_owned());
    }
    match [CONFIG, VOCAB].iter().find(|name| !path.join(name).is_file()) {
        Some(missing) => not_a_run(format!("it has no `{missing}`")),
        None => Ok(()),
    }
}
