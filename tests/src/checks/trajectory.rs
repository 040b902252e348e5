//! A hundred updates on a path against the same hundred on the reference, the walk's stages 3 to 8, and once more: the
//! second run must give the first one's bits. And an epoch that diverges at its second step, which must end where the first
//! one alone does.

use std::sync::Arc;

use rnnlm_model::{Init, OptimizerConfig, TrainConfig};
use rnnlm_rnn::{Cell, Nonlinearity};
use rnnlm_vocab::{Batches, Minibatch, Sampling};

use super::model::{config, layout};
use super::oracle::doubles;
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{Bits, Device, TrainData, TrainInputs, TrainOutputs};
use crate::draw::Draw;
use crate::paths::Target;
use crate::perturb::Perturbation;
use crate::{Error, Result, tolerance};

/// Entries of the vocabulary.
const V: usize = 11;
/// Hidden units.
const H: usize = 16;
/// Steps of a minibatch.
const T: usize = 7;
/// Rows of a minibatch.
const N: usize = 4;
/// Updates.
const UPDATES: usize = 100;

/// Two checks for every cell.
pub(super) fn checks(reference: &Target, target: &Target) -> Vec<Check> {
    let fits = UPDATES * T * N * H <= target.largest;
    let updates = Cell::ALL.into_iter().filter(|_| fits).map(|cell| check(reference, target, cell));
    updates.chain(Cell::ALL.into_iter().map(|cell| diverging(reference, target, cell))).collect()
}

/// An epoch of steps that are handed over together, all but the first of them not finite: parameters and sums are those of
/// the first step.
fn diverging(reference: &Target, target: &Target, cell: Cell) -> Check {
    let (theirs, ours) = (Arc::clone(&reference.device), Arc::clone(&target.device));
    let inputs = move |perturbation| {
        let mut inputs = inputs(cell, perturbation)?;
        // weights so large that the next loss's exponential is no number
        inputs.train = TrainConfig { lr: inputs.train.lr * 1e5, clip: 0.0, ..inputs.train };
        inputs.train.optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
        Ok::<_, Error>(inputs)
    };
    Check {
        family: Family::Trajectories,
        subject: format!("{} diverging", cell.name()),
        shape: format!("T{T} N{N} V{V} H{H} 4 steps"),
        backend: target.backend.clone(),
        path: target.path.clone(),
        tolerance: tolerance::PATH_TRAINING,
        perturbations: vec![Perturbation::Weight, Perturbation::Scalar],
        expected: Box::new(move || {
            let inputs = inputs(None)?;
            let data = TrainData::Minibatches(minibatches(&inputs.train, &corpus(4))?.into_iter().take(1).collect());
            Ok(quantities(&theirs.train(&TrainInputs { data, ..inputs })?))
        }),
        found: Box::new(move |perturbation| {
            let inputs = TrainInputs { data: TrainData::Diverging(corpus(4)), ..inputs(perturbation)? };
            Ok(quantities(&ours.train(&inputs)?))
        }),
    }
}

fn check(reference: &Target, target: &Target, cell: Cell) -> Check {
    let (theirs, ours) = (Arc::clone(&reference.device), Arc::clone(&target.device));
    Check {
        family: Family::Trajectories,
        subject: format!("{} training", cell.name()),
        shape: format!("T{T} N{N} V{V} H{H} {UPDATES} steps, twice"),
        backend: target.backend.clone(),
        path: target.path.clone(),
        tolerance: tolerance::PATH_TRAINING,
        perturbations: vec![Perturbation::Weight, Perturbation::Scalar, Perturbation::StateDropped],
        expected: Box::new(move || Ok(quantities(&theirs.train(&inputs(cell, None)?)?))),
        found: Box::new(move |perturbation| Ok(quantities(&twice(ours.as_ref(), &inputs(cell, perturbation)?)?))),
    }
}

/// The outputs, or an error unless a second run gives their bits.
fn twice(device: &dyn Device, inputs: &TrainInputs) -> Result<TrainOutputs> {
    let (first, second) = (device.train(inputs)?, device.train(inputs)?);
    if first.bits() == second.bits() { Ok(first) } else { Err(Error::Repeated) }
}

/// As many tokens as so many minibatches hold, and what follows the last one.
fn corpus(num_minibatches: usize) -> Vec<u32> {
    Draw::new(0x1D5).ids(N * T * (num_minibatches + 2), V)
}

/// Those of the first epoch.
fn minibatches(train: &TrainConfig, corpus: &[u32]) -> Result<Vec<Minibatch>> {
    Ok(Batches::new(train.sampling, corpus, N, T, train.seed, 0)?.into_iter().collect())
}

fn inputs(cell: Cell, perturbation: Option<Perturbation>) -> Result<TrainInputs> {
    let model = config(cell, V, H, 1);
    let bound = 1.0 / (H as f32).sqrt();
    let mut parameters = Draw::new(0x7AA).uniform(layout(&model)?.len(), bound);
    let mut train = TrainConfig {
        epochs: 1,
        batch_size: N,
        num_steps: T,
        // ReLU's states grow where tanh's saturate
        lr: if cell == Cell::Rnn(Nonlinearity::Relu) { 0.1 } else { 0.5 },
        clip: 0.5,
        sampling: Sampling::Sequential,
        init: Init::Uniform,
        seed: 1,
        ..TrainConfig::book()
    };
    match perturbation {
        Some(Perturbation::Weight) => parameters[0] += 0.01,
        Some(Perturbation::Scalar) => train.lr *= 1.01,
        Some(_) => train.reset_state = true,
        None => {}
    }
    let minibatches = minibatches(&train, &corpus(UPDATES))?.into_iter().take(UPDATES).collect();
    Ok(TrainInputs { model, train, parameters, data: TrainData::Minibatches(minibatches) })
}

fn quantities(outputs: &TrainOutputs) -> Vec<Quantity> {
    let per_step =
        |name: &str, values: &[f64]| Quantity::new(name, vec![Axis::Other("step", values.len())], values.to_vec());
    let parameters: Vec<f64> = outputs.parameters.iter().flat_map(|parameter| doubles(&parameter.values)).collect();
    vec![
        per_step("loss", &outputs.losses),
        per_step("gradient norm", &outputs.gradient_norms),
        Quantity::new("final parameters", vec![Axis::Column(parameters.len())], parameters),
    ]
}
