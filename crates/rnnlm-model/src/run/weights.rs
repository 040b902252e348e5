//! The weights files: `model.safetensors` and `best.safetensors` have the parameters under PyTorch's names,
//! `trainer.safetensors` has everything that exact resumption needs.
//!
//! | tensor | shape | files |
//! |---|---|---|
//! | `embedding.…`, `rnn.…`, `linear.…` | PyTorch's | all |
//! | `state.hidden`, `state.cell` | `[L·directions·N, H]` | trainer |
//! | `optimizer.NAME` for each buffer of the optimizer | one value per parameter, in the layout's order | trainer |
//!
//! `metadata.rs` describes the metadata.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use rnnlm_rnn::{ParameterLayout, Recurrence};
use safetensors::View;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::Deserialize;

use super::digest;
use super::files::read_bounded;
use super::metadata::{Metadata, TrainerMetadata};
use super::names::MAX_CONFIG_BYTES;
use super::source::Source;
use crate::{Error, ModelConfig, Result, Snapshot, Trainer};

/// The key of the metadata.
pub(crate) const KEY: &str = "rnnlm";
/// The most bytes of the entry of a tensor in a header: a name of at most 30 characters, two sizes and two offsets.
const MAX_ENTRY_BYTES: u64 = 256;
/// The most bytes of the metadata. It contains a configuration, in which a string within a string escapes quotes again.
const MAX_METADATA_BYTES: u64 = 2 * MAX_CONFIG_BYTES + (1 << 16);
/// The names of the carried state.
const STATE: [&str; 2] = ["state.hidden", "state.cell"];

/// A tensor to write. Its bytes are made when they are written, one tensor after the other.
struct Named<'a> {
    name: String,
    shape: Vec<usize>,
    values: &'a [f32],
}

impl View for &Named<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// The name of an optimizer buffer in the file.
fn optimizer_name(buffer: &str) -> String {
    format!("optimizer.{buffer}")
}

/// The bytes of a weights file, and its digest.
fn serialize(metadata: &Metadata, tensors: &[Named<'_>]) -> (Vec<u8>, String) {
    let metadata = serde_json::to_string(metadata).expect("plain values are valid JSON");
    let views = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor));
    let mut file = safetensors::serialize(views, Some(HashMap::from([(KEY.to_owned(), metadata)])))
        .expect("the sizes of values in memory do not overflow");
    let digest = digest::embed(&mut file);
    (file, digest)
}

/// The parameters of a layout in their flat buffer, under all their names.
fn named_parameters<'a>(layout: &ParameterLayout, values: &'a [f32]) -> Vec<Named<'a>> {
    let named = |spec: &rnnlm_rnn::ParameterSpec| Named {
        name: spec.name.clone(),
        shape: spec.shape.clone(),
        values: &values[spec.range()],
    };
    layout.specs().iter().chain(layout.tied()).map(named).collect()
}

/// The bytes of `model.safetensors`, and their digest.
pub(crate) fn model_file(
    parameters: &[f32],
    layout: &ParameterLayout,
    model: &ModelConfig,
    vocab_sha256: &str,
) -> (Vec<u8>, String) {
    serialize(&Metadata::new(model, vocab_sha256, None), &named_parameters(layout, parameters))
}

/// The bytes of `trainer.safetensors`. The carried state has `rows` rows.
pub(crate) fn trainer_file(snapshot: &Snapshot, layout: &ParameterLayout, rows: usize, metadata: &Metadata) -> Vec<u8> {
    let mut tensors = named_parameters(layout, &snapshot.parameters);
    for (name, values) in STATE.iter().zip([&snapshot.hidden, &snapshot.cell]) {
        tensors.push(Named { name: (*name).to_owned(), shape: vec![rows, values.len() / rows], values });
    }
    for (name, values) in &snapshot.optimizer {
        tensors.push(Named { name: optimizer_name(name), shape: vec![values.len()], values });
    }
    serialize(metadata, &tensors).0
}

/// A weights file whose digest and version are valid, and which has the run's model and vocabulary.
pub(crate) struct WeightsFile<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    pub(crate) metadata: Metadata,
}

impl<'a> WeightsFile<'a> {
    /// Parses and checks the bytes of the file at `path`.
    pub(crate) fn parse(path: &'a Path, bytes: &'a [u8], model: &ModelConfig, vocab_sha256: &str) -> Result<Self> {
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        let mismatch = |reason: String| Error::Mismatch { path: path.to_owned(), reason };
        digest::check_file(path, bytes)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
        let text = header.metadata().as_ref().and_then(|entries| entries.get(KEY));
        let text = text.ok_or_else(|| damaged(format!("its header has no entry `{KEY}`")))?;
        let metadata = Metadata::parse(path, text)?;
        if metadata.model != *model {
            return Err(mismatch(format!("its model is {:?}, the one in config.json is {model:?}", metadata.model)));
        }
        if metadata.vocab_sha256 != vocab_sha256 {
            let trained = &metadata.vocab_sha256;
            return Err(mismatch(format!("it was trained with vocabulary {trained}, vocab.json is {vocab_sha256}")));
        }
        Ok(Self { path, tensors, metadata })
    }

    /// Reads the values of a tensor, which must have the given shape.
    fn values(&self, name: &str, shape: &[usize], out: &mut [f32]) -> Result<()> {
        let damaged = |reason: String| Error::Damaged { path: self.path.to_owned(), reason };
        let tensor = self.tensors.tensor(name).map_err(|_| damaged(format!("tensor `{name}` is missing")))?;
        if (tensor.dtype(), tensor.shape()) != (Dtype::F32, shape) {
            let (dtype, found) = (tensor.dtype(), tensor.shape());
            return Err(damaged(format!("tensor `{name}` is {dtype:?} {found:?}, the model needs F32 {shape:?}")));
        }
        for (value, bytes) in out.iter_mut().zip(tensor.data().chunks_exact(4)) {
            *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Ok(())
    }

    /// Every parameter of the layout, in its order.
    pub(crate) fn parameters(&self, layout: &ParameterLayout) -> Result<Vec<f32>> {
        let mut values = vec![0.0; layout.len()];
        for spec in layout.specs() {
            self.values(&spec.name, &spec.shape, &mut values[spec.range()])?;
        }
        for spec in layout.tied() {
            let mut tied = vec![0.0; spec.range().len()];
            self.values(&spec.name, &spec.shape, &mut tied)?;
            let same = tied.iter().zip(&values[spec.range()]).all(|(a, b)| a.to_bits() == b.to_bits());
            if !same {
                let reason = format!("tensor `{}` differs from the tensor that it is tied to", spec.name);
                return Err(Error::Damaged { path: self.path.to_owned(), reason });
            }
        }
        Ok(values)
    }

    /// The state for a trainer with these shapes.
    pub(crate) fn snapshot<B: Recurrence>(&self, trainer: &Trainer<B>) -> Result<Snapshot> {
        let layout = trainer.model().parameters().layout();
        let tensor = |name: &str, shape: &[usize]| {
            let mut values = vec![0.0; shape.iter().product()];
            self.values(name, shape, &mut values).map(|()| values)
        };
        let buffer = |name: &'static str| Ok((name.to_owned(), tensor(&optimizer_name(name), &[layout.len()])?));
        Ok(Snapshot {
            parameters: self.parameters(layout)?,
            hidden: tensor(STATE[0], &trainer.state_shapes()[0])?,
            cell: tensor(STATE[1], &trainer.state_shapes()[1])?,
            optimizer: trainer.optimizer_buffer_names().into_iter().map(buffer).collect::<Result<_>>()?,
            position: self.trainer()?.position(self.path)?,
        })
    }

    /// The metadata that only `trainer.safetensors` has.
    pub(crate) fn trainer(&self) -> Result<&TrainerMetadata> {
        let reason = "it has no position";
        let missing = || Error::Damaged { path: self.path.to_owned(), reason: reason.to_owned() };
        self.metadata.trainer.as_ref().ok_or_else(missing)
    }
}

/// The most bytes that the header of a file can have. A model with too many layers for the format is refused when it is made.
fn max_header_bytes(model: &ModelConfig) -> u64 {
    // weights and biases of each layer, the output layer, embeddings, the state and the optimizer's buffers
    let layers = (model.num_layers as u64).saturating_mul(model.stack().num_directions() as u64);
    let tensors = layers.saturating_mul(4).saturating_add(16);
    tensors.saturating_mul(MAX_ENTRY_BYTES).saturating_add(MAX_METADATA_BYTES)
}

/// The most bytes that a file with `values` values can have.
pub(crate) fn max_file_bytes(model: &ModelConfig, values: usize) -> u64 {
    (values as u64).saturating_mul(4).saturating_add(max_header_bytes(model)).saturating_add(size_of::<u64>() as u64)
}

/// Reads a `trainer.safetensors` for `trainer`, whose shapes bound its length.
pub(crate) fn read_trainer<B: Recurrence>(path: &Path, trainer: &Trainer<B>) -> Result<Vec<u8>> {
    let layout = trainer.model().parameters().layout();
    let parameters = layout.stored_len() + layout.len() * trainer.optimizer_buffer_names().len();
    let states = trainer.state_shapes();
    let values = parameters + states.iter().map(|[rows, cols]| rows * cols).sum::<usize>();
    read_bounded(path, max_file_bytes(trainer.model().config(), values))
}

/// The metadata of a weights file of `model`, or `None` if there is no such file. Only the header is read, and the digest is not
/// checked.
pub(crate) fn read_metadata(source: &Source, name: &str, model: &ModelConfig) -> Result<Option<Metadata>> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__")]
        metadata: HashMap<String, String>,
    }
    let path = source.path(name);
    let damaged = |reason: String| Error::Damaged { path: path.clone(), reason };
    let Some(header) = source.read_header(name, max_header_bytes(model))? else { return Ok(None) };
    let header: Header = serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
    let text = header.metadata.get(KEY).ok_or_else(|| damaged(format!("its header has no entry `{KEY}`")))?;
    Metadata::parse(&path, text).map(Some)
}

#[cfg(test)]
mod tests {
    use rnnlm_rnn::ExecutionPath;
    use rnnlm_tensor::Cpu;

    use super::*;
    use crate::{Best, NonMonotone, Plateau, Position, TrainConfig};

    #[test]
    fn position_and_buffers_keep_every_bit() {
        let (model, train) = (
            ModelConfig { hidden_size: 3, ..ModelConfig::book(4) },
            TrainConfig { batch_size: 2, ..TrainConfig::book() },
        );
        let trainer = Trainer::new(&Cpu::new(1).unwrap(), &model, &train, ExecutionPath::Auto).unwrap();
        let layout = trainer.model().parameters().layout();
        let buffer: Vec<f32> = (0..layout.len()).map(|index| 1.0 / (index as f32 + 3.0)).collect();
        let best = Some(Best { epoch: 5, perplexity: 0.1 + 0.2 });
        let position = Position {
            epoch: 7,
            minibatch: 2,
            step: 30,
            length_sum: 1.9,
            loss_sum: 1.0 / 3.0,
            gradient_norm_sum: 0.7,
            best,
            epochs_without_improvement: 2,
            plateau: Plateau { best: Some(0.7 - 0.1), bad_epochs: 3, reductions: 2 },
            updates: 16,
            non_monotone: NonMonotone { best_before: Some(0.1), recent: [None, None, Some(0.3), Some(0.7), Some(1.1)] },
            average_start: Some(11),
        };
        let optimizer = vec![("exp_avg".to_owned(), buffer.clone())];
        let snapshot = Snapshot { optimizer, position, ..trainer.snapshot().unwrap() };
        let trainer_metadata = TrainerMetadata::new(position, None);
        let file = trainer_file(&snapshot, layout, 2, &Metadata::new(&model, "v", Some(trainer_metadata)));
        let path = Path::new("trainer.safetensors");
        let weights = WeightsFile::parse(path, &file, &model, "v").unwrap();
        assert_eq!(weights.trainer().unwrap().position(path).unwrap(), position);
        let mut read = vec![0.0; layout.len()];
        weights.values("optimizer.exp_avg", &[layout.len()], &mut read).unwrap();
        assert_eq!(read, buffer);
        // this trainer's optimizer has no buffers
        assert_eq!(weights.snapshot(&trainer).unwrap(), Snapshot { optimizer: Vec::new(), ..snapshot });
    }
}
