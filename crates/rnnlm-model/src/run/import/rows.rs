//! The order of the tokens: rows of the embedding and the output layer, and columns of `weight_ih_l0` for one-hot input.
//!
//! A vocabulary without `<unk>` gets one. Its rows and columns are the means over all tokens, and its output bias is
//! the mean bias − [`UNKNOWN_GAP`], so its logit `u` is the mean logit `m` − `UNKNOWN_GAP` at every step. By the
//! inequality of the arithmetic and the geometric mean, the other logits have `Σ exp ≥ V·exp(m)`, and therefore
//!
//! ```text
//! P(<unk>) ≤ exp(−UNKNOWN_GAP) / V
//! ```
//!
//! All other probabilities change by less than float32 can represent: perplexity on known tokens is that of the original
//! model. An unknown token costs at least `UNKNOWN_GAP + ln V` nats.

use rnnlm_rnn::ParameterLayout;

use crate::{ModelConfig, Result, model};

/// Logits between the mean and an added `<unk>`: exp(−20) = 2·10⁻⁹ is below half an ulp of float32, 6·10⁻⁸.
const UNKNOWN_GAP: f64 = 20.0;

/// The settings, the layout and the values of a model whose token `i` is the token `ids[i]` of the given model; `None` is a
/// token that is added.
pub(super) fn reorder(
    config: &ModelConfig,
    layout: &ParameterLayout,
    values: &[f32],
    ids: &[Option<u32>],
) -> Result<(ModelConfig, ParameterLayout, Vec<f32>)> {
    let new_config = ModelConfig { vocab_size: ids.len(), ..config.clone() };
    let new_layout = model::layout(&new_config)?;
    let mut new_values = vec![0.0; new_layout.len()];
    for (spec, new_spec) in layout.specs().iter().zip(new_layout.specs()) {
        let from = &values[spec.range()];
        let to = &mut new_values[new_spec.range()];
        let is_one_hot = config.embedding_size == 0;
        match spec.name.as_str() {
            "embedding.weight" | "linear.weight" => gather(from, to, ids, spec.shape[1], 0.0),
            "linear.bias" => gather(from, to, ids, 1, -UNKNOWN_GAP),
            "rnn.weight_ih_l0" | "rnn.weight_ih_l0_reverse" if is_one_hot => {
                let rows = from.chunks_exact(config.vocab_size).zip(to.chunks_exact_mut(ids.len()));
                rows.for_each(|(from, to)| gather(from, to, ids, 1, 0.0));
            }
            _ => to.copy_from_slice(from),
        }
    }
    Ok((new_config, new_layout, new_values))
}

/// Copies the rows `ids`, each of `len` values. An added row is the mean of all rows plus `shift`.
fn gather(from: &[f32], to: &mut [f32], ids: &[Option<u32>], len: usize, shift: f64) {
    for (id, to) in ids.iter().zip(to.chunks_exact_mut(len)) {
        match id {
            Some(id) => to.copy_from_slice(&from[*id as usize * len..][..len]),
            None => to.iter_mut().enumerate().for_each(|(column, to)| {
                let values = from.iter().skip(column).step_by(len);
                let count = (from.len() / len) as f64;
                *to = (values.map(|&value| f64::from(value)).sum::<f64>() / count + shift) as f32;
            }),
        }
    }
}
