//! Training runs against the oracle's: a model small enough for finite differences of every parameter at every step, so that
//! clipping, updates and the carried state are checked together.

use std::sync::Arc;

use rnnlm_model::{Init, TrainConfig};
use rnnlm_rnn::Cell;
use rnnlm_vocab::{Batches, Minibatch, Sampling};

use super::model::{Model, config, layout};
use super::oracle::{doubles, network, parameter};
use crate::cases::{Condition, StackCase, Width};
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{TrainData, TrainInputs, TrainOutputs};
use crate::draw::Draw;
use crate::oracle::{Input, Linear, differences};
use crate::paths::Target;
use crate::perturb::Perturbation;
use crate::{Result, tolerance};

/// The vocabulary size.
const V: usize = 5;
/// The hidden size.
const H: usize = 4;
/// The number of steps.
const T: usize = 3;
/// The batch size.
const N: usize = 2;
/// The number of tokens of the corpus: six minibatches per epoch.
const TOKENS: usize = 42;
/// The number of epochs.
const EPOCHS: u64 = 2;

/// For every cell a run by steps with each sampling, and a run by epochs.
pub(super) fn checks(target: &Target) -> Vec<Check> {
    let mut checks = Vec::new();
    for cell in Cell::ALL {
        checks.extend(
            [Sampling::Sequential, Sampling::Random]
                .map(|sampling| check(target, Run { cell, sampling, by: By::Step })),
        );
        checks.push(check(target, Run { cell, sampling: Sampling::Sequential, by: By::Epoch }));
    }
    checks
}

/// Whether the results are per step, for given minibatches, or per epoch, for a corpus.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Step,
    Epoch,
}

#[derive(Clone, Copy)]
struct Run {
    cell: Cell,
    sampling: Sampling,
    by: By,
}

fn check(target: &Target, run: Run) -> Check {
    let device = Arc::clone(&target.device);
    let by = if run.by == By::Step { "step" } else { "epoch" };
    let sampling = if run.sampling == Sampling::Sequential { "sequential" } else { "random" };
    let mut perturbations = vec![Perturbation::Weight, Perturbation::Scalar, Perturbation::Order];
    perturbations.extend((run.sampling == Sampling::Sequential).then_some(Perturbation::StateDropped));
    Check {
        family: Family::Trajectories,
        subject: format!("{} training", run.cell.name()),
        shape: format!("T{T} N{N} V{V} H{H} {sampling} by {by}"),
        backend: target.backend.clone(),
        path: format!("{} / oracle", target.path),
        tolerance: tolerance::ORACLE_TRAINING,
        perturbations,
        expected: Box::new(move || run.expected()),
        found: Box::new(move |perturbation| Ok(run.quantities(device.train(&run.inputs(perturbation)?)?))),
    }
}

impl Run {
    fn case(self) -> StackCase {
        StackCase {
            cell: self.cell,
            num_steps: T,
            batch_size: N,
            width: Width::OneHot(V),
            hidden_size: H,
            num_layers: 1,
            bidirectional: false,
            condition: Condition::ZeroState,
        }
    }

    fn train(self) -> TrainConfig {
        TrainConfig {
            epochs: EPOCHS,
            batch_size: N,
            num_steps: T,
            lr: 0.5,
            clip: 0.4, // below about half of the norms
            sampling: self.sampling,
            init: Init::Uniform,
            seed: 1,
            ..TrainConfig::book()
        }
    }

    fn linear(self) -> Vec<f32> {
        Draw::new(0x11EA).uniform(V * H + V, 1.0)
    }

    fn corpus(self) -> Vec<u32> {
        Draw::new(0xC0).ids(TOKENS, V)
    }

    /// The names of all parameters, in the order of the layout.
    fn parameter_names(self) -> Result<Vec<String>> {
        let layout = layout(&config(self.cell, V, H, 1))?;
        Ok(layout.specs().iter().map(|spec| spec.name.clone()).collect())
    }

    /// The minibatches of each epoch.
    fn epochs(self, corpus: &[u32]) -> Result<Vec<Vec<Minibatch>>> {
        let epochs = (0..EPOCHS).map(|epoch| Batches::new(self.sampling, corpus, N, T, self.train().seed, epoch));
        Ok(epochs.map(|batches| batches.map(|batches| batches.into_iter().collect())).collect::<Result<_, _>>()?)
    }

    fn inputs(self, perturbation: Option<Perturbation>) -> Result<TrainInputs> {
        let mut corpus = self.corpus();
        let mut parameters = [self.case().draw()?.parameters, self.linear()].concat();
        let mut train = self.train();
        let mut minibatches = self.epochs(&corpus)?.concat();
        match perturbation {
            Some(Perturbation::Weight) => parameters[0] += 0.01,
            Some(Perturbation::Scalar) => train.clip *= 1.01,
            Some(Perturbation::StateDropped) => train.reset_state = true,
            Some(_) => {
                corpus.rotate_left(1);
                minibatches.swap(0, 1);
            }
            None => {}
        }
        let data = match self.by {
            By::Step => TrainData::Minibatches(minibatches),
            By::Epoch => TrainData::Corpus(corpus),
        };
        Ok(TrainInputs { model: config(self.cell, V, H, 1), train, parameters, data })
    }

    fn quantities(self, outputs: TrainOutputs) -> Vec<Quantity> {
        let (losses, norms) = (outputs.losses, outputs.gradient_norms);
        let parameters = outputs.parameters.iter().flat_map(|parameter| doubles(&parameter.values)).collect();
        self.named(losses, norms, parameters)
    }

    fn named(self, losses: Vec<f64>, norms: Vec<f64>, parameters: Vec<f64>) -> Vec<Quantity> {
        let (metric, axis) = if self.by == By::Step { ("loss", "step") } else { ("perplexity", "epoch") };
        vec![
            Quantity::new(metric, vec![Axis::Other(axis, losses.len())], losses),
            Quantity::new("gradient norm", vec![Axis::Other(axis, norms.len())], norms),
            Quantity::new("final parameters", vec![Axis::Column(parameters.len())], parameters),
        ]
    }

    /// The same run in double precision: finite differences, the global norm, clipping and an SGD step. A run by steps carries
    /// the state through all minibatches; an epoch starts with the zero state.
    fn expected(self) -> Result<Vec<Quantity>> {
        let linear = doubles(&self.linear());
        let (weight, bias) = linear.split_at(V * H);
        let (weight, bias) = (weight.to_vec(), bias.to_vec());
        let network = network(&self.case().draw()?)?;
        let names = self.parameter_names()?;
        let mut model = Model { network, linear: Linear { weight, bias }, targets: Vec::new() };
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        for epoch in self.epochs(&self.corpus())? {
            if self.by == By::Epoch {
                model.reset_state();
            }
            for minibatch in epoch {
                if self.sampling == Sampling::Random {
                    model.reset_state();
                }
                let (loss, norm) = model.train(&names, &minibatch, self.train());
                losses.push(loss);
                norms.push(norm);
            }
        }
        if self.by == By::Epoch {
            let per_epoch = losses.len() / EPOCHS as usize;
            let means = |all: &[f64]| {
                all.chunks(per_epoch).map(|epoch| epoch.iter().sum::<f64>() / epoch.len() as f64).collect::<Vec<_>>()
            };
            (losses, norms) = (means(&losses).into_iter().map(f64::exp).collect(), means(&norms));
        }
        let parameters = names.iter().flat_map(|name| model.leaf(name).to_vec()).collect();
        Ok(self.named(losses, norms, parameters))
    }
}

impl Model {
    /// A parameter by its name.
    fn leaf(&mut self, name: &str) -> &mut [f64] {
        match name {
            "linear.weight" => &mut self.linear.weight,
            "linear.bias" => &mut self.linear.bias,
            _ => parameter(&mut self.network, name),
        }
    }

    /// Sets the state to zero.
    fn reset_state(&mut self) {
        let layer = &mut self.network.layers[0];
        layer.hidden.fill(0.0);
        layer.cell.fill(0.0);
    }

    /// One SGD step. Returns the loss and the gradient norm before it.
    fn train(&mut self, names: &[String], minibatch: &Minibatch, config: TrainConfig) -> (f64, f64) {
        self.network.input = Input::OneHot(minibatch.inputs.iter().map(|&id| id as usize).collect());
        self.targets = minibatch.targets.iter().map(|&id| id as usize).collect();
        let loss = self.loss();
        let mut gradients = Vec::new();
        for name in names {
            let all: Vec<usize> = (0..self.leaf(name).len()).collect();
            gradients.push(differences::central(self, |model| model.leaf(name), &all, Self::loss));
        }
        let norm = gradients.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        let factor = (f64::from(config.clip) / (norm + 1e-6)).min(1.0);
        let traces = self.network.forward();
        self.network.carry(&traces);
        for (name, gradients) in names.iter().zip(&gradients) {
            for (parameter, gradient) in self.leaf(name).iter_mut().zip(gradients) {
                *parameter -= f64::from(config.lr) * factor * gradient;
            }
        }
        (loss, norm)
    }
}
