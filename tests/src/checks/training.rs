//! Whole training runs against the oracle's, the walk's stages 3 to 8: a model small enough that finite differences give
//! every gradient of every step, so that clipping, update and carried state are seen together.

use std::sync::Arc;

use rnnlm_model::{Init, TrainConfig};
use rnnlm_rnn::Cell;
use rnnlm_vocab::{Batches, Minibatch, Sampling};

use super::model::{Model, config};
use super::oracle::{doubles, leaf_of, network};
use crate::cases::{StackCase, Twist, Width};
use crate::check::{Check, Family};
use crate::compare::{Axis, Quantity};
use crate::device::{TrainData, TrainInputs, TrainOutputs};
use crate::draw::Draw;
use crate::oracle::{Input, Linear, differences};
use crate::paths::Target;
use crate::perturb::Perturbation;
use crate::{Result, tolerance};

/// Entries of the vocabulary.
const V: usize = 5;
/// Hidden units.
const H: usize = 4;
/// Steps of a minibatch.
const T: usize = 3;
/// Rows of a minibatch.
const N: usize = 2;
/// Tokens of the corpus: six minibatches an epoch.
const TOKENS: usize = 42;
/// Times that it is gone through.
const EPOCHS: u64 = 2;

/// A run for every cell and way of sampling, by steps, and one by epochs.
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

/// What is reported, and who cuts the minibatches.
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
            twist: Twist::ZeroState,
        }
    }

    fn train(self) -> TrainConfig {
        TrainConfig {
            epochs: EPOCHS,
            batch_size: N,
            num_steps: T,
            lr: 0.5,
            clip: 0.4, // about half of the first steps' norms are larger
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

    /// Each epoch's minibatches.
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
        let (what, each) = if self.by == By::Step { ("loss", "step") } else { ("perplexity", "epoch") };
        vec![
            Quantity::new(what, vec![Axis::Other(each, losses.len())], losses),
            Quantity::new("gradient norm", vec![Axis::Other(each, norms.len())], norms),
            Quantity::new("final parameters", vec![Axis::Column(parameters.len())], parameters),
        ]
    }

    /// The same run in double precision: finite differences, the global norm, clipping, and a step against the gradient.
    /// By step a run is one stream; an epoch begins with the zero state.
    fn expected(self) -> Result<Vec<Quantity>> {
        let linear = doubles(&self.linear());
        let (weight, bias) = linear.split_at(V * H);
        let (weight, bias) = (weight.to_vec(), bias.to_vec());
        let network = network(&self.case().draw()?)?;
        let mut model = Model { network, linear: Linear { weight, bias }, targets: Vec::new() };
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        for epoch in self.epochs(&self.corpus())? {
            if self.by == By::Epoch {
                model.forget();
            }
            for minibatch in epoch {
                if self.sampling == Sampling::Random {
                    model.forget();
                }
                let (loss, norm) = model.train(&minibatch, self.train());
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
        let parameters = (0..6).flat_map(|leaf| model.leaf(leaf).to_vec()).collect();
        Ok(self.named(losses, norms, parameters))
    }
}

impl Model {
    /// Weights and biases in the order of the layout.
    fn leaf(&mut self, index: usize) -> &mut [f64] {
        match index {
            4 => &mut self.linear.weight,
            5 => &mut self.linear.bias,
            _ => leaf_of(&mut self.network, index),
        }
    }

    /// The zero state.
    fn forget(&mut self) {
        let layer = &mut self.network.layers[0];
        layer.hidden.fill(0.0);
        layer.cell.fill(0.0);
    }

    /// One step of SGD; the loss and the gradients' norm before it.
    fn train(&mut self, minibatch: &Minibatch, config: TrainConfig) -> (f64, f64) {
        self.network.input = Input::OneHot(minibatch.inputs.iter().map(|&id| id as usize).collect());
        self.targets = minibatch.targets.iter().map(|&id| id as usize).collect();
        let loss = self.loss();
        let gradients: Vec<Vec<f64>> = (0..6)
            .map(|leaf| {
                let all: Vec<usize> = (0..self.leaf(leaf).len()).collect();
                differences::central(self, |model| model.leaf(leaf), &all, Self::loss)
            })
            .collect();
        let norm = gradients.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        let factor = (f64::from(config.clip) / (norm + 1e-6)).min(1.0);
        let traces = self.network.forward();
        self.network.carry(&traces);
        for (leaf, gradients) in gradients.iter().enumerate() {
            for (parameter, gradient) in self.leaf(leaf).iter_mut().zip(gradients) {
                *parameter -= f64::from(config.lr) * factor * gradient;
            }
        }
        (loss, norm)
    }
}
