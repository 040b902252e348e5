//! A hundred updates on a path against the same hundred on the reference, the walk's stages 3 to 8, and once more: the
//! second run must give the first one's bits.

use std::sync::Arc;

use rnnlm_model::{Init, TrainConfig};
use rnnlm_rnn::{Cell, Nonlinearity};
use rnnlm_vocab::{Batches, Sampling};

use super::model::{config, layout};
use super::oracle::doubles;
use crate::cases::Draw;
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{Bits, Device, TrainData, TrainInputs, TrainOutputs};
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

/// A check for every cell.
pub(super) fn checks(reference: &Target, target: &Target) -> Vec<Check> {
    if UPDATES * T * N * H > target.largest {
        return Vec::new();
    }
    Cell::ALL.into_iter().map(|cell| check(reference, target, cell)).collect()
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

fn inputs(cell: Cell, perturbation: Option<Perturbation>) -> Result<TrainInputs> {
    let model = config(cell, V, H, 1);
    let mut draw = Draw::new(0x7AA);
    let bound = 1.0 / (H as f32).sqrt();
    let mut parameters = draw.uniform(layout(&model)?.len(), bound);
    // as many tokens as a hundred minibatches hold, and what follows the last one
    let corpus = draw.ids(N * T * (UPDATES + 2), V);
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
    let batches = Batches::new(train.sampling, &corpus, N, T, train.seed, 0)?;
    let minibatches: Vec<_> = batches.into_iter().take(UPDATES).collect();
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
