//! The settings of a training run: minibatches, optimizer, learning rate, regularization and length.

use rnnlm_tensor::{Mask, MaskRows};
use rnnlm_vocab::{Batches, Sampling};
use serde::{Deserialize, Serialize};

use super::average::Average;
use super::defaults::{enabled, is_default, is_one, one};
use super::numbers::shortest;
use super::optimizer::OptimizerConfig;
use super::schedule::{Schedule, warm_up};
use super::variable_bptt;
use crate::regularization::layers;
use crate::{Error, ModelConfig, Position, Regularization, Result, TextIds};

/// The most tokens of a minibatch, far beyond the memory of any machine, so that products with it do not overflow.
const MAX_MINIBATCH: u128 = 1 << 40;

/// The distribution of the initial parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// PyTorch's default: `U(−1/√fan_in, 1/√fan_in)`, where `fan_in` is `H` for all parameters of a recurrent layer.
    Uniform,
    /// The book's from-scratch code (8.5 in the Chinese edition, 9.5 in the English one): weights from `N(0, 0.01²)`,
    /// biases zero.
    Normal,
}

/// The settings of a training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Number of passes through the corpus.
    pub epochs: u64,
    /// **N**: sequences per minibatch.
    pub batch_size: usize,
    /// **S**: equal parts of a minibatch whose gradients are added in a fixed order, so that several processes can compute
    /// them; a power of two that divides `batch_size`. Results depend on it.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub shards: usize,
    /// **T**: time steps per minibatch, through which gradients flow.
    pub num_steps: usize,
    /// Variable-length backpropagation through time: the length of each minibatch is drawn from a distribution with mean
    /// `num_steps`, and its learning rate is proportional to the length.
    #[serde(default, skip_serializing_if = "is_default")]
    pub variable_bptt: bool,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// Minibatches whose mean gradient an update follows.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub accumulate: u64,
    /// Whether biases have no weight decay.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_bias_decay: bool,
    /// The average of the parameters that is evaluated and saved.
    #[serde(default, skip_serializing_if = "is_default")]
    pub average: Average,
    /// Learning rate before the schedule is applied.
    #[serde(serialize_with = "shortest")]
    pub lr: f32,
    /// Learning rate schedule.
    #[serde(default)]
    pub schedule: Schedule,
    /// Epochs of linear warm-up to `lr`, before the schedule starts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub warmup: u64,
    /// Whether the schedule counts steps instead of epochs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub schedule_by_step: bool,
    /// Steps of linear warm-up. If the schedule counts steps, it starts after them; else they multiply its rates.
    #[serde(default, skip_serializing_if = "is_default")]
    pub warmup_steps: u64,
    /// Largest global norm of the gradients (`clip_grad_norm_`); 0 for no clipping.
    #[serde(serialize_with = "shortest")]
    pub clip: f32,
    /// Largest absolute value of each gradient (`clip_grad_value_`); 0 for no clipping.
    #[serde(default, skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub clip_value: f32,
    /// Dropout probability between recurrent layers, as in `torch.nn.RNN(dropout=…)`; not applied after the last layer.
    #[serde(default, skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub dropout: f32,
    /// Probability of dropping an element of `W_hh`, the same ones at all steps (`wdrop` of AWD-LSTM).
    #[serde(default, skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub weight_drop: f32,
    /// Probability of dropping a feature of the embedding's output at all steps (`dropouti`).
    #[serde(default, skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub dropout_input: f32,
    /// Probability of dropping an output between two layers at all steps (`dropouth`), instead of `dropout`.
    #[serde(default, skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub dropout_hidden: f32,
    /// Probability of dropping an output of the highest layer at all steps (`dropout` of AWD-LSTM).
    #[serde(default, skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub dropout_output: f32,
    /// Probability of dropping a token's row of the embedding (`dropoute`).
    #[serde(default, skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub dropout_embedding: f32,
    /// Activation regularization: the factor of the mean square of the highest layer's output (`alpha`).
    #[serde(default, skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub ar: f32,
    /// Temporal activation regularization: the factor of the mean squared difference of its successive outputs (`beta`).
    #[serde(default, skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub tar: f32,
    /// Label smoothing, as in `torch.nn.CrossEntropyLoss(label_smoothing=…)`.
    #[serde(default, skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub label_smoothing: f32,
    /// Epochs without a better perplexity on the validation set before training stops; 0 never stops early.
    #[serde(default, skip_serializing_if = "is_default")]
    pub patience: u64,
    /// How minibatches are sampled from the corpus.
    pub sampling: Sampling,
    /// Whether every minibatch starts from the zero state, also with sequential sampling.
    pub reset_state: bool,
    /// Whether each epoch shuffles the documents. A stream is never shuffled.
    #[serde(default = "enabled", skip_serializing_if = "Clone::clone")]
    pub shuffle: bool,
    /// Distribution of the initial parameters.
    pub init: Init,
    /// Seed of initialization, sampling and dropout.
    pub seed: u64,
}

impl TrainConfig {
    /// The book's settings (8.6 in the Chinese edition, 9.6 in the English one): 500 epochs of 32 × 35 tokens per
    /// minibatch, learning rate 1, gradient norm clipped at 1.
    pub fn book() -> Self {
        Self {
            epochs: 500,
            batch_size: 32,
            shards: 1,
            num_steps: 35,
            variable_bptt: false,
            optimizer: OptimizerConfig::SGD,
            accumulate: 1,
            no_bias_decay: false,
            average: Average::None,
            lr: 1.0,
            schedule: Schedule::Constant,
            warmup: 0,
            schedule_by_step: false,
            warmup_steps: 0,
            clip: 1.0,
            clip_value: 0.0,
            dropout: 0.0,
            weight_drop: 0.0,
            dropout_input: 0.0,
            dropout_hidden: 0.0,
            dropout_output: 0.0,
            dropout_embedding: 0.0,
            ar: 0.0,
            tar: 0.0,
            label_smoothing: 0.0,
            patience: 0,
            sampling: Sampling::Sequential,
            reset_state: false,
            shuffle: true,
            init: Init::Uniform,
            seed: 0,
        }
    }

    /// Whether every minibatch starts from the zero state. With random sampling, consecutive minibatches are unrelated.
    pub fn resets_state(&self) -> bool {
        self.reset_state || self.sampling == Sampling::Random
    }

    /// The minibatches of an epoch. Documents need sequential sampling with a carried state.
    ///
    /// # Errors
    /// If the text is too short for one minibatch, or [`Error::DocumentSampling`].
    pub fn batches<'a>(&self, text: impl Into<TextIds<'a>>, epoch: u64) -> Result<Batches<'a>> {
        let Self { batch_size, num_steps, seed, .. } = *self;
        let batches = match text.into() {
            TextIds::Stream(ids) => Batches::new(self.sampling, ids, batch_size, num_steps, seed, epoch)?,
            TextIds::Documents(_) if self.resets_state() => return Err(Error::DocumentSampling),
            TextIds::Documents(documents) => {
                Batches::documents(documents, batch_size, num_steps, seed, epoch, self.shuffle)?
            }
        };
        Ok(match self.variable_bptt {
            true => batches.with_lengths(variable_bptt::lengths(num_steps, seed, epoch)),
            false => batches,
        })
    }

    /// The largest number of steps of a minibatch.
    pub fn max_num_steps(&self) -> usize {
        if self.variable_bptt { variable_bptt::max_length(self.num_steps) } else { self.num_steps }
    }

    /// Whether the learning rate is a function of the step, and of the epoch otherwise.
    pub fn is_scheduled_by_step(&self) -> bool {
        self.schedule_by_step || matches!(self.schedule, Schedule::OneCycle { .. })
    }

    /// The learning rate at a position, in an epoch of `num_minibatches`. A schedule by step assumes that all epochs have as
    /// many.
    pub fn lr_at(&self, position: &Position, num_minibatches: usize) -> f32 {
        if self.is_scheduled_by_step() {
            let in_epoch = num_minibatches as u64;
            let step = position.epoch.saturating_mul(in_epoch).saturating_add(position.minibatch as u64);
            let total = self.epochs.saturating_mul(in_epoch);
            return self.schedule.lr(self.lr, [step, total, self.warmup_steps], &position.plateau);
        }
        let lr = self.schedule.lr(self.lr, [position.epoch, self.epochs, self.warmup], &position.plateau);
        match self.warmup_steps {
            0 => lr,
            steps => (f64::from(lr) * warm_up(position.step, steps)) as f32,
        }
    }

    /// The regularization of a step, a function of the seed and the step.
    pub fn regularization(&self, step: u64) -> Regularization {
        let mask = |probability: f32, layer: u32, period: usize| {
            let (seed, period, rows) = (self.seed, period as u32, MaskRows::default());
            (probability > 0.0).then_some(Mask { probability, seed, layer, step, period, rows })
        };
        let n = self.batch_size;
        Regularization {
            weight_drop: mask(self.weight_drop, layers::WEIGHT, 0),
            between_layers: mask(self.dropout, layers::BETWEEN, 0).or(mask(self.dropout_hidden, layers::HIDDEN, n)),
            embedding: mask(self.dropout_embedding, layers::EMBEDDING, 0),
            input: mask(self.dropout_input, layers::INPUT, n),
            output: mask(self.dropout_output, layers::OUTPUT, n),
            ar: self.ar,
            tar: self.tar,
            label_smoothing: self.label_smoothing,
        }
    }

    /// Checks that every setting fits the model.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first setting that has no meaning for the model, and the model's setting.
    pub fn validate_for(&self, model: &ModelConfig) -> Result<()> {
        let cell = format!("`cell` {}", model.cell.as_str());
        let embedding = format!("`embedding_size` {}", model.embedding_size);
        let layers = format!("`num_layers` {}", model.num_layers);
        let has_weight = !model.cell.recurrent_blocks().is_empty();
        let has_embedding = model.embedding_size > 0;
        let checks = [
            ("weight_drop", self.weight_drop, has_weight, cell, "0 for a cell without recurrent weights"),
            ("dropout_input", self.dropout_input, has_embedding, embedding.clone(), "0 without an embedding"),
            ("dropout_embedding", self.dropout_embedding, has_embedding, embedding, "0 without an embedding"),
            ("dropout_hidden", self.dropout_hidden, model.num_layers > 1, layers, "0 with a single layer"),
        ];
        if let OptimizerConfig::SparseAdam { .. } = self.optimizer {
            let needed = "another optimizer: only an embedding that is not tied has sparse gradients";
            let value = match (has_embedding, model.tie_weights) {
                (false, _) => "sparse-adam with `embedding_size` 0",
                (true, true) => "sparse-adam with `tie_weights` true",
                (true, false) => "",
            };
            if !value.is_empty() {
                return Err(Error::Setting { name: "optimizer", value: value.to_owned(), needed });
            }
            if self.accumulate > 1 {
                let value = format!("{} with `optimizer` sparse-adam", self.accumulate);
                let needed = "1: the mean gradient of several minibatches is dense";
                return Err(Error::Setting { name: "accumulate", value, needed });
            }
        }
        if model.adaptive_softmax.is_some() && self.shards > 1 {
            let value = format!("{} with `adaptive_softmax`", self.shards);
            return Err(Error::Setting { name: "shards", value, needed: "1: its sums over rows are not divided" });
        }
        if model.adaptive_softmax.is_some() && self.label_smoothing > 0.0 {
            let value = format!("{} with `adaptive_softmax`", self.label_smoothing);
            let needed = "0: a loss over all tokens would need the logits that an adaptive softmax avoids";
            return Err(Error::Setting { name: "label_smoothing", value, needed });
        }
        match checks.into_iter().find(|(_, value, fits, ..)| *value > 0.0 && !fits) {
            Some((name, value, _, other, needed)) => {
                Err(Error::Setting { name, value: format!("{value} with {other}"), needed })
            }
            None => Ok(()),
        }
    }

    /// Checks that every setting has a valid value.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first invalid setting.
    pub fn validate(&self) -> Result<()> {
        let rate = self.lr.is_finite() && self.lr > 0.0;
        let bound = |name, value: f32| {
            (name, value.to_string(), value.is_finite() && value >= 0.0, "a finite number, 0 for none")
        };
        let positive = |name, value: usize| (name, value.to_string(), value > 0, "at least 1");
        let tokens = self.batch_size as u128 * self.max_num_steps() as u128;
        let minibatch = format!("{} with `num_steps` {}", self.batch_size, self.num_steps);
        let one_clip = self.clip == 0.0 || self.clip_value == 0.0;
        let below_one = |name, value: f32| (name, value.to_string(), (0.0..1.0).contains(&value), "from 0 to below 1");
        let both_dropouts = format!("{} with `dropout` {}", self.dropout_hidden, self.dropout);
        let one_dropout = self.dropout == 0.0 || self.dropout_hidden == 0.0;
        let variable = format!("true with `shards` {}", self.shards);
        let divides = self.shards > 0 && self.batch_size.is_multiple_of(self.shards);
        let batch_shards = format!("{} with `shards` {}", self.batch_size, self.shards);
        let mut checks = vec![
            ("lr", self.lr.to_string(), rate, "a finite number above 0"),
            bound("clip", self.clip),
            bound("clip_value", self.clip_value),
            ("clip_value", self.clip_value.to_string(), one_clip, "0 unless `clip` is 0"),
            below_one("dropout", self.dropout),
            below_one("weight_drop", self.weight_drop),
            below_one("dropout_input", self.dropout_input),
            below_one("dropout_hidden", self.dropout_hidden),
            below_one("dropout_output", self.dropout_output),
            below_one("dropout_embedding", self.dropout_embedding),
            ("dropout_hidden", both_dropouts, one_dropout, "0 unless `dropout` is 0"),
            bound("ar", self.ar),
            bound("tar", self.tar),
            below_one("label_smoothing", self.label_smoothing),
            positive("batch_size", self.batch_size),
            positive("num_steps", self.num_steps),
            ("shards", self.shards.to_string(), self.shards.is_power_of_two(), "a power of two"),
            ("batch_size", batch_shards, divides, "a multiple of `shards`"),
            ("variable_bptt", variable, !self.variable_bptt || self.shards == 1, "false unless `shards` is 1"),
            positive("accumulate", usize::try_from(self.accumulate).unwrap_or(usize::MAX)),
            ("batch_size", minibatch, tokens <= MAX_MINIBATCH, "at most 2^40 tokens per minibatch"),
        ];
        let both_warmups = format!("{} with `warmup` {}", self.warmup_steps, self.warmup);
        let warmup_by_step = format!("{} with a schedule by step", self.warmup);
        let schedule_by_step = format!("true with `schedule` {}", self.schedule.as_str());
        let one_cycle = matches!(self.schedule, Schedule::OneCycle { .. });
        let one_cycle_warmup = format!("{} with `schedule` one-cycle", self.warmup_steps);
        let is_by_epoch = matches!(self.schedule, Schedule::Plateau { .. });
        checks.extend([
            ("warmup", warmup_by_step, self.warmup == 0 || !self.is_scheduled_by_step(), "0, use `warmup_steps`"),
            ("warmup_steps", both_warmups, self.warmup == 0 || self.warmup_steps == 0, "0 unless `warmup` is 0"),
            ("warmup_steps", one_cycle_warmup, !one_cycle || self.warmup_steps == 0, "0, it has its own warm-up"),
            ("schedule_by_step", schedule_by_step, !(self.schedule_by_step && is_by_epoch), "false for plateau"),
        ]);
        let optimizer = self.optimizer.checks().into_iter();
        checks.extend(optimizer.map(|(name, value, valid, needed)| (name, value.to_string(), valid, needed)));
        checks.extend(self.average.checks());
        checks.extend(
            self.variable_bptt.then(|| variable_bptt::checks(self.sampling, self.accumulate)).into_iter().flatten(),
        );
        checks.extend(self.schedule.checks(self.lr));
        match checks.into_iter().find(|(_, _, valid, _)| !valid) {
            Some((name, value, _, needed)) => Err(Error::Setting { name, value, needed }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_contradict_each_other_are_refused_with_both_values() {
        let (train, model) = (TrainConfig::book(), ModelConfig::book(28));
        assert!(train.validate().is_ok() && train.validate_for(&model).is_ok());
        let both = TrainConfig { dropout: 0.2, dropout_hidden: 0.3, ..train };
        let error = both.validate().unwrap_err().to_string();
        assert!(error.contains("`dropout_hidden` is 0.3 with `dropout` 0.2"), "{error}");
        for (train, text) in [
            (TrainConfig { dropout_input: 0.4, ..train }, "`dropout_input` is 0.4 with `embedding_size` 0"),
            (TrainConfig { dropout_embedding: 0.1, ..train }, "`dropout_embedding` is 0.1 with `embedding_size` 0"),
            (TrainConfig { dropout_hidden: 0.3, ..train }, "`dropout_hidden` is 0.3 with `num_layers` 1"),
        ] {
            let error = train.validate_for(&model).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_schedule_by_step_counts_the_minibatches_of_all_epochs() {
        let train = TrainConfig {
            epochs: 2,
            lr: 2.0,
            schedule: Schedule::Cosine { min_lr: 0.0 },
            schedule_by_step: true,
            ..TrainConfig::book()
        };
        let rate = |epoch, minibatch| train.lr_at(&Position { epoch, minibatch, ..Position::default() }, 5);
        // CosineAnnealingLR(10) of PyTorch at steps 0, 5 and 7: 1 + cos(π·step/10)
        for (position, expected) in [((0, 0), 2.0), ((1, 0), 1.0), ((1, 2), 0.412_214_7)] {
            assert!((rate(position.0, position.1) - expected).abs() < 1e-6, "{position:?}");
        }
        let train = TrainConfig { schedule: Schedule::Constant, schedule_by_step: false, warmup_steps: 3, ..train };
        let rate = |step| train.lr_at(&Position { step, ..Position::default() }, 5);
        assert_eq!([0, 1, 2, 3, 9].map(rate), [0.5, 1.0, 1.5, 2.0, 2.0]);
    }

    #[test]
    fn weight_drop_needs_recurrent_weights() {
        let train = TrainConfig { weight_drop: 0.5, ..TrainConfig::book() };
        for cell in rnnlm_rnn::Cell::ALL {
            let model = ModelConfig { cell, ..ModelConfig::book(28) };
            let has_weight = !["mingru", "minlstm"].contains(&cell.as_str());
            match train.validate_for(&model) {
                Ok(()) => assert!(has_weight, "{}", cell.name()),
                Err(error) => {
                    let expected = format!("`weight_drop` is 0.5 with `cell` {}, it must be 0", cell.as_str());
                    assert!(!has_weight && error.to_string().starts_with(&expected), "{error}");
                }
            }
        }
    }

    #[test]
    fn settings_of_regularization_are_stored_only_if_they_are_set() {
        let stored = serde_json::to_string(&TrainConfig::book()).unwrap();
        assert!(!stored.contains("drop") && !stored.contains("ar\"") && !stored.contains("smoothing"), "{stored}");
        let train = TrainConfig { weight_drop: 0.5, tar: 1.0, ..TrainConfig::book() };
        let read: TrainConfig = serde_json::from_str(&serde_json::to_string(&train).unwrap()).unwrap();
        assert_eq!(read, train);
    }
}
