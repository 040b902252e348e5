//! Vocabulary extension: the parameters of a model in a model with more tokens.
//!
//! New tokens have the highest ids. So each parameter of the smaller model is the upper left block of that of the larger one:
//! the first rows of the embedding and the output layer, and the first columns of `weight_ih_l0` for one-hot input.

use rnnlm_rnn::{ParameterSpec, Recurrence};

use crate::{Error, LanguageModel, ModelConfig, Result};

impl<B: Recurrence> LanguageModel<B> {
    /// Copies the parameters of a model that has the same settings and fewer tokens. Its tokens have the same ids in this
    /// model, and all their values are copied unchanged. The rows and columns of other tokens keep their values: after
    /// [`LanguageModel::initialize`], those of a new model.
    ///
    /// # Errors
    /// [`Error::Setting`] if `other` has more tokens; otherwise if another setting differs or the device fails.
    pub fn copy_parameters_from(&mut self, other: &Self) -> Result<()> {
        let (vocab_size, needed) = (other.config().vocab_size, "at most that of the model that is extended");
        let comparable = ModelConfig { vocab_size: self.config().vocab_size, ..other.config().clone() };
        if vocab_size > self.config().vocab_size {
            return Err(Error::Setting { name: "vocab_size", value: vocab_size.to_string(), needed });
        }
        if comparable != *self.config() {
            let needed = "that of the model that is extended";
            return Err(Error::Setting { name: "model", value: format!("{:?}", other.config()), needed });
        }
        let backend = self.backend().clone();
        let from = other.parameters().to_vec(&backend)?;
        let mut to = self.parameters().to_vec(&backend)?;
        let specs = other.parameters().layout().specs().iter().zip(self.parameters().layout().specs());
        for (spec, extended) in specs {
            copy_block(&from[spec.range()], columns(spec), &mut to[extended.range()], columns(extended));
        }
        Ok(self.parameters_mut().write(&backend, &to)?)
    }
}

/// The columns of a weight; 1 for a bias.
fn columns(spec: &ParameterSpec) -> usize {
    spec.shape.get(1).copied().unwrap_or(1)
}

/// Copies a matrix with `columns` columns to the upper left of one with `to_columns` columns.
fn copy_block(from: &[f32], columns: usize, to: &mut [f32], to_columns: usize) {
    let rows = from.chunks_exact(columns).zip(to.chunks_exact_mut(to_columns));
    rows.for_each(|(from, to)| to[..columns].copy_from_slice(from));
}

#[cfg(test)]
mod tests {
    use rnnlm_rnn::ExecutionPath;
    use rnnlm_tensor::Cpu;

    use super::*;
    use crate::{Cell, Init};

    fn model(config: &ModelConfig, seed: u64) -> LanguageModel<Cpu> {
        let mut model = LanguageModel::new(&Cpu::new(1).unwrap(), config, ExecutionPath::Auto).unwrap();
        model.initialize(Init::Uniform, seed).unwrap();
        model
    }

    #[test]
    fn a_block_is_copied_to_the_upper_left() {
        let mut to = [0.0; 12];
        copy_block(&[1.0, 2.0, 3.0, 4.0], 2, &mut to, 3);
        assert_eq!(to, [1.0, 2.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn old_tokens_keep_every_value_and_new_ones_are_initialized() {
        for (embedding_size, tie_weights) in [(0, false), (3, false), (4, true)] {
            let config =
                ModelConfig { cell: Cell::Lstm, hidden_size: 4, embedding_size, tie_weights, ..ModelConfig::book(5) };
            let larger = ModelConfig { vocab_size: 7, ..config.clone() };
            let (old, new) = (model(&config, 1), model(&larger, 2));
            let mut extended = model(&larger, 2);
            extended.copy_parameters_from(&old).unwrap();
            let values = |model: &LanguageModel<Cpu>| model.parameters().to_vec(model.backend()).unwrap();
            let [old_values, new_values, values] = [&old, &new, &extended].map(values);
            let specs = old.parameters().layout().specs().iter().zip(extended.parameters().layout().specs());
            for (spec, wide) in specs {
                for (index, &value) in values[wide.range()].iter().enumerate() {
                    let (row, column) = (index / columns(wide), index % columns(wide));
                    let is_old = row < spec.shape[0] && column < columns(spec);
                    let expected = match is_old {
                        true => old_values[spec.range()][row * columns(spec) + column],
                        false => new_values[wide.range()][index],
                    };
                    assert_eq!(value.to_bits(), expected.to_bits(), "{} {row} {column}", spec.name);
                }
            }
            assert!(matches!(
                model(&config, 1).copy_parameters_from(&new),
                Err(Error::Setting { name: "vocab_size", .. })
            ));
            let other = ModelConfig { hidden_size: 8, embedding_size: 0, tie_weights: false, ..larger.clone() };
            assert!(matches!(model(&other, 1).copy_parameters_from(&old), Err(Error::Setting { name: "model", .. })));
        }
    }
}
