//! The metadata of `model.safetensors` and `trainer.safetensors`: a JSON object in one entry of the header. The format does
//! not fix the order of several entries, and a file must always have the same bytes.
//!
//! ```text
//! sha256          digest of the whole file
//! format_version  1: `position` next to `model`; 2: `position` within `trainer`
//! vocab_sha256    digest of vocab.json
//! model           settings of the model
//! trainer         in trainer.safetensors only: position, and the other files of the same save
//! ```
//!
//! A new value that a run must remember is a field of [`Position`] and of [`StoredPosition`], there with `#[serde(default)]`,
//! so that older files still load.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::log::LogRecord;
use super::record::{FORMAT_VERSION, RunConfig, check_version};
use crate::{Best, Error, ModelConfig, Plateau, Position, Result};

/// The metadata of a weights file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) sha256: String,
    pub(crate) format_version: u64,
    pub(crate) vocab_sha256: String,
    pub(crate) model: ModelConfig,
    /// The position of a trainer in format 1.
    #[serde(default, skip_serializing)]
    position: Option<StoredPosition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trainer: Option<TrainerMetadata>,
}

/// The metadata that only `trainer.safetensors` has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainerMetadata {
    pub(crate) position: StoredPosition,
    /// The other files of the same save; absent in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) saved_with: Option<SavedWith>,
}

/// The other files of a save, so that files of different saves are never combined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedWith {
    pub(crate) config: RunConfig,
    /// The digest of `model.safetensors`.
    pub(crate) model_sha256: String,
    /// The content of `metrics.jsonl`.
    pub(crate) metrics: LogRecord,
}

/// A [`Position`] that keeps every bit: `f64` are stored as integers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPosition {
    epoch: u64,
    minibatch: usize,
    step: u64,
    loss_sum_bits: u64,
    gradient_norm_sum_bits: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    best: Option<StoredBest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plateau: Option<StoredPlateau>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredBest {
    epoch: u64,
    perplexity_bits: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredPlateau {
    best_bits: Option<u64>,
    bad_epochs: u64,
    reductions: u32,
}

impl From<Position> for StoredPosition {
    fn from(position: Position) -> Self {
        let best = |best: Best| StoredBest { epoch: best.epoch, perplexity_bits: best.perplexity.to_bits() };
        let plateau = |Plateau { best, bad_epochs, reductions }| StoredPlateau {
            best_bits: best.map(f64::to_bits),
            bad_epochs,
            reductions,
        };
        Self {
            epoch: position.epoch,
            minibatch: position.minibatch,
            step: position.step,
            loss_sum_bits: position.loss_sum.to_bits(),
            gradient_norm_sum_bits: position.gradient_norm_sum.to_bits(),
            best: position.best.map(best),
            plateau: (position.plateau != Plateau::default()).then(|| plateau(position.plateau)),
        }
    }
}

impl From<StoredPosition> for Position {
    fn from(stored: StoredPosition) -> Self {
        let best = |best: StoredBest| Best { epoch: best.epoch, perplexity: f64::from_bits(best.perplexity_bits) };
        let plateau = |StoredPlateau { best_bits, bad_epochs, reductions }| Plateau {
            best: best_bits.map(f64::from_bits),
            bad_epochs,
            reductions,
        };
        Self {
            epoch: stored.epoch,
            minibatch: stored.minibatch,
            step: stored.step,
            loss_sum: f64::from_bits(stored.loss_sum_bits),
            gradient_norm_sum: f64::from_bits(stored.gradient_norm_sum_bits),
            best: stored.best.map(best),
            plateau: stored.plateau.map(plateau).unwrap_or_default(),
        }
    }
}

impl Metadata {
    /// The metadata of a file whose digest is not computed yet.
    pub(crate) fn new(model: &ModelConfig, vocab_sha256: &str, trainer: Option<TrainerMetadata>) -> Self {
        Self {
            sha256: super::digest::PLACEHOLDER.to_owned(),
            format_version: FORMAT_VERSION,
            vocab_sha256: vocab_sha256.to_owned(),
            model: model.clone(),
            position: None,
            trainer,
        }
    }

    /// Parses the metadata of the file at `path`, in the current format or an older one.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        let damaged = |error: serde_json::Error| Error::Damaged { path: path.to_owned(), reason: error.to_string() };
        let value: Value = serde_json::from_str(text).map_err(damaged)?;
        // a newer format may have other fields, so the version is checked first
        check_version(path, &value, FORMAT_VERSION)?;
        let mut metadata: Self = serde_json::from_value(value).map_err(damaged)?;
        let old = metadata.position.take().map(|position| TrainerMetadata { position, saved_with: None });
        metadata.trainer = metadata.trainer.or(old);
        Ok(metadata)
    }
}
