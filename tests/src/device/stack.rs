//! Recurrent layers on a device: everything in the tape and the adjoint, copied to the host in the order of time.

use rnnlm_rnn::{ExecutionPath, Input, ParameterLayout, ParameterSet, Recurrence, Stack, StackConfig, StackMemory};
use rnnlm_tensor::Tensor;

use crate::Result;

/// The lowest layer's input, on the host.
#[derive(Clone, Debug)]
pub enum Features {
    /// `[T·N, D]`.
    Dense(Vec<f32>),
    /// `T·N` ids.
    OneHot(Vec<u32>),
}

/// The inputs of a stack's forward and backward passes.
#[derive(Clone, Debug)]
pub struct StackInputs {
    /// The stack's configuration.
    pub config: StackConfig,
    /// **T**.
    pub num_steps: usize,
    /// **N**.
    pub batch_size: usize,
    /// Every parameter, in the order of the layout.
    pub parameters: Vec<f32>,
    /// One or more minibatches, with the state carried between them.
    pub minibatches: Vec<Features>,
    /// `[L·directions·N, H]`: the hidden state before the first minibatch.
    pub hidden: Vec<f32>,
    /// The cell state of an LSTM, in the same shape, else empty.
    pub cell: Vec<f32>,
    /// `[T·N, directions·H]`: ∂loss/∂output for the last minibatch.
    pub grad_output: Vec<f32>,
    /// `T·N` flags of the rows that start a sequence, in every minibatch; empty for no starts.
    pub starts: Vec<bool>,
    /// Whether the state is carried; false only as a perturbation.
    pub carries_state: bool,
}

/// A stack's results on the last minibatch.
#[derive(Clone, Debug)]
pub struct StackOutputs {
    /// Every layer and direction, in PyTorch's order.
    pub layers: Vec<LayerOutputs>,
    /// `[T·N, directions·H]`.
    pub output: Vec<f32>,
    /// `[L·directions·N, H]`: the final hidden state.
    pub hidden: Vec<f32>,
    /// The final cell state of an LSTM, in the same shape, else empty.
    pub cell: Vec<f32>,
    /// Every parameter's gradient.
    pub gradients: Vec<NamedTensor>,
    /// `[T·N, D]`: the gradient of a dense input; none for ids.
    pub grad_input: Option<Vec<f32>>,
}

/// One layer in one direction.
#[derive(Clone, Debug, Default)]
pub struct LayerOutputs {
    /// `[T·N, G·H]`, activated; empty for an Elman cell.
    pub gates: Vec<f32>,
    /// `[T·N, H]`: the hidden state after each step.
    pub hidden: Vec<f32>,
    /// `[T·N, H]`: the cell state after each step of an LSTM, else empty.
    pub cell: Vec<f32>,
    /// `[T·N, H]`: the operand or result of a GRU's reset gate, else empty.
    pub candidate: Vec<f32>,
    /// `[T·N, G·H]`: gradients of the pre-activations.
    pub grad_gates: Vec<f32>,
    /// `[N, H]`: gradient of the initial hidden state.
    pub grad_hidden: Vec<f32>,
    /// `[N, H]`: gradient of the initial cell state of an LSTM, else empty.
    pub grad_cell: Vec<f32>,
}

/// A parameter or its gradient, by name.
#[derive(Clone, Debug)]
pub struct NamedTensor {
    /// PyTorch's name.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// The values in row-major order.
    pub values: Vec<f32>,
}

/// A stack and the layout of its parameters.
pub(crate) fn layout(config: StackConfig) -> Result<(Stack, ParameterLayout)> {
    let mut layout = ParameterLayout::default();
    let stack = Stack::new(&mut layout, config)?;
    Ok((stack, layout))
}

/// Copies a parameter set to the host, by name.
pub(super) fn named<B: Recurrence>(backend: &B, set: &ParameterSet<B>) -> Result<Vec<NamedTensor>> {
    let values = set.to_vec(backend)?;
    let specs = set.layout().specs().iter();
    let named = specs.map(|spec| NamedTensor {
        name: spec.name.clone(),
        shape: spec.shape.clone(),
        values: values[spec.range()].to_vec(),
    });
    Ok(named.collect())
}

/// The lowest layer's input, on the device.
enum OnDevice<B: Recurrence> {
    Dense(Tensor<B>),
    OneHot(B::Indices),
}

impl<B: Recurrence> OnDevice<B> {
    fn new(backend: &B, features: &Features, width: usize) -> Result<Self> {
        Ok(match features {
            Features::Dense(x) => Self::Dense(Tensor::from_slice(backend, x.len() / width, width, x)?),
            Features::OneHot(ids) => {
                let mut indices = backend.allocate_indices(ids.len())?;
                backend.write_indices(ids, &mut indices)?;
                Self::OneHot(indices)
            }
        })
    }

    fn input(&self) -> Input<'_, B> {
        match self {
            Self::Dense(x) => Input::Dense(x.view()),
            Self::OneHot(ids) => Input::OneHot(ids),
        }
    }
}

pub(super) fn run<B: Recurrence>(backend: &B, path: ExecutionPath, inputs: &StackInputs) -> Result<StackOutputs> {
    let (stack, layout) = layout(inputs.config)?;
    let mut parameters = ParameterSet::zeros(backend, &layout)?;
    parameters.write(backend, &inputs.parameters)?;
    let mut memory = stack.memory(backend, path, [inputs.num_steps, inputs.batch_size])?;
    if !inputs.starts.is_empty() {
        memory.set_starts(backend, Some(&inputs.starts))?;
    }
    let mut state = stack.zero_state(backend, inputs.batch_size)?;
    state.hidden.write(backend, &inputs.hidden)?;
    state.cell.write(backend, &inputs.cell)?;
    let mut last = None;
    for (index, features) in inputs.minibatches.iter().enumerate() {
        if index > 0 && !inputs.carries_state {
            state.reset(backend)?;
        }
        let input = OnDevice::new(backend, features, inputs.config.input_size)?;
        stack.forward(backend, &parameters, input.input(), &mut state, &mut memory)?;
        last = Some(input);
    }
    let output = stack.output(&memory).to_vec(backend)?;
    // The backward pass may overwrite the gates.
    let mut layers = tapes(backend, &stack, &memory)?;
    let (gradients, grad_input) = match last {
        Some(input) => backward(backend, &stack, inputs, &parameters, &input, &mut memory)?,
        None => (Vec::new(), None),
    };
    for (index, layer) in layers.iter_mut().enumerate() {
        let adjoint = memory.adjoint(index);
        layer.grad_gates = adjoint.gates.to_vec(backend)?;
        layer.grad_hidden = adjoint.hidden.to_vec(backend)?;
        layer.grad_cell = adjoint.cell.to_vec(backend)?;
    }
    let (hidden, cell) = (state.hidden.to_vec(backend)?, state.cell.to_vec(backend)?);
    Ok(StackOutputs { layers, output, hidden, cell, gradients, grad_input })
}

type Gradients = (Vec<NamedTensor>, Option<Vec<f32>>);

fn backward<B: Recurrence>(
    backend: &B,
    stack: &Stack,
    inputs: &StackInputs,
    parameters: &ParameterSet<B>,
    input: &OnDevice<B>,
    memory: &mut StackMemory<B>,
) -> Result<Gradients> {
    let (rows, config) = (inputs.num_steps * inputs.batch_size, inputs.config);
    let grad_output = Tensor::from_slice(backend, rows, config.output_size(), &inputs.grad_output)?;
    let mut gradients = ParameterSet::zeros(backend, parameters.layout())?;
    let mut grad_input = match input {
        OnDevice::Dense(_) => Some(Tensor::zeros(backend, rows, config.input_size)?),
        OnDevice::OneHot(_) => None,
    };
    stack.backward(
        backend,
        parameters,
        input.input(),
        grad_output.view(),
        memory,
        std::slice::from_mut(&mut gradients),
        grad_input.as_mut().map(Tensor::view_mut),
    )?;
    let grad_input = grad_input.map(|tensor| tensor.to_vec(backend)).transpose()?;
    Ok((named(backend, &gradients)?, grad_input))
}

/// Copies the tape of every layer to the host.
fn tapes<B: Recurrence>(backend: &B, stack: &Stack, memory: &StackMemory<B>) -> Result<Vec<LayerOutputs>> {
    let layers = (0..stack.layers().len()).map(|index| {
        let tape = memory.tape(index);
        Ok(LayerOutputs {
            gates: tape.gates.to_vec(backend)?,
            hidden: tape.output().to_vec(backend)?,
            cell: tape.cell_output().to_vec(backend)?,
            candidate: tape.candidate.to_vec(backend)?,
            grad_gates: Vec::new(),
            grad_hidden: Vec::new(),
            grad_cell: Vec::new(),
        })
    });
    layers.collect()
}
