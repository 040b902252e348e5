//! `config.json` and the lines of `metrics.jsonl`: what they hold and how JSON files are sealed.

use std::path::Path;

use rnnlm_vocab::{Corpus, CorpusOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::digest::{self, PLACEHOLDER};
use super::disk::Disk;
use super::files::{read_bounded, write_whole};
use crate::{EpochReport, Error, ModelConfig, Result, TrainConfig};

/// The version of the formats of a run folder that this program writes: of the configuration and of the weights. It reads
/// this one and all before it.
pub const FORMAT_VERSION: u64 = 2;

/// Where a run's text came from, and what was taken of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusRecord {
    /// The name or path that was given.
    pub name: String,
    /// How its vocabulary was made and how much of it is used.
    pub options: CorpusOptions,
    /// Tokens in the whole text.
    pub tokens: u64,
    /// Tokens that are trained on: the first so many.
    pub used_tokens: u64,
    /// SHA-256 over the ids of those, as little-endian 32-bit numbers.
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
            ids_sha256: sha256_of_ids(&corpus.ids),
        }
    }
}

/// Text that is held out of training and scored after every epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationRecord {
    /// The share of the used tokens that is held out, the last of them; 0 where it is another text.
    pub fraction: f64,
    /// The name or path of the other text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus: Option<String>,
    /// Tokens held out.
    pub tokens: u64,
    /// SHA-256 over their ids, as little-endian 32-bit numbers.
    pub ids_sha256: String,
}

impl ValidationRecord {
    /// The record of held-out ids.
    pub fn new(fraction: f64, corpus: Option<String>, ids: &[u32]) -> Self {
        Self { fraction, corpus, tokens: ids.len() as u64, ids_sha256: sha256_of_ids(ids) }
    }
}

fn sha256_of_ids(ids: &[u32]) -> String {
    digest::sha256_of(ids.iter().map(|id| id.to_le_bytes()))
}

/// `config.json`: everything that defines a run, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The version of the formats in this folder.
    pub format_version: u64,
    /// The text.
    pub corpus: CorpusRecord,
    /// The model.
    pub model: ModelConfig,
    /// The training.
    pub train: TrainConfig,
    /// The run whose weights it began with, where they were not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<String>,
    /// The text that is held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationRecord>,
}

/// `config.json` of a run whose weights another program trained: what is known of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRecord {
    /// The version of the formats in this folder.
    pub format_version: u64,
    /// The file that the weights come from, as it was given.
    pub imported_from: String,
    /// SHA-256 of that file.
    pub imported_sha256: String,
    /// The model.
    pub model: ModelConfig,
}

/// What a `config.json` can be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Config {
    Trained(Box<RunConfig>),
    Imported(ImportRecord),
}

/// One line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// From 1.
    pub epoch: u64,
    /// Training perplexity of the epoch.
    pub perplexity: f64,
    /// Perplexity on held-out text, where there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_perplexity: Option<f64>,
    /// Tokens a second.
    pub tokens_per_second: f64,
    /// Learning rate.
    pub lr: f32,
    /// Mean gradient norm before clipping.
    pub gradient_norm: f64,
    /// Wall-clock seconds of the epoch.
    pub seconds: f64,
}

impl From<&EpochReport> for Metrics {
    fn from(report: &EpochReport) -> Self {
        Self {
            epoch: report.epoch,
            perplexity: report.perplexity,
            val_perplexity: report.val_perplexity,
            tokens_per_second: report.tokens_per_second(),
            lr: report.lr,
            gradient_norm: report.gradient_norm,
            seconds: report.duration.as_secs_f64(),
        }
    }
}

impl RunConfig {
    /// A configuration in today's format.
    pub fn new(corpus: CorpusRecord, model: ModelConfig, train: TrainConfig) -> Self {
        Self { format_version: FORMAT_VERSION, corpus, model, train, init_from: None, validation: None }
    }
}

impl Config {
    /// Reads what was written, without its digest.
    pub(crate) fn from_json(content: Value) -> serde_json::Result<Self> {
        // told apart by hand, so that an error is about the one that it is
        match content.get("imported_from") {
            Some(_) => serde_json::from_value(content).map(Self::Imported),
            None => serde_json::from_value(content).map(Self::Trained),
        }
    }

    pub(crate) fn model(&self) -> &ModelConfig {
        match self {
            Self::Trained(config) => &config.model,
            Self::Imported(record) => &record.model,
        }
    }

    /// Rows of the state that is carried, of which a run that never trained has none.
    pub(crate) fn batch_size(&self) -> usize {
        match self {
            Self::Trained(config) => config.train.batch_size,
            Self::Imported(_) => 0,
        }
    }
}

/// Writes an object with its digest in front, and returns the digest.
pub(crate) fn write_sealed(disk: &dyn Disk, path: &Path, content: Value) -> Result<String> {
    let mut object = Map::from_iter([("sha256".to_owned(), PLACEHOLDER.into())]);
    if let Value::Object(content) = content {
        object.extend(content);
    }
    let mut bytes = format!("{:#}\n", Value::Object(object)).into_bytes();
    let digest = digest::seal(&mut bytes);
    write_whole(disk, path, &bytes)?;
    Ok(digest)
}

/// Reads an object back, checks digest and version, and returns it without the digest; with it, the digest.
pub(crate) fn read_sealed(path: &Path, bound: u64, known: u64) -> Result<(Value, String)> {
    let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
    let bytes = read_bounded(path, bound)?;
    let digest = digest::check_file(path, &bytes)?;
    let mut value: Value = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if let Value::Object(object) = &mut value {
        object.shift_remove("sha256");
    }
    check_version(path, &value, known)?;
    Ok((value, digest))
}

/// Refuses an object of a version that is newer than `known`, or of none.
pub(crate) fn check_version(path: &Path, value: &Value, known: u64) -> Result<()> {
    match value.get("format_version").and_then(Value::as_u64) {
        Some(found) if found > known => Err(Error::NewerFormat { path: path.to_owned(), found, known }),
        Some(1..) => Ok(()),
        _ => {
            let reason = "it states no format version that ever was".to_owned();
            Err(Error::Damaged { path: path.to_owned(), reason })
        }
    }
}
