//! Training runs of a hundred updates against the reference path. Each runs twice and must give the same bits. And an epoch
//! that diverges at its second step, which must leave the parameters of the first step.

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

/// The vocabulary size.
const V: usize = 11;
/// The hidden size.
const H: usize = 16;
/// The number of steps.
const T: usize = 7;
/// The batch size.
const N: usize = 4;
/// The number of updates.
const UPDATES: usize = 100;

/// Two checks for every cell.
pub(super) fn checks(reference: &Target, target: &Target) -> Vec<Check> {
    let fits = UPDATES * T * N * H <= target.max_volume;
    let updates = Cell::ALL.into_iter().filter(|_| fits).map(|cell| check(reference, target, cell));
    updates.chain(Cell::ALL.into_iter().map(|cell| diverging(reference, target, cell))).collect()
}

/// An epoch of queued steps, all but the first of which are non-finite: parameters and sums are those of the first step.
fn diverging(reference: &Target, target: &Target, cell: Cell) -> Check {
    let reference_device = Arc::clone(&reference.device);
    let device = Arc::clone(&target.device);
    let inputs = move |perturbation| {
        let mut inputs = inputs(cell, perturbation)?;
        // A learning rate that makes the next loss non-finite.
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
            Ok(quantities(&reference_device.train(&TrainInputs { data, ..inputs })?))
        }),
        found: Box::new(move |perturbation| {
            let inputs = TrainInputs { data: TrainData::Diverging(corpus(4)), ..inputs(perturbation)? };
            Ok(quantities(&device.train(&inputs)?))
        }),
    }
}

fn check(reference: &Target, target: &Target, cell: Cell) -> Check {
    let reference_device = Arc::clone(&reference.device);
    let device = Arc::clone(&target.device);
    Check {
        family: Family::Trajectories,
        subject: format!("{} training", cell.name()),
        shape: format!("T{T} N{N} V{V} H{H} {UPDATES} steps, twice"),
        backend: target.backend.clone(),
        path: target.path.clone(),
        tolerance: tolerance::PATH_TRAINING,
        perturbations: vec![Perturbation::Weight, Perturbation::Scalar, Perturbation::StateDropped],
        expected: Box::new(move || Ok(quantities(&reference_device.train(&inputs(cell, None)?)?))),
        found: Box::new(move |perturbation| Ok(quantities(&twice(device.as_ref(), &inputs(cell, perturbation)?)?))),
    }
}

/// Trains twice and returns the outputs, or an error if the bits differ.
fn twice(device: &dyn Device, inputs: &TrainInputs) -> Result<TrainOutputs> {
    let first = device.train(inputs)?;
    let second = device.train(inputs)?;
    if first.bits() == second.bits() { Ok(first) } else { Err(Error::Repeated) }
}

/// A corpus long enough for this number of minibatches.
fn corpus(num_minibatches: usize) -> Vec<u32> {
    Draw::new(0x1D5).ids(N * T * (num_minibatches + 2), V)
}

/// The minibatches of the first epoch.
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
        // The states of ReLU are not bounded, so it diverges at a higher learning rate.
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
