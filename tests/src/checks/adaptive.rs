//! The adaptive softmax against the oracle: the logarithm of every probability, the loss, and the gradient of every parameter
//! of the model by finite differences.

use std::sync::Arc;

use rnnlm_model::{AdaptiveSoftmax, ModelConfig, Regularization};
use rnnlm_rnn::Cell;
use rnnlm_vocab::Minibatch;

use super::model::{config, layout};
use super::oracle::{difference, doubles, network, parameter, parameter_sample, sample};
use super::quantities::Axes;
use crate::cases::{Condition, StackCase, Width};
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{Features, ModelInputs, StackInputs};
use crate::draw::Draw;
use crate::paths::Target;
use crate::perturb::Perturbation;
use crate::{Result, oracle, tolerance};

/// T, N, V, H, the cutoffs, the divisor and whether the head has a bias.
type Sizes = ([usize; 4], &'static [usize], f64, bool);

/// Several clusters, one of them with a single token; one cluster with most tokens; clusters without targets.
const SIZES: [Sizes; 3] = [
    ([5, 4, 19, 18], &[5, 11, 18], 2.5, false),
    ([2, 3, 40, 9], &[1], 4.0, true),
    ([1, 2, 300, 33], &[20, 60, 120, 250], 2.0, true),
];

/// A check for every size.
pub(super) fn checks(target: &Target) -> Vec<Check> {
    SIZES.map(|sizes| check(target, sizes)).into()
}

fn check(target: &Target, sizes: Sizes) -> Check {
    let ([num_steps, batch_size, vocab_size, hidden_size], cutoffs, ..) = sizes;
    let case = StackCase {
        cell: Cell::Lstm,
        num_steps,
        batch_size,
        width: Width::OneHot(vocab_size),
        hidden_size,
        num_layers: 1,
        bidirectional: false,
        condition: Condition::State,
    };
    let device = Arc::clone(&target.device);
    Check {
        family: Family::Oracle,
        subject: "adaptive softmax".to_owned(),
        shape: format!("{} cutoffs {cutoffs:?}", case.shape()),
        backend: target.backend.clone(),
        path: format!("{} / oracle", target.path),
        tolerance: tolerance::ORACLE_GRADIENT,
        perturbations: vec![Perturbation::Weight, Perturbation::Id, Perturbation::Nan],
        expected: Box::new(move || Case::new(case, sizes)?.expected()),
        found: Box::new(move |perturbation| {
            let mut case = Case::new(case, sizes)?;
            let last = case.softmax.last_mut();
            match perturbation {
                Some(Perturbation::Weight) => case.softmax[0] += 0.01,
                Some(Perturbation::Id) => case.targets[0] = (case.targets[0] + 1) % vocab_size as u32,
                Some(_) => last.into_iter().for_each(|weight| *weight = f32::NAN),
                None => {}
            }
            let outputs = device.model(&case.inputs())?;
            let mut all = case.outputs(doubles(&outputs.logits), f64::from(outputs.loss));
            all.extend(outputs.gradients.iter().map(|gradient| Axes::of(&case.stack).named(gradient)));
            Ok(all)
        }),
    }
}

/// The values of one case.
struct Case {
    stack: StackInputs,
    config: ModelConfig,
    /// The parameters of the adaptive softmax, in the order of the layout.
    softmax: Vec<f32>,
    targets: Vec<u32>,
}

/// The function that the finite differences are taken of.
struct Model {
    network: oracle::Network,
    softmax: oracle::AdaptiveSoftmax,
    targets: Vec<usize>,
}

impl Model {
    fn log_probabilities(&self) -> Vec<f64> {
        self.softmax.log_probabilities(&self.network.output(&self.network.forward()))
    }

    fn loss(&self) -> f64 {
        let all = self.log_probabilities();
        let rows = all.chunks(self.softmax.vocab_size).zip(&self.targets);
        -rows.map(|(row, &target)| row[target]).sum::<f64>() / self.targets.len() as f64
    }

    fn leaf(&mut self, name: &str) -> &mut [f64] {
        let tail = name.strip_prefix("softmax.tail.").and_then(|name| name.strip_suffix(".weight"));
        let indices = tail.and_then(|indices| indices.split_once('.'));
        match (name, indices) {
            (_, Some((cluster, part))) => {
                let [cluster, part] = [cluster, part].map(|index| index.parse().unwrap_or(usize::MAX));
                &mut self.softmax.tails[cluster][part]
            }
            ("softmax.head.weight", _) => &mut self.softmax.head,
            ("softmax.head.bias", _) => &mut self.softmax.head_bias,
            _ => parameter(&mut self.network, name),
        }
    }
}

impl Case {
    fn new(case: StackCase, (_, cutoffs, div_value, head_bias): Sizes) -> Result<Self> {
        let stack = case.draw()?;
        let v = stack.config.input_size;
        let softmax = AdaptiveSoftmax { div_value, head_bias, ..AdaptiveSoftmax::new(cutoffs.to_vec()) };
        let config = ModelConfig { adaptive_softmax: Some(softmax), ..config(case.cell, v, case.hidden_size, 1) };
        let mut draw = Draw::new(0xADA9);
        let softmax = draw.uniform(layout(&config)?.len() - stack.parameters.len(), 1.0);
        let targets = draw.ids(case.num_steps * case.batch_size, v);
        Ok(Self { stack, config, softmax, targets })
    }

    fn inputs(&self) -> ModelInputs {
        let inputs = match &self.stack.minibatches[0] {
            Features::OneHot(ids) => ids.clone(),
            Features::Dense(_) => Vec::new(),
        };
        let StackInputs { num_steps, batch_size, .. } = self.stack;
        ModelInputs {
            config: self.config.clone(),
            parameters: [self.stack.parameters.as_slice(), self.softmax.as_slice()].concat(),
            minibatch: Minibatch { inputs, targets: self.targets.clone(), num_steps, batch_size },
            hidden: self.stack.hidden.clone(),
            cell: self.stack.cell.clone(),
            regularization: Regularization::default(),
        }
    }

    fn outputs(&self, log_probabilities: Vec<f64>, loss: f64) -> Vec<Quantity> {
        let StackInputs { num_steps, batch_size, .. } = self.stack;
        let axes = vec![Axis::Step(num_steps), Axis::Row(batch_size), Axis::Column(self.config.vocab_size)];
        vec![
            Quantity::new("log-probabilities", axes, log_probabilities),
            Quantity::new("loss", vec![Axis::Row(1)], vec![loss]),
        ]
    }

    fn model(&self) -> Result<Model> {
        let layout = layout(&self.config)?;
        let first = self.stack.parameters.len();
        let values = |name: &str| {
            let spec = layout.specs().iter().find(|spec| spec.name == name);
            let range = spec.map(|spec| spec.range()).unwrap_or(first..first);
            doubles(&self.softmax[range.start - first..range.end - first])
        };
        let cutoffs = self.config.adaptive_softmax.as_ref().map(|softmax| softmax.cutoffs.clone()).unwrap_or_default();
        let tail = |index| [0, 1].map(|part| values(&format!("softmax.tail.{index}.{part}.weight")));
        Ok(Model {
            network: network(&self.stack)?,
            softmax: oracle::AdaptiveSoftmax {
                vocab_size: self.config.vocab_size,
                head: values("softmax.head.weight"),
                head_bias: values("softmax.head.bias"),
                tails: (0..cutoffs.len()).map(tail).collect(),
                cutoffs,
            },
            targets: self.targets.iter().map(|&id| id as usize).collect(),
        })
    }

    fn expected(&self) -> Result<Vec<Quantity>> {
        let mut model = self.model()?;
        let mut all = self.outputs(model.log_probabilities(), model.loss());
        let axes = Axes::of(&self.stack);
        for spec in layout(&self.config)?.specs() {
            let len = spec.range().len();
            let is_recurrent = spec.name.starts_with("rnn.");
            let sample = if is_recurrent { parameter_sample(&model.network, &spec.name, len) } else { sample(len) };
            let (name, axes) = (format!("gradient of {}", spec.name), axes.parameter(&spec.name, &spec.shape));
            all.push(difference(&mut model, name, axes, |model| model.leaf(&spec.name), sample, Model::loss));
        }
        Ok(all)
    }
}
