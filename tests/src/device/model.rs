//! Language models on a device: the loss and gradients of one minibatch, and training runs.

use rnnlm_model::{
    Average, LanguageModel, ModelConfig, Optimizer, Position, Regularization, Snapshot, TrainConfig, Trainer,
};
use rnnlm_rnn::{ExecutionPath, ParameterLayout, ParameterSet, Recurrence};
use rnnlm_vocab::Minibatch;

use super::NamedTensor;
use super::stack::named;
use crate::Result;

/// The inputs of one minibatch's loss.
#[derive(Clone, Debug)]
pub struct ModelInputs {
    /// The model's configuration.
    pub config: ModelConfig,
    /// Every parameter, in the order of the layout.
    pub parameters: Vec<f32>,
    /// Inputs and targets.
    pub minibatch: Minibatch,
    /// `[L·N, H]`: the initial hidden state.
    pub hidden: Vec<f32>,
    /// `[L·N, H]`: the initial cell state of an LSTM, else empty.
    pub cell: Vec<f32>,
    /// The regularization.
    pub regularization: Regularization,
}

/// A model's results on one minibatch.
#[derive(Clone, Debug)]
pub struct ModelOutputs {
    /// `[T·N, V]`.
    pub logits: Vec<f32>,
    /// The mean negative log-likelihood, in nats.
    pub loss: f32,
    /// `[T·N, V]`: ∂loss/∂logits.
    pub grad_logits: Vec<f32>,
    /// `[L·N, H]`: the final hidden state.
    pub hidden: Vec<f32>,
    /// `[L·N, H]`: the final cell state of an LSTM, else empty.
    pub cell: Vec<f32>,
    /// Every parameter's gradient.
    pub gradients: Vec<NamedTensor>,
}

/// The inputs of a training run.
#[derive(Clone, Debug)]
pub struct TrainInputs {
    /// The model's configuration.
    pub model: ModelConfig,
    /// The training configuration.
    pub train: TrainConfig,
    /// The initial parameters, in the order of the layout.
    pub parameters: Vec<f32>,
    /// The training data.
    pub data: TrainData,
}

/// Training data.
#[derive(Clone, Debug)]
pub enum TrainData {
    /// One step for each minibatch.
    Minibatches(Vec<Minibatch>),
    /// The configured number of epochs over a corpus.
    Corpus(Vec<u32>),
    /// One epoch over a corpus, in which the loss becomes non-finite.
    Diverging(Vec<u32>),
}

/// The results of a training run.
#[derive(Clone, Debug)]
pub struct TrainOutputs {
    /// For minibatches, each step's loss before its update; for a corpus, each epoch's perplexity; for a diverging run, the
    /// sum of the losses before the divergence.
    pub losses: Vec<f64>,
    /// For minibatches, each step's gradient norm before clipping; for a corpus, each epoch's mean; for a diverging run, the
    /// sum before the divergence.
    pub gradient_norms: Vec<f64>,
    /// The final parameters, by name.
    pub parameters: Vec<NamedTensor>,
}

/// The inputs of one optimizer step on parameters that are zero.
#[derive(Clone, Debug)]
pub struct UpdateInputs {
    /// The gradients of each parameter tensor.
    pub gradients: Vec<Vec<f32>>,
    /// The maximum global norm.
    pub clip: f32,
    /// The learning rate.
    pub lr: f32,
}

pub(super) fn run<B: Recurrence>(backend: &B, path: ExecutionPath, inputs: &ModelInputs) -> Result<ModelOutputs> {
    let mut model = LanguageModel::new(backend, &inputs.config, path)?;
    model.parameters_mut().write(backend, &inputs.parameters)?;
    let Minibatch { num_steps, batch_size, .. } = inputs.minibatch;
    let mut workspace = model.workspace(num_steps, batch_size)?;
    let mut state = model.zero_state(batch_size)?;
    state.hidden.write(backend, &inputs.hidden)?;
    state.cell.write(backend, &inputs.cell)?;
    workspace.load(backend, &inputs.minibatch)?;
    workspace.set_regularization(backend, &inputs.regularization)?;
    model.forward(&mut workspace, &mut state)?;
    let rows = workspace.rows();
    let logits = model.logits(&mut workspace, 0..rows)?.to_vec(backend)?;
    let mut gradients = ParameterSet::zeros(backend, model.parameters().layout())?;
    let loss = model.loss(&mut workspace, &mut gradients)?;
    let grad_logits = workspace.logits().to_vec(backend)?;
    model.backward(&mut workspace, &mut gradients)?;
    let (hidden, cell) = (state.hidden.to_vec(backend)?, state.cell.to_vec(backend)?);
    Ok(ModelOutputs { logits, loss, grad_logits, hidden, cell, gradients: named(backend, &gradients)? })
}

pub(super) fn train<B: Recurrence>(backend: &B, path: ExecutionPath, inputs: &TrainInputs) -> Result<TrainOutputs> {
    let mut trainer = Trainer::new(backend, &inputs.model, &inputs.train, path)?;
    trainer.model_mut().parameters_mut().write(backend, &inputs.parameters)?;
    if inputs.train.average == Average::NtAsgd {
        // averages from the first update, without a validation set
        let snapshot = trainer.snapshot()?;
        let position = Position { average_start: Some(0), ..snapshot.position };
        trainer.restore(&Snapshot { position, ..snapshot })?;
    }
    let (mut losses, mut gradient_norms) = (Vec::new(), Vec::new());
    match &inputs.data {
        TrainData::Minibatches(minibatches) => {
            for minibatch in minibatches {
                let report = trainer.step(minibatch)?;
                losses.push(f64::from(report.loss));
                gradient_norms.push(f64::from(report.gradient_norm));
            }
        }
        TrainData::Corpus(ids) => {
            for _ in 0..inputs.train.epochs {
                let report = trainer.epoch(ids, &|| false)?;
                losses.extend(report.map(|report| report.perplexity));
                gradient_norms.extend(report.map(|report| report.gradient_norm));
            }
        }
        TrainData::Diverging(ids) => match trainer.epoch(ids, &|| false) {
            Err(rnnlm_model::Error::Diverged { .. }) => {
                let Position { loss_sum, gradient_norm_sum, .. } = trainer.position();
                losses.push(loss_sum);
                gradient_norms.push(gradient_norm_sum);
            }
            other => drop(other?),
        },
    }
    Ok(TrainOutputs { losses, gradient_norms, parameters: named(backend, trainer.evaluated_model().parameters())? })
}

/// The global gradient norm before clipping, and every parameter after the update.
pub(super) fn update<B: Recurrence>(backend: &B, inputs: &UpdateInputs) -> Result<(f32, Vec<f32>)> {
    let mut layout = ParameterLayout::default();
    for (index, values) in inputs.gradients.iter().enumerate() {
        layout.add_bias(format!("p{index}"), values.len(), values.len())?;
    }
    let mut gradients = ParameterSet::zeros(backend, &layout)?;
    let mut parameters = ParameterSet::zeros(backend, &layout)?;
    gradients.write(backend, &inputs.gradients.concat())?;
    let train = TrainConfig { clip: inputs.clip, ..TrainConfig::book() };
    let mut optimizer = Optimizer::new(backend, &train, &layout)?;
    let norm = optimizer.gradient_norm(backend, &gradients)?;
    optimizer.update(backend, inputs.lr, 1, &mut gradients, &mut parameters)?;
    Ok((norm, parameters.to_vec(backend)?))
}
