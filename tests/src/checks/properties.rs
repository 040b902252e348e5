//! Properties that hold for any input. Each function creates a check of given inputs: the table runs it on fixed inputs,
//! `cargo test` also on generated ones.

use std::sync::Arc;

use rnnlm_rnn::{Cell, StackConfig};

use super::layers::perturbed;
use super::quantities::Axes;
use crate::cases::StackCase;
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{Block, Operands, Operation, StackInputs, StackOutputs, UpdateInputs};
use crate::draw::Draw;
use crate::paths::{Target, Threads};
use crate::perturb::Perturbation;
use crate::rows::select;
use crate::{Result, tolerance};

/// The properties of one backend on one path.
pub(super) fn checks(target: &Target) -> Vec<Check> {
    let mut checks = Vec::new();
    for (bound, clip) in [(2.0, 1.0), (0.01, 1.0), (30.0, 0.5)] {
        let mut draw = Draw::new(3);
        checks.push(clipping(target, [40, 1, 7].map(|len| draw.uniform(len, bound)).to_vec(), clip));
    }
    for shift in [64.0, -1000.0] {
        checks.push(softmax_shift(target, [5, 28], shift, 1));
    }
    let cases = Cell::ALL.into_iter().map(|cell| StackCase::all(cell)[4]);
    checks.extend(cases.clone().map(|case| batch_permutation(target, case, 2)));
    if let Some(with_threads) = &target.with_threads {
        let many_rows = Cell::ALL.into_iter().map(StackCase::many_rows);
        let runs = cases.chain(many_rows).flat_map(|case| [2, 3].map(|threads| (case, threads)));
        checks.extend(runs.map(|(case, threads)| thread_count(target, with_threads, case, threads)));
    }
    checks
}

fn property(target: &Target, subject: &str, shape: String) -> Check {
    Check {
        family: Family::Properties,
        subject: subject.to_owned(),
        shape,
        backend: target.backend.clone(),
        path: target.path.clone(),
        tolerance: tolerance::PROPERTY,
        perturbations: Vec::new(),
        expected: Box::new(|| Ok(Vec::new())),
        found: Box::new(|_| Ok(Vec::new())),
    }
}

/// Clipping scales all gradients by their global norm if it is above the limit, and leaves them unchanged otherwise.
pub fn clipping(target: &Target, gradients: Vec<Vec<f32>>, clip: f32) -> Check {
    let norm = gradients.iter().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    let limit = f64::from(clip);
    let all: Vec<f64> = gradients.iter().flatten().map(|&g| f64::from(g)).collect();
    let quantities = |norm: f64, after: Vec<f64>| {
        let len = after.len();
        let clipped = after.iter().map(|p| p * p).sum::<f64>().sqrt();
        vec![
            Quantity::new("norm before", vec![Axis::Row(1)], vec![norm]),
            Quantity::new("norm after", vec![Axis::Row(1)], vec![clipped]),
            Quantity::new("update", vec![Axis::Column(len)], after),
        ]
    };
    let device = Arc::clone(&target.device);
    let factor = (limit / (norm + 1e-6)).min(1.0);
    Check {
        perturbations: if norm > limit {
            vec![Perturbation::Input, Perturbation::Scalar, Perturbation::Sign]
        } else {
            vec![Perturbation::Input, Perturbation::Sign]
        },
        expected: Box::new(move || Ok(quantities(norm, all.iter().map(|g| -g * factor).collect()))),
        found: Box::new(move |perturbation| {
            let mut inputs = UpdateInputs { gradients: gradients.clone(), clip, lr: 1.0 };
            match perturbation {
                Some(Perturbation::Sign) => inputs.gradients[0][0] *= -1.0,
                Some(Perturbation::Scalar) => inputs.clip *= 1.01,
                Some(_) => inputs.gradients[0][0] += 0.1 * clip,
                None => {}
            }
            let (norm, after) = device.update(&inputs)?;
            Ok(quantities(f64::from(norm), after.into_iter().map(f64::from).collect()))
        }),
        ..property(target, "clipping by the global norm", format!("norm {norm:.3} limit {clip}"))
    }
}

/// Adding a constant to all logits of a row changes neither the loss nor the gradient. Logits are multiples of 1/64, so the
/// addition is exact.
pub fn softmax_shift(target: &Target, [rows, cols]: [usize; 2], shift: f32, seed: u64) -> Check {
    let device = Arc::clone(&target.device);
    let expected_device = Arc::clone(&device);
    let operands = move |shift: f32| {
        let mut draw = Draw::new(seed);
        let logits = draw.uniform(rows * cols, 8.0).into_iter().map(|x| (x * 64.0).round() / 64.0 + shift);
        let matrix = |values: Vec<f32>, cols| Block { outer: [rows, cols], rows: 0..rows, cols: 0..cols, values };
        Operands {
            out: matrix(logits.collect(), cols),
            losses: matrix(vec![0.0; rows], 1),
            ids: draw.ids(rows, cols),
            scalar: 1.0,
            ..Operands::default()
        }
    };
    let quantities = move |buffers: Vec<Vec<f32>>| {
        let axes = [vec![Axis::Row(rows), Axis::Column(cols)], vec![Axis::Row(rows)]];
        let named = ["gradient of the logits", "losses"].into_iter().zip(axes).zip(buffers);
        named.map(|((name, axes), values)| Quantity::from_f32(name, axes, &values)).collect()
    };
    Check {
        perturbations: vec![Perturbation::Input, Perturbation::Id],
        expected: Box::new(move || {
            Ok(quantities(expected_device.operation(Operation::SoftmaxCrossEntropy(false), &operands(0.0))?))
        }),
        found: Box::new(move |perturbation| {
            let mut operands = operands(shift);
            match perturbation {
                Some(Perturbation::Id) => operands.ids[0] = (operands.ids[0] + 1) % cols as u32,
                Some(_) => operands.out.values[0] += 0.5,
                None => {}
            }
            Ok(quantities(device.operation(Operation::SoftmaxCrossEntropy(false), &operands)?))
        }),
        ..property(target, "softmax of shifted logits", format!("{rows}×{cols} by {shift}"))
    }
}

/// Permuting the rows of a minibatch permutes the outputs and leaves the parameters' gradients unchanged.
pub fn batch_permutation(target: &Target, case: StackCase, seed: u64) -> Check {
    let device = Arc::clone(&target.device);
    let expected_device = Arc::clone(&target.device);
    let order = move || {
        let mut order: Vec<usize> = (0..case.batch_size).collect();
        let shift = Draw::new(seed).ids(1, case.batch_size.max(2) - 1)[0] as usize + 1;
        order.rotate_left(shift % case.batch_size);
        order
    };
    let quantities = |inputs: &StackInputs, output: &[f32], gradients: Vec<Quantity>| {
        let axes =
            vec![Axis::Step(inputs.num_steps), Axis::Row(inputs.batch_size), Axis::Unit(inputs.config.output_size())];
        [vec![Quantity::from_f32("output", axes, output)], gradients].concat()
    };
    Check {
        perturbations: vec![Perturbation::Order, Perturbation::LastGate],
        expected: Box::new(move || {
            let inputs = case.draw()?;
            let outputs = expected_device.stack(&inputs)?;
            let output = select(&outputs.output, case.batch_size, &order(), inputs.config.output_size());
            let scale = summed_magnitude(&outputs, inputs.config);
            let gradients = Axes::of(&inputs).parameter_gradients(&outputs);
            let gradients = gradients.into_iter().map(|gradient| gradient.summed_from(scale)).collect();
            Ok(quantities(&inputs, &output, gradients))
        }),
        found: Box::new(move |perturbation| {
            let mut order = order();
            if perturbation == Some(Perturbation::Order) {
                order.swap(0, 1);
            }
            let inputs = perturbed(&case, perturbation.filter(|&p| p != Perturbation::Order))?.rows(&order);
            let outputs = device.stack(&inputs)?;
            Ok(quantities(&inputs, &outputs.output, Axes::of(&inputs).parameter_gradients(&outputs)))
        }),
        ..property(target, &format!("{} permuted batch", case.cell.name()), case.shape())
    }
}

/// The magnitude of the terms in a parameter's gradient, which is a sum over steps and rows of gradients of pre-activations
/// times values of magnitude about 1: the largest sum of these gradients' magnitudes over layers, gates and units.
fn summed_magnitude(outputs: &StackOutputs, config: StackConfig) -> f64 {
    let width = config.cell.num_gates() * config.hidden_size;
    let sums = outputs.layers.iter().flat_map(|layer| {
        (0..width).map(|unit| layer.grad_gates.iter().skip(unit).step_by(width).map(|g| f64::from(g.abs())).sum())
    });
    sums.fold(0.0, f64::max)
}

/// States and gradients have the same bits with 1 and with `threads` threads.
pub fn thread_count(target: &Target, with_threads: &Threads, case: StackCase, threads: usize) -> Check {
    let with_threads = Arc::clone(with_threads);
    let quantities = move |threads: usize, inputs: &StackInputs| -> Result<Vec<Quantity>> {
        let outputs = with_threads(threads)?.stack(inputs)?;
        let axes = Axes::of(inputs);
        Ok([axes.forward(&outputs), axes.gate_gradients(&outputs), axes.gradients(&outputs)].concat())
    };
    Check {
        family: Family::Reproducibility,
        tolerance: tolerance::EXACT,
        perturbations: vec![Perturbation::LastGate, Perturbation::FirstStep],
        expected: {
            let quantities = quantities.clone();
            Box::new(move || quantities(1, &case.draw()?))
        },
        found: Box::new(move |perturbation| quantities(threads, &perturbed(&case, perturbation)?)),
        ..property(target, &format!("{} threads", case.cell.name()), format!("{} 1 / {threads} threads", case.shape()))
    }
}
