//! `model.safetensors` and `trainer.safetensors`: parameters under PyTorch's names, and all that exact resumption needs.
//!
//! The one metadata entry, `rnnlm`, is an object in JSON: digest, format version, the digest of the vocabulary, the
//! model's sizes, and for a trainer its position. A single entry, because the order of several is not fixed by the format
//! and a file must have the same bytes every time.

use std::collections::HashMap;
use std::path::Path;

use rnnlm_rnn::{ParameterLayout, Recurrence};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::digest::{self, PLACEHOLDER};
use super::files::{read_bounded, write_whole};
use super::record::FORMAT_VERSION;
use crate::{Error, ModelConfig, Position, Result, Trainer};

const KEY: &str = "rnnlm";
/// Room for the header beside the values: names, shapes and metadata are a few kilobytes.
const HEADER_BOUND: u64 = 1 << 20;
/// The carried state in `trainer.safetensors`.
const STATE: [&str; 2] = ["state.hidden", "state.cell"];

/// The metadata of a file of weights.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Metadata {
    sha256: String,
    format_version: u64,
    vocab_sha256: String,
    model: ModelConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<StoredPosition>,
}

/// A [`Position`] to the bit: sums as the bits of their doubles.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredPosition {
    epoch: u64,
    minibatch: usize,
    step: u64,
    loss_sum_bits: u64,
    gradient_norm_sum_bits: u64,
}

impl From<Position> for StoredPosition {
    fn from(position: Position) -> Self {
        Self {
            epoch: position.epoch,
            minibatch: position.minibatch,
            step: position.step,
            loss_sum_bits: position.loss_sum.to_bits(),
            gradient_norm_sum_bits: position.gradient_norm_sum.to_bits(),
        }
    }
}

impl From<StoredPosition> for Position {
    fn from(stored: StoredPosition) -> Self {
        Self {
            epoch: stored.epoch,
            minibatch: stored.minibatch,
            step: stored.step,
            loss_sum: f64::from_bits(stored.loss_sum_bits),
            gradient_norm_sum: f64::from_bits(stored.gradient_norm_sum_bits),
        }
    }
}

/// A tensor on its way to a file: name, shape, values.
type Named<'a> = (&'a str, Vec<usize>, &'a [f32]);

fn write(path: &Path, mut metadata: Metadata, tensors: &[Named<'_>]) -> Result<()> {
    metadata.sha256 = PLACEHOLDER.to_owned();
    metadata.format_version = FORMAT_VERSION;
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("four bytes for each value");
        ((*name).to_owned(), view)
    });
    let metadata = serde_json::to_string(&metadata).expect("plain values make JSON");
    let mut file = safetensors::serialize(views, Some(HashMap::from([(KEY.to_owned(), metadata)])))
        .expect("the sizes of views in memory do not overflow");
    digest::seal(&mut file);
    write_whole(path, &file)
}

/// The parameters of a layout, cut out of their flat buffer.
fn named_parameters<'a>(layout: &'a ParameterLayout, values: &'a [f32]) -> Vec<Named<'a>> {
    layout.specs().iter().map(|spec| (spec.name.as_str(), spec.shape.clone(), &values[spec.range()])).collect()
}

fn metadata(model: &ModelConfig, vocab_sha256: &str, position: Option<Position>) -> Metadata {
    Metadata {
        sha256: String::new(),
        format_version: 0,
        vocab_sha256: vocab_sha256.to_owned(),
        model: model.clone(),
        position: position.map(StoredPosition::from),
    }
}

/// Writes all that continuing `trainer` exactly needs, then the model alone.
pub(crate) fn save<B: Recurrence>(
    [model_path, trainer_path]: [&Path; 2],
    vocab_sha256: &str,
    trainer: &Trainer<B>,
) -> Result<()> {
    let (model, state) = (trainer.model(), trainer.state());
    let values = model.parameters().to_vec(model.backend())?;
    let mut tensors = named_parameters(model.parameters().layout(), &values);
    let parameters_only = tensors.len();
    let states = [state.hidden.to_vec(model.backend())?, state.cell.to_vec(model.backend())?];
    for ((name, shape), values) in STATE.iter().zip([state.hidden.shape(), state.cell.shape()]).zip(&states) {
        tensors.push((name, shape.to_vec(), values));
    }
    write(trainer_path, metadata(model.config(), vocab_sha256, Some(trainer.position())), &tensors)?;
    write(model_path, metadata(model.config(), vocab_sha256, None), &tensors[..parameters_only])
}

/// A file of weights whose digest, version and fit have been checked.
struct Checked<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    metadata: Metadata,
}

impl<'a> Checked<'a> {
    fn new(path: &'a Path, bytes: &'a [u8], model: &ModelConfig, vocab_sha256: &str) -> Result<Self> {
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        let mismatch = |reason: String| Error::Mismatch { path: path.to_owned(), reason };
        digest::check(bytes).map_err(damaged)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
        let text = header.metadata().as_ref().and_then(|entries| entries.get(KEY));
        let text = text.ok_or_else(|| damaged(format!("its header has no entry `{KEY}`")))?;
        let metadata: Metadata = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
        match metadata.format_version {
            FORMAT_VERSION => {}
            found => return Err(Error::NewerFormat { path: path.to_owned(), found, known: FORMAT_VERSION }),
        }
        if metadata.model != *model {
            return Err(mismatch(format!("it holds a model {:?}, config.json says {model:?}", metadata.model)));
        }
        if metadata.vocab_sha256 != vocab_sha256 {
            let stated = &metadata.vocab_sha256;
            return Err(mismatch(format!("it was trained with vocabulary {stated}, vocab.json is {vocab_sha256}")));
        }
        Ok(Self { path, tensors, metadata })
    }

    /// The values of one tensor, if it has the given shape.
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
    fn parameters(&self, layout: &ParameterLayout) -> Result<Vec<f32>> {
        let mut values = vec![0.0; layout.len()];
        for spec in layout.specs() {
            self.values(&spec.name, &spec.shape, &mut values[spec.range()])?;
        }
        Ok(values)
    }
}

/// The parameters in a file of weights that fits `model` and the vocabulary, in the order of the layout.
pub(crate) fn load_parameters(
    path: &Path,
    layout: &ParameterLayout,
    model: &ModelConfig,
    vocab_sha256: &str,
) -> Result<Vec<f32>> {
    let bytes = read_bounded(path, 4 * layout.len() as u64 + HEADER_BOUND)?;
    Checked::new(path, &bytes, model, vocab_sha256)?.parameters(layout)
}

/// Puts `trainer` where the one that wrote the file stood.
pub(crate) fn restore<B: Recurrence>(path: &Path, vocab_sha256: &str, trainer: &mut Trainer<B>) -> Result<()> {
    let (layout, config) = (trainer.model().parameters().layout().clone(), trainer.model().config().clone());
    let shapes = [trainer.state().hidden.shape(), trainer.state().cell.shape()];
    let values: usize = layout.len() + shapes.iter().map(|[rows, cols]| rows * cols).sum::<usize>();
    let bytes = read_bounded(path, 4 * values as u64 + HEADER_BOUND)?;
    let file = Checked::new(path, &bytes, &config, vocab_sha256)?;
    let mut states = shapes.map(|[rows, cols]| vec![0.0; rows * cols]);
    for ((name, shape), state) in STATE.iter().zip(shapes).zip(&mut states) {
        file.values(name, &shape, state)?;
    }
    let parameters = file.parameters(&layout)?;
    let Some(position) = file.metadata.position else {
        return Err(Error::Damaged { path: path.to_owned(), reason: "it holds no position".to_owned() });
    };
    trainer.restore(&parameters, [&states[0], &states[1]], position.into())
}
