//! The golden files in `tests/fixtures`: results that PyTorch computed, one case per file, read without PyTorch.

use std::collections::BTreeMap;
use std::path::Path;

use rnnlm_model::{AdaptiveSoftmax, Average, OptimizerConfig, Regularization, TrainConfig};
use rnnlm_rnn::{Cell, ParameterLayout};
use rnnlm_tensor::{Mask, MaskRows};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::device::NamedTensor;
use crate::{Error, Result};

/// The folder of the files, unless the environment names another one: the table also runs on machines without the sources.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
const FOLDER_VARIABLE: &str = "RNNLM_FIXTURES";

/// The content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Forward and backward passes of recurrent layers.
    Layer,
    /// Loss and gradients of a language model on one minibatch.
    Model,
    /// A training run of several updates.
    Trajectory,
}

/// A file's settings, from its metadata.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// The content.
    pub kind: Kind,
    /// The cell, by [`Cell::name`].
    pub cell: String,
    /// **T**.
    pub num_steps: usize,
    /// **N**.
    pub batch_size: usize,
    /// **D**, for layers.
    #[serde(default)]
    pub input_size: usize,
    /// **V**, for models.
    #[serde(default)]
    pub vocab_size: usize,
    /// **E**, for models with an embedding; else 0.
    #[serde(default)]
    pub embedding_size: usize,
    /// **H**.
    pub hidden_size: usize,
    /// **L**.
    pub num_layers: usize,
    /// Whether there are reverse layers.
    #[serde(default)]
    pub bidirectional: bool,
    /// Learning rate, for trajectories.
    #[serde(default)]
    pub lr: f32,
    /// Whether the output layer's weight is the embedding, for models.
    #[serde(default)]
    pub tie_weights: bool,
    /// Dropout between layers, for models.
    #[serde(default)]
    pub dropout: Option<Dropout>,
    /// The settings of regularization, for models, with the seed and the step of their masks.
    #[serde(default)]
    pub regularization: Option<RegularizationSettings>,
    /// Whether layers have residual connections.
    #[serde(default)]
    pub residual: bool,
    /// The adaptive softmax, for models that have one.
    #[serde(default)]
    pub adaptive_softmax: Option<AdaptiveSoftmax>,
    /// Maximum global gradient norm, for trajectories; 0 for no clipping.
    #[serde(default)]
    pub clip: f32,
    /// Maximum magnitude of each gradient, for trajectories; 0 for no clipping.
    #[serde(default)]
    pub clip_value: f32,
    /// The optimizer, for trajectories.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The average of the parameters, for trajectories: the expected parameters are the averaged ones.
    #[serde(default)]
    pub average: Average,
    /// Whether biases have no weight decay, for trajectories.
    #[serde(default)]
    pub no_bias_decay: bool,
    /// `sequential` or `random`, for trajectories.
    #[serde(default)]
    pub sampling: String,
}

/// A dropout whose masks were computed by this project's formula and given to PyTorch.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Dropout {
    probability: f32,
    seed: u64,
    step: u64,
}

/// The settings of [`TrainConfig`] with these names; those that are absent are 0.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegularizationSettings {
    seed: u64,
    step: u64,
    weight_drop: f32,
    dropout_input: f32,
    dropout_hidden: f32,
    dropout_output: f32,
    dropout_embedding: f32,
    ar: f32,
    tar: f32,
    label_smoothing: f32,
}

impl Case {
    /// The regularization of the minibatch of a model.
    pub fn regularization(&self) -> Regularization {
        let between_layers = self.dropout.map(Into::into);
        let Some(settings) = self.regularization else {
            return Regularization { between_layers, ..Regularization::default() };
        };
        let RegularizationSettings { seed, step, weight_drop, dropout_input, dropout_hidden, .. } = settings;
        let RegularizationSettings { dropout_output, dropout_embedding, ar, tar, label_smoothing, .. } = settings;
        let config = TrainConfig {
            batch_size: self.batch_size,
            num_steps: self.num_steps,
            seed,
            weight_drop,
            dropout_input,
            dropout_hidden,
            dropout_output,
            dropout_embedding,
            ar,
            tar,
            label_smoothing,
            ..TrainConfig::book()
        };
        config.regularization(step)
    }
}

impl From<Dropout> for Mask {
    fn from(Dropout { probability, seed, step }: Dropout) -> Self {
        Self { probability, seed, layer: 0, step, period: 0, rows: MaskRows::default() }
    }
}

/// A golden file.
#[derive(Clone, Debug)]
pub struct Golden {
    /// The file name without its extension.
    pub name: String,
    /// The settings.
    pub case: Case,
    tensors: BTreeMap<String, Values>,
}

#[derive(Clone, Debug)]
struct Values {
    shape: Vec<usize>,
    data: Data,
}

#[derive(Clone, Debug)]
enum Data {
    Floats(Vec<f32>),
    Ids(Vec<u32>),
}

/// All golden files, sorted by name.
///
/// # Errors
/// [`Error::Fixture`] if there are none or one cannot be read.
pub fn all() -> Result<Vec<Golden>> {
    let failed = |reason: String| Error::Fixture { file: "fixtures".to_owned(), reason };
    let folder = std::env::var_os(FOLDER_VARIABLE).unwrap_or_else(|| FOLDER.into());
    let entries = std::fs::read_dir(folder).map_err(|error| failed(error.to_string()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "safetensors")).collect();
    paths.sort();
    if paths.is_empty() {
        return Err(failed("there are no golden files".to_owned()));
    }
    paths.iter().map(|path| Golden::read(path)).collect()
}

impl Golden {
    fn read(path: &Path) -> Result<Self> {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = std::fs::read(path).map_err(|error| failure(&name, &error))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| failure(&name, &error))?;
        let case = metadata.metadata().as_ref().and_then(|metadata| metadata.get("case"));
        let case = case.ok_or_else(|| failure(&name, &"the metadata has no `case`"))?;
        let case: Case = serde_json::from_str(case).map_err(|error| failure(&name, &error))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| failure(&name, &error))?;
        let mut tensors = BTreeMap::new();
        for (key, view) in file.iter() {
            let words = view.data().as_chunks::<4>().0.iter();
            let data = match view.dtype() {
                Dtype::F32 => Data::Floats(words.map(|&word| f32::from_le_bytes(word)).collect()),
                Dtype::I32 => Data::Ids(words.map(|&word| u32::from_le_bytes(word)).collect()),
                other => return Err(failure(&name, &format!("`{key}` is {other:?}"))),
            };
            tensors.insert(key.to_owned(), Values { shape: view.shape().to_vec(), data });
        }
        Ok(Self { name, case, tensors })
    }

    /// The number of hidden values over all updates: a measure of the time a case takes.
    pub fn volume(&self) -> usize {
        let updates = self.floats("expected.losses").map_or(1, |(_, losses)| losses.len());
        updates * self.case.num_steps * self.case.batch_size * self.case.hidden_size
    }

    /// The cell.
    ///
    /// # Errors
    /// If no cell has the name.
    pub fn cell(&self) -> Result<Cell> {
        let cell = Cell::ALL.into_iter().find(|cell| cell.name() == self.case.cell);
        cell.ok_or_else(|| failure(&self.name, &format!("there is no cell `{}`", self.case.cell)))
    }

    /// Whether some gates are saturated.
    pub fn is_saturated(&self) -> bool {
        self.name.ends_with("saturated")
    }

    /// `T·N` flags of the rows that start a sequence; empty if the file has none.
    pub fn starts(&self) -> Vec<bool> {
        self.ids("starts").map(|flags| flags.iter().map(|&flag| flag != 0).collect()).unwrap_or_default()
    }

    /// The shape and values of a float tensor.
    ///
    /// # Errors
    /// If the file does not contain it.
    pub fn floats(&self, key: &str) -> Result<(&[usize], &[f32])> {
        match self.tensors.get(key) {
            Some(Values { shape, data: Data::Floats(values) }) => Ok((shape, values)),
            _ => Err(failure(&self.name, &format!("there is no float tensor `{key}`"))),
        }
    }

    /// The values of a float tensor; empty if the file does not contain it.
    pub fn optional(&self, key: &str) -> Vec<f32> {
        self.floats(key).map(|(_, values)| values.to_vec()).unwrap_or_default()
    }

    /// The values of a tensor of ids.
    ///
    /// # Errors
    /// If the file does not contain it.
    pub fn ids(&self, key: &str) -> Result<&[u32]> {
        match self.tensors.get(key) {
            Some(Values { data: Data::Ids(ids), .. }) => Ok(ids),
            _ => Err(failure(&self.name, &format!("there is no tensor of ids `{key}`"))),
        }
    }

    /// The tensor `prefix` + name for every parameter of a layout, in the layout's order.
    ///
    /// # Errors
    /// If one is missing or has the wrong shape.
    pub fn parameters(&self, layout: &ParameterLayout, prefix: &str) -> Result<Vec<NamedTensor>> {
        let parameter = |spec: &rnnlm_rnn::ParameterSpec| {
            let (shape, values) = self.floats(&format!("{prefix}{}", spec.name))?;
            if shape != spec.shape {
                let reason = format!("`{}` has shape {shape:?}, the layout's is {:?}", spec.name, spec.shape);
                return Err(failure(&self.name, &reason));
            }
            Ok(NamedTensor { name: spec.name.clone(), shape: shape.to_vec(), values: values.to_vec() })
        };
        layout.specs().iter().map(parameter).collect()
    }
}

fn failure(name: &str, reason: &dyn std::fmt::Display) -> Error {
    Error::Fixture { file: name.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_golden_layers_and_the_files_stay_small() {
        let all = all().unwrap();
        for cell in Cell::ALL {
            assert!(
                all.iter().any(|golden| golden.case.kind == Kind::Layer && golden.cell().unwrap() == cell),
                "{cell:?}"
            );
        }
        let bytes: u64 = std::fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < 300_000 * Cell::ALL.len() as u64, "{bytes} bytes");
    }

    #[test]
    fn trajectories_have_all_samplings_with_100_steps_and_all_optimizers_with_20() {
        let all = all().unwrap();
        let trajectories: Vec<&Golden> = all.iter().filter(|golden| golden.case.kind == Kind::Trajectory).collect();
        for golden in &trajectories {
            let steps = if golden.name.starts_with("optimizer") { 20 } else { 100 };
            assert_eq!(golden.floats("expected.losses").unwrap().0, [steps], "{}", golden.name);
        }
        for optimizer in OptimizerConfig::ALL {
            let same = |golden: &&Golden| golden.case.optimizer.as_str() == optimizer.as_str();
            assert!(trajectories.iter().any(same), "{optimizer:?}");
        }
        for sampling in ["sequential", "random"] {
            assert!(trajectories.iter().any(|golden| golden.case.sampling == sampling), "{sampling}");
        }
    }
}
