//! The language model against the oracle: logits, loss, and the gradient of every parameter by finite differences through the
//! linear layer and the cross-entropy.

use std::sync::Arc;

use rnnlm_model::{AdaptiveSoftmax, ModelConfig, Regularization};
use rnnlm_rnn::{Cell, ParameterLayout, Stack};
use rnnlm_vocab::Minibatch;

use super::oracle::{difference, doubles, network, parameter, parameter_sample, sample};
use super::quantities::Axes;
use crate::cases::{Condition, StackCase, Width};
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{Features, ModelInputs, StackInputs};
use crate::draw::Draw;
use crate::oracle::{Linear, Network, cross_entropy};
use crate::paths::Target;
use crate::perturb::Perturbation;
use crate::{Result, tolerance};

/// T, N, V, H, L.
const SIZES: [[usize; 5]; 4] = [[2, 3, 28, 7, 1], [35, 1, 2, 8, 1], [1, 32, 1000, 9, 1], [35, 3, 28, 33, 2]];

/// The model's configuration for a cell.
pub fn config(cell: Cell, vocab_size: usize, hidden_size: usize, num_layers: usize) -> ModelConfig {
    ModelConfig { cell, hidden_size, num_layers, ..ModelConfig::book(vocab_size) }
}

/// The layout of a model's parameters: the embedding if there is one, the recurrent layers, the output layer.
pub(super) fn layout(config: &ModelConfig) -> Result<ParameterLayout> {
    let mut layout = ParameterLayout::default();
    let table = [config.vocab_size, config.embedding_size];
    let width = config.stack().output_size();
    let tied = config.tie_weights.then(|| layout.add_weight("embedding.weight", table, width)).transpose()?;
    if config.embedding_size > 0 && tied.is_none() {
        layout.add_embedding("embedding.weight", table)?;
    }
    Stack::new(&mut layout, config.stack())?;
    if let Some(softmax) = &config.adaptive_softmax {
        add_adaptive_softmax(&mut layout, softmax, width, config.vocab_size)?;
        return Ok(layout);
    }
    match tied {
        Some(tied) => layout.add_name("linear.weight", tied),
        None => layout.add_weight("linear.weight", [config.vocab_size, width], width)?,
    };
    layout.add_bias("linear.bias", config.vocab_size, width)?;
    Ok(layout)
}

/// The parameters of `torch.nn.AdaptiveLogSoftmaxWithLoss`.
fn add_adaptive_softmax(
    layout: &mut ParameterLayout,
    softmax: &AdaptiveSoftmax,
    width: usize,
    vocab_size: usize,
) -> Result<()> {
    let ends = softmax.cutoffs[1..].iter().copied().chain([vocab_size]);
    let head_size = softmax.cutoffs[0] + softmax.cutoffs.len();
    layout.add_weight("softmax.head.weight", [head_size, width], width)?;
    if softmax.head_bias {
        layout.add_bias("softmax.head.bias", head_size, width)?;
    }
    for (index, (&first, end)) in softmax.cutoffs.iter().zip(ends).enumerate() {
        let features = (width as f64 / softmax.div_value.powi(index as i32 + 1)) as usize;
        layout.add_weight(format!("softmax.tail.{index}.0.weight"), [features, width], width)?;
        layout.add_weight(format!("softmax.tail.{index}.1.weight"), [end - first, features], features)?;
    }
    Ok(())
}

/// A check of loss and gradients for every cell and size.
pub(super) fn checks(reference: &Target) -> Vec<Check> {
    Cell::ALL.into_iter().flat_map(|cell| SIZES.map(|sizes| check(reference, cell, sizes))).collect()
}

fn check(
    reference: &Target,
    cell: Cell,
    [num_steps, batch_size, vocab_size, hidden_size, num_layers]: [usize; 5],
) -> Check {
    let width = Width::OneHot(vocab_size);
    let (bidirectional, condition) = (false, Condition::State);
    let case = StackCase { cell, num_steps, batch_size, width, hidden_size, num_layers, bidirectional, condition };
    let device = Arc::clone(&reference.device);
    Check {
        family: Family::Oracle,
        subject: format!("{} model", cell.name()),
        shape: case.shape(),
        backend: reference.backend.clone(),
        path: format!("{} / oracle", reference.path),
        tolerance: tolerance::ORACLE_GRADIENT,
        perturbations: vec![
            Perturbation::LastGate,
            Perturbation::Weight,
            Perturbation::FirstStep,
            Perturbation::Id,
            Perturbation::Nan,
        ],
        expected: Box::new(move || Case::new(case)?.expected()),
        found: Box::new(move |perturbation| {
            let mut case = Case::new(case)?;
            perturbation.map_or(Ok(()), |perturbation| case.perturb(perturbation))?;
            let outputs = device.model(&case.inputs()?)?;
            let mut all = case.outputs(doubles(&outputs.logits), f64::from(outputs.loss));
            all.extend(outputs.gradients.iter().map(|gradient| Axes::of(&case.stack).named(gradient)));
            Ok(all)
        }),
    }
}

/// The values of one case.
struct Case {
    case: StackCase,
    stack: StackInputs,
    /// `linear.weight`, followed by `linear.bias`.
    linear: Vec<f32>,
    targets: Vec<u32>,
}

/// The function that the finite differences are taken of.
pub(super) struct Model {
    pub(super) network: Network,
    pub(super) linear: Linear,
    pub(super) targets: Vec<usize>,
}

impl Model {
    fn logits(&self) -> Vec<f64> {
        self.linear.forward(&self.network.output(&self.network.forward()))
    }

    pub(super) fn loss(&self) -> f64 {
        cross_entropy(&self.logits(), &self.targets)
    }
}

impl Case {
    fn new(case: StackCase) -> Result<Self> {
        let stack = case.draw()?;
        let (v, h) = (stack.config.input_size, case.hidden_size);
        let mut draw = Draw::new(0x11EA);
        let linear = draw.uniform(v * h + v, 1.0 / (h as f32).sqrt());
        let targets = draw.ids(case.num_steps * case.batch_size, v);
        Ok(Self { case, stack, linear, targets })
    }

    fn inputs(&self) -> Result<ModelInputs> {
        let StackCase { cell, num_steps, batch_size, hidden_size, num_layers, .. } = self.case;
        let inputs = match &self.stack.minibatches[0] {
            Features::OneHot(ids) => ids.clone(),
            Features::Dense(_) => Vec::new(),
        };
        Ok(ModelInputs {
            config: config(cell, self.stack.config.input_size, hidden_size, num_layers),
            parameters: [self.stack.parameters.as_slice(), self.linear.as_slice()].concat(),
            minibatch: Minibatch { inputs, targets: self.targets.clone(), num_steps, batch_size },
            hidden: self.stack.hidden.clone(),
            cell: self.stack.cell.clone(),
            regularization: Regularization::default(),
        })
    }

    fn outputs(&self, logits: Vec<f64>, loss: f64) -> Vec<Quantity> {
        let StackCase { num_steps, batch_size, .. } = self.case;
        let v = self.stack.config.input_size;
        let axes = vec![Axis::Step(num_steps), Axis::Row(batch_size), Axis::Column(v)];
        vec![Quantity::new("logits", axes, logits), Quantity::new("loss", vec![Axis::Row(1)], vec![loss])]
    }

    fn expected(&self) -> Result<Vec<Quantity>> {
        let (v, h) = (self.stack.config.input_size, self.case.hidden_size);
        let (weight, bias) = self.linear.split_at(v * h);
        let mut model = Model {
            network: network(&self.stack)?,
            linear: Linear { weight: doubles(weight), bias: doubles(bias) },
            targets: self.targets.iter().map(|&id| id as usize).collect(),
        };
        let mut all = self.outputs(model.logits(), model.loss());
        let axes = Axes::of(&self.stack);
        let (_, layout) = crate::device::layout(self.stack.config)?;
        for spec in layout.specs() {
            let name = format!("gradient of {}", spec.name);
            let axes = axes.parameter(&spec.name, &spec.shape);
            let sample = parameter_sample(&model.network, &spec.name, spec.range().len());
            all.push(difference(
                &mut model,
                name,
                axes,
                |model| parameter(&mut model.network, &spec.name),
                sample,
                Model::loss,
            ));
        }
        let leaves: [fn(&mut Model) -> &mut [f64]; 2] =
            [|model| &mut model.linear.weight, |model| &mut model.linear.bias];
        for ((name, shape), leaf) in [("weight", vec![v, h]), ("bias", vec![v])].into_iter().zip(leaves) {
            let (name, sample) = (format!("linear.{name}"), sample(shape.iter().product()));
            let axes = axes.parameter(&name, &shape);
            all.push(difference(&mut model, format!("gradient of {name}"), axes, leaf, sample, Model::loss));
        }
        Ok(all)
    }

    fn perturb(&mut self, perturbation: Perturbation) -> Result<()> {
        match perturbation {
            Perturbation::Weight => self.linear[0] += 0.01,
            Perturbation::Id => self.targets[0] = (self.targets[0] + 1) % self.stack.config.input_size as u32,
            _ => self.stack.perturb(perturbation)?,
        }
        Ok(())
    }
}
