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
use crate::report::MAX_LOSS;
use crate::{Best, Error, ModelConfig, NonMonotone, Plateau, Position, Result};

/// The most steps of a run; at a million a second, it would take 100,000 years.
const MAX_STEPS: u64 = 1 << 62;

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
    position: StoredPosition,
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
    epochs_without_improvement: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plateau: Option<StoredPlateau>,
    /// Only with variable-length backpropagation through time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length_sum_bits: Option<u64>,
    /// Only with gradient accumulation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updates: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    non_monotone: Option<StoredNonMonotone>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    average_start: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredNonMonotone {
    best_bits: Option<u64>,
    recent_bits: [Option<u64>; 5],
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
            epochs_without_improvement: (position.best.is_some() || position.epochs_without_improvement > 0)
                .then_some(position.epochs_without_improvement),
            plateau: (position.plateau != Plateau::default()).then(|| plateau(position.plateau)),
            length_sum_bits: (position.length_sum != position.minibatch as f64)
                .then_some(position.length_sum.to_bits()),
            updates: (position.updates != position.step).then_some(position.updates),
            non_monotone: (position.non_monotone != NonMonotone::default()).then(|| StoredNonMonotone {
                best_bits: position.non_monotone.best_before.map(f64::to_bits),
                recent_bits: position.non_monotone.recent.map(|value| value.map(f64::to_bits)),
            }),
            average_start: position.average_start,
        }
    }
}

impl StoredPosition {
    /// The position, or what is wrong with it. Values that no run reaches are refused, so that counting on cannot overflow.
    fn position(&self) -> Result<Position, String> {
        let loss_sum = f64::from_bits(self.loss_sum_bits);
        let gradient_norm_sum = f64::from_bits(self.gradient_norm_sum_bits);
        let minibatches = self.minibatch as u64;
        // each epoch has at least one minibatch
        let done = self.epoch.saturating_add(minibatches);
        if self.step > MAX_STEPS || done > self.step {
            let (epoch, step) = (self.epoch, self.step);
            return Err(format!("it is at step {step}, minibatch {minibatches} of epoch {epoch}"));
        }
        let length_sum = self.length_sum_bits.map_or(minibatches as f64, f64::from_bits);
        let max_loss_sum = f64::from(MAX_LOSS.next_up()) * length_sum;
        let is_length_valid = length_sum.is_finite() && (length_sum > 0.0) == (minibatches > 0);
        if !(is_length_valid && loss_sum.abs() <= max_loss_sum && gradient_norm_sum.is_finite()) {
            return Err(format!(
                "its sums are {length_sum}, {loss_sum} and {gradient_norm_sum} after {minibatches} minibatches"
            ));
        }
        let best = self.best.as_ref().map(StoredBest::best);
        let plateau = self.plateau.as_ref().map(StoredPlateau::plateau).unwrap_or_default();
        let best_epoch = best.map_or(0, |best| best.epoch);
        if best_epoch.max(plateau.bad_epochs).max(plateau.reductions.into()) > self.epoch {
            let epoch = self.epoch;
            return Err(format!("it is at epoch {epoch}, its best epoch is {best_epoch}, its schedule {plateau:?}"));
        }
        let updates = self.updates.unwrap_or(self.step);
        if updates > self.step || self.average_start.is_some_and(|start| start > updates) {
            let (step, start) = (self.step, self.average_start);
            return Err(format!("it is at step {step} and update {updates}, its average starts at {start:?}"));
        }
        // earlier versions counted from the best epoch, and could keep a best perplexity that is not finite
        let best = best.filter(|best| best.perplexity.is_finite());
        let since_best = best.map_or(0, |best| self.epoch - best.epoch);
        Ok(Position {
            epoch: self.epoch,
            minibatch: self.minibatch,
            step: self.step,
            length_sum,
            loss_sum,
            gradient_norm_sum,
            best,
            epochs_without_improvement: self.epochs_without_improvement.unwrap_or(since_best).min(self.epoch),
            plateau,
            updates,
            non_monotone: self.non_monotone.as_ref().map(StoredNonMonotone::non_monotone).unwrap_or_default(),
            average_start: self.average_start,
        })
    }
}

impl StoredNonMonotone {
    fn non_monotone(&self) -> NonMonotone {
        NonMonotone {
            best_before: self.best_bits.map(f64::from_bits),
            recent: self.recent_bits.map(|bits| bits.map(f64::from_bits)),
        }
    }
}

impl StoredBest {
    fn best(&self) -> Best {
        Best { epoch: self.epoch, perplexity: f64::from_bits(self.perplexity_bits) }
    }
}

impl StoredPlateau {
    fn plateau(&self) -> Plateau {
        let best = self.best_bits.map(f64::from_bits).filter(|best| best.is_finite());
        Plateau { best, bad_epochs: self.bad_epochs, reductions: self.reductions }
    }
}

impl TrainerMetadata {
    /// The position in the file at `path`.
    pub(crate) fn position(&self, path: &Path) -> Result<Position> {
        self.position.position().map_err(|reason| Error::Damaged { path: path.to_owned(), reason })
    }
}

impl TrainerMetadata {
    pub(crate) fn new(position: Position, saved_with: Option<SavedWith>) -> Self {
        Self { position: position.into(), saved_with }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A position in epoch 3, with `changes` to its fields.
    fn position(changes: &[(&str, Value)]) -> Result<Position, String> {
        let mut stored = serde_json::json!({
            "epoch": 2, "minibatch": 5, "step": 25, "loss_sum_bits": 10.0_f64.to_bits(),
            "gradient_norm_sum_bits": 1.0_f64.to_bits(),
            "best": { "epoch": 1, "perplexity_bits": 4.0_f64.to_bits() },
            "plateau": { "best_bits": 3.0_f64.to_bits(), "bad_epochs": 1, "reductions": 0 },
        });
        for (pointer, value) in changes {
            *stored.pointer_mut(pointer).expect("a field") = value.clone();
        }
        let stored: StoredPosition = serde_json::from_value(stored).map_err(|error| error.to_string())?;
        stored.position()
    }

    #[test]
    fn numbers_that_no_run_reaches_are_refused() {
        assert_eq!(position(&[]).expect("it is valid").step, 25);
        let nan = Value::from(f64::NAN.to_bits());
        let infinite = Value::from(f64::INFINITY.to_bits());
        let refused: [&[(&str, Value)]; 10] = [
            &[("/epoch", u64::MAX.into())],
            &[("/minibatch", u64::MAX.into())],
            &[("/step", u64::MAX.into())],
            &[("/epoch", (1_u64 << 63).into()), ("/step", (1_u64 << 63).into())],
            &[("/step", 6.into())],
            &[("/loss_sum_bits", nan)],
            &[("/loss_sum_bits", 1e300_f64.to_bits().into())],
            &[("/gradient_norm_sum_bits", infinite)],
            &[("/best/epoch", 3.into())],
            &[("/plateau/reductions", u32::MAX.into())],
        ];
        for changes in refused {
            assert!(position(changes).is_err(), "{changes:?}");
        }
    }

    #[test]
    fn a_best_perplexity_that_is_not_finite_is_dropped() {
        let nan = Value::from(f64::NAN.to_bits());
        let found = position(&[("/best/perplexity_bits", nan.clone()), ("/plateau/best_bits", nan)]).expect("it loads");
        assert_eq!((found.best, found.plateau.best, found.epochs_without_improvement), (None, None, 0));
        // earlier versions did not store the epochs since the best one
        assert_eq!(position(&[]).expect("it is valid").epochs_without_improvement, 1);
    }
}
