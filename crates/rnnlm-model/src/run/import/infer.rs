//! Infers the settings of a model from the names and shapes of its tensors.

use rnnlm_rnn::{Cell, Nonlinearity};
use serde::Deserialize;

use super::modules::NamedTensors;
use crate::import_error::ImportError;
use crate::{AdaptiveSoftmax, ModelConfig};

/// The tensor from which the cell and the hidden size are inferred.
const RECURRENT: &str = "rnn.weight_hh_l0";
/// The tensor from which the cell is inferred if there are no recurrent weights.
const INPUT: &str = "rnn.weight_ih_l0";
/// The tensor of an LSTM with `proj_size`.
const PROJECTION: &str = "rnn.weight_hr_l0";

/// The settings by names and shapes of some tensors. The others are not checked.
pub(super) fn infer(tensors: &NamedTensors<'_>) -> Result<ModelConfig, ImportError> {
    let matrix = |name: &str| {
        let shape = tensors.require(name)?.shape();
        <[usize; 2]>::try_from(shape)
            .map_err(|_| ImportError::NotAMatrix { tensor: tensors.file_name(name), found: shape.to_vec() })
    };
    let has = |name: &str| tensors.get(name).is_some();
    // checked first, because a projected state would lead to an error about another tensor
    if let Some(tensor) = tensors.get(PROJECTION) {
        let (tensor, shape) = (tensors.file_name(PROJECTION), tensor.shape().to_vec());
        let model = "layers with proj_size are not supported".to_owned();
        return Err(ImportError::Unexpected { tensor, shape, model });
    }
    let has_recurrent = tensors.iter().any(|(name, _)| is_recurrent(name));
    let weight = if has_recurrent { "rnn.weight_hh" } else { "rnn.weight_ih" };
    let bidirectional = has(&format!("{weight}_l0_reverse"));
    let minimal = if has_recurrent || !has(INPUT) {
        None
    } else {
        let hidden_size = matrix("linear.weight")?[1] / if bidirectional { 2 } else { 1 };
        cell_of(matrix(INPUT)?[0], hidden_size, false).map(|cell| (cell, hidden_size))
    };
    let (cell, hidden_size) = match minimal {
        Some(found) => found,
        // an error without the tensor: it is not a cell without recurrent weights
        None => {
            let [rows, hidden_size] = matrix(RECURRENT)?;
            let cell = cell_of(rows, hidden_size, true).ok_or_else(|| ImportError::Gates {
                tensor: tensors.file_name(RECURRENT),
                found: vec![rows, hidden_size],
            })?;
            (cell, hidden_size)
        }
    };
    let adaptive = if has("softmax.head.weight") { Some(infer_adaptive(tensors, matrix)?) } else { None };
    let (vocab_size, adaptive_softmax) = match adaptive {
        Some((vocab_size, softmax)) => (vocab_size, Some(softmax)),
        None => (matrix("linear.weight")?[0], None),
    };
    let embedding_size = if has("embedding.weight") { matrix("embedding.weight")?[1] } else { 0 };
    let untied = ModelConfig {
        cell,
        hidden_size,
        num_layers: (0..).take_while(|layer| has(&format!("{weight}_l{layer}"))).count(),
        bidirectional,
        embedding_size,
        adaptive_softmax,
        ..ModelConfig::book(vocab_size)
    };
    let is_wide_enough = embedding_size == untied.stack().output_size();
    let tie_weights = is_wide_enough && are_equal(tensors, "embedding.weight", "linear.weight");
    Ok(ModelConfig { tie_weights, ..untied })
}

/// Whether the tensor is a recurrent weight or its bias.
fn is_recurrent(name: &str) -> bool {
    ["rnn.weight_hh", "rnn.bias_hh"].iter().any(|start| name.starts_with(start))
}

/// The cell with this number of rows of `W_hh`, or of `W_ih` for a cell without recurrent weights.
fn cell_of(rows: usize, hidden_size: usize, is_recurrent: bool) -> Option<Cell> {
    let mut cells = Cell::defaults().filter(|cell| cell.recurrent_blocks().is_empty() != is_recurrent);
    cells.find(|cell| hidden_size > 0 && cell.num_gates().checked_mul(hidden_size) == Some(rows))
}

/// The vocabulary size and the settings of an adaptive softmax.
fn infer_adaptive(
    tensors: &NamedTensors<'_>,
    matrix: impl Fn(&str) -> Result<[usize; 2], ImportError>,
) -> Result<(usize, AdaptiveSoftmax), ImportError> {
    let [classes, in_features] = matrix("softmax.head.weight")?;
    let mut clusters = Vec::new();
    while tensors.get(&format!("softmax.tail.{}.0.weight", clusters.len())).is_some() {
        let part = |part: usize| matrix(&format!("softmax.tail.{}.{part}.weight", clusters.len()));
        let ([features, _], [size, _]) = (part(0)?, part(1)?);
        clusters.push([size, features]);
    }
    let sizes = clusters.iter().try_fold(0_usize, |sum, [size, _]| sum.checked_add(*size));
    let shortlist = classes.checked_sub(clusters.len()).filter(|&shortlist| shortlist > 0);
    let head_bias = tensors.get("softmax.head.bias").is_some();
    let softmax = shortlist.and_then(|shortlist| {
        let vocab_size = sizes?.checked_add(shortlist)?;
        let softmax = AdaptiveSoftmax::of_clusters(in_features, shortlist, &clusters, head_bias)?;
        Some((vocab_size, softmax))
    });
    softmax.ok_or_else(|| ImportError::Clusters {
        tensor: tensors.file_name("softmax.head.weight"),
        found: vec![classes, in_features],
        clusters,
    })
}

/// Whether both tensors exist and are equal, as PyTorch saves tied weights.
fn are_equal(tensors: &NamedTensors<'_>, first: &str, second: &str) -> bool {
    tensors.get(first).zip(tensors.get(second)).is_some_and(|(a, b)| a == b)
}

/// The settings in the metadata of a file that this program wrote.
pub(super) fn stored_model(text: &str) -> Option<ModelConfig> {
    #[derive(Deserialize)]
    struct Stored {
        model: ModelConfig,
    }
    serde_json::from_str::<Stored>(text).ok().map(|stored| stored.model)
}

/// Adds the options of the cell, which shapes do not determine. They come from the file's metadata if it describes these
/// shapes, else from `requested`.
pub(super) fn with_options(
    inferred: ModelConfig,
    stored: Option<ModelConfig>,
    requested: Option<Nonlinearity>,
) -> Result<ModelConfig, ImportError> {
    let describes_shapes = |stored: &ModelConfig| {
        let same_cell = stored.cell.as_str() == inferred.cell.as_str();
        let cutoffs = |model: &ModelConfig| model.adaptive_softmax.as_ref().map(|softmax| softmax.cutoffs.clone());
        // another `div_value` can give the same shapes
        let adaptive_softmax = inferred.adaptive_softmax.clone();
        same_cell
            && cutoffs(stored) == cutoffs(&inferred)
            && ModelConfig { cell: inferred.cell, adaptive_softmax, ..stored.clone() } == inferred
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
