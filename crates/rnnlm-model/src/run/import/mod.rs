//! Import of weights that PyTorch trained: a `safetensors` file of a model with an embedding or one-hot input, a
//! `torch.nn.{RNN,GRU,LSTM}`, minGRU or minLSTM, and a `torch.nn.Linear` or a `torch.nn.AdaptiveLogSoftmaxWithLoss`.
//! `modules.rs` gives its tensors the names of the book's `RNNModel`. Settings are inferred from names and shapes:
//!
//! ```text
//! H = columns of rnn.weight_hh_l0
//! G = rows of rnn.weight_hh_l0 / H  cell: 1 for an RNN, 3 for a GRU, 4 for an LSTM
//! L = number of rnn.weight_hh_l0, rnn.weight_hh_l1, …
//! rnn.weight_hh_l0_reverse          bidirectional
//! embedding.weight [V, E]           learned embedding, else one-hot input; tied if linear.weight has the same bits
//! linear.weight [V, directions·H]   vocabulary size
//! softmax.head.weight and others    adaptive softmax instead of linear.weight: the cutoffs, div_value
//! ```
//!
//! Without `weight_hh_l*` and `bias_hh_l*`, `H` and `L` are those of `linear.weight` and `rnn.weight_ih_l*`, and `rows of
//! rnn.weight_ih_l0 / H` is 2 for a minGRU and 3 for a minLSTM.
//!
//! Only the non-linearity of an RNN cannot be inferred. A module without any bias gets zeros, which is the same model.
//! The whole file is checked before anything is written. `vocab.rs` reads the vocabulary, and `rows.rs` brings the weights
//! into its order.

mod infer;
mod modules;
mod rows;
mod vocab;
mod vocab_formats;

use std::path::{Path, PathBuf};

use rnnlm_rnn::{Nonlinearity, ParameterLayout, ParameterSpec};
use rnnlm_vocab::Vocab;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};

pub use self::modules::{ModuleKind, Rename};
pub use self::vocab::{ImportVocab, read_vocab};

use self::infer::{infer, stored_model, with_options};
use self::modules::NamedTensors;
use self::rows::reorder;
use super::disk::System;
use super::files::{read_bounded, write_atomically};
use super::folder::{Folder, write_config, write_vocab};
use super::names::MODEL;
use super::reader::Run;
use super::record::{Config, FORMAT_VERSION, ImportRecord};
use super::{digest, weights};
use crate::import_error::ImportError;
use crate::{Error, ModelConfig, Result, model};

/// The first bytes of a zip archive, which `torch.save` writes.
const ZIP: &[u8] = b"PK\x03\x04";

/// What a weights file does not determine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The non-linearity of an RNN, tanh by default; a file that this program wrote contains it.
    pub nonlinearity: Option<Nonlinearity>,
    /// New names of tensors. Each tensor is renamed once, by the longest [`Rename::from`] that matches.
    pub renames: Vec<Rename>,
}

/// A module of an imported model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedModule {
    /// What it is in the model.
    pub kind: ModuleKind,
    /// Its attribute path in the file, after renaming.
    pub path: String,
    /// Whether it has biases in the file.
    pub has_biases: bool,
}

/// A weights file that was checked and is a complete model.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    sha256: String,
    modules: Vec<ImportedModule>,
    /// Name of the output layer's weight in the file.
    output_weight: String,
    model: ModelConfig,
    layout: ParameterLayout,
    values: Vec<f32>,
}

impl Checkpoint {
    /// Reads a file and checks every tensor.
    ///
    /// # Errors
    /// [`Error::Import`] if the file is not a model; [`Error::Io`] if it cannot be read.
    pub fn read(path: &Path, options: &ImportOptions) -> Result<Self> {
        let bytes = read_bounded(path, u64::MAX)?;
        Self::parse(path, &bytes, options).map_err(|reason| Error::Import { path: path.to_owned(), reason })
    }

    fn parse(path: &Path, bytes: &[u8], options: &ImportOptions) -> Result<Self, ImportError> {
        if bytes.starts_with(ZIP) {
            return Err(ImportError::Pickled);
        }
        let format = |error: SafeTensorError| ImportError::Format(error.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
        let file = SafeTensors::deserialize(bytes).map_err(format)?;
        let metadata = header.metadata().as_ref();
        let tensors = NamedTensors::new(&file, metadata, &options.renames)?;
        let stored = metadata.and_then(|entries| entries.get(weights::KEY));
        let model = with_options(infer(&tensors)?, stored.and_then(|text| stored_model(text)), options.nonlinearity)?;
        // sizes that overflow come from shapes in the file
        let layout = model::layout(&model).map_err(|error| ImportError::Format(error.to_string()))?;
        check_names_and_shapes(&tensors, &layout, &model)?;
        let mut values = vec![0.0; layout.len()];
        for spec in layout.specs() {
            if let Some(tensor) = tensors.get(&spec.name) {
                convert(&tensors.file_name(&spec.name), tensor, &mut values[spec.range()])?;
            }
        }
        let modules = tensors.modules().map(|(kind, path)| ImportedModule {
            kind,
            path: path.to_owned(),
            has_biases: !tensors.has_no_biases(kind.as_str()),
        });
        Ok(Self {
            path: path.to_owned(),
            sha256: digest::sha256(bytes),
            modules: modules.collect(),
            output_weight: tensors.file_name(match model.adaptive_softmax {
                Some(_) => "softmax.head.weight",
                None => "linear.weight",
            }),
            model,
            layout,
            values,
        })
    }

    /// The settings of the model.
    pub fn model(&self) -> &ModelConfig {
        &self.model
    }

    /// The parameters, in the order of the layout.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The modules in the file.
    pub fn modules(&self) -> &[ImportedModule] {
        &self.modules
    }

    /// The model with a vocabulary. Weights of tokens are moved to the ids of the vocabulary: rows of the embedding and the
    /// output layer, and columns of `weight_ih_l0` for one-hot input.
    ///
    /// If `<unk>` was added to the vocabulary, **V** grows by 1. The weights of `<unk>` are the means over all tokens, and
    /// its output bias is the mean − 20, so its probability is at most `exp(−20) / V`, and perplexity on known tokens does
    /// not change.
    ///
    /// # Errors
    /// [`Error::Import`] with both numbers if the vocabulary's file has more or fewer tokens than the output layer.
    pub fn with_vocab(self, vocab: ImportVocab) -> Result<ImportedModel> {
        let (rows, tokens) = (self.model.vocab_size, vocab.file_len());
        if rows != tokens {
            let reason = ImportError::VocabSize { tensor: self.output_weight, rows, tokens };
            return Err(Error::Import { path: self.path, reason });
        }
        if self.model.adaptive_softmax.is_some() && !vocab.has_file_order() {
            return Err(Error::Import { path: self.path, reason: ImportError::ClusterOrder });
        }
        let Self { path, sha256, model, layout, values, .. } = self;
        let (model, layout, values) = match vocab.has_file_order() {
            true => (model, layout, values),
            false => reorder(&model, &layout, &values, vocab.file_ids())?,
        };
        Ok(ImportedModel { path, sha256, model, layout, values, vocab: vocab.into_vocab() })
    }
}

/// A complete model with a vocabulary.
#[derive(Debug)]
pub struct ImportedModel {
    path: PathBuf,
    sha256: String,
    model: ModelConfig,
    layout: ParameterLayout,
    values: Vec<f32>,
    vocab: Vocab,
}

impl ImportedModel {
    /// The settings of the model.
    pub fn model(&self) -> &ModelConfig {
        &self.model
    }

    /// The parameters, in the order of the layout.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The vocabulary.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// Creates a run without a trainer in the folder `path`: configuration, vocabulary and model.
    ///
    /// # Errors
    /// As [`RunWriter::create`](crate::RunWriter::create).
    pub fn save(&self, path: &Path, replace: bool) -> Result<Run> {
        let mut folder = Folder::create(&System, path, replace)?;
        let vocab_sha256 = write_vocab(&System, &folder, &self.vocab)?;
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
        Ok(Run::written(path, Config::Imported(record), self.vocab.clone(), vocab_sha256))
    }
}

/// An error unless the file has exactly the parameters of the layout, with their shapes. Modules without any bias are
/// allowed.
fn check_names_and_shapes(
    tensors: &NamedTensors<'_>,
    layout: &ParameterLayout,
    model: &ModelConfig,
) -> Result<(), ImportError> {
    for ParameterSpec { name, shape, .. } in layout.specs().iter().chain(layout.tied()) {
        let is_bias = shape.len() == 1;
        if is_bias && name.split_once('.').is_some_and(|(module, _)| tensors.has_no_biases(module)) {
            continue;
        }
        let tensor = tensors.require(name)?;
        if tensor.shape() != shape {
            let (found, expected) = (tensor.shape().to_vec(), shape.clone());
            return Err(ImportError::Shape { tensor: tensors.file_name(name), found, expected });
        }
    }
    let mut unexpected =
        tensors.iter().filter(|(name, _)| layout.specs().iter().chain(layout.tied()).all(|spec| spec.name != *name));
    match unexpected.next() {
        None => Ok(()),
        Some((name, tensor)) => Err(ImportError::Unexpected {
            tensor: tensors.file_name(name),
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
