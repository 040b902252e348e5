//! The reference path against the oracle: states and gates against its forward pass, gradients against finite differences of
//! it.

use std::sync::Arc;

use rnnlm_rnn::Cell;

use super::layers::{backward_perturbations, forward_perturbations, perturbed};
use super::quantities::Axes;
use crate::cases::{Condition, StackCase};
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{Features, StackInputs};
use crate::oracle::{Input, Layer, Network, differences};
use crate::paths::Target;
use crate::{Result, tolerance};

/// Larger cases, by T·N·H, are compared with the oracle's forward pass only: each difference costs two forward passes.
const MAX_DIFFERENCES_VOLUME: usize = 10_000;
/// The maximum number of values of a parameter for which differences are computed, evenly spaced.
const SAMPLES: usize = 60;

/// A forward and a backward check for every cell and case.
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
    if case.volume() > MAX_DIFFERENCES_VOLUME || case.condition == Condition::Nan {
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
        expected: Box::new(move || oracle_gradients(&case.draw()?)),
        found: Box::new(move |perturbation| {
            let inputs = perturbed(&case, perturbation)?;
            Ok(Axes::of(&inputs).gradients(&device.stack(&inputs)?))
        }),
    })
}

/// The oracle's network before the first minibatch.
pub(super) fn network(inputs: &StackInputs) -> Result<Network> {
    let (stack, layout) = crate::device::layout(inputs.config)?;
    let len = inputs.batch_size * inputs.config.hidden_size;
    let directions = inputs.config.num_directions();
    let state = |state: &[f32], index: usize| doubles(state.get(index * len..(index + 1) * len).unwrap_or_default());
    let layer = |(index, layer): (usize, &rnnlm_rnn::Layer)| {
        let suffix = suffix(index, directions);
        let parameter = |kind: &str| {
            let name = format!("rnn.{kind}{suffix}");
            let spec = layout.specs().iter().find(|spec| spec.name == name);
            spec.map(|spec| doubles(&inputs.parameters[spec.range()])).unwrap_or_default()
        };
        Layer {
            kind: layer.cell.into(),
            input_size: layer.input_size,
            hidden_size: inputs.config.hidden_size,
            reverse: index % directions == 1,
            weight_ih: parameter("weight_ih"),
            weight_hh: parameter("weight_hh"),
            bias_ih: parameter("bias_ih"),
            bias_hh: parameter("bias_hh"),
            hidden: state(&inputs.hidden, index),
            cell: state(&inputs.cell, index),
        }
    };
    Ok(Network {
        layers: stack.layers().iter().enumerate().map(layer).collect(),
        directions,
        input: input(&inputs.minibatches[0]),
        num_steps: inputs.num_steps,
        batch_size: inputs.batch_size,
        starts: inputs.starts.clone(),
        dropout: Vec::new(),
        residual: inputs.config.residual,
    })
}

/// The end of the names of a layer's parameters, such as `_l1_reverse`.
fn suffix(index: usize, directions: usize) -> String {
    let reverse = if index % directions == 1 { "_reverse" } else { "" };
    format!("_l{}{reverse}", index / directions)
}

/// The oracle's network before the last minibatch, with the state carried through the earlier ones.
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

/// Finite differences of `Σ grad_output · output` with respect to every parameter, initial state and dense input.
fn oracle_gradients(inputs: &StackInputs) -> Result<Vec<Quantity>> {
    let (_, layout) = crate::device::layout(inputs.config)?;
    let axes = Axes::of(inputs);
    let mut network = last_minibatch(inputs)?;
    let upstream = doubles(&inputs.grad_output);
    let loss = |network: &Network| {
        let output = network.output(&network.forward());
        output.iter().zip(&upstream).map(|(y, r)| y * r).sum()
    };
    let mut all = Vec::new();
    for spec in layout.specs() {
        let name = format!("gradient of {}", spec.name);
        let parameter_axes = axes.parameter(&spec.name, &spec.shape);
        let sample = parameter_sample(&network, &spec.name, spec.range().len());
        all.push(difference(
            &mut network,
            name,
            parameter_axes,
            |network| parameter(network, &spec.name),
            sample,
            loss,
        ));
    }
    for index in 0..network.layers.len() {
        let name = |state: &str| format!("{}gradient of the initial {state} state", axes.layer_name(index));
        let hidden = sample(network.layers[index].hidden.len());
        all.push(difference(&mut network, name("hidden"), axes.state(), |n| &mut n.layers[index].hidden, hidden, loss));
        if !network.layers[index].cell.is_empty() {
            let cell = sample(network.layers[index].cell.len());
            all.push(difference(&mut network, name("cell"), axes.state(), |n| &mut n.layers[index].cell, cell, loss));
        }
    }
    if let Input::Dense(x) = &network.input {
        let name = "gradient of the input".to_owned();
        let sample = sample(x.len());
        all.push(difference(&mut network, name, axes.input(), dense, sample, loss));
    }
    Ok(all)
}

/// Finite differences with respect to the values `sample` of a leaf, as a quantity.
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

/// A parameter of the network by its name.
pub(super) fn parameter<'a>(network: &'a mut Network, name: &str) -> &'a mut [f64] {
    let directions = network.directions;
    let mut layers = network.layers.iter_mut().enumerate();
    let layer = layers.find(|(index, _)| name.ends_with(&suffix(*index, directions)));
    let Some((_, layer)) = layer else { return &mut [] };
    match name {
        _ if name.starts_with("rnn.weight_ih") => &mut layer.weight_ih,
        _ if name.starts_with("rnn.weight_hh") => &mut layer.weight_hh,
        _ if name.starts_with("rnn.bias_ih") => &mut layer.bias_ih,
        _ => &mut layer.bias_hh,
    }
}

fn dense(network: &mut Network) -> &mut [f64] {
    match &mut network.input {
        Input::Dense(x) => x,
        Input::OneHot(_) => &mut [],
    }
}

/// Every index below `len`, or [`SAMPLES`] of them, evenly spaced.
pub(super) fn sample(len: usize) -> Vec<usize> {
    if len <= SAMPLES { (0..len).collect() } else { (0..SAMPLES).map(|i| i * (len - 1) / (SAMPLES - 1)).collect() }
}

/// Indices of a parameter's values. Of a weight for one-hot input only columns that occur: the other gradients are zero.
pub(super) fn parameter_sample(network: &Network, name: &str, len: usize) -> Vec<usize> {
    match &network.input {
        Input::OneHot(ids) if name == "rnn.weight_ih_l0" && len > SAMPLES => {
            let width = network.layers[0].input_size;
            let rows = sample(len / width).into_iter().enumerate();
            rows.map(|(i, row)| row * width + ids[i % ids.len()]).collect()
        }
        _ => sample(len),
    }
}

pub(super) fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}
