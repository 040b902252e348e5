//! Import of weights that PyTorch trained: a `safetensors` file of the book's `RNNModel`, whose recurrent part is a
//! `torch.nn.{RNN,GRU,LSTM}`. Settings are inferred from names and shapes:
//!
//! ```text
//! H = columns of rnn.weight_hh_l0
//! G = rows of rnn.weight_hh_l0 / H  cell: 1 for an RNN, 3 for a GRU, 4 for an LSTM
//! L = number of rnn.weight_hh_l0, rnn.weight_hh_l1, …
//! rnn.weight_hh_l0_reverse          bidirectional
//! embedding.weight [V, E]           learned embedding, else one-hot input; tied if linear.weight has the same bits
//! linear.weight [V, directions·H]   vocabulary size
//! ```
//!
//! Only the non-linearity of an RNN cannot be inferred. The whole file is checked before anything is written.

use std::path::{Path, PathBuf};

use rnnlm_rnn::{Cell, Nonlinearity, ParameterLayout, ParameterSpec};
use rnnlm_vocab::Vocab;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use serde::Deserialize;

use super::disk::System;
use super::files::{read_bounded, write_atomically};
use super::folder::{Folder, write_config, write_vocab};
use super::names::MODEL;
use super::reader::Run;
use super::record::{Config, FORMAT_VERSION, ImportRecord};
use super::{digest, weights};
use crate::import_error::ImportError;
use crate::{Error, ModelConfig, Result, model};

/// The tensor from which the cell and the hidden size are inferred.
const RECURRENT: &str = "rnn.weight_hh_l0";
/// The first bytes of a zip archive, which `torch.save` writes.
const ZIP: &[u8] = b"PK\x03\x04";

/// A weights file that was checked and is a complete model.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    sha256: String,
    model: ModelConfig,
    layout: ParameterLayout,
    values: Vec<f32>,
}

impl Checkpoint {
    /// Reads a file and checks every tensor. `nonlinearity` is that of an RNN, tanh by default; a file that this program wrote
    /// contains it.
    ///
    /// # Errors
    /// [`Error::Import`] if the file is not a model; [`Error::Io`] if it cannot be read.
    pub fn read(path: &Path, nonlinearity: Option<Nonlinearity>) -> Result<Self> {
        let bytes = read_bounded(path, u64::MAX)?;
        Self::parse(path, &bytes, nonlinearity).map_err(|reason| Error::Import { path: path.to_owned(), reason })
    }

    fn parse(path: &Path, bytes: &[u8], nonlinearity: Option<Nonlinearity>) -> Result<Self, ImportError> {
        if bytes.starts_with(ZIP) {
            return Err(ImportError::Pickled);
        }
        let format = |error: SafeTensorError| ImportError::Format(error.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(format)?;
        let inferred = infer(&tensors)?;
        let stored = header.metadata().as_ref().and_then(|entries| entries.get(weights::KEY));
        let model = with_options(inferred, stored.and_then(|text| stored_model(text)), nonlinearity)?;
        // sizes that overflow come from shapes in the file
        let layout = model::layout(&model).map_err(|error| ImportError::Format(error.to_string()))?;
        check_names_and_shapes(&tensors, &layout, &model)?;
        let mut values = vec![0.0; layout.len()];
        for spec in layout.specs() {
            let tensor = tensors.tensor(&spec.name).map_err(format)?;
            convert(&spec.name, &tensor, &mut values[spec.range()])?;
        }
        Ok(Self { path: path.to_owned(), sha256: digest::sha256(bytes), model, layout, values })
    }

    /// The settings of the model.
    pub fn model(&self) -> &ModelConfig {
        &self.model
    }

    /// The parameters, in the order of the layout.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Checks that the vocabulary has as many entries as the output layer.
    ///
    /// # Errors
    /// [`Error::Import`] with both numbers.
    pub fn check_vocab(&self, vocab: &Vocab) -> Result<()> {
        let (rows, tokens) = (self.model.vocab_size, vocab.len());
        if rows == tokens {
            return Ok(());
        }
        Err(Error::Import { path: self.path.clone(), reason: ImportError::VocabSize { rows, tokens } })
    }

    /// Creates a run without a trainer in the folder `path`: configuration, vocabulary and model.
    ///
    /// # Errors
    /// As [`Checkpoint::check_vocab`] and [`RunWriter::create`](crate::RunWriter::create).
    pub fn save(&self, path: &Path, replace: bool, vocab: Vocab) -> Result<Run> {
        self.check_vocab(&vocab)?;
        let mut folder = Folder::create(&System, path, replace)?;
        let vocab_sha256 = write_vocab(&System, &folder, &vocab)?;
        let record = ImportRecord {
            format_version: FORMAT_VERSION,
            imported_from: self.path.display().to_string(),
            imported_sha256: self.sha256.clone(),
            model: self.model.clone(),
        };
        write_config(&System, &folder, &record)?;
        // last, as in training: a folder without it is an unfinished run
        let (bytes, _) = weights::model_file(&self.values, &self.layout, &self.model, &vocab_sha256);
        write_atomically(&System, &folder.file(MODEL), &bytes)?;
        folder.complete(&System)?;
        Ok(Run::written(path, Config::Imported(record), vocab, vocab_sha256))
    }
}

/// The settings by names and shapes of some tensors. [`check_names_and_shapes`] checks the others.
fn infer(tensors: &SafeTensors<'_>) -> Result<ModelConfig, ImportError> {
    let matrix = |name: &str| {
        let tensor = tensors.tensor(name).map_err(|_| missing(tensors, name))?;
        let shape = tensor.shape();
        <[usize; 2]>::try_from(shape)
            .map_err(|_| ImportError::NotAMatrix { tensor: name.to_owned(), found: shape.to_vec() })
    };
    let has = |name: &str| tensors.tensor(name).is_ok();
    // checked first, because a projected state would lead to an error about another tensor
    if let Ok(tensor) = tensors.tensor("rnn.weight_hr_l0") {
        let (tensor, shape) = ("rnn.weight_hr_l0".to_owned(), tensor.shape().to_vec());
        return Err(ImportError::Unexpected {
            tensor,
            shape,
            model: "layers with proj_size are not supported".to_owned(),
        });
    }
    let [rows, hidden_size] = matrix(RECURRENT)?;
    let has_blocks = hidden_size > 0 && rows.is_multiple_of(hidden_size);
    let cell = match rows.checked_div(hidden_size) {
        Some(1) if has_blocks => Cell::Rnn(Nonlinearity::Tanh),
        Some(3) if has_blocks => Cell::Gru { reset_after: true },
        Some(4) if has_blocks => Cell::Lstm,
        _ => return Err(ImportError::Gates { tensor: RECURRENT.to_owned(), found: vec![rows, hidden_size] }),
    };
    let [vocab_size, _] = matrix("linear.weight")?;
    let embedding_size = if has("embedding.weight") { matrix("embedding.weight")?[1] } else { 0 };
    Ok(ModelConfig {
        cell,
        hidden_size,
        num_layers: (0..).take_while(|layer| has(&format!("rnn.weight_hh_l{layer}"))).count(),
        bidirectional: has("rnn.weight_hh_l0_reverse"),
        embedding_size,
        tie_weights: are_equal(tensors, "embedding.weight", "linear.weight"),
        ..ModelConfig::book(vocab_size)
    })
}

/// Whether both tensors exist and are equal, as PyTorch saves tied weights.
fn are_equal(tensors: &SafeTensors<'_>, first: &str, second: &str) -> bool {
    let tensor = |name: &str| tensors.tensor(name).ok();
    tensor(first)
        .zip(tensor(second))
        .is_some_and(|(a, b)| (a.dtype(), a.shape(), a.data()) == (b.dtype(), b.shape(), b.data()))
}

fn missing(tensors: &SafeTensors<'_>, name: &str) -> ImportError {
    let mut others: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
    others.sort_unstable();
    ImportError::Missing { tensor: name.to_owned(), others }
}

/// The settings in the metadata of a file that this program wrote.
fn stored_model(text: &str) -> Option<ModelConfig> {
    #[derive(Deserialize)]
    struct Stored {
        model: ModelConfig,
    }
    serde_json::from_str::<Stored>(text).ok().map(|stored| stored.model)
}

/// Adds the options of the cell, which shapes do not determine. They come from the file's metadata if it describes these
/// shapes, else from `requested`.
fn with_options(
    inferred: ModelConfig,
    stored: Option<ModelConfig>,
    requested: Option<Nonlinearity>,
) -> Result<ModelConfig, ImportError> {
    let describes_shapes = |stored: &ModelConfig| {
        let same_cell = stored.cell.as_str() == inferred.cell.as_str();
        same_cell && ModelConfig { cell: inferred.cell, ..stored.clone() } == inferred
    };
    if let Some(stored) = stored.filter(describes_shapes) {
        return match requested {
            Some(requested) if stored.cell != Cell::Rnn(requested) => Err(other_nonlinearity(requested, stored.cell)),
            _ => Ok(stored),
        };
    }
    match (requested, inferred.cell) {
        (None, _) => Ok(inferred),
        (Some(requested), Cell::Rnn(_)) => Ok(ModelConfig { cell: Cell::Rnn(requested), ..inferred }),
        (Some(requested), cell) => Err(other_nonlinearity(requested, cell)),
    }
}

fn other_nonlinearity(requested: Nonlinearity, cell: Cell) -> ImportError {
    ImportError::Nonlinearity { requested: requested.as_str(), model: format!("`{}`", cell.name()) }
}

/// An error unless the file has exactly the parameters of the layout, with their shapes.
fn check_names_and_shapes(
    tensors: &SafeTensors<'_>,
    layout: &ParameterLayout,
    model: &ModelConfig,
) -> Result<(), ImportError> {
    for ParameterSpec { name, shape, .. } in layout.specs().iter().chain(layout.tied()) {
        let tensor = tensors.tensor(name).map_err(|_| missing(tensors, name))?;
        if tensor.shape() != shape {
            let (found, expected) = (tensor.shape().to_vec(), shape.clone());
            return Err(ImportError::Shape { tensor: name.clone(), found, expected });
        }
    }
    let mut unexpected =
        tensors.iter().filter(|(name, _)| layout.specs().iter().chain(layout.tied()).all(|spec| spec.name != *name));
    match unexpected.by_ref().min_by_key(|(name, _)| name.to_owned()) {
        None => Ok(()),
        Some((name, tensor)) => Err(ImportError::Unexpected {
            tensor: name.to_owned(),
            shape: tensor.shape().to_vec(),
            model: format!("a {} of {} × {} hidden units", model.cell.name(), model.num_layers, model.hidden_size),
        }),
    }
}

/// Converts the values of a tensor to float32, rounding to nearest.
fn convert(name: &str, tensor: &TensorView<'_>, out: &mut [f32]) -> Result<(), ImportError> {
    fn fill<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
        out.iter_mut().zip(bytes.as_chunks::<N>().0).for_each(|(out, &bytes)| *out = value(bytes));
    }
    let bytes = tensor.data();
    match tensor.dtype() {
        Dtype::F32 => fill(bytes, out, f32::from_le_bytes),
        Dtype::F64 => fill(bytes, out, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => fill(bytes, out, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => fill(bytes, out, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
        other => return Err(ImportError::Dtype { tensor: name.to_owned(), found: format!("{other:?}") }),
    }
    match out.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(ImportError::NotFinite { tensor: name.to_owned(), index, value: out[index] }),
    }
}
