//! The language model: one-hot or embedded input, recurrent layers and output layer, under the parameter names of the book's
//! `RNNModel` (attributes `rnn`, `linear` and `embedding`).

use std::ops::Range;

use rnnlm_rnn::{ExecutionPath, Input, ParameterLayout, ParameterSet, Recurrence, Stack, State};
use rnnlm_tensor::{Tensor, View, ops};

use crate::embedding::Embedding;
use crate::output::{LOGITS_BYTES, OutputLayer};
use crate::regularization::{Regularization, RegularizedOutput};
use crate::shard_order::ShardOrder;
use crate::shards::Shards;
use crate::{Error, Init, ModelConfig, Result, Workspace, init};

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
        let output = OutputLayer::new(&mut layout, tied, output_size, vocab_size)?;
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
        let (backend, config) = (backend.clone(), config.clone());
        Ok(Self { backend, config, path, parameters, embedding, stack, output, logits_bytes: LOGITS_BYTES })
    }

    /// A model with the same configuration and all parameters zero.
    pub(crate) fn with_zero_parameters(&self) -> Result<Self> {
        Self::new(&self.backend, &self.config, self.path)
    }

    /// Limits the memory for logits, which is 64 MB by default. A minibatch with more logits is processed in chunks of rows,
    /// at least one row each, and sums over its rows are computed chunk by chunk.
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
        let chunk = self.output.rows_within(self.logits_bytes).min(rows / num_shards);
        let memory = self.stack.memory(backend, self.path, [num_steps, batch_size])?.without_initial_gradients();
        let embedded = |embedding: &Embedding| embedding.allocate(backend, rows, num_shards);
        Ok(Workspace {
            num_steps,
            batch_size,
            inputs: backend.allocate_indices(rows)?,
            targets: backend.allocate_indices(rows)?,
            embedded: self.embedding.as_ref().map(embedded).transpose()?,
            memory: memory.with_shards(backend, num_shards)?,
            logits: Tensor::padded(backend, chunk, self.config.vocab_size)?,
            output_cache: B::LinearCache::default(),
            losses: Tensor::zeros(backend, rows, 1)?,
            grad_output: Tensor::padded(backend, rows, self.stack.config().output_size())?,
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

    /// The logits of some rows of the minibatch, `[rows, V]`.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If there are more rows than the workspace has in a chunk.
    pub fn logits<'a>(&self, workspace: &'a mut Workspace<B>, rows: Range<usize>) -> Result<View<'a, B>> {
        let Workspace { memory, logits, output_cache, regularization, regularized_output, shards, .. } = workspace;
        let len = rows.len();
        let by_shard = shards.as_ref().and_then(ShardOrder::z);
        let y = by_shard.unwrap_or_else(|| regularized_output.view(regularization, &self.stack, memory)).rows(rows);
        self.output.forward(&self.backend, &self.parameters, output_cache, y, logits.view_mut().rows(0..len))?;
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
        self.losses_and_gradients(workspace, std::slice::from_mut(gradients))
    }

    /// Like [`LanguageModel::output_and_loss`], with one set of gradients for each shard.
    pub(crate) fn losses_and_gradients(
        &self,
        workspace: &mut Workspace<B>,
        gradients: &mut [ParameterSet<B>],
    ) -> Result<()> {
        gradients.iter_mut().try_for_each(|shard| ops::fill(&self.backend, 0.0, shard.flat_mut()))?;
        self.losses(workspace, Some(gradients), None)
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

    /// Logits, losses and gradients, chunk by chunk, so that the logits of a large vocabulary are never all in memory.
    fn losses(
        &self,
        workspace: &mut Workspace<B>,
        mut gradients: Option<&mut [ParameterSet<B>]>,
        mut inspect: Option<&mut InspectLogits<'_, B>>,
    ) -> Result<()> {
        let scale = 1.0 / workspace.minibatch_rows() as f32;
        let rows_per_shard = workspace.rows() / workspace.num_shards();
        if let Workspace { shards: Some(shards), memory, regularization, regularized_output, .. } = &mut *workspace {
            shards.gather(&self.backend, regularized_output.view(regularization, &self.stack, memory))?;
        }
        for rows in workspace.chunks() {
            let logits = self.logits(workspace, rows.clone())?;
            if let Some(inspect) = inspect.as_deref_mut() {
                inspect(rows.clone(), logits)?;
            }
            let Workspace {
                targets,
                memory,
                logits,
                losses,
                grad_output,
                regularization,
                regularized_output,
                shards,
                ..
            } = &mut *workspace;
            let by_shard = shards.as_mut().and_then(ShardOrder::copies_mut);
            let chunk = 0..rows.len();
            let losses = losses.view_mut().rows(rows.clone());
            let grad_logits = logits.view_mut().rows(chunk.clone());
            let smoothing = regularization.label_smoothing;
            ops::softmax_cross_entropy(&self.backend, scale, smoothing, targets, rows.clone(), grad_logits, losses)?;
            if let Some(gradients) = gradients.as_deref_mut() {
                let (y, grad_y) = match by_shard {
                    Some([y, grad_y]) => (y.view(), grad_y.view_mut()),
                    None => (regularized_output.view(regularization, &self.stack, memory), grad_output.view_mut()),
                };
                let shard = &mut gradients[rows.start / rows_per_shard];
                let (y, grad_y, grad_logits) = (y.rows(rows.clone()), grad_y.rows(rows), logits.view().rows(chunk));
                self.output.backward(&self.backend, &self.parameters, y, grad_logits, grad_y, shard)?;
            }
        }
        let batch_sizes = [workspace.batch_size, workspace.minibatch_batch_size()];
        let num_shards = workspace.num_shards();
        let Workspace { memory, grad_output, regularization, regularized_output, shards, losses, loss_sums, .. } =
            workspace;
        if gradients.is_some() {
            if let Some(shards) = shards {
                shards.scatter(&self.backend, grad_output)?;
            }
            let layers = (&self.stack, &*memory);
            regularized_output.backward(&self.backend, regularization, layers, batch_sizes, grad_output)?;
        }
        for shard in 0..num_shards {
            let losses = losses.view().rows(shard * rows_per_shard..(shard + 1) * rows_per_shard);
            ops::sum(&self.backend, losses, loss_sums.view_mut().rows(shard..shard + 1))?;
        }
        Ok(())
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
