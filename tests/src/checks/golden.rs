//! Every path against PyTorch's golden files: layers, models and training runs.

use std::sync::Arc;

use rnnlm_model::{Init, ModelConfig, OptimizerConfig, TrainConfig};
use rnnlm_rnn::{ParameterLayout, StackConfig};
use rnnlm_vocab::{Minibatch, Sampling};

use super::model::{config, layout as model_layout};
use super::quantities::Axes;
use crate::cases::flip_start;
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{
    Features, LayerOutputs, ModelInputs, ModelOutputs, StackInputs, StackOutputs, TrainData, TrainInputs, TrainOutputs,
};
use crate::golden::{self, Case, Golden, Kind};
use crate::paths::Target;
use crate::perturb::Perturbation;
use crate::tolerance::{self, Tolerance};
use crate::{Error, Result};

/// A check of every golden file, or one that fails if they cannot be read.
pub(super) fn checks(target: &Target) -> Vec<Check> {
    match golden::all() {
        Ok(all) => {
            let selected = all.into_iter().filter(|golden| golden.volume() <= target.max_volume);
            let selected = selected.filter(|golden| target.has_starts || golden.starts().is_empty());
            selected.map(|golden| check(target, Arc::new(golden))).collect()
        }
        Err(error) => vec![unreadable(target, error.to_string())],
    }
}

fn row(target: &Target, family: Family, subject: String, shape: String, tolerance: Tolerance) -> Check {
    Check {
        family,
        subject,
        shape,
        backend: target.backend.clone(),
        path: format!("{} / PyTorch", target.path),
        tolerance,
        perturbations: vec![Perturbation::LastGate, Perturbation::Nan],
        expected: Box::new(|| Ok(Vec::new())),
        found: Box::new(|_| Ok(Vec::new())),
    }
}

fn unreadable(target: &Target, reason: String) -> Check {
    let expected = move || Err(Error::Fixture { file: "fixtures".to_owned(), reason: reason.clone() });
    let row = row(target, Family::Golden, "golden files".to_owned(), String::new(), tolerance::GOLDEN);
    Check { expected: Box::new(expected), ..row }
}

fn check(target: &Target, golden: Arc<Golden>) -> Check {
    let device = Arc::clone(&target.device);
    let expected_golden = Arc::clone(&golden);
    let kind = match golden.case.kind {
        Kind::Layer => "layer",
        Kind::Model => "model",
        Kind::Trajectory => "training",
    };
    let subject = format!("{} {kind}", golden.case.cell);
    let shape = shape(&golden);
    let mut layer_perturbations = vec![Perturbation::LastGate, Perturbation::Nan];
    layer_perturbations.extend((!golden.starts().is_empty()).then_some(Perturbation::Start));
    let training_tolerance = trajectory_tolerance(&golden.case);
    let tolerance = if golden.is_saturated() { tolerance::GOLDEN_SATURATED } else { tolerance::GOLDEN };
    match golden.case.kind {
        Kind::Layer => Check {
            expected: Box::new(move || layer_quantities(&expected_golden, &expected_layer(&expected_golden)?)),
            found: Box::new(move |perturbation| {
                let inputs = layer_inputs(&golden, perturbation)?;
                layer_quantities(&golden, &device.stack(&inputs)?)
            }),
            perturbations: layer_perturbations,
            ..row(target, Family::Golden, subject, shape, tolerance)
        },
        Kind::Model => Check {
            expected: Box::new(move || model_quantities(&expected_golden, &expected_model(&expected_golden)?)),
            found: Box::new(move |perturbation| {
                let inputs = model_inputs(&golden, perturbation)?;
                model_quantities(&golden, &device.model(&inputs)?)
            }),
            perturbations: vec![Perturbation::FirstStep, Perturbation::Id, Perturbation::Nan],
            ..row(target, Family::Golden, subject, shape, tolerance)
        },
        Kind::Trajectory => Check {
            perturbations: train_perturbations(&golden),
            expected: Box::new(move || Ok(train_quantities(expected_training(&expected_golden)?))),
            found: Box::new(move |perturbation| {
                Ok(train_quantities(device.train(&train_inputs(&golden, perturbation)?)?))
            }),
            ..row(target, Family::Trajectories, subject, shape, training_tolerance)
        },
    }
}

fn trajectory_tolerance(case: &Case) -> Tolerance {
    match case.optimizer {
        OptimizerConfig::Sgd { .. } => tolerance::TRAJECTORY,
        _ => tolerance::TRAJECTORY_ADAPTIVE,
    }
}

fn shape(golden: &Golden) -> String {
    let case = &golden.case;
    let is_dense = case.input_size > 0;
    let width = if is_dense { format!("D{}", case.input_size) } else { format!("V{}", case.vocab_size) };
    let mut shape = format!("T{} N{} {width} H{}", case.num_steps, case.batch_size, case.hidden_size);
    if case.embedding_size > 0 {
        shape.push_str(&format!(" E{}", case.embedding_size));
    }
    if case.num_layers > 1 {
        shape.push_str(&format!(" L{}", case.num_layers));
    }
    if case.bidirectional {
        shape.push_str(" bidirectional");
    }
    if !golden.starts().is_empty() {
        shape.push_str(" starts");
    }
    if golden.is_saturated() {
        shape.push_str(" saturated");
    }
    if case.kind == Kind::Trajectory {
        let steps = golden.floats("expected.losses").map_or(0, |(_, losses)| losses.len());
        shape.push_str(&format!(" {} {steps} steps", case.sampling));
    }
    if let Some(optimizer) = golden.name.strip_prefix("optimizer-") {
        shape.push_str(&format!(" {optimizer}"));
    }
    if case.tie_weights {
        shape.push_str(" tied");
    }
    if case.dropout.is_some() {
        shape.push_str(" dropout");
    }
    if let Some(softmax) = &case.adaptive_softmax {
        shape.push_str(&format!(" adaptive {:?}", softmax.cutoffs));
    }
    if case.residual {
        shape.push_str(" residual");
    }
    if let Some(name) = golden.name.strip_prefix("regularization-") {
        shape.push_str(&format!(" {name}"));
    }
    shape
}

fn model_config(golden: &Golden) -> Result<ModelConfig> {
    let case = &golden.case;
    let one_hot = config(golden.cell()?, case.vocab_size, case.hidden_size, case.num_layers);
    let (embedding_size, tie_weights, bidirectional) = (case.embedding_size, case.tie_weights, case.bidirectional);
    let (residual, adaptive_softmax) = (case.residual, case.adaptive_softmax.clone());
    Ok(ModelConfig { embedding_size, tie_weights, bidirectional, residual, adaptive_softmax, ..one_hot })
}

fn stack_config(golden: &Golden) -> Result<StackConfig> {
    let case = &golden.case;
    Ok(StackConfig {
        cell: golden.cell()?,
        input_size: if case.embedding_size > 0 { case.embedding_size } else { case.input_size.max(case.vocab_size) },
        hidden_size: case.hidden_size,
        num_layers: case.num_layers,
        bidirectional: case.bidirectional,
        residual: case.residual,
    })
}

fn axes(golden: &Golden) -> Result<Axes> {
    let (num_steps, batch_size) = (golden.case.num_steps, golden.case.batch_size);
    Ok(Axes { config: stack_config(golden)?, num_steps, batch_size })
}

fn flat(golden: &Golden, layout: &ParameterLayout) -> Result<Vec<f32>> {
    Ok(golden.parameters(layout, "")?.into_iter().flat_map(|parameter| parameter.values).collect())
}

fn layer_inputs(golden: &Golden, perturbation: Option<Perturbation>) -> Result<StackInputs> {
    let config = stack_config(golden)?;
    let (_, layout) = crate::device::layout(config)?;
    let mut features = match golden.floats("input") {
        Ok((_, x)) => Features::Dense(x.to_vec()),
        Err(_) => Features::OneHot(golden.ids("ids")?.to_vec()),
    };
    let (mut hidden, mut parameters) = (golden.optional("state.hidden"), flat(golden, &layout)?);
    let mut starts = golden.starts();
    match perturbation {
        Some(Perturbation::Nan) => match &mut features {
            Features::Dense(x) => x[0] = f32::NAN,
            Features::OneHot(_) => hidden[0] = f32::NAN,
        },
        Some(Perturbation::Start) => flip_start(&mut starts, golden.case.batch_size),
        // Large enough to activate an inactive ReLU unit.
        Some(_) => last_biases(&layout, config, &mut parameters).iter_mut().for_each(|bias| *bias += 8.0),
        None => {}
    }
    Ok(StackInputs {
        config,
        num_steps: golden.case.num_steps,
        batch_size: golden.case.batch_size,
        parameters,
        minibatches: vec![features],
        hidden,
        cell: golden.optional("state.cell"),
        grad_output: golden.floats("grad_output")?.1.to_vec(),
        starts,
        carries_state: true,
    })
}

/// The biases of the lowest layer's last gate.
fn last_biases<'a>(layout: &ParameterLayout, config: StackConfig, parameters: &'a mut [f32]) -> &'a mut [f32] {
    let biases = ["rnn.bias_ih_l0", "rnn.bias_hh_l0"];
    let range = layout.specs().iter().rfind(|spec| biases.contains(&spec.name.as_str())).map(|spec| spec.range());
    let range = range.unwrap_or_default();
    &mut parameters[range.end - config.hidden_size..range.end]
}

fn expected_layer(golden: &Golden) -> Result<StackOutputs> {
    let config = stack_config(golden)?;
    let (_, layout) = crate::device::layout(config)?;
    let own = golden.case.batch_size * config.hidden_size;
    let [grad_hidden, grad_cell] =
        ["hidden", "cell"].map(|state| golden.optional(&format!("expected.grad.state.{state}")));
    let part = |all: &[f32], index: usize| all.get(index * own..(index + 1) * own).unwrap_or_default().to_vec();
    let layer = |index| LayerOutputs {
        grad_hidden: part(&grad_hidden, index),
        grad_cell: part(&grad_cell, index),
        ..LayerOutputs::default()
    };
    Ok(StackOutputs {
        layers: (0..config.num_layers * config.num_directions()).map(layer).collect(),
        output: golden.floats("expected.output")?.1.to_vec(),
        hidden: golden.optional("expected.state.hidden"),
        cell: golden.optional("expected.state.cell"),
        gradients: golden.parameters(&layout, "expected.grad.")?,
        grad_input: golden.floats("expected.grad.input").ok().map(|(_, values)| values.to_vec()),
    })
}

fn layer_quantities(golden: &Golden, outputs: &StackOutputs) -> Result<Vec<Quantity>> {
    let axes = axes(golden)?;
    Ok([axes.results(outputs), axes.gradients(outputs)].concat())
}

fn model_inputs(golden: &Golden, perturbation: Option<Perturbation>) -> Result<ModelInputs> {
    let case = &golden.case;
    let config = model_config(golden)?;
    let mut inputs = ModelInputs {
        parameters: flat(golden, &model_layout(&config)?)?,
        config,
        minibatch: Minibatch {
            inputs: golden.ids("inputs")?.to_vec(),
            targets: golden.ids("targets")?.to_vec(),
            num_steps: case.num_steps,
            batch_size: case.batch_size,
        },
        hidden: golden.optional("state.hidden"),
        cell: golden.optional("state.cell"),
        regularization: case.regularization(),
    };
    let next = |id: &mut u32| *id = (*id + 1) % case.vocab_size as u32;
    match perturbation {
        // In the weight's column, or the embedding's row, of an id that occurs: others are not read.
        Some(Perturbation::Nan) => {
            inputs.parameters[inputs.minibatch.inputs[0] as usize * case.embedding_size.max(1)] = f32::NAN;
        }
        Some(Perturbation::Id) => next(&mut inputs.minibatch.targets[0]),
        Some(_) => next(&mut inputs.minibatch.inputs[0]),
        None => {}
    }
    Ok(inputs)
}

fn expected_model(golden: &Golden) -> Result<ModelOutputs> {
    let config = model_config(golden)?;
    Ok(ModelOutputs {
        logits: golden.floats("expected.logits")?.1.to_vec(),
        loss: golden.floats("expected.loss")?.1[0],
        grad_logits: Vec::new(),
        hidden: golden.optional("expected.state.hidden"),
        cell: golden.optional("expected.state.cell"),
        gradients: golden.parameters(&model_layout(&config)?, "expected.grad.")?,
    })
}

fn model_quantities(golden: &Golden, outputs: &ModelOutputs) -> Result<Vec<Quantity>> {
    let (axes, case) = (axes(golden)?, &golden.case);
    let logits = vec![Axis::Step(case.num_steps), Axis::Row(case.batch_size), Axis::Column(case.vocab_size)];
    let mut all = vec![
        Quantity::from_f32("logits", logits, &outputs.logits),
        Quantity::from_f32("loss", vec![Axis::Row(1)], &[outputs.loss]),
    ];
    all.extend(axes.final_states(&outputs.hidden, &outputs.cell));
    all.extend(outputs.gradients.iter().map(|gradient| axes.named(gradient)));
    Ok(all)
}

fn train_perturbations(golden: &Golden) -> Vec<Perturbation> {
    let mut all = vec![Perturbation::Weight, Perturbation::Scalar, Perturbation::Order];
    all.extend((golden.case.sampling == "sequential").then_some(Perturbation::StateDropped));
    all
}

fn train_inputs(golden: &Golden, perturbation: Option<Perturbation>) -> Result<TrainInputs> {
    let case = &golden.case;
    let model = model_config(golden)?;
    let (num_steps, batch_size) = (case.num_steps, case.batch_size);
    let pairs = golden.ids("minibatches")?.chunks_exact(2 * num_steps * batch_size);
    let minibatches = pairs.map(|pair| {
        let (inputs, targets) = pair.split_at(num_steps * batch_size);
        Minibatch { inputs: inputs.to_vec(), targets: targets.to_vec(), num_steps, batch_size }
    });
    let mut minibatches: Vec<Minibatch> = minibatches.collect();
    let mut train = TrainConfig {
        batch_size,
        num_steps,
        optimizer: case.optimizer,
        average: case.average,
        no_bias_decay: case.no_bias_decay,
        lr: case.lr,
        clip: case.clip,
        clip_value: case.clip_value,
        sampling: if case.sampling == "random" { Sampling::Random } else { Sampling::Sequential },
        init: Init::Uniform,
        ..TrainConfig::book()
    };
    let mut parameters = flat(golden, &model_layout(&model)?)?;
    match perturbation {
        Some(Perturbation::Weight) => parameters[0] += 0.01,
        Some(Perturbation::Scalar) => train.lr *= 0.99,
        Some(Perturbation::StateDropped) => train.reset_state = true,
        Some(_) => minibatches.swap(0, 1),
        None => {}
    }
    Ok(TrainInputs { model, train, parameters, data: TrainData::Minibatches(minibatches) })
}

fn expected_training(golden: &Golden) -> Result<TrainOutputs> {
    let config = model_config(golden)?;
    let series = |key: &str| Ok::<_, Error>(golden.floats(key)?.1.iter().map(|&value| f64::from(value)).collect());
    Ok(TrainOutputs {
        losses: series("expected.losses")?,
        gradient_norms: series("expected.gradient_norms")?,
        parameters: golden.parameters(&model_layout(&config)?, "expected.")?,
    })
}

fn train_quantities(outputs: TrainOutputs) -> Vec<Quantity> {
    let steps = |name: &str, values: Vec<f64>| Quantity::new(name, vec![Axis::Other("step", values.len())], values);
    let mut all = vec![steps("loss", outputs.losses), steps("gradient norm", outputs.gradient_norms)];
    all.extend(outputs.parameters.into_iter().map(|parameter| {
        let axes = vec![Axis::Row(parameter.shape[0]), Axis::Column(parameter.shape[1..].iter().product())];
        Quantity::from_f32(format!("final {}", parameter.name), axes, &parameter.values)
    }));
    all
}
