//! The language model: one-hot or embedded input, recurrent layers and output layer, under the parameter names of the book's
//! `RNNModel` (attributes `rnn`, `linear` and `embedding`).

mod losses;

use std::ops::Range;

use rnnlm_rnn::{ExecutionPath, Input, ParameterLayout, ParameterSet, Recurrence, Stack, State};
use rnnlm_tensor::{Tensor, View, ops};

use crate::embedding::Embedding;
use crate::gradient_ranges::GradientRanges;
use crate::output::{OutputLayer, logits_bytes, rows_within};
use crate::regularization::{Regularization, RegularizedOutput};
use crate::shard_order::ShardOrder;
use crate::shards::Shards;
use crate::{Error, Init, ModelConfig, OptimizerConfig, Result, TrainConfig, Workspace, init};

/// A language model on a device.
#[derive(Debug)]
pub struct LanguageModel<B: Recurrence> {
    backend: B,
    config: ModelConfig,
    path: ExecutionPath,
    parameters: ParameterSet<B>,
    /// `None` for one-hot input.
    embedding: Option<Embedding>,
    stack: Stack,
    output: OutputLayer,
    logits_bytes: usize,
}

/// What [`LanguageModel::target_losses`] calls with the logits of some rows.
pub(crate) type InspectLogits<'a, B> = dyn FnMut(Range<usize>, View<'_, B>) -> Result<()> + 'a;

/// The layers of a model, and the layout of their parameters.
struct Layers {
    layout: ParameterLayout,
    embedding: Option<Embedding>,
    stack: Stack,
    output: OutputLayer,
}

impl Layers {
    fn new(config: &ModelConfig) -> Result<Self> {
        config.validate()?;
        let mut layout = ParameterLayout::default();
        let (vocab_size, output_size) = (config.vocab_size, config.stack().output_size());
        let embedding = match config.embedding_size {
            0 if config.tie_weights => return Err(Error::TiedSizes { embedding_size: 0, output_size }),
            0 => None,
            size if !config.tie_weights => Some(Embedding::new(&mut layout, vocab_size, size)?),
            size if size == output_size => Some(Embedding::tied(&mut layout, vocab_size, size)?),
            embedding_size => return Err(Error::TiedSizes { embedding_size, output_size }),
        };
        let stack = Stack::new(&mut layout, config.stack())?;
        let tied = embedding.as_ref().filter(|_| config.tie_weights).map(Embedding::weight);
        let output = OutputLayer::new(&mut layout, tied, config)?;
        Ok(Self { layout, embedding, stack, output })
    }
}

/// The layout of a model's parameters.
pub(crate) fn layout(config: &ModelConfig) -> Result<ParameterLayout> {
    Ok(Layers::new(config)?.layout)
}

impl<B: Recurrence> LanguageModel<B> {
    /// A model with all parameters zero, whose recurrent layers run on `path`.
    ///
    /// # Errors
    /// If a size is 0 or too large, tied weights have different shapes, or the device has not enough memory.
    pub fn new(backend: &B, config: &ModelConfig, path: ExecutionPath) -> Result<Self> {
        let Layers { layout, embedding, stack, output } = Layers::new(config)?;
        let parameters = ParameterSet::zeros(backend, &layout)?;
        let (backend, config, logits_bytes) = (backend.clone(), config.clone(), logits_bytes(config));
        Ok(Self { backend, config, path, parameters, embedding, stack, output, logits_bytes })
    }

    /// A model with the same configuration and all parameters zero.
    pub(crate) fn with_zero_parameters(&self) -> Result<Self> {
        Self::new(&self.backend, &self.config, self.path)
    }

    /// Limits the memory for logits, which is 64 MB by default, and 16 MB with an adaptive softmax. A minibatch with more
    /// logits is processed in chunks of rows, at least one row each, and sums over its rows are computed chunk by chunk.
    #[must_use]
    pub fn with_logits_bytes(self, logits_bytes: usize) -> Self {
        Self { logits_bytes, ..self }
    }

    /// Draws initial values for all parameters.
    ///
    /// # Errors
    /// If the device fails.
    pub fn initialize(&mut self, init: Init, seed: u64) -> Result<()> {
        let values = init::draw(self.parameters.layout(), init, seed);
        Ok(self.parameters.write(&self.backend, &values)?)
    }

    /// The settings.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// All parameters.
    pub fn parameters(&self) -> &ParameterSet<B> {
        &self.parameters
    }

    /// All parameters, mutable.
    pub fn parameters_mut(&mut self) -> &mut ParameterSet<B> {
        &mut self.parameters
    }

    /// A zero state for `batch_size` rows.
    ///
    /// # Errors
    /// If the device has not enough memory.
    pub fn zero_state(&self, batch_size: usize) -> Result<State<B>> {
        Ok(self.stack.zero_state(&self.backend, batch_size)?)
    }

    /// Allocates the memory for minibatches of `num_steps` steps of `batch_size` rows.
    ///
    /// # Errors
    /// If the device has not enough memory.
    pub fn workspace(&self, num_steps: usize, batch_size: usize) -> Result<Workspace<B>> {
        self.workspace_of_rows(num_steps, batch_size, 1)
    }

    /// Allocates the memory for the rows of this rank's shards of minibatches of `num_steps` steps.
    pub(crate) fn sharded_workspace(&self, num_steps: usize, shards: Shards) -> Result<Workspace<B>> {
        let mut workspace = self.workspace_of_rows(num_steps, shards.rows().len(), shards.local().len())?;
        if shards.count > 1 {
            let output_size = self.stack.config().output_size();
            workspace.shards = Some(ShardOrder::new(&self.backend, shards, num_steps, output_size)?);
        }
        Ok(workspace)
    }

    fn workspace_of_rows(&self, num_steps: usize, batch_size: usize, num_shards: usize) -> Result<Workspace<B>> {
        let (backend, rows) = (&self.backend, num_steps * batch_size);
        let chunk = rows_within(self.logits_bytes, self.config.vocab_size).min(rows / num_shards);
        let output_size = self.stack.config().output_size();
        let memory = self.stack.memory(backend, self.path, [num_steps, batch_size])?.without_initial_gradients();
        let embedded = |embedding: &Embedding| embedding.allocate(backend, rows, num_shards);
        let clusters = match &self.output {
            OutputLayer::Linear(_) => None,
            OutputLayer::Adaptive(output) => Some(output.allocate(backend, rows, output_size)?),
        };
        Ok(Workspace {
            num_steps,
            batch_size,
            inputs: backend.allocate_indices(rows)?,
            targets: backend.allocate_indices(rows)?,
            embedded: self.embedding.as_ref().map(embedded).transpose()?,
            memory: memory.with_shards(backend, num_shards)?,
            logits: Tensor::padded(backend, chunk, self.config.vocab_size)?,
            output_cache: B::LinearCache::default(),
            clusters,
            losses: Tensor::zeros(backend, rows, 1)?,
            grad_output: Tensor::padded(backend, rows, output_size)?,
            loss_sums: Tensor::zeros(backend, num_shards, 1)?,
            shards: None,
            starts: Vec::new(),
            regularization: Regularization::default(),
            regularized_output: RegularizedOutput::new(),
        })
    }

    /// Stages 4 and 5, the forward pass: from the loaded ids to the output of the recurrent layers. `state` is the initial
    /// state and becomes the state after the last step.
    ///
    /// # Errors
    /// If an id is not below **V**, or the device fails.
    pub fn forward(&self, workspace: &mut Workspace<B>, state: &mut State<B>) -> Result<()> {
        self.embed(workspace)?;
        self.run_layers(workspace, state)
    }

    /// Stage 4, input: looks up the embedding. One-hot input needs no computation: the lowest layer reads the ids.
    pub(crate) fn embed(&self, workspace: &mut Workspace<B>) -> Result<()> {
        let Workspace { inputs, embedded, regularization, .. } = workspace;
        match (&self.embedding, embedded) {
            (Some(embedding), Some(embedded)) => {
                embedding.forward(&self.backend, &self.parameters, inputs, regularization, embedded)
            }
            _ => Ok(()),
        }
    }

    /// Stage 5, layers: runs the recurrent layers from `state`, and stores the new state there.
    pub(crate) fn run_layers(&self, workspace: &mut Workspace<B>, state: &mut State<B>) -> Result<()> {
        let Workspace { inputs, embedded, memory, regularization, regularized_output, .. } = workspace;
        let input = match embedded {
            Some(embedded) => Input::Dense(embedded.x.view()),
            None => Input::OneHot(inputs),
        };
        self.stack.forward(&self.backend, &self.parameters, input, state, memory)?;
        regularized_output.drop_output(&self.backend, regularization, self.stack.output(memory))
    }

    /// The logits of some rows of the minibatch, `[rows, V]`; with an adaptive softmax, the logarithms of the probabilities,
    /// which have the same softmax.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If there are more rows than the workspace has in a chunk.
    pub fn logits<'a>(&self, workspace: &'a mut Workspace<B>, rows: Range<usize>) -> Result<View<'a, B>> {
        let Workspace { memory, logits, output_cache, clusters, regularization, regularized_output, .. } = workspace;
        let (backend, parameters, len) = (&self.backend, &self.parameters, rows.len());
        let by_shard = workspace.shards.as_ref().and_then(ShardOrder::z);
        let y = by_shard.unwrap_or_else(|| regularized_output.view(regularization, &self.stack, memory)).rows(rows);
        let out = logits.view_mut().rows(0..len);
        match (&self.output, clusters) {
            (OutputLayer::Adaptive(output), Some(clusters)) => {
                output.log_probabilities(backend, parameters, y, clusters, out)?;
            }
            (OutputLayer::Linear(output), _) => output.forward(backend, parameters, output_cache, y, out)?,
            (OutputLayer::Adaptive(_), None) => {}
        }
        Ok(logits.view().rows(0..len))
    }

    /// Stage 6, output and loss: the mean negative log likelihood of the loaded targets, in nats. Overwrites `gradients` with
    /// the gradients of the output layer and zeros for all other parameters, and stores the gradient of the layers' output
    /// in the workspace, for [`LanguageModel::backward`].
    ///
    /// # Errors
    /// If a target is not below **V**, or the device fails.
    pub fn loss(&self, workspace: &mut Workspace<B>, gradients: &mut ParameterSet<B>) -> Result<f32> {
        self.output_and_loss(workspace, gradients)?;
        self.read_mean_loss(workspace)
    }

    /// Like [`LanguageModel::loss`], without waiting for the device: the sum over the targets is in [`Workspace::loss_sum`].
    ///
    /// # Errors
    /// As [`LanguageModel::loss`].
    pub fn output_and_loss(&self, workspace: &mut Workspace<B>, gradients: &mut ParameterSet<B>) -> Result<()> {
        ops::fill(&self.backend, 0.0, gradients.flat_mut())?;
        self.add_output_and_loss(workspace, std::slice::from_mut(gradients))
    }

    /// Like [`LanguageModel::output_and_loss`]; adds to `gradients`, of which there is one set for each shard.
    pub(crate) fn add_output_and_loss(
        &self,
        workspace: &mut Workspace<B>,
        gradients: &mut [ParameterSet<B>],
    ) -> Result<()> {
        self.losses(workspace, Some(gradients), None)
    }

    /// Where the gradients of a training step with these settings may differ from zero.
    pub(crate) fn gradient_ranges(&self, train: &TrainConfig) -> GradientRanges {
        let layout = self.parameters.layout();
        // the gradient of a tied weight is dense, and so is the mean over several minibatches
        let is_sparse = !self.config.tie_weights && train.accumulate <= 1;
        let embedding = self.embedding.as_ref().filter(|_| is_sparse);
        // plain SGD has the same results without ranges
        let uses_ranges = match train.optimizer {
            OptimizerConfig::SparseAdam { .. } => true,
            optimizer => optimizer.has_sparse_updates() && self.backend.prefers_ranges(),
        };
        match embedding {
            Some(embedding) if uses_ranges => {
                let table = layout.spec(embedding.weight());
                GradientRanges::sparse(layout.len(), table, train.batch_size * train.max_num_steps())
            }
            _ => GradientRanges::dense(layout.len()),
        }
    }

    /// Like [`LanguageModel::loss`], without gradients.
    ///
    /// # Errors
    /// As [`LanguageModel::loss`].
    pub fn score(&self, workspace: &mut Workspace<B>) -> Result<f32> {
        self.target_losses(workspace, None)?;
        self.read_mean_loss(workspace)
    }

    /// The loss of every target, in the workspace. `inspect` is called with the logits of each chunk of rows.
    pub(crate) fn target_losses(
        &self,
        workspace: &mut Workspace<B>,
        inspect: Option<&mut InspectLogits<'_, B>>,
    ) -> Result<()> {
        self.losses(workspace, None, inspect)
    }

    fn read_mean_loss(&self, workspace: &Workspace<B>) -> Result<f32> {
        let mut sum = [0.0];
        self.backend.read(workspace.loss_sum().buffer, 0, &mut sum)?;
        Ok(sum[0] / workspace.rows() as f32)
    }

    /// Stage 7, gradients: backpropagation through time, from the gradient of the layers' output to every parameter of the
    /// layers and the embedding. Adds to `gradients`. This is the backward pass of [`LanguageModel::forward`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn backward(&self, workspace: &mut Workspace<B>, gradients: &mut ParameterSet<B>) -> Result<()> {
        self.backward_by_shard(workspace, std::slice::from_mut(gradients))
    }

    /// Like [`LanguageModel::backward`], with one set of gradients for each shard.
    pub(crate) fn backward_by_shard(
        &self,
        workspace: &mut Workspace<B>,
        gradients: &mut [ParameterSet<B>],
    ) -> Result<()> {
        let Workspace { inputs, embedded, memory, grad_output, regularization, .. } = workspace;
        let (backend, parameters, grad_output) = (&self.backend, &self.parameters, grad_output.view());
        let (Some(embedding), Some(embedded)) = (&self.embedding, embedded) else {
            let input = Input::OneHot(inputs);
            return Ok(self.stack.backward(backend, parameters, input, grad_output, memory, gradients, None)?);
        };
        // the layers add to the gradient of their input
        ops::fill(backend, 0.0, embedded.grad_x.view_mut())?;
        let input = Input::Dense(embedded.x.view());
        let grad_x = Some(embedded.grad_x.view_mut());
        self.stack.backward(backend, parameters, input, grad_output, memory, gradients, grad_x)?;
        embedding.backward(backend, (inputs, memory), regularization, embedded, gradients)
    }
}
