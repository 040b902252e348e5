//! The folder of a run. Everything that using the model needs is in it; no corpus is needed to generate or score.
//!
//! ```text
//! config.json          everything that defines the run, resolved
//! vocab.json           tokens in id order, normalisation
//! trainer.safetensors  parameters, carried state, optimizer, position: what exact resumption needs
//! model.safetensors    parameters under PyTorch's names, made from it
//! best.safetensors     the model that predicted held-out text best, if text was held out
//! metrics.jsonl        a line an epoch
//! checkpoints/         earlier generations of trainer.safetensors, if any are kept
//! ```
//!
//! A run that was imported has no trainer and no metrics.
//!
//! The first four carry a digest of their own bytes, which is checked whenever they are read, and are written whole or not
//! at all. [`Run`] reads, [`RunWriter`] writes.

mod compare;
mod digest;
mod disk;
mod files;
mod import;
mod log;
mod metadata;
mod record;
mod weights;
mod writer;

use std::path::{Path, PathBuf};

use rnnlm_rnn::{ExecutionPath, Recurrence};
use rnnlm_vocab::{VOCAB_FORMAT_VERSION, Vocab};

pub use self::compare::{Difference, differences};
pub use self::disk::{Disk, System};
use self::files::{io_error, lock, read_bounded, write_whole};
pub use self::import::{Checkpoint, Unfit, read_vocab};
use self::record::Config;
pub use self::record::{CorpusRecord, FORMAT_VERSION, ImportRecord, Metrics, RunConfig, ValidationRecord};
use self::weights::Checked;
pub use self::writer::RunWriter;
use crate::{Error, LanguageModel, ModelConfig, Result};

const CONFIG: &str = "config.json";
const VOCAB: &str = "vocab.json";
const MODEL: &str = "model.safetensors";
const TRAINER: &str = "trainer.safetensors";
const METRICS: &str = "metrics.jsonl";
const BEST: &str = "best.safetensors";
const CHECKPOINTS: &str = "checkpoints";
/// A configuration is a few hundred bytes.
const CONFIG_BOUND: u64 = 1 << 20;
/// A vocabulary of ten million words is below this, and `rnnlm_vocab` writes none above it but for the digest.
const VOCAB_BOUND: u64 = (1 << 28) + (1 << 10);

/// A run folder that has a configuration and a vocabulary, to read.
#[derive(Debug)]
pub struct Run {
    path: PathBuf,
    config: Config,
    vocab: Vocab,
    vocab_sha256: String,
}

impl Run {
    /// Reads configuration and vocabulary of an existing run.
    ///
    /// # Errors
    /// [`Error::NotARun`] if the folder holds none; [`Error::Damaged`], [`Error::NewerFormat`] or [`Error::Mismatch`] if a
    /// file is not what was written; [`Error::Io`] if one cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        require_run(path)?;
        let file = path.join(CONFIG);
        let (content, _) = record::read_sealed(&file, CONFIG_BOUND, FORMAT_VERSION)?;
        let config =
            Config::from_json(content).map_err(|error| Error::Damaged { path: file, reason: error.to_string() })?;
        let file = path.join(VOCAB);
        let (content, vocab_sha256) = record::read_sealed(&file, VOCAB_BOUND, VOCAB_FORMAT_VERSION)?;
        let vocab = Vocab::from_json(content.to_string().as_bytes())
            .map_err(|error| Error::Damaged { path: file.clone(), reason: error.to_string() })?;
        let vocab_size = config.model().vocab_size;
        if vocab.len() != vocab_size {
            let reason = format!("it has {} entries, config.json says {vocab_size}", vocab.len());
            return Err(Error::Mismatch { path: file, reason });
        }
        Ok(Self { path: path.to_owned(), config, vocab, vocab_sha256 })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What defines the training.
    ///
    /// # Errors
    /// [`Error::NeverTrained`] for a run that was imported.
    pub fn config(&self) -> Result<&RunConfig> {
        match &self.config {
            Config::Trained(config) => Ok(config),
            Config::Imported(_) => Err(Error::NeverTrained { path: self.path.clone() }),
        }
    }

    /// The sizes of the model.
    pub fn model(&self) -> &ModelConfig {
        self.config.model()
    }

    /// Its vocabulary.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// Every line of `metrics.jsonl`.
    ///
    /// # Errors
    /// If it cannot be read or a line is no record.
    pub fn metrics(&self) -> Result<Vec<Metrics>> {
        log::read_metrics(&self.path.join(METRICS))
    }

    /// The model that was last saved, on a device. Where a crash came between `trainer.safetensors` and
    /// `model.safetensors`, the second is made from the first again, if nobody is writing the run and it can be written.
    ///
    /// # Errors
    /// If a file is not what was written or does not fit the run, or the device has no room.
    pub fn load<B: Recurrence>(&self, backend: &B, path: ExecutionPath) -> Result<LanguageModel<B>> {
        let (model_path, trainer_path) = (self.path.join(MODEL), self.path.join(TRAINER));
        let saved = weights::read_metadata(&trainer_path)?.and_then(|metadata| metadata.trainer?.saved_with);
        let found = weights::read_metadata(&model_path)?.map(|metadata| metadata.sha256);
        let stale = match (&found, &saved) {
            (None, None) => return Err(self.without(MODEL)),
            (None, Some(_)) => true,
            (Some(found), saved) => saved.as_ref().is_some_and(|saved| saved.model_sha256 != *found),
        };
        if stale && found.is_some() {
            // one of an earlier generation, or damaged, or another run's?
            Checked::new(&model_path, &self.read_weights(&model_path)?, self.model(), &self.vocab_sha256)?;
        }
        let file = if stale { trainer_path } else { model_path };
        let model = self.load_from(&file, backend, path)?;
        if let (true, Ok(_lock)) = (stale, lock(&self.path)) {
            let values = model.parameters().to_vec(backend)?;
            let (bytes, _) =
                weights::model_file(&values, model.parameters().layout(), model.config(), &self.vocab_sha256);
            // the model is in memory; a folder that cannot be written stays as it is
            let _ = write_whole(&System, &self.path.join(MODEL), &bytes);
        }
        Ok(model)
    }

    /// The model that predicted held-out text best, on a device.
    ///
    /// # Errors
    /// [`Error::NotARun`] if the run has none; else as [`Run::load`].
    pub fn load_best<B: Recurrence>(&self, backend: &B, path: ExecutionPath) -> Result<LanguageModel<B>> {
        let file = self.path.join(BEST);
        if !file.exists() {
            return Err(self.without(BEST));
        }
        self.load_from(&file, backend, path)
    }

    /// The model in one of the run's files of weights.
    fn load_from<B: Recurrence>(&self, file: &Path, backend: &B, path: ExecutionPath) -> Result<LanguageModel<B>> {
        let bytes = self.read_weights(file)?;
        let weights = Checked::new(file, &bytes, self.model(), &self.vocab_sha256)?;
        let mut model = LanguageModel::new(backend, self.model(), path)?;
        let values = weights.parameters(model.parameters().layout())?;
        model.parameters_mut().write(backend, &values)?;
        Ok(model)
    }

    /// An error if the file is too short for the model that the configuration speaks of: what it says of sizes is not
    /// believed beyond what is there.
    fn require_room(&self, file: &Path) -> Result<()> {
        let parameters = self.model().num_parameters();
        let length = file.metadata().map_err(io_error(file, "read"))?.len();
        if parameters > length.into() {
            let reason = format!("it has {length} bytes, too few for {parameters} parameters");
            return Err(Error::Damaged { path: file.to_owned(), reason });
        }
        Ok(())
    }

    /// The bytes of a file that holds at least the model and at most a trainer of it.
    fn read_weights(&self, file: &Path) -> Result<Vec<u8>> {
        self.require_room(file)?;
        // an optimizer keeps no more than a few values a parameter; the state is at most that of a wide minibatch
        let state = self.model().state_len(self.config.batch_size());
        let values = self.model().num_parameters().saturating_mul(8).saturating_add(state.saturating_mul(2));
        read_bounded(file, weights::bound(usize::try_from(values).unwrap_or(usize::MAX)))
    }

    fn without(&self, name: &str) -> Error {
        Error::NotARun { path: self.path.clone(), reason: format!("it has no `{name}`") }
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
