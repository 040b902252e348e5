//! The language model: one-hot or embedded input, recurrent layers, output layer, under the parameter names of the book's `RNNModel`
//! (attributes `rnn`, `linear` and `embedding`). `forward`, `loss`, and the mirror of `forward`, `backward`.

use std::ops::Range;

use rnnlm_rnn::{ExecutionPath, Input, ParameterLayout, ParameterSet, Recurrence, Stack, StackMemory, State};
use rnnlm_tensor::{Mask, Tensor, View, ops};
use rnnlm_vocab::Minibatch;

use crate::embedding::{Embedded, Embedding};
use crate::output::{LOGITS_BYTES, OutputLayer};
use crate::{Error, Init, ModelConfig, Result, init};

/// A model on a device.
#[derive(Debug)]
pub struct LanguageModel<B: Recurrence> {
    backend: B,
    config: ModelConfig,
    path: ExecutionPath,
    parameters: ParameterSet<B>,
    /// None where the input is one-hot.
    embedding: Option<Embedding>,
    stack: Stack,
    output: OutputLayer,
    logits_bytes: usize,
}

/// What a model is made of, and the list of all its parameters.
struct Parts {
    layout: ParameterLayout,
    embedding: Option<Embedding>,
    stack: Stack,
    output: OutputLayer,
}

impl Parts {
    fn new(config: &ModelConfig) -> Result<Self> {
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

/// The list of all parameters of a model, which needs no device.
pub(crate) fn layout(config: &ModelConfig) -> Result<ParameterLayout> {
    Ok(Parts::new(config)?.layout)
}

/// Everything that a minibatch of one size needs: allocated once, overwritten by every step.
#[derive(Debug)]
pub struct Workspace<B: Recurrence> {
    num_steps: usize,
    batch_size: usize,
    inputs: B::Indices,
    targets: B::Indices,
    /// What the embedding wrote; none where the input is one-hot.
    embedded: Option<Embedded<B>>,
    memory: StackMemory<B>,
    /// `[rows at a time, V]`: logits of some rows, their gradient after the loss.
    logits: Tensor<B>,
    /// The packed weight of the output layer.
    output_cache: B::LinearCache,
    /// `[T·N, 1]`: negative log likelihood of each target.
    losses: Tensor<B>,
    /// `[T·N, directions·H]`: gradient of the recurrent layers' output.
    grad_output: Tensor<B>,
    /// `[1, 1]`.
    loss_sum: Tensor<B>,
}

impl<B: Recurrence> Workspace<B> {
    /// Stage 3: hands the ids of a minibatch to the device.
    ///
    /// # Errors
    /// If the minibatch has another size than this workspace, or the device fails.
    pub fn load(&mut self, backend: &B, minibatch: &Minibatch) -> Result<()> {
        backend.write_indices(&minibatch.inputs, &mut self.inputs)?;
        Ok(backend.write_indices(&minibatch.targets, &mut self.targets)?)
    }

    /// [`Workspace::load`] of minibatch number `index` of `inputs` and `targets`, which the device has already.
    ///
    /// # Errors
    /// If there is no such minibatch, or the device fails.
    pub(crate) fn take(&mut self, backend: &B, [inputs, targets]: &[B::Indices; 2], index: usize) -> Result<()> {
        let offset = index * self.rows();
        backend.copy_indices(inputs, offset, &mut self.inputs)?;
        Ok(backend.copy_indices(targets, offset, &mut self.targets)?)
    }

    /// Drops outputs of layers on their way to the next, as the mask says, until this is called again; `None` drops nothing.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn drop_out(&mut self, backend: &B, mask: Option<Mask>) -> Result<()> {
        Ok(self.memory.set_dropout_mask(backend, mask)?)
    }

    /// The rows of a minibatch, `T·N`.
    pub fn rows(&self) -> usize {
        self.num_steps * self.batch_size
    }

    /// What the recurrent layers left behind.
    pub fn memory(&self) -> &StackMemory<B> {
        &self.memory
    }

    /// `[rows, V]`: the logits that [`LanguageModel::logits`] left, or after [`LanguageModel::loss`] the gradient of the last
    /// ones; the rows of the minibatch, all of them unless `V` is so large that they are worked through some at a time.
    pub fn logits(&self) -> View<'_, B> {
        self.logits.view()
    }

    /// `[1, 1]`: the sum of the negative log likelihoods of the targets, in nats.
    pub fn loss_sum(&self) -> View<'_, B> {
        self.loss_sum.view()
    }

    /// The rows whose logits are held at a time, one range after the other.
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<B> {
        let (rows, [at_a_time, _]) = (self.rows(), self.logits.shape());
        (0..rows).step_by(at_a_time).map(move |first| first..rows.min(first + at_a_time))
    }
}

impl<B: Recurrence> LanguageModel<B> {
    /// A model with all parameters zero, on the given path.
    ///
    /// # Errors
    /// If a size is 0 or absurd or does not allow tied weights, or the device has no room.
    pub fn new(backend: &B, config: &ModelConfig, path: ExecutionPath) -> Result<Self> {
        let Parts { layout, embedding, stack, output } = Parts::new(config)?;
        let parameters = ParameterSet::zeros(backend, &layout)?;
        let (backend, config) = (backend.clone(), config.clone());
        Ok(Self { backend, config, path, parameters, embedding, stack, output, logits_bytes: LOGITS_BYTES })
    }

    /// Bounds the memory for logits, 64 MB unless this is called; a row is held in any case. Sums over the rows of a
    /// minibatch are taken in as many parts.
    #[must_use]
    pub fn with_logits_bytes(self, logits_bytes: usize) -> Self {
        Self { logits_bytes, ..self }
    }

    /// Draws every parameter.
    ///
    /// # Errors
    /// If the device fails.
    pub fn initialize(&mut self, init: Init, seed: u64) -> Result<()> {
        let values = init::draw(self.parameters.layout(), init, seed);
        Ok(self.parameters.write(&self.backend, &values)?)
    }

    /// Its sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device it lives on.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// All parameters.
    pub fn parameters(&self) -> &ParameterSet<B> {
        &self.parameters
    }

    /// All parameters, to write.
    pub fn parameters_mut(&mut self) -> &mut ParameterSet<B> {
        &mut self.parameters
    }

    /// A state of zeros for `batch_size` rows.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn zero_state(&self, batch_size: usize) -> Result<State<B>> {
        Ok(self.stack.zero_state(&self.backend, batch_size)?)
    }

    /// Memory for minibatches of `num_steps` steps of `batch_size` rows.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn workspace(&self, num_steps: usize, batch_size: usize) -> Result<Workspace<B>> {
        let (backend, rows) = (&self.backend, num_steps * batch_size);
        let at_a_time = self.output.rows_within(self.logits_bytes).min(rows);
        Ok(Workspace {
            num_steps,
            batch_size,
            inputs: backend.allocate_indices(rows)?,
            targets: backend.allocate_indices(rows)?,
            embedded: self.embedding.as_ref().map(|embedding| embedding.memory(backend, rows)).transpose()?,
            memory: self.stack.memory(backend, self.path, [num_steps, batch_size])?.without_initial_gradients(),
            logits: Tensor::padded(backend, at_a_time, self.config.vocab_size)?,
            output_cache: B::LinearCache::default(),
            losses: Tensor::zeros(backend, rows, 1)?,
            grad_output: Tensor::padded(backend, rows, self.stack.config().output_size())?,
            loss_sum: Tensor::zeros(backend, 1, 1)?,
        })
    }

    /// Stages 4 and 5: from the loaded ids to the recurrent layers' output; `state` becomes the state after the last step.
    ///
    /// # Errors
    /// If an id is outside the vocabulary, or the device fails.
    pub fn forward(&self, workspace: &mut Workspace<B>, state: &mut State<B>) -> Result<()> {
        let Workspace { inputs, embedded, memory, .. } = workspace;
        let input = match (&self.embedding, embedded) {
            (Some(embedding), Some(embedded)) => {
                embedding.forward(&self.backend, &self.parameters, inputs, embedded)?;
                Input::Dense(embedded.x.view())
            }
            _ => Input::OneHot(inputs),
        };
        Ok(self.stack.forward(&self.backend, &self.parameters, input, state, memory)?)
    }

    /// The logits of some rows of the minibatch, `[rows, V]`, as many as the workspace holds at a time.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If there are more rows than that.
    pub fn logits<'a>(&self, workspace: &'a mut Workspace<B>, rows: Range<usize>) -> Result<View<'a, B>> {
        let Workspace { memory, logits, output_cache, .. } = workspace;
        let (y, len) = (self.stack.output(memory).rows(rows.clone()), rows.len());
        self.output.forward(&self.backend, &self.parameters, output_cache, y, logits.view_mut().rows(0..len))?;
        Ok(logits.view().rows(0..len))
    }

    /// Stage 6: the mean negative log likelihood of the loaded targets, in nats. Leaves the gradient of the layers' output
    /// behind; `gradients` receives that of the output layer, and zeros for the rest.
    ///
    /// # Errors
    /// If a target is outside the vocabulary, or the device fails.
    pub fn loss(&self, workspace: &mut Workspace<B>, gradients: &mut ParameterSet<B>) -> Result<f32> {
        self.leave_loss(workspace, gradients)?;
        self.mean_loss(workspace)
    }

    /// [`LanguageModel::loss`] for who does not ask yet: the sum over the targets stays in [`Workspace::loss_sum`].
    ///
    /// # Errors
    /// As there.
    pub fn leave_loss(&self, workspace: &mut Workspace<B>, gradients: &mut ParameterSet<B>) -> Result<()> {
        ops::fill(&self.backend, 0.0, gradients.flat_mut())?;
        self.output_and_loss(workspace, Some(gradients))
    }

    /// [`LanguageModel::loss`] where nobody wants gradients.
    ///
    /// # Errors
    /// As there.
    pub fn score(&self, workspace: &mut Workspace<B>) -> Result<f32> {
        self.output_and_loss(workspace, None)?;
        self.mean_loss(workspace)
    }

    /// Logits, their loss and their gradient, one part of the rows after the other: a large vocabulary's are never all there.
    fn output_and_loss(&self, workspace: &mut Workspace<B>, mut gradients: Option<&mut ParameterSet<B>>) -> Result<()> {
        let (backend, parameters, count) = (&self.backend, &self.parameters, workspace.rows() as f32);
        for rows in workspace.chunks() {
            self.logits(workspace, rows.clone())?;
            let Workspace { targets, memory, logits, losses, grad_output, .. } = &mut *workspace;
            let (logits_now, losses) = (logits.view_mut().rows(0..rows.len()), losses.view_mut().rows(rows.clone()));
            ops::softmax_cross_entropy(backend, 1.0 / count, targets, rows.clone(), logits_now, losses)?;
            if let Some(gradients) = gradients.as_deref_mut() {
                let (y, grad_logits) =
                    (self.stack.output(memory).rows(rows.clone()), logits.view().rows(0..rows.len()));
                let grad_y = grad_output.view_mut().rows(rows);
                self.output.backward(backend, parameters, y, grad_logits, grad_y, gradients)?;
            }
        }
        Ok(ops::sum(backend, workspace.losses.view(), workspace.loss_sum.view_mut())?)
    }

    fn mean_loss(&self, workspace: &Workspace<B>) -> Result<f32> {
        Ok(self.scalar(&workspace.loss_sum)? / workspace.rows() as f32)
    }

    /// Stage 7: from the gradient of the layers' output to that of every parameter below, added to `gradients`. The mirror
    /// of [`LanguageModel::forward`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn backward(&self, workspace: &mut Workspace<B>, gradients: &mut ParameterSet<B>) -> Result<()> {
        let Workspace { inputs, embedded, memory, grad_output, .. } = workspace;
        let (backend, parameters) = (&self.backend, &self.parameters);
        let (Some(embedding), Some(embedded)) = (&self.embedding, embedded) else {
            let input = Input::OneHot(inputs);
            return Ok(self.stack.backward(backend, parameters, input, grad_output.view(), memory, gradients, None)?);
        };
        // the layers add to their input's gradient
        ops::fill(backend, 0.0, embedded.grad_x.view_mut())?;
        let (input, grad_x) = (Input::Dense(embedded.x.view()), Some(embedded.grad_x.view_mut()));
        self.stack.backward(backend, parameters, input, grad_output.view(), memory, gradients, grad_x)?;
        embedding.backward(backend, inputs, embedded, gradients)
    }

    /// The one element of a `[1, 1]` tensor.
    pub(crate) fn scalar(&self, tensor: &Tensor<B>) -> Result<f32> {
        let mut value = [0.0];
        self.backend.read(tensor.view().buffer, 0, &mut value)?;
        Ok(value[0])
    }
}
