//! The language model: one-hot or embedded input, recurrent layers, output layer, under the parameter names of the book's `RNNModel`
//! (attributes `rnn`, `linear` and `embedding`). `forward` and, right below it, its mirror `backward`.

use rnnlm_rnn::{Input, ParameterLayout, ParameterSet, Path, Recurrence, Stack, StackMemory, State};
use rnnlm_tensor::{Tensor, View, ops};
use rnnlm_vocab::Minibatch;

use crate::embedding::{Embedded, Embedding};
use crate::output::OutputLayer;
use crate::{Init, ModelConfig, Result, init};

/// A model on a device.
#[derive(Debug)]
pub struct LanguageModel<B: Recurrence> {
    backend: B,
    config: ModelConfig,
    path: Path,
    parameters: ParameterSet<B>,
    /// None where the input is one-hot.
    embedding: Option<Embedding>,
    stack: Stack,
    output: OutputLayer,
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
    /// `[T·N, V]`: logits after the forward pass, their gradient after the loss.
    logits: Tensor<B>,
    /// `[T·N, 1]`: negative log likelihood of each target.
    losses: Tensor<B>,
    /// `[T·N, H]`: gradient of the recurrent layers' output.
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

    /// The rows of a minibatch, `T·N`.
    pub fn rows(&self) -> usize {
        self.num_steps * self.batch_size
    }

    /// What the recurrent layers left behind.
    pub fn memory(&self) -> &StackMemory<B> {
        &self.memory
    }

    /// `[T·N, V]`: the logits, or after [`LanguageModel::loss`] their gradient.
    pub fn logits(&self) -> View<'_, B> {
        self.logits.view()
    }
}

impl<B: Recurrence> LanguageModel<B> {
    /// A model with all parameters zero, on the given path.
    ///
    /// # Errors
    /// If a size is 0 or absurd, or the device has no room.
    pub fn new(backend: &B, config: &ModelConfig, path: Path) -> Result<Self> {
        let mut layout = ParameterLayout::default();
        let embedding = match config.embedding_size {
            0 => None,
            size => Some(Embedding::new(&mut layout, config.vocab_size, size)?),
        };
        let stack = Stack::new(&mut layout, config.stack())?;
        let output = OutputLayer::new(&mut layout, stack.config().output_size(), config.vocab_size)?;
        let parameters = ParameterSet::zeros(backend, &layout)?;
        Ok(Self { backend: backend.clone(), config: config.clone(), path, parameters, embedding, stack, output })
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
        Ok(Workspace {
            num_steps,
            batch_size,
            inputs: backend.allocate_indices(rows)?,
            targets: backend.allocate_indices(rows)?,
            embedded: self.embedding.as_ref().map(|embedding| embedding.memory(backend, rows)).transpose()?,
            memory: self.stack.memory(backend, self.path, [num_steps, batch_size])?,
            logits: Tensor::zeros(backend, rows, self.config.vocab_size)?,
            losses: Tensor::zeros(backend, rows, 1)?,
            grad_output: Tensor::zeros(backend, rows, self.stack.config().output_size())?,
            loss_sum: Tensor::zeros(backend, 1, 1)?,
        })
    }

    /// Stages 4 to 6: from the loaded ids to logits; `state` becomes the state after the last step.
    ///
    /// # Errors
    /// If an id is outside the vocabulary, or the device fails.
    pub fn forward(&self, workspace: &mut Workspace<B>, state: &mut State<B>) -> Result<()> {
        let Workspace { inputs, embedded, memory, logits, .. } = workspace;
        let input = match (&self.embedding, embedded) {
            (Some(embedding), Some(embedded)) => {
                embedding.forward(&self.backend, &self.parameters, inputs, embedded)?;
                Input::Dense(embedded.x.view())
            }
            _ => Input::OneHot(inputs),
        };
        self.stack.forward(&self.backend, &self.parameters, input, state, memory)?;
        self.output.forward(&self.backend, &self.parameters, self.stack.output(memory), logits.view_mut())
    }

    /// Stage 6: the mean negative log likelihood of the loaded targets, in nats; logits become their gradient.
    ///
    /// # Errors
    /// If a target is outside the vocabulary, or the device fails.
    pub fn loss(&self, workspace: &mut Workspace<B>) -> Result<f32> {
        let rows = workspace.rows() as f32;
        let Workspace { targets, logits, losses, loss_sum, .. } = workspace;
        ops::softmax_cross_entropy(&self.backend, 1.0 / rows, targets, logits.view_mut(), losses.view_mut())?;
        ops::sum(&self.backend, losses.view(), loss_sum.view_mut())?;
        Ok(self.scalar(loss_sum)? / rows)
    }

    /// Stage 7: from the logits' gradient to every parameter's, which replaces what `gradients` held. The mirror of
    /// [`LanguageModel::forward`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn backward(&self, workspace: &mut Workspace<B>, gradients: &mut ParameterSet<B>) -> Result<()> {
        let Workspace { inputs, embedded, memory, logits, grad_output, .. } = workspace;
        let (backend, parameters) = (&self.backend, &self.parameters);
        ops::fill(backend, 0.0, gradients.flat_mut())?;
        let y = self.stack.output(memory);
        self.output.backward(backend, parameters, y, logits.view(), grad_output.view_mut(), gradients)?;
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
