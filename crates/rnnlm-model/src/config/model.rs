//! The settings of a model: its cell and its sizes.

use rnnlm_rnn::{Cell, Nonlinearity, StackConfig};
use serde::{Deserialize, Serialize};

use super::adaptive_softmax::AdaptiveSoftmax;
use super::defaults::is_default;
use crate::{Error, Result};

/// The most layers of a model. A weights file has at most four tensors of each, whose names and shapes must fit into a header of 100 MB.
const MAX_LAYERS: usize = 1 << 15;

/// The settings of a model, which determine the shapes of all parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredModel", into = "StoredModel")]
pub struct ModelConfig {
    /// The recurrent cell of every layer.
    pub cell: Cell,
    /// **V**: vocabulary size, `<unk>` included.
    pub vocab_size: usize,
    /// **H**: hidden units per layer and direction.
    pub hidden_size: usize,
    /// **L**: number of stacked recurrent layers.
    pub num_layers: usize,
    /// Whether a second set of layers reads the text backwards. Such a model sees the token that it predicts.
    pub bidirectional: bool,
    /// **E**: features of the learned embedding; 0 for one-hot input.
    pub embedding_size: usize,
    /// Whether the embedding and the output layer share their weight. This needs `embedding_size` to be the number of
    /// features of the layers' output, `directions·H`.
    pub tie_weights: bool,
    /// Whether each layer but the lowest adds its input to its output ([`StackConfig::residual`]).
    pub residual: bool,
    /// The output layer is an adaptive softmax; `None` for a linear layer with one logit for each token.
    pub adaptive_softmax: Option<AdaptiveSoftmax>,
}

/// A [`ModelConfig`] as files store it: a cell is three settings.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredModel {
    /// [`Cell::as_str`].
    cell: String,
    /// [`Nonlinearity::as_str`], read for an RNN only.
    nonlinearity: String,
    /// Whether a GRU applies its reset gate before the recurrent matmul, read for a GRU only.
    #[serde(default)]
    reset_before: bool,
    vocab_size: usize,
    hidden_size: usize,
    num_layers: usize,
    #[serde(default)]
    bidirectional: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    embedding_size: usize,
    #[serde(default, skip_serializing_if = "is_default")]
    tie_weights: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    residual: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    adaptive_softmax: Option<AdaptiveSoftmax>,
}

impl TryFrom<StoredModel> for ModelConfig {
    type Error = String;

    fn try_from(stored: StoredModel) -> Result<Self, String> {
        let cell = Cell::defaults().find(|cell| cell.as_str() == stored.cell);
        let cell = cell.ok_or_else(|| format!("`cell` is `{}`, which is not the name of a cell", stored.cell))?;
        let nonlinearity = Nonlinearity::ALL.into_iter().find(|value| value.as_str() == stored.nonlinearity);
        let nonlinearity = nonlinearity
            .ok_or_else(|| format!("`nonlinearity` is `{}`, it must be `tanh` or `relu`", stored.nonlinearity))?;
        Ok(Self {
            cell: cell.with_options(nonlinearity, !stored.reset_before),
            vocab_size: stored.vocab_size,
            hidden_size: stored.hidden_size,
            num_layers: stored.num_layers,
            bidirectional: stored.bidirectional,
            embedding_size: stored.embedding_size,
            tie_weights: stored.tie_weights,
            residual: stored.residual,
            adaptive_softmax: stored.adaptive_softmax,
        })
    }
}

impl From<ModelConfig> for StoredModel {
    fn from(config: ModelConfig) -> Self {
        let nonlinearity = match config.cell {
            Cell::Rnn(nonlinearity) => nonlinearity,
            _ => Nonlinearity::Tanh,
        };
        Self {
            cell: config.cell.as_str().to_owned(),
            nonlinearity: nonlinearity.as_str().to_owned(),
            reset_before: config.cell == Cell::Gru { reset_after: false },
            vocab_size: config.vocab_size,
            hidden_size: config.hidden_size,
            num_layers: config.num_layers,
            bidirectional: config.bidirectional,
            embedding_size: config.embedding_size,
            tie_weights: config.tie_weights,
            residual: config.residual,
            adaptive_softmax: config.adaptive_softmax,
        }
    }
}

impl ModelConfig {
    /// The book's model for this vocabulary size: a tanh RNN with 256 hidden units and one layer.
    pub fn book(vocab_size: usize) -> Self {
        Self {
            cell: Cell::Rnn(Nonlinearity::Tanh),
            vocab_size,
            hidden_size: 256,
            num_layers: 1,
            bidirectional: false,
            embedding_size: 0,
            tie_weights: false,
            residual: false,
            adaptive_softmax: None,
        }
    }

    /// **D** of the lowest layer: the embedding size, or **V** for one-hot input.
    pub fn input_size(&self) -> usize {
        if self.embedding_size == 0 { self.vocab_size } else { self.embedding_size }
    }

    /// Checks that every setting has a valid value.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first invalid setting; [`Error::TiedSizes`].
    pub fn validate(&self) -> Result<()> {
        let sizes =
            [("vocab_size", self.vocab_size), ("hidden_size", self.hidden_size), ("num_layers", self.num_layers)];
        if let Some((name, value)) = sizes.into_iter().find(|&(_, value)| value == 0) {
            return Err(Error::Setting { name, value: value.to_string(), needed: "at least 1" });
        }
        if self.num_layers > MAX_LAYERS {
            let value = self.num_layers.to_string();
            return Err(Error::Setting { name: "num_layers", value, needed: "at most 32768" });
        }
        if self.residual && self.num_layers == 1 {
            let value = "true with `num_layers` 1".to_owned();
            return Err(Error::Setting { name: "residual", value, needed: "false with a single layer" });
        }
        if self.tie_weights && self.adaptive_softmax.is_some() {
            let value = "true with `adaptive_softmax`".to_owned();
            let needed = "false: the weights of its clusters have other shapes than the embedding";
            return Err(Error::Setting { name: "tie_weights", value, needed });
        }
        // in 128 bits, because sizes in a file can be of any size
        let output_size = self.hidden_size as u128 * if self.bidirectional { 2 } else { 1 };
        if self.tie_weights && output_size != self.embedding_size as u128 {
            let output_size = usize::try_from(output_size).unwrap_or(usize::MAX);
            return Err(Error::TiedSizes { embedding_size: self.embedding_size, output_size });
        }
        if let Some(softmax) = &self.adaptive_softmax {
            softmax.validate_for(usize::try_from(output_size).unwrap_or(usize::MAX), self.vocab_size)?;
        }
        Ok(())
    }

    /// The settings of the recurrent layers.
    pub fn stack(&self) -> StackConfig {
        StackConfig {
            cell: self.cell,
            input_size: self.input_size(),
            hidden_size: self.hidden_size,
            num_layers: self.num_layers,
            bidirectional: self.bidirectional,
            residual: self.residual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `config.json` of runs that exist, one for each cell.
    const STORED: [(&str, Cell); 7] = [
        (r#""cell":"rnn","nonlinearity":"tanh","reset_before":false"#, Cell::Rnn(Nonlinearity::Tanh)),
        (r#""cell":"rnn","nonlinearity":"relu","reset_before":false"#, Cell::Rnn(Nonlinearity::Relu)),
        (r#""cell":"gru","nonlinearity":"tanh","reset_before":false"#, Cell::Gru { reset_after: true }),
        (r#""cell":"gru","nonlinearity":"tanh","reset_before":true"#, Cell::Gru { reset_after: false }),
        (r#""cell":"lstm","nonlinearity":"tanh","reset_before":false"#, Cell::Lstm),
        (r#""cell":"mingru","nonlinearity":"tanh","reset_before":false"#, Cell::MinGru),
        (r#""cell":"minlstm","nonlinearity":"tanh","reset_before":false"#, Cell::MinLstm),
    ];
    const SIZES: &str = r#""vocab_size":28,"hidden_size":7,"num_layers":2,"bidirectional":true"#;

    #[test]
    fn a_cell_is_stored_as_three_settings() {
        for (settings, cell) in STORED {
            let text = format!("{{{settings},{SIZES}}}");
            let config: ModelConfig = serde_json::from_str(&text).unwrap();
            let expected =
                ModelConfig { cell, hidden_size: 7, num_layers: 2, bidirectional: true, ..ModelConfig::book(28) };
            assert_eq!(config, expected);
            assert_eq!(serde_json::to_string(&config).unwrap(), text);
        }
    }

    #[test]
    fn settings_that_came_after_the_first_format_have_defaults() {
        let text = r#"{"cell":"gru","nonlinearity":"tanh","vocab_size":28,"hidden_size":256,"num_layers":1}"#;
        let config: ModelConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config, ModelConfig { cell: Cell::Gru { reset_after: true }, ..ModelConfig::book(28) });
    }

    #[test]
    fn settings_without_a_model_are_refused() {
        let book = ModelConfig::book(28);
        assert!(book.validate().is_ok());
        assert!(ModelConfig { num_layers: MAX_LAYERS, ..book.clone() }.validate().is_ok());
        for (config, text) in [
            (ModelConfig { hidden_size: 0, ..book.clone() }, "`hidden_size` is 0, it must be at least 1"),
            (ModelConfig { num_layers: 0, ..book.clone() }, "`num_layers` is 0, it must be at least 1"),
            (ModelConfig { num_layers: 32_769, ..book.clone() }, "`num_layers` is 32769, it must be at most 32768"),
            (
                ModelConfig { residual: true, ..book.clone() },
                "`residual` is true with `num_layers` 1, it must be false",
            ),
            (ModelConfig { tie_weights: true, embedding_size: 7, ..book.clone() }, "7 and 256"),
            (ModelConfig { tie_weights: true, hidden_size: usize::MAX, bidirectional: true, ..book }, "0 and 1844"),
        ] {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn unknown_names_and_fields_are_refused() {
        for (from, to, named) in [
            ("\"rnn\"", "\"tree\"", "`cell` is `tree`"),
            ("\"tanh\"", "\"sine\"", "`nonlinearity` is `sine`"),
            ("\"vocab_size\"", "\"vocabulary\":1,\"vocab_size\"", "vocabulary"),
        ] {
            let text = format!("{{{},{SIZES}}}", STORED[0].0).replacen(from, to, 1);
            let error = serde_json::from_str::<ModelConfig>(&text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
