//! A run from weights that PyTorch trained: a `safetensors` file of the book's `RNNModel` around `torch.nn.{RNN,GRU,LSTM}`.
//!
//! ```text
//! G = rows(rnn.weight_hh_l0) / H   the cell: 1 an RNN, 3 a GRU, 4 an LSTM
//! H = columns of the same
//! L = how many rnn.weight_hh_l0, l1, … there are
//! rnn.weight_hh_l0_reverse         both directions
//! embedding.weight [V, E]          a learned embedding, else one-hot input; tied where linear.weight has the same bits
//! linear.weight [V, directions·H]  the vocabulary's size
//! ```
//!
//! What names and shapes cannot say is whether an RNN is tanh or ReLU. Everything is looked at before anything is written.

use std::fs::File;
use std::path::{Path, PathBuf};

use rnnlm_rnn::{ParameterLayout, ParameterSpec};
use rnnlm_vocab::{Normalization, TokenKind, VOCAB_FORMAT_VERSION, Vocab};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use serde::Deserialize;
use serde_json::Value;

use super::disk::System;
use super::files::{read_bounded, write_whole};
use super::record::{Config, FORMAT_VERSION, ImportRecord};
use super::writer::{prepare, write_config, write_vocab};
use super::{MODEL, Run, VOCAB_BOUND, digest, record, weights};
use crate::{CellKind, Error, ModelConfig, NonlinearityKind, Result, model};

/// The tensor that tells most.
const RECURRENT: &str = "rnn.weight_hh_l0";
/// What a zip archive begins with, and so every file of `torch.save`.
const ZIP: &[u8] = b"PK\x03\x04";

/// Why a file of weights makes no run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// What `torch.save` writes.
    #[error("it is what `torch.save` writes, not safetensors")]
    Pickled,
    /// Bytes that are no `safetensors`.
    #[error("it is not safetensors: {0}")]
    Format(String),
    /// A tensor that the model needs.
    #[error("it has no tensor `{tensor}`, only {}", list(others))]
    Missing {
        /// Its name.
        tensor: String,
        /// What is there, in order.
        others: Vec<String>,
    },
    /// A tensor that the model has no use for.
    #[error("tensor `{tensor}` {shape:?} has no place in the model: {model}")]
    Superfluous {
        /// Its name.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What the others make.
        model: String,
    },
    /// A tensor that is no matrix where one is needed.
    #[error("tensor `{tensor}` is {found:?}, it must have two dimensions")]
    NoMatrix {
        /// Its name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor of another shape than the others ask for.
    #[error("tensor `{tensor}` is {found:?}, by the others it must be {expected:?}")]
    Shape {
        /// Its name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that fits.
        expected: Vec<usize>,
    },
    /// A recurrent weight of no cell.
    #[error("tensor `{tensor}` is {found:?}: no cell has it, since its rows are not 1, 3 or 4 times its columns")]
    Gates {
        /// Its name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// Numbers that are no floats of 16, 32 or 64 bits.
    #[error("tensor `{tensor}` holds {found}, it must hold F32, F64, F16 or BF16")]
    Type {
        /// Its name.
        tensor: String,
        /// What it holds, as the format calls it.
        found: String,
    },
    /// A weight that no model can be used with, as float32.
    #[error("tensor `{tensor}` holds {value} at index {index}, it must be finite as float32")]
    NotFinite {
        /// Its name.
        tensor: String,
        /// The place in the flat tensor.
        index: usize,
        /// The value as float32.
        value: f32,
    },
    /// A vocabulary of another size than the output layer's.
    #[error("tensor `linear.weight` has {rows} rows, the vocabulary has {tokens} entries")]
    VocabSize {
        /// **V** of the model.
        rows: usize,
        /// Tokens of the vocabulary.
        tokens: usize,
    },
    /// A non-linearity that was asked for and is not the file's.
    #[error("`nonlinearity` is {asked}, and the file holds {model}")]
    Nonlinearity {
        /// What was asked for.
        asked: &'static str,
        /// What is there.
        model: String,
    },
}

fn list(names: &[String]) -> String {
    const MOST: usize = 6;
    let more = if names.len() > MOST { format!(" and {} more", names.len() - MOST) } else { String::new() };
    let names: Vec<_> = names.iter().take(MOST).map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "an empty file".to_owned() } else { names.join(", ") + &more }
}

/// A file of weights that has been found to be a model.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    sha256: String,
    model: ModelConfig,
    layout: ParameterLayout,
    values: Vec<f32>,
}

impl Checkpoint {
    /// Reads a file and checks every tensor in it. `nonlinearity` is that of an RNN, tanh if nobody says; a file that this
    /// program wrote says so itself.
    ///
    /// # Errors
    /// [`Error::Import`] if it is not a model, with the tensor; [`Error::Io`] if it cannot be read.
    pub fn read(path: &Path, nonlinearity: Option<NonlinearityKind>) -> Result<Self> {
        let bytes = read_bounded(path, u64::MAX)?;
        Self::parse(path, &bytes, nonlinearity)
            .map_err(|reason| Error::Import { path: path.to_owned(), reason })?
            .map_err(|error| at(path, error))
    }

    /// The outer error is about the file, the inner one about sizes that no model has.
    fn parse(path: &Path, bytes: &[u8], asked: Option<NonlinearityKind>) -> Result<Result<Self>, Unfit> {
        if bytes.starts_with(ZIP) {
            return Err(Unfit::Pickled);
        }
        let format = |error: SafeTensorError| Unfit::Format(error.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(format)?;
        let inferred = infer(&tensors)?;
        let stated = header.metadata().as_ref().and_then(|entries| entries.get(weights::KEY));
        let model = with_nonlinearity(inferred, stated.and_then(|text| stated_model(text)), asked)?;
        let layout = match model::layout(&model) {
            Ok(layout) => layout,
            Err(error) => return Ok(Err(error)),
        };
        check_names_and_shapes(&tensors, &layout, &model)?;
        let mut values = vec![0.0; layout.len()];
        for spec in layout.specs() {
            let tensor = tensors.tensor(&spec.name).map_err(format)?;
            convert(&spec.name, &tensor, &mut values[spec.range()])?;
        }
        Ok(Ok(Self { path: path.to_owned(), sha256: digest::sha256(bytes), model, layout, values }))
    }

    /// What kind of model it is, and of which sizes.
    pub fn model(&self) -> &ModelConfig {
        &self.model
    }

    /// Every parameter, in the order of the layout.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// An error unless the vocabulary has as many entries as the output layer.
    ///
    /// # Errors
    /// [`Error::Import`] with both numbers.
    pub fn require_fit(&self, vocab: &Vocab) -> Result<()> {
        let (rows, tokens) = (self.model.vocab_size, vocab.len());
        if rows == tokens {
            return Ok(());
        }
        Err(Error::Import { path: self.path.clone(), reason: Unfit::VocabSize { rows, tokens } })
    }

    /// Makes a run of it in the folder `path`: configuration, vocabulary and model, and no trainer.
    ///
    /// # Errors
    /// As [`Checkpoint::require_fit`] and [`RunWriter::create`](crate::RunWriter::create).
    pub fn save(&self, path: &Path, replace: bool, vocab: Vocab) -> Result<Run> {
        self.require_fit(&vocab)?;
        let lock = prepare(&System, path, replace)?;
        let vocab_sha256 = write_vocab(&System, path, &vocab)?;
        let record = ImportRecord {
            format_version: FORMAT_VERSION,
            imported_from: self.path.display().to_string(),
            imported_sha256: self.sha256.clone(),
            model: self.model.clone(),
        };
        write_config(&System, path, &record)?;
        // last, as in training: without it the folder is only the beginning of a run
        let (bytes, _) = weights::model_file(&self.values, &self.layout, &self.model, &vocab_sha256);
        write_whole(&System, &path.join(MODEL), &bytes)?;
        drop::<File>(lock);
        Ok(Run { path: path.to_owned(), config: Config::Imported(record), vocab, vocab_sha256 })
    }
}

/// Sizes that no layout has, which come from shapes in the file.
fn at(path: &Path, error: Error) -> Error {
    Error::Import { path: path.to_owned(), reason: Unfit::Format(error.to_string()) }
}

/// The model that names and shapes speak of; whether all of it is there is another question.
fn infer(tensors: &SafeTensors<'_>) -> Result<ModelConfig, Unfit> {
    let matrix = |name: &str| {
        let tensor = tensors.tensor(name).map_err(|_| missing(tensors, name))?;
        let shape = tensor.shape();
        <[usize; 2]>::try_from(shape).map_err(|_| Unfit::NoMatrix { tensor: name.to_owned(), found: shape.to_vec() })
    };
    let has = |name: &str| tensors.tensor(name).is_ok();
    // a projected state has other sizes, which would only make a riddle of what follows
    if let Ok(tensor) = tensors.tensor("rnn.weight_hr_l0") {
        let (tensor, shape) = ("rnn.weight_hr_l0".to_owned(), tensor.shape().to_vec());
        return Err(Unfit::Superfluous { tensor, shape, model: "no layer here projects its state".to_owned() });
    }
    let [rows, hidden_size] = matrix(RECURRENT)?;
    let whole = hidden_size > 0 && rows.is_multiple_of(hidden_size);
    let cell = match rows.checked_div(hidden_size) {
        Some(1) if whole => CellKind::Rnn,
        Some(3) if whole => CellKind::Gru,
        Some(4) if whole => CellKind::Lstm,
        _ => return Err(Unfit::Gates { tensor: RECURRENT.to_owned(), found: vec![rows, hidden_size] }),
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

/// Whether both tensors are there and hold the same, as those of a model that PyTorch has tied.
fn are_equal(tensors: &SafeTensors<'_>, first: &str, second: &str) -> bool {
    let tensor = |name: &str| tensors.tensor(name).ok();
    tensor(first)
        .zip(tensor(second))
        .is_some_and(|(a, b)| (a.dtype(), a.shape(), a.data()) == (b.dtype(), b.shape(), b.data()))
}

fn missing(tensors: &SafeTensors<'_>, name: &str) -> Unfit {
    let mut others: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
    others.sort_unstable();
    Unfit::Missing { tensor: name.to_owned(), others }
}

/// The model that a file of this program says it holds.
fn stated_model(text: &str) -> Option<ModelConfig> {
    #[derive(Deserialize)]
    struct Stated {
        model: ModelConfig,
    }
    serde_json::from_str::<Stated>(text).ok().map(|stated| stated.model)
}

/// What shapes do not say: taken from the file's own words if they are about these shapes, else from what is asked for.
fn with_nonlinearity(
    inferred: ModelConfig,
    stated: Option<ModelConfig>,
    asked: Option<NonlinearityKind>,
) -> Result<ModelConfig, Unfit> {
    let fits = |stated: &ModelConfig| {
        let unsaid = ModelConfig { nonlinearity: inferred.nonlinearity, reset_before: false, ..stated.clone() };
        unsaid == inferred
    };
    let stated = stated.filter(fits);
    let known = stated.is_some() || inferred.cell != CellKind::Rnn;
    let model = stated.unwrap_or_else(|| inferred.clone());
    match asked {
        Some(asked) if known && (model.cell != CellKind::Rnn || asked != model.nonlinearity) => {
            let asked = if asked == NonlinearityKind::Relu { "relu" } else { "tanh" };
            Err(Unfit::Nonlinearity { asked, model: format!("`{}`", model.stack().cell.name()) })
        }
        Some(nonlinearity) => Ok(ModelConfig { nonlinearity, ..model }),
        None => Ok(model),
    }
}

/// An error unless the file holds every parameter in its shape, and nothing else.
fn check_names_and_shapes(
    tensors: &SafeTensors<'_>,
    layout: &ParameterLayout,
    model: &ModelConfig,
) -> Result<(), Unfit> {
    for ParameterSpec { name, shape, .. } in layout.specs().iter().chain(layout.tied()) {
        let tensor = tensors.tensor(name).map_err(|_| missing(tensors, name))?;
        if tensor.shape() != shape {
            let (found, expected) = (tensor.shape().to_vec(), shape.clone());
            return Err(Unfit::Shape { tensor: name.clone(), found, expected });
        }
    }
    let mut superfluous =
        tensors.iter().filter(|(name, _)| layout.specs().iter().chain(layout.tied()).all(|spec| spec.name != *name));
    match superfluous.by_ref().min_by_key(|(name, _)| name.to_owned()) {
        None => Ok(()),
        Some((name, tensor)) => Err(Unfit::Superfluous {
            tensor: name.to_owned(),
            shape: tensor.shape().to_vec(),
            model: format!(
                "a {} of {} × {} hidden units",
                model.stack().cell.name(),
                model.num_layers,
                model.hidden_size
            ),
        }),
    }
}

/// The values of a tensor as float32, rounded to the nearest where they have more digits.
fn convert(name: &str, tensor: &TensorView<'_>, out: &mut [f32]) -> Result<(), Unfit> {
    fn fill<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
        out.iter_mut().zip(bytes.as_chunks::<N>().0).for_each(|(out, &bytes)| *out = value(bytes));
    }
    let bytes = tensor.data();
    match tensor.dtype() {
        Dtype::F32 => fill(bytes, out, f32::from_le_bytes),
        Dtype::F64 => fill(bytes, out, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => fill(bytes, out, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => fill(bytes, out, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
        other => return Err(Unfit::Type { tensor: name.to_owned(), found: format!("{other:?}") }),
    }
    match out.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Unfit::NotFinite { tensor: name.to_owned(), index, value: out[index] }),
    }
}

/// A vocabulary from a file: a `vocab.json` of a run, or a JSON array of tokens in the order of their ids, which does not say
/// how a text is read and needs `kind` and `normalization` for it.
///
/// # Errors
/// [`Error::OtherVocab`] where a `vocab.json` says otherwise than `kind` or `normalization`; else if the file cannot be read, is
/// damaged or holds no vocabulary.
pub fn read_vocab(path: &Path, kind: Option<TokenKind>, normalization: Option<Normalization>) -> Result<Vocab> {
    let bytes = read_bounded(path, VOCAB_BOUND)?;
    let value: Value = serde_json::from_slice(&bytes).map_err(rnnlm_vocab::Error::VocabSyntax)?;
    if value.is_array() {
        let tokens: Vec<Box<str>> = serde_json::from_value(value).map_err(rnnlm_vocab::Error::VocabSyntax)?;
        return Ok(Vocab::from_tokens(kind.unwrap_or_default(), normalization.unwrap_or_default(), tokens)?);
    }
    let sealed = value.get("sha256").is_some();
    let vocab = if sealed {
        let (content, _) = record::read_sealed(path, VOCAB_BOUND, VOCAB_FORMAT_VERSION)?;
        Vocab::from_json(content.to_string().as_bytes())?
    } else {
        Vocab::from_json(&bytes)?
    };
    if let Some(kind) = kind.filter(|&kind| kind != vocab.kind()) {
        return Err(Error::OtherVocab { name: "token", asked: kind.to_string(), stated: vocab.kind().to_string() });
    }
    if let Some(asked) = normalization.filter(|&asked| asked != vocab.normalization()) {
        let stated = vocab.normalization().to_string();
        return Err(Error::OtherVocab { name: "normalize", asked: asked.to_string(), stated });
    }
    Ok(vocab)
}
