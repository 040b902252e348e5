//! The reference against the oracle, the walk's stages 4 to 7: states and gates against its forward pass, gradients
//! against finite differences of it.

use std::sync::Arc;

use rnnlm_rnn::{Cell, Nonlinearity};

use super::layers::{backward_perturbations, forward_perturbations, perturbed};
use super::quantities::Axes;
use crate::cases::{StackCase, Twist};
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{Features, StackInputs};
use crate::oracle::{Input, Kind, Layer, Network, differences};
use crate::paths::Target;
use crate::{Result, tolerance};

/// Cases with more than this many rows times units are compared with the oracle's forward pass only: each difference costs
/// two forward passes.
const LARGEST_DIFFERENCED: usize = 10_000;
/// How many values of one parameter are differenced, spread over it from the first to the last.
const SAMPLES: usize = 60;

/// A check forward and a check backward for every cell and case.
pub(super) fn checks(reference: &Target) -> Vec<Check> {
    let cases = Cell::ALL.into_iter().flat_map(StackCase::all);
    cases.flat_map(|case| [Some(forward(reference, case)), backward(reference, case)]).flatten().collect()
}

fn forward(reference: &Target, case: StackCase) -> Check {
    let device = Arc::clone(&reference.device);
    Check {
        family: Family::Oracle,
        subject: format!("{} forward", case.cell.name()),
        shape: case.shape(),
        backend: reference.backend.clone(),
        path: format!("{} / oracle", reference.path),
        tolerance: tolerance::ORACLE_FORWARD,
        perturbations: forward_perturbations(&case),
        expected: Box::new(move || {
            let inputs = case.draw()?;
            let network = last_minibatch(&inputs)?;
            let traces = network.forward();
            Ok(Axes::of(&inputs).forward_of_traces(&traces, network.output(&traces)))
        }),
        found: Box::new(move |perturbation| {
            let inputs = perturbed(&case, perturbation)?;
            Ok(Axes::of(&inputs).forward(&device.stack(&inputs)?))
        }),
    }
}

fn backward(reference: &Target, case: StackCase) -> Option<Check> {
    if case.volume() > LARGEST_DIFFERENCED || case.twist == Twist::Nan {
        return None;
    }
    let device = Arc::clone(&reference.device);
    Some(Check {
        family: Family::Oracle,
        subject: format!("{} backward", case.cell.name()),
        shape: case.shape(),
        backend: reference.backend.clone(),
        path: format!("{} / oracle", reference.path),
        tolerance: tolerance::ORACLE_GRADIENT,
        perturbations: backward_perturbations(&case),
        expected: Box::new(move || differences_of(&case.draw()?)),
        found: Box::new(move |perturbation| {
            let inputs = perturbed(&case, perturbation)?;
            Ok(Axes::of(&inputs).gradients(&device.stack(&inputs)?))
        }),
    })
}

/// The oracle's kind of a cell.
pub(super) fn kind(cell: Cell) -> Kind {
    match cell {
        Cell::Rnn(Nonlinearity::Tanh) => Kind::Tanh,
        Cell::Rnn(Nonlinearity::Relu) => Kind::Relu,
        Cell::Gru { reset_after: true } => Kind::GruAfter,
        Cell::Gru { reset_after: false } => Kind::GruBefore,
        Cell::Lstm => Kind::Lstm,
    }
}

/// The oracle's network before the first minibatch.
pub(super) fn network(inputs: &StackInputs) -> Result<Network> {
    let (stack, layout) = crate::device::layout(inputs.config)?;
    let (n, h) = (inputs.batch_size, inputs.config.hidden_size);
    let state =
        |state: &[f32], index: usize| doubles(state.get(index * n * h..(index + 1) * n * h).unwrap_or_default());
    let parameters = layout.specs().chunks(4).zip(stack.layers()).enumerate();
    let layers = parameters.map(|(index, (specs, layer))| {
        let weights = |kind: &str| {
            let spec = specs.iter().find(|spec| spec.name.contains(kind));
            spec.map(|spec| doubles(&inputs.parameters[spec.range()])).unwrap_or_default()
        };
        Layer {
            kind: kind(layer.cell),
            input_size: layer.input_size,
            hidden_size: h,
            reverse: specs[0].name.ends_with("_reverse"),
            weight_ih: weights("weight_ih"),
            weight_hh: weights("weight_hh"),
            bias_ih: weights("bias_ih"),
            bias_hh: weights("bias_hh"),
            hidden: state(&inputs.hidden, index),
            cell: state(&inputs.cell, index),
        }
    });
    Ok(Network {
        layers: layers.collect(),
        directions: inputs.config.num_directions(),
        input: input(&inputs.minibatches[0]),
        num_steps: inputs.num_steps,
        batch_size: n,
    })
}

/// The oracle's network before the last minibatch, the state carried through those before it.
fn last_minibatch(inputs: &StackInputs) -> Result<Network> {
    let mut network = network(inputs)?;
    for next in &inputs.minibatches[1..] {
        let traces = network.forward();
        network.carry(&traces);
        network.input = input(next);
    }
    Ok(network)
}

fn input(features: &Features) -> Input {
    match features {
        Features::Dense(x) => Input::Dense(doubles(x)),
        Features::OneHot(ids) => Input::OneHot(ids.iter().map(|&id| id as usize).collect()),
    }
}

/// Finite differences of `Σ grad_output · output` by every parameter, initial state and the dense input.
fn differences_of(inputs: &StackInputs) -> Result<Vec<Quantity>> {
    let (_, layout) = crate::device::layout(inputs.config)?;
    let axes = Axes::of(inputs);
    let mut network = last_minibatch(inputs)?;
    let upstream = doubles(&inputs.grad_output);
    let loss = |network: &Network| {
        let output = network.output(&network.forward());
        output.iter().zip(&upstream).map(|(y, r)| y * r).sum()
    };
    let mut all = Vec::new();
    for (index, spec) in layout.specs().iter().enumerate() {
        let (name, axes) = (format!("gradient of {}", spec.name), axes.parameter(&spec.name, &spec.shape));
        let sample = sample_of(&network, index, spec.range().len());
        all.push(difference(&mut network, name, axes, |network| leaf_of(network, index), sample, loss));
    }
    for index in 0..network.layers.len() {
        let name = |state: &str| format!("{}gradient of the initial {state} state", axes.layer_name(index));
        let (own, hidden) = (axes.initial(), sample(network.layers[index].hidden.len()));
        all.push(difference(&mut network, name("hidden"), own, |n| &mut n.layers[index].hidden, hidden, loss));
        if !network.layers[index].cell.is_empty() {
            let (own, cell) = (axes.initial(), sample(network.layers[index].cell.len()));
            all.push(difference(&mut network, name("cell"), own, |n| &mut n.layers[index].cell, cell, loss));
        }
    }
    if let Input::Dense(x) = &network.input {
        let (name, sample) = ("gradient of the input".to_owned(), sample(x.len()));
        all.push(difference(&mut network, name, axes.input(), dense, sample, loss));
    }
    Ok(all)
}

/// Differences by one leaf, all of its values or a sample of them.
pub(super) fn difference<M>(
    model: &mut M,
    name: String,
    axes: Vec<Axis>,
    leaf: impl Fn(&mut M) -> &mut [f64],
    sample: Vec<usize>,
    loss: impl Fn(&M) -> f64,
) -> Quantity {
    let values = differences::central(model, leaf, &sample, loss);
    Quantity::sampled(name, axes, sample, values)
}

/// A parameter of the oracle's by its place in the layout.
pub(super) fn leaf_of(network: &mut Network, index: usize) -> &mut [f64] {
    let layer = &mut network.layers[index / 4];
    match index % 4 {
        0 => &mut layer.weight_ih,
        1 => &mut layer.weight_hh,
        2 => &mut layer.bias_ih,
        _ => &mut layer.bias_hh,
    }
}

fn dense(network: &mut Network) -> &mut [f64] {
    match &mut network.input {
        Input::Dense(x) => x,
        Input::OneHot(_) => &mut [],
    }
}

/// Every place, or [`SAMPLES`] of them from the first to the last.
pub(super) fn sample(len: usize) -> Vec<usize> {
    if len <= SAMPLES { (0..len).collect() } else { (0..SAMPLES).map(|i| i * (len - 1) / (SAMPLES - 1)).collect() }
}

/// Places of a parameter of the layout: of a weight that one-hot rows pick columns from, only columns that are picked.
pub(super) fn sample_of(network: &Network, index: usize, len: usize) -> Vec<usize> {
    match (&network.input, index) {
        (Input::OneHot(ids), 0) if len > SAMPLES => {
            let width = network.layers[0].input_size;
            let places = sample(len / width).into_iter().enumerate();
            places.map(|(i, row)| row * width + ids[i % ids.len()]).collect()
        }
        _ => sample(len),
    }
}

pub(super) fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}
