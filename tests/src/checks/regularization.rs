//! Regularization against the oracle: logits, loss and the gradient of every parameter of a model with an embedding and three
//! layers, by finite differences of the regularized loss.

use std::sync::Arc;

use rnnlm_model::{ModelConfig, TrainConfig};
use rnnlm_rnn::Cell;
use rnnlm_tensor::{Mask, MaskRows};
use rnnlm_vocab::Minibatch;

use super::model::{config, layout};
use super::naive::mask_at;
use super::oracle::{difference, doubles, sample};
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{ModelInputs, ModelOutputs};
use crate::draw::Draw;
use crate::oracle::{Input, Layer, Linear, Network, cross_entropy, smoothed_cross_entropy};
use crate::paths::Target;
use crate::perturb::Perturbation;
use crate::{Result, tolerance};

/// The number of steps.
const T: usize = 4;
/// The batch size.
const N: usize = 3;
/// The vocabulary size, more than the ids of a minibatch.
const V: usize = 19;
/// The embedding size.
const E: usize = 6;
/// The hidden size, no multiple of 4.
const H: usize = 7;
/// The number of layers.
const L: usize = 3;
/// The step whose masks are used; its words and those of the seed are more than 32 bits long.
const STEP: u64 = (1 << 32) + 7;
const SEED: u64 = (1 << 33) + 5;

/// A technique, the settings that switch it on, and whether layers have residual connections.
type Technique = (&'static str, fn(&mut TrainConfig), bool);

const TECHNIQUES: [Technique; 10] = [
    ("weight drop", |train| train.weight_drop = 0.5, false),
    ("dropout embedding", |train| train.dropout_embedding = 0.3, false),
    ("dropout input", |train| train.dropout_input = 0.4, false),
    ("dropout hidden", |train| train.dropout_hidden = 0.25, false),
    ("dropout output", |train| train.dropout_output = 0.4, false),
    ("ar, tar", |train| (train.ar, train.tar) = (2.0, 1.0), false),
    ("label smoothing", |train| train.label_smoothing = 0.1, false),
    ("residual", |_| {}, true),
    ("dropout, residual", |train| train.dropout = 0.3, true),
    ("all", all, true),
];

/// Every technique together.
fn all(train: &mut TrainConfig) {
    (train.weight_drop, train.dropout_embedding, train.dropout_input) = (0.5, 0.1, 0.4);
    (train.dropout_hidden, train.dropout_output) = (0.25, 0.4);
    (train.ar, train.tar, train.label_smoothing) = (2.0, 1.0, 0.1);
}

/// Every technique on every cell. Weight drop alone needs recurrent weights.
pub(super) fn checks(target: &Target) -> Vec<Check> {
    let cases = Cell::ALL.into_iter().flat_map(|cell| TECHNIQUES.map(|technique| Case { cell, technique }));
    let cases = cases.filter(|case| case.has_recurrent_weights() || case.technique.0 != "weight drop");
    cases.map(|case| check(target, case)).collect()
}

fn check(target: &Target, case: Case) -> Check {
    let device = Arc::clone(&target.device);
    Check {
        family: Family::Regularization,
        subject: format!("{} model", case.cell.name()),
        shape: format!("T{T} N{N} V{V} E{E} H{H} L{L} {}", case.technique.0),
        backend: target.backend.clone(),
        path: format!("{} / oracle", target.path),
        tolerance: tolerance::ORACLE_GRADIENT,
        perturbations: vec![Perturbation::Weight, Perturbation::Id, Perturbation::Scalar, Perturbation::Nan],
        expected: Box::new(move || case.expected()),
        found: Box::new(move |perturbation| {
            let outputs = device.model(&case.inputs(perturbation)?)?;
            let mut all = quantities(doubles(&outputs.logits), f64::from(outputs.loss));
            all.extend(case.gradients(&outputs));
            Ok(all)
        }),
    }
}

#[derive(Clone, Copy)]
struct Case {
    cell: Cell,
    technique: Technique,
}

/// The function that the finite differences are taken of.
struct Regularized {
    embedding: Vec<f64>,
    network: Network,
    linear: Linear,
    ids: [Vec<usize>; 2],
    train: TrainConfig,
}

fn quantities(logits: Vec<f64>, loss: f64) -> Vec<Quantity> {
    let axes = vec![Axis::Step(T), Axis::Row(N), Axis::Column(V)];
    vec![Quantity::new("logits", axes, logits), Quantity::new("loss", vec![Axis::Row(1)], vec![loss])]
}

impl Case {
    fn has_recurrent_weights(self) -> bool {
        !self.cell.recurrent_blocks().is_empty()
    }

    fn model(self) -> ModelConfig {
        ModelConfig { embedding_size: E, residual: self.technique.2, ..config(self.cell, V, H, L) }
    }

    fn train(self) -> TrainConfig {
        let mut train = TrainConfig { batch_size: N, num_steps: T, seed: SEED, ..TrainConfig::book() };
        self.technique.1(&mut train);
        if !self.has_recurrent_weights() {
            train.weight_drop = 0.0;
        }
        train
    }

    fn inputs(self, perturbation: Option<Perturbation>) -> Result<ModelInputs> {
        let mut draw = Draw::new(0x4A5D);
        let states = L * N * H;
        let mut train = self.train();
        let mut parameters = draw.uniform(layout(&self.model())?.len(), 0.6);
        let mut minibatch =
            Minibatch { inputs: draw.ids(T * N, V), targets: draw.ids(T * N, V), num_steps: T, batch_size: N };
        match perturbation {
            // The last bias of the output layer, which no mask drops.
            Some(Perturbation::Weight) => *parameters.last_mut().unwrap_or(&mut 0.0) += 0.01,
            Some(Perturbation::Nan) => *parameters.last_mut().unwrap_or(&mut 0.0) = f32::NAN,
            Some(Perturbation::Id) => minibatch.targets[0] = (minibatch.targets[0] + 1) % V as u32,
            // Other masks and factors; without regularization another initial state.
            Some(_) => {
                train.seed += 1;
                (train.ar, train.tar, train.label_smoothing) =
                    (train.ar * 1.01, train.tar * 1.01, train.label_smoothing * 1.01);
            }
            None => {}
        }
        let mut hidden = draw.uniform(states, 1.0);
        if perturbation == Some(Perturbation::Scalar) && self.technique.0 == "residual" {
            hidden[0] += 0.1;
        }
        let has_cell_state = self.cell.storage().cell_state;
        Ok(ModelInputs {
            config: self.model(),
            parameters,
            minibatch,
            hidden,
            cell: draw.uniform(if has_cell_state { states } else { 0 }, 1.0),
            regularization: train.regularization(STEP),
        })
    }

    fn gradients(self, outputs: &ModelOutputs) -> impl Iterator<Item = Quantity> + use<'_> {
        outputs.gradients.iter().map(|gradient| {
            let axes = vec![Axis::Column(gradient.values.len())];
            Quantity::from_f32(format!("gradient of {}", gradient.name), axes, &gradient.values)
        })
    }

    fn regularized(self) -> Result<Regularized> {
        let inputs = self.inputs(None)?;
        let layout = layout(&self.model())?;
        let parameter = |name: &str| {
            let spec = layout.specs().iter().find(|spec| spec.name == name);
            spec.map(|spec| doubles(&inputs.parameters[spec.range()])).unwrap_or_default()
        };
        let state =
            |state: &[f32], index: usize| doubles(state.get(index * N * H..(index + 1) * N * H).unwrap_or_default());
        let layer = |index: usize| Layer {
            kind: self.cell.into(),
            input_size: if index == 0 { E } else { H },
            hidden_size: H,
            reverse: false,
            weight_ih: parameter(&format!("rnn.weight_ih_l{index}")),
            weight_hh: parameter(&format!("rnn.weight_hh_l{index}")),
            bias_ih: parameter(&format!("rnn.bias_ih_l{index}")),
            bias_hh: parameter(&format!("rnn.bias_hh_l{index}")),
            hidden: state(&inputs.hidden, index),
            cell: state(&inputs.cell, index),
        };
        let ids = |ids: &[u32]| ids.iter().map(|&id| id as usize).collect();
        Ok(Regularized {
            embedding: parameter("embedding.weight"),
            network: Network {
                layers: (0..L).map(layer).collect(),
                directions: 1,
                input: Input::Dense(Vec::new()),
                num_steps: T,
                batch_size: N,
                starts: Vec::new(),
                dropout: Vec::new(),
                residual: self.technique.2,
            },
            linear: Linear { weight: parameter("linear.weight"), bias: parameter("linear.bias") },
            ids: [ids(&inputs.minibatch.inputs), ids(&inputs.minibatch.targets)],
            train: self.train(),
        })
    }

    fn expected(self) -> Result<Vec<Quantity>> {
        let mut model = self.regularized()?;
        let logits = model.linear.forward(&model.dropped(&model.output()));
        let loss = cross_entropy(&logits, &model.ids[1]);
        let mut all = quantities(logits, loss);
        for spec in layout(&self.model())?.specs() {
            let (name, axes) = (format!("gradient of {}", spec.name), vec![Axis::Column(spec.range().len())]);
            let sample = sample(spec.range().len());
            all.push(difference(&mut model, name, axes, |model| model.leaf(&spec.name), sample, Regularized::loss));
        }
        Ok(all)
    }
}

impl Regularized {
    fn leaf(&mut self, name: &str) -> &mut [f64] {
        match name {
            "embedding.weight" => &mut self.embedding,
            "linear.weight" => &mut self.linear.weight,
            "linear.bias" => &mut self.linear.bias,
            _ => super::oracle::parameter(&mut self.network, name),
        }
    }

    /// The factors of dropout for a matrix, with the layer number of the mask.
    fn factors(&self, probability: f32, layer: u32, [rows, cols]: [usize; 2]) -> Vec<f64> {
        let mask = Mask { probability, seed: self.train.seed, layer, step: STEP, period: 0, rows: MaskRows::default() };
        (0..rows * cols).map(|i| mask_at(mask, cols, i / cols, i % cols)).collect()
    }

    /// The factors of locked dropout: those of the first step for every step.
    fn locked(&self, probability: f32, layer: u32, cols: usize) -> Vec<f64> {
        self.factors(probability, layer, [N, cols]).repeat(T)
    }

    /// `[T·N][H]`: the output of the highest layer, before dropout.
    fn output(&self) -> Vec<f64> {
        let train = &self.train;
        let mut network = self.network.clone();
        let per_token = self.factors(train.dropout_embedding, 3 << 24, [V, 1]);
        let per_feature = self.locked(train.dropout_input, 4 << 24, E);
        let feature = |(row, id): (usize, &usize)| {
            let (embedding, per_feature, factor) = (&self.embedding, &per_feature, per_token[*id]);
            (0..E).map(move |e| embedding[id * E + e] * factor * per_feature[row * E + e]).collect::<Vec<_>>()
        };
        network.input = Input::Dense(self.ids[0].iter().enumerate().flat_map(feature).collect());
        network.dropout = (0..L as u32 - 1)
            .map(|layer| match train.dropout > 0.0 {
                true => self.factors(train.dropout, layer, [T * N, H]),
                false => self.locked(train.dropout_hidden, (2 << 24) + layer, H),
            })
            .collect();
        for (index, layer) in network.layers.iter_mut().enumerate() {
            let factors = self.factors(train.weight_drop, (1 << 24) + index as u32, [layer.weight_hh.len() / H, H]);
            layer.weight_hh.iter_mut().zip(factors).for_each(|(weight, factor)| *weight *= factor);
        }
        network.output(&network.forward())
    }

    /// The output after dropout.
    fn dropped(&self, output: &[f64]) -> Vec<f64> {
        let factors = self.locked(self.train.dropout_output, 5 << 24, H);
        output.iter().zip(factors).map(|(y, factor)| y * factor).collect()
    }

    /// The loss whose gradient training follows.
    fn loss(&self) -> f64 {
        let TrainConfig { ar, tar, label_smoothing, .. } = self.train;
        let output = self.output();
        let dropped = self.dropped(&output);
        let loss = smoothed_cross_entropy(&self.linear.forward(&dropped), &self.ids[1], f64::from(label_smoothing));
        let activation = dropped.iter().map(|y| y * y).sum::<f64>() / dropped.len() as f64;
        let differences: Vec<f64> = output.iter().zip(&output[N * H..]).map(|(before, y)| y - before).collect();
        let temporal = differences.iter().map(|d| d * d).sum::<f64>() / differences.len() as f64;
        loss + f64::from(ar) * activation + f64::from(tar) * temporal
    }
}
