//! The content of `config.json` and of a line of `metrics.jsonl`, and the digest in JSON files.

use std::path::Path;

use rnnlm_vocab::{Corpus, CorpusOptions, Ids, TextIds};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::digest::{self, PLACEHOLDER};
use super::disk::Disk;
use super::files::{io_error, write_atomically};
use super::options::RunOptions;
use super::token_size::TokenSizes;
use crate::config::{is_default, shortest};
use crate::{EpochProgress, EpochReport, Error, ModelConfig, NonFinite, Result, TrainConfig};

/// The format version that this program writes to `config.json` and to weights files. It reads this version and all older
/// ones.
pub const FORMAT_VERSION: u64 = 2;

/// Number of ids in a block of a digest. Each update takes time.
const BLOCK_IDS: usize = 4096;

/// The corpus of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusRecord {
    /// Its name or path, as given by the user.
    pub name: String,
    /// How the text was tokenized and how much of it is used.
    pub options: CorpusOptions,
    /// Tokens of the whole text.
    pub tokens: u64,
    /// Tokens that are used, from the start of the text.
    pub used_tokens: u64,
    /// SHA-256 of their ids as little-endian 32-bit integers.
    pub ids_sha256: String,
}

impl CorpusRecord {
    /// The record of a corpus that was read with `options`.
    pub fn new(name: impl Into<String>, options: &CorpusOptions, corpus: &Corpus) -> Self {
        Self {
            name: name.into(),
            options: options.clone(),
            tokens: corpus.tokens,
            used_tokens: corpus.ids.len() as u64,
            ids_sha256: sha256_of_slice(&corpus.ids),
        }
    }

    /// The record of a text of `tokens` tokens, whose ids can be in files.
    ///
    /// # Errors
    /// If the ids cannot be read.
    pub fn of_ids(name: impl Into<String>, options: &CorpusOptions, tokens: u64, ids: Ids<'_>) -> Result<Self> {
        let (name, options, used_tokens) = (name.into(), options.clone(), ids.len() as u64);
        Ok(Self { name, options, tokens, used_tokens, ids_sha256: sha256_of_ids(ids.into())? })
    }
}

/// The validation set of a run, which is scored after every epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationRecord {
    /// The fraction of the corpus that is the validation set, taken from its end; 0 if the validation set is another text.
    pub fraction: f64,
    /// Name or path of the other text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus: Option<String>,
    /// Tokens of the validation set.
    pub tokens: u64,
    /// SHA-256 of their ids as little-endian 32-bit integers.
    pub ids_sha256: String,
}

impl ValidationRecord {
    /// The record of this validation set.
    ///
    /// # Errors
    /// If the ids cannot be read; never if they are in memory.
    pub fn new<'a>(fraction: f64, corpus: Option<String>, text: impl Into<TextIds<'a>>) -> Result<Self> {
        let text = text.into();
        Ok(Self { fraction, corpus, tokens: text.num_tokens() as u64, ids_sha256: sha256_of_ids(text)? })
    }
}

fn sha256_of_slice(ids: &[u32]) -> String {
    digest::sha256_of(ids.chunks(BLOCK_IDS).map(bytes_of_ids))
}

fn sha256_of_ids(text: TextIds<'_>) -> Result<String> {
    let mut hasher = Sha256::new();
    text.for_each_part(|part| part.chunks(BLOCK_IDS).for_each(|block| hasher.update(bytes_of_ids(block))))?;
    Ok(digest::hexadecimal(&hasher.finalize()))
}

fn bytes_of_ids(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

/// The content of `config.json`: all settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The format version of the folder's files.
    pub format_version: u64,
    /// The corpus.
    pub corpus: CorpusRecord,
    /// The model.
    pub model: ModelConfig,
    /// The training settings.
    pub train: TrainConfig,
    /// The run whose weights are the initial ones, if they were not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<String>,
    /// The validation set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationRecord>,
    /// The sizes of both texts. Older runs do not have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizes: Option<TokenSizes>,
    /// How the run is saved, sampled and computed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub options: RunOptions,
}

/// The content of `config.json` of an imported run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRecord {
    /// The format version of the folder's files.
    pub format_version: u64,
    /// The weights file, as given by the user.
    pub imported_from: String,
    /// SHA-256 of that file.
    pub imported_sha256: String,
    /// The model.
    pub model: ModelConfig,
}

/// A `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Config {
    Trained(Box<RunConfig>),
    Imported(ImportRecord),
}

/// One line of `metrics.jsonl`: an epoch, or its start up to a minibatch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Completed minibatches of an epoch that is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minibatch: Option<usize>,
    /// Minibatches of the whole epoch, if `minibatch` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_minibatches: Option<usize>,
    /// Training perplexity of the epoch, or of its minibatches so far.
    pub perplexity: f64,
    /// Perplexity on the validation set, if there is one; `null` if it is not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_perplexity: Option<f64>,
    /// Why `val_perplexity` is `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_perplexity_reason: Option<NonFinite>,
    /// Throughput in tokens per second.
    pub tokens_per_second: f64,
    /// Learning rate.
    #[serde(serialize_with = "shortest")]
    pub lr: f32,
    /// Mean gradient norm before clipping.
    pub gradient_norm: f64,
    /// Wall-clock seconds of the epoch, or of its minibatches so far.
    pub seconds: f64,
}

impl Metrics {
    /// Epochs since the start of training, with the part of an epoch that is not finished.
    pub fn epochs(&self) -> f64 {
        match (self.minibatch, self.num_minibatches) {
            (Some(minibatch), Some(all)) => (self.epoch as f64 - 1.0) + minibatch as f64 / all.max(1) as f64,
            _ => self.epoch as f64,
        }
    }
}

impl From<&EpochProgress> for Metrics {
    fn from(progress: &EpochProgress) -> Self {
        Self {
            epoch: progress.epoch,
            minibatch: Some(progress.minibatch),
            num_minibatches: Some(progress.num_minibatches),
            perplexity: progress.perplexity.unwrap_or(f64::NAN),
            val_perplexity: None,
            val_perplexity_reason: None,
            tokens_per_second: progress.tokens_per_second(),
            lr: progress.lr,
            gradient_norm: progress.gradient_norm.unwrap_or(f64::NAN),
            seconds: progress.duration.as_secs_f64(),
        }
    }
}

impl From<&EpochReport> for Metrics {
    fn from(report: &EpochReport) -> Self {
        Self {
            epoch: report.epoch,
            minibatch: None,
            num_minibatches: None,
            perplexity: report.perplexity,
            val_perplexity: report.val_perplexity,
            val_perplexity_reason: report.val_perplexity.and_then(NonFinite::of),
            tokens_per_second: report.tokens_per_second(),
            lr: report.lr,
            gradient_norm: report.gradient_norm,
            seconds: report.duration.as_secs_f64(),
        }
    }
}

impl RunConfig {
    /// A configuration in the current format, without initial weights, validation set and options.
    pub fn new(corpus: CorpusRecord, model: ModelConfig, train: TrainConfig) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            corpus,
            model,
            train,
            init_from: None,
            validation: None,
            sizes: None,
            options: RunOptions::default(),
        }
    }
}

impl Config {
    /// Parses the content without its digest.
    pub(crate) fn from_json(content: Value) -> serde_json::Result<Self> {
        // not an untagged enum, whose errors do not name the field
        match content.get("imported_from") {
            Some(_) => serde_json::from_value(content).map(Self::Imported),
            None => serde_json::from_value(content).map(Self::Trained),
        }
    }

    /// The configuration, or what is wrong with its values.
    pub(crate) fn checked(self) -> Result<Self, String> {
        self.model().validate().map_err(|error| error.to_string())?;
        if let Self::Trained(config) = &self {
            config.train.validate().map_err(|error| error.to_string())?;
            let fraction = config.validation.as_ref().map_or(0.0, |record| record.fraction);
            if !(0.0..1.0).contains(&fraction) {
                return Err(format!("`validation.fraction` is {fraction}, it must be from 0 to below 1"));
            }
        }
        Ok(self)
    }

    pub(crate) fn model(&self) -> &ModelConfig {
        match self {
            Self::Trained(config) => &config.model,
            Self::Imported(record) => &record.model,
        }
    }

    /// Rows of the carried state; an imported run has none.
    pub(crate) fn batch_size(&self) -> usize {
        match self {
            Self::Trained(config) => config.train.batch_size,
            Self::Imported(_) => 0,
        }
    }
}

/// Writes a JSON object of at most `bound` bytes with a digest as its first field, and returns the digest.
pub(crate) fn write_with_digest(disk: &dyn Disk, path: &Path, content: Value, bound: u64) -> Result<String> {
    let mut object = Map::from_iter([("sha256".to_owned(), PLACEHOLDER.into())]);
    if let Value::Object(content) = content {
        object.extend(content);
    }
    let mut bytes = format!("{:#}\n", Value::Object(object)).into_bytes();
    // a file that cannot be read again must not be written
    if bytes.len() as u64 > bound {
        let source = std::io::Error::other(format!("it would have {} bytes, more than {bound}", bytes.len()));
        return Err(io_error(path, "written")(source));
    }
    let digest = digest::embed(&mut bytes);
    write_atomically(disk, path, &bytes)?;
    Ok(digest)
}

/// Parses the bytes of the file at `path`, a JSON object with a digest. Checks the digest, and that the format version is at
/// most `known`. Returns the object without the digest, and the digest.
pub(crate) fn parse_with_digest(path: &Path, bytes: &[u8], known: u64) -> Result<(Value, String)> {
    let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
    let digest = digest::check_file(path, bytes)?;
    let mut value: Value = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if let Value::Object(object) = &mut value {
        object.shift_remove("sha256");
    }
    check_version(path, &value, known)?;
    Ok((value, digest))
}

/// An error if the format version of an object is newer than `known`, or is missing.
pub(crate) fn check_version(path: &Path, value: &Value, known: u64) -> Result<()> {
    match value.get("format_version").and_then(Value::as_u64) {
        Some(found) if found > known => Err(Error::NewerFormat { path: path.to_owned(), found, known }),
        Some(1..) => Ok(()),
        _ => {
            let reason = "its `format_version` is not a positive integer".to_owned();
            Err(Error::Damaged { path: path.to_owned(), reason })
        }
    }
}
