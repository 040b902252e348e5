//! Batch invariance: a row's result has the same bits alone and among any number of other rows, on every path of the CPU.
//! Scoring, serving and distributed training rely on it.

use std::sync::Arc;

use rnnlm_model::{ModelConfig, Regularization};
use rnnlm_rnn::Cell;
use rnnlm_vocab::Minibatch;

use super::layers::perturbed;
use super::model::{config, layout};
use super::quantities::Axes;
use crate::cases::{Condition, StackCase, Width};
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{Block, Device, LayerOutputs, ModelInputs, Operands, Operation, StackOutputs};
use crate::draw::Draw;
use crate::paths::{Paths, Target};
use crate::perturb::Perturbation;
use crate::rows::select;
use crate::{Result, tolerance};

/// **T**.
const NUM_STEPS: usize = 2;
/// The largest batch.
const MAX_BATCH: usize = 65;
/// The batch sizes as the table shows them.
const BATCH_SIZES: &str = "N1 to 65";
/// How many other rows there are, and the row's position among them: the first, the last, and one in between.
const BATCHES: [(usize, usize); 6] = [(1, 0), (3, 3), (31, 0), (31, 20), (64, 64), (64, 42)];
/// The row of the largest batch whose results are compared. Perturbations change this row.
const ROW: usize = 0;

/// **H** and the lowest layer's input: sizes on both sides of the 256 terms that a matrix multiplication sums before it
/// adds to its output, and sizes that are no multiple of any tile.
const LAYERS: [(usize, Width); 10] = [
    (7, Width::Dense(300)),
    (7, Width::OneHot(28)),
    (100, Width::Dense(5)),
    (100, Width::OneHot(28)),
    (256, Width::Dense(28)),
    (256, Width::OneHot(28)),
    (300, Width::Dense(257)),
    (300, Width::OneHot(1000)),
    (520, Width::Dense(5)),
    (520, Width::OneHot(2)),
];

/// **V**, embedding size (0 for one-hot input) and **H** of language models.
const MODELS: [[usize; 3]; 3] = [[28, 0, 100], [28, 24, 7], [1000, 24, 300]];

/// A check for every cell and size on every path of the CPU.
pub(super) fn checks(paths: &Paths) -> Vec<Check> {
    let mut checks = Vec::new();
    for target in cpu_targets(paths) {
        for cell in Cell::ALL {
            checks.extend(LAYERS.map(|(hidden_size, width)| layer(&target, cell, hidden_size, width)));
            checks.extend(MODELS.map(|sizes| model(&target, cell, sizes)));
        }
    }
    checks
}

/// The reference path and the fused path of the CPU with each instruction set.
fn cpu_targets(paths: &Paths) -> Vec<Target> {
    let reference = paths.operations.iter().map(|target| {
        let path = format!("reference {}", target.path);
        Target { path, ..target.clone() }
    });
    reference.chain(paths.others.iter().cloned()).filter(|target| target.backend == "cpu").collect()
}

fn check(target: &Target, subject: String, shape: String) -> Check {
    Check {
        family: Family::Reproducibility,
        subject,
        shape,
        backend: target.backend.clone(),
        path: target.path.clone(),
        tolerance: tolerance::EXACT,
        perturbations: vec![Perturbation::Order, Perturbation::LastGate, Perturbation::FirstStep],
        expected: Box::new(|| Ok(Vec::new())),
        found: Box::new(|_| Ok(Vec::new())),
    }
}

/// The rows of a batch with `others` other rows, `row` at `position`.
fn batch(row: usize, others: usize, position: usize) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..MAX_BATCH).filter(|&other| other != row).take(others).collect();
    rows.insert(position, row);
    rows
}

/// The row whose results are compared; another one as a perturbation.
fn probed(perturbation: Option<Perturbation>) -> usize {
    if perturbation == Some(Perturbation::Order) { ROW + 1 } else { ROW }
}

/// The quantities of the row alone, repeated for each batch.
fn repeated(quantities: impl Fn(&str) -> Vec<Quantity>) -> Vec<Quantity> {
    BATCHES.iter().flat_map(|&(others, position)| quantities(&batch_name(others, position))).collect()
}

fn batch_name(others: usize, position: usize) -> String {
    format!("row {position} of {}, ", others + 1)
}

/// Recurrent layers: all results of a row, forward and backward, including the gradients of its input and initial state.
/// Gradients of parameters are excluded, because they are sums over rows.
fn layer(target: &Target, cell: Cell, hidden_size: usize, width: Width) -> Check {
    let case = StackCase {
        cell,
        num_steps: NUM_STEPS,
        batch_size: MAX_BATCH,
        width,
        hidden_size,
        num_layers: 1,
        bidirectional: false,
        condition: Condition::State,
    };
    let (alone, together) = (Arc::clone(&target.device), Arc::clone(&target.device));
    let quantities = move |outputs: &StackOutputs, batch_name: &str| {
        let axes = Axes { config: case.config(), num_steps: NUM_STEPS, batch_size: 1 };
        let all = [axes.forward(outputs), axes.gate_gradients(outputs), axes.gradients(outputs)].concat();
        all.into_iter().map(|quantity| quantity.prefixed(batch_name)).collect::<Vec<_>>()
    };
    Check {
        expected: Box::new(move || {
            let outputs = without_parameters(alone.stack(&case.draw()?.rows(&[ROW]))?);
            Ok(repeated(|name| quantities(&outputs, name)))
        }),
        found: Box::new(move |perturbation| {
            let inputs = perturbed(&case, perturbation.filter(|&p| p != Perturbation::Order))?;
            let mut all = Vec::new();
            for (others, position) in BATCHES {
                let rows = batch(probed(perturbation), others, position);
                let outputs = together.stack(&inputs.rows(&rows))?;
                let outputs = without_parameters(row_of(&outputs, others + 1, position));
                all.extend(quantities(&outputs, &batch_name(others, position)));
            }
            Ok(all)
        }),
        ..check(target, format!("{} batch invariance", cell.name()), case.shape().replace("N65", BATCH_SIZES))
    }
}

fn without_parameters(outputs: StackOutputs) -> StackOutputs {
    StackOutputs { gradients: Vec::new(), ..outputs }
}

/// The results of a single layer for one row of a batch.
fn row_of(outputs: &StackOutputs, batch_size: usize, position: usize) -> StackOutputs {
    let row = |values: &Vec<f32>, steps: usize| {
        let width = values.len() / (steps * batch_size);
        if width == 0 { Vec::new() } else { select(values, batch_size, &[position], width) }
    };
    let layers = outputs.layers.iter().map(|layer| LayerOutputs {
        gates: row(&layer.gates, NUM_STEPS),
        hidden: row(&layer.hidden, NUM_STEPS),
        cell: row(&layer.cell, NUM_STEPS),
        candidate: row(&layer.candidate, NUM_STEPS),
        grad_gates: row(&layer.grad_gates, NUM_STEPS),
        grad_hidden: row(&layer.grad_hidden, 1),
        grad_cell: row(&layer.grad_cell, 1),
    });
    StackOutputs {
        layers: layers.collect(),
        output: row(&outputs.output, NUM_STEPS),
        hidden: row(&outputs.hidden, 1),
        cell: row(&outputs.cell, 1),
        gradients: Vec::new(),
        grad_input: outputs.grad_input.as_ref().map(|values| row(values, NUM_STEPS)),
    }
}

/// A language model: a row's logits and the negative log-likelihoods of its targets.
fn model(target: &Target, cell: Cell, [vocab_size, embedding_size, hidden_size]: [usize; 3]) -> Check {
    let config = ModelConfig { embedding_size, ..config(cell, vocab_size, hidden_size, 1) };
    let (alone, together) = (Arc::clone(&target.device), Arc::clone(&target.device));
    let embedding = if embedding_size > 0 { format!(" E{embedding_size}") } else { String::new() };
    let shape = format!("T{NUM_STEPS} {BATCH_SIZES} V{vocab_size} H{hidden_size}{embedding}");
    let expected_config = config.clone();
    Check {
        expected: Box::new(move || {
            let inputs = model_inputs(&expected_config)?;
            let [logits, losses] = scores(alone.as_ref(), &model_rows(&inputs, &[ROW]))?;
            Ok(repeated(|name| model_quantities(name, vocab_size, &logits, &losses)))
        }),
        found: Box::new(move |perturbation| {
            let mut inputs = model_inputs(&config)?;
            match perturbation {
                Some(Perturbation::LastGate) => inputs.parameters.iter_mut().for_each(|value| *value *= 1.01),
                Some(Perturbation::FirstStep) => {
                    inputs.minibatch.inputs[ROW] = (inputs.minibatch.inputs[ROW] + 1) % vocab_size as u32;
                }
                _ => {}
            }
            let mut all = Vec::new();
            for (others, position) in BATCHES {
                let rows = batch(probed(perturbation), others, position);
                let [logits, losses] = scores(together.as_ref(), &model_rows(&inputs, &rows))?;
                let logits = select(&logits, others + 1, &[position], vocab_size);
                let losses = select(&losses, others + 1, &[position], 1);
                all.extend(model_quantities(&batch_name(others, position), vocab_size, &logits, &losses));
            }
            Ok(all)
        }),
        ..check(target, format!("{} model batch invariance", cell.name()), shape)
    }
}

fn model_inputs(config: &ModelConfig) -> Result<ModelInputs> {
    let mut draw = Draw::new(0xBA7C);
    let tokens = NUM_STEPS * MAX_BATCH;
    let states = MAX_BATCH * config.hidden_size;
    let has_cell_state = config.stack().cell.storage().cell_state;
    Ok(ModelInputs {
        parameters: draw.uniform(layout(config)?.len(), 1.0 / (config.hidden_size as f32).sqrt()),
        minibatch: Minibatch {
            inputs: draw.ids(tokens, config.vocab_size),
            targets: draw.ids(tokens, config.vocab_size),
            num_steps: NUM_STEPS,
            batch_size: MAX_BATCH,
        },
        hidden: draw.uniform(states, 1.0),
        cell: draw.uniform(if has_cell_state { states } else { 0 }, 1.0),
        regularization: Regularization::default(),
        config: config.clone(),
    })
}

/// The minibatch and states of the given rows of the largest batch.
fn model_rows(inputs: &ModelInputs, rows: &[usize]) -> ModelInputs {
    let ids = |ids: &[u32]| select(ids, MAX_BATCH, rows, 1);
    let hidden_size = inputs.config.hidden_size;
    ModelInputs {
        config: inputs.config.clone(),
        parameters: inputs.parameters.clone(),
        minibatch: Minibatch {
            inputs: ids(&inputs.minibatch.inputs),
            targets: ids(&inputs.minibatch.targets),
            num_steps: NUM_STEPS,
            batch_size: rows.len(),
        },
        hidden: select(&inputs.hidden, MAX_BATCH, rows, hidden_size),
        cell: select(&inputs.cell, MAX_BATCH, rows, hidden_size),
        regularization: Regularization::default(),
    }
}

/// `[T·N, V]` logits and `[T·N]` negative log-likelihoods of the targets.
fn scores(device: &dyn Device, inputs: &ModelInputs) -> Result<[Vec<f32>; 2]> {
    let logits = device.model(inputs)?.logits;
    let targets = inputs.minibatch.targets.clone();
    let rows = targets.len();
    let cols = inputs.config.vocab_size;
    let block = |values: Vec<f32>, cols| Block { outer: [rows, cols], rows: 0..rows, cols: 0..cols, values };
    let operands = Operands {
        out: block(logits.clone(), cols),
        losses: block(vec![0.0; rows], 1),
        ids: targets,
        scalar: 1.0,
        ..Operands::default()
    };
    let losses = device.operation(Operation::SoftmaxCrossEntropy(false), &operands)?.swap_remove(1);
    Ok([logits, losses])
}

fn model_quantities(batch_name: &str, vocab_size: usize, logits: &[f32], losses: &[f32]) -> Vec<Quantity> {
    let step = Axis::Step(NUM_STEPS);
    let columns = vec![step.clone(), Axis::Column(vocab_size)];
    vec![
        Quantity::from_f32("logits", columns, logits).prefixed(batch_name),
        Quantity::from_f32("negative log-likelihood", vec![step], losses).prefixed(batch_name),
    ]
}
