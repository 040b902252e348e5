//! The recurrent part of a model, `torch.nn.{RNN,GRU,LSTM}`: several layers of one or two directions, with dropout between
//! them.

use rnnlm_tensor::{Backend, Mask, Tensor, View, ViewMut, ops};

use crate::recurrence::reference;
use crate::{
    Adjoint, Cell, Direction, Error, ExecutionPath, Gradients, Input, Layer, ParameterLayout, ParameterSet, Pass,
    Recurrence, Result, Tape,
};

/// The sizes of a stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StackConfig {
    /// The cell of every layer.
    pub cell: Cell,
    /// **D** of the lowest layer.
    pub input_size: usize,
    /// **H** of every layer and direction.
    pub hidden_size: usize,
    /// **L**.
    pub num_layers: usize,
    /// Whether each layer has a second direction, which reads the sequence in reverse.
    pub bidirectional: bool,
}

impl StackConfig {
    /// 1, or 2 for a bidirectional stack.
    pub fn num_directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// The features of the stack's output: `directions · H`.
    pub fn output_size(&self) -> usize {
        self.num_directions() * self.hidden_size
    }
}

/// Layers in PyTorch's order: layer 0 forward, layer 0 reverse, layer 1 forward, …
#[derive(Clone, Debug)]
pub struct Stack {
    config: StackConfig,
    layers: Vec<Layer>,
}

/// The recurrent state: for each layer and direction a matrix `[N, H]`, concatenated by rows.
#[derive(Debug)]
pub struct State<B: Backend> {
    /// `[L·directions·N, H]`.
    pub hidden: Tensor<B>,
    /// `[L·directions·N, H]` for an LSTM, else no columns.
    pub cell: Tensor<B>,
}

impl<B: Backend> State<B> {
    /// Sets the state to zero.
    ///
    /// # Errors
    /// If the device fails.
    pub fn reset(&mut self, backend: &B) -> Result<()> {
        ops::fill(backend, 0.0, self.hidden.view_mut())?;
        Ok(ops::fill(backend, 0.0, self.cell.view_mut())?)
    }
}

/// The memory of a stack for sequences of `T` steps of `N` rows, allocated once.
#[derive(Debug)]
pub struct StackMemory<B: Recurrence> {
    layers: Vec<LayerMemory<B>>,
    between: Between<B>,
    /// `[T·N, directions·H]`: the gradient of a layer's output and that of its input.
    grad_between: [Tensor<B>; 2],
    /// Layers below the last.
    num_lower_layers: usize,
    /// Whether [`Stack::backward`] computes the gradient of the initial state.
    initial_gradients: bool,
    /// The path that was requested.
    path: ExecutionPath,
    /// `T·N` flags of the last [`StackMemory::set_starts`], in the form of the device.
    starts: Vec<u32>,
}

/// What a layer reads of the layer below it, where that is not simply its output.
#[derive(Debug)]
struct Between<B: Backend> {
    /// `[T·N, directions·H]` of each layer, if there are two directions: their outputs, concatenated by columns.
    joined: Vec<Tensor<B>>,
    /// The dropout mask between layers.
    mask: Option<Mask>,
    /// `[T·N, directions·H]` of each layer but the last: its output after dropout. Empty until the first mask.
    dropped: Vec<Tensor<B>>,
}

impl<B: Recurrence> Between<B> {
    /// The output of layer `index`, both directions.
    fn output<'a>(&'a self, layers: &'a [LayerMemory<B>], index: usize) -> View<'a, B> {
        match self.joined.get(index) {
            Some(joined) => joined.view(),
            None => layers[index].tape.output(),
        }
    }

    /// The input of layer `index`, given the layers below it and the input of the stack.
    fn input<'a>(&'a self, input: Input<'a, B>, below: &'a [LayerMemory<B>], index: usize) -> Input<'a, B> {
        match (index.checked_sub(1), self.mask) {
            (None, _) => input,
            (Some(lower), None) => Input::Dense(self.output(below, lower)),
            (Some(lower), Some(_)) => Input::Dense(self.dropped[lower].view()),
        }
    }

    /// The mask between layer `lower` and the next.
    fn mask_above(&self, lower: usize) -> Option<Mask> {
        self.mask.map(|mask| Mask { layer: lower as u32, ..mask })
    }
}

/// The memory of one layer and direction.
#[derive(Debug)]
pub(crate) struct LayerMemory<B: Recurrence> {
    tape: Tape<B>,
    adjoint: Adjoint<B>,
    plan: Option<B::Plan>,
    /// Whether the plan is not used, because it cannot start sequences inside a minibatch.
    is_plan_disabled: bool,
}

impl<B: Recurrence> StackMemory<B> {
    /// The tape of one layer and direction, in PyTorch's order.
    pub fn tape(&self, index: usize) -> &Tape<B> {
        &self.layers[index].tape
    }

    /// The gradients of one layer and direction, in PyTorch's order.
    pub fn adjoint(&self, index: usize) -> &Adjoint<B> {
        &self.layers[index].adjoint
    }

    /// Omits the gradient of the initial state from the backward pass, which saves a multiplication.
    #[must_use]
    pub fn without_initial_gradients(self) -> Self {
        Self { initial_gradients: false, ..self }
    }

    /// Sets the dropout mask between layers, `dropout` of `torch.nn.{RNN,GRU,LSTM}`, until the next call; the index of the layer
    /// is set here. `None` drops nothing.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn set_dropout_mask(&mut self, backend: &B, mask: Option<Mask>) -> Result<()> {
        let Between { mask: current, dropped, .. } = &mut self.between;
        let missing = if mask.is_some() { self.num_lower_layers.saturating_sub(dropped.len()) } else { 0 };
        let [rows, width] = self.grad_between[0].shape();
        for _ in 0..missing {
            dropped.push(Tensor::padded(backend, rows, width)?);
        }
        *current = mask;
        Ok(())
    }

    /// Sets the rows that start a sequence, such as a document, until the next call. `starts` has `T·N` flags in the order of
    /// the input's rows, step by step. Where row `n` starts at step `t`, step `t` reads zeros instead of the state of row `n`
    /// in every layer, and no gradient flows back to the step before, or to the initial state if `t = 0`. `None`, as
    /// initially, carries every state through all steps.
    ///
    /// The flags apply to [`Stack::forward`] and to the [`Stack::backward`] that reverses it; in between, they must not
    /// change. The first call with flags allocates memory: a copy of the states of every step. On a device whose fused path
    /// has no starts ([`Recurrence::has_fused_starts`]), [`ExecutionPath::Auto`] takes the reference path while they are set.
    ///
    /// # Errors
    /// If the stack is bidirectional, if there are not `T·N` flags, if the path is [`ExecutionPath::Fused`] and has no
    /// starts, or if the device fails or is out of memory.
    pub fn set_starts(&mut self, backend: &B, starts: Option<&[bool]>) -> Result<()> {
        let mut disables_plans = false;
        if let Some(flags) = starts {
            if self.layers.iter().any(|layer| layer.tape.direction() == Direction::Reverse) {
                return Err(Error::BidirectionalStarts);
            }
            let expected = self.layers[0].tape.dims().rows();
            if flags.len() != expected {
                let (op, what, found) = ("set_starts", "flags", flags.len());
                return Err(rnnlm_tensor::Error::Length { op, what, expected, found }.into());
            }
            disables_plans = !backend.has_fused_starts();
            if disables_plans && self.path == ExecutionPath::Fused {
                return Err(Error::NoFusedStarts { device: backend.name() });
            }
            self.starts.clear();
            self.starts.extend(flags.iter().copied().map(u32::from));
        }
        for layer in &mut self.layers {
            layer.is_plan_disabled = disables_plans;
            layer.tape.set_starts(backend, starts.and(Some(&self.starts)))?;
        }
        Ok(())
    }

    /// Applies dropout to the output of layer `lower`, if there is a mask.
    fn apply_dropout(&mut self, backend: &B, lower: usize) -> Result<()> {
        let Some(mask) = self.between.mask_above(lower) else { return Ok(()) };
        let Between { joined, dropped, .. } = &mut self.between;
        let output = joined.get(lower).map_or_else(|| self.layers[lower].tape.output(), Tensor::view);
        ops::copy(backend, output, dropped[lower].view_mut())?;
        Ok(ops::dropout(backend, mask, dropped[lower].view_mut())?)
    }

    /// The path in use: fused only if every layer is.
    pub fn path(&self) -> ExecutionPath {
        if self.layers.iter().all(|layer| layer.plan.is_some() && !layer.is_plan_disabled) {
            ExecutionPath::Fused
        } else {
            ExecutionPath::Reference
        }
    }
}

impl Stack {
    /// Appends the parameters of all layers to `layout`.
    ///
    /// # Errors
    /// If a size is 0 or the sizes overflow.
    pub fn new(layout: &mut ParameterLayout, config: StackConfig) -> Result<Self> {
        if config.num_layers == 0 {
            return Err(Error::ZeroSize { name: "num_layers", value: 0 });
        }
        let directions: &[_] =
            if config.bidirectional { &[Direction::Forward, Direction::Reverse] } else { &[Direction::Forward] };
        let mut layers = Vec::with_capacity(directions.len());
        for index in 0..config.num_layers {
            let input_size = if index == 0 { config.input_size } else { config.output_size() };
            for &direction in directions {
                layers.push(Layer::new(layout, index, config.cell, direction, [input_size, config.hidden_size])?);
            }
        }
        Ok(Self { config, layers })
    }

    /// The sizes.
    pub fn config(&self) -> StackConfig {
        self.config
    }

    /// Layers and directions, in PyTorch's order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// A state of zeros for `batch_size` rows.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn zero_state<B: Backend>(&self, backend: &B, batch_size: usize) -> Result<State<B>> {
        let (rows, h) = (self.layers.len() * batch_size, self.config.hidden_size);
        let cell = self.config.cell.widths(h).cell;
        Ok(State { hidden: Tensor::zeros(backend, rows, h)?, cell: Tensor::zeros(backend, rows, cell)? })
    }

    /// Memory for sequences of `num_steps` steps of `batch_size` rows on the given path.
    ///
    /// # Errors
    /// If the device is out of memory, or `path` is `ExecutionPath::Fused` and a layer has no fused path.
    pub fn memory<B: Recurrence>(
        &self,
        backend: &B,
        path: ExecutionPath,
        [num_steps, batch_size]: [usize; 2],
    ) -> Result<StackMemory<B>> {
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let dims = layer.dims(num_steps, batch_size);
            let widths = layer.cell.widths(layer.hidden_size);
            let plan = match path {
                ExecutionPath::Reference => None,
                ExecutionPath::Auto => backend.plan(layer, dims)?,
                ExecutionPath::Fused => Some(backend.plan(layer, dims)?.ok_or_else(|| Error::NoFusedPath {
                    cell: layer.cell.name(),
                    hidden_size: layer.hidden_size,
                    device: backend.name(),
                })?),
            };
            layers.push(LayerMemory {
                tape: Tape::new(backend, widths, layer.direction, dims)?,
                adjoint: Adjoint::new(backend, widths, dims)?,
                plan,
                is_plan_disabled: false,
            });
        }
        let (rows, width) = (num_steps * batch_size, self.config.output_size());
        let joined = if self.config.bidirectional { self.config.num_layers } else { 0 };
        let between = if self.config.num_layers > 1 { width } else { 0 };
        Ok(StackMemory {
            layers,
            between: Between {
                joined: (0..joined).map(|_| Tensor::padded(backend, rows, width)).collect::<Result<_, _>>()?,
                mask: None,
                dropped: Vec::new(),
            },
            grad_between: [Tensor::padded(backend, rows, between)?, Tensor::padded(backend, rows, between)?],
            num_lower_layers: self.config.num_layers - 1,
            initial_gradients: true,
            path,
            starts: Vec::new(),
        })
    }

    /// The output of the last forward pass, `[T·N, directions·H]`.
    pub fn output<'a, B: Recurrence>(&self, memory: &'a StackMemory<B>) -> View<'a, B> {
        memory.between.output(&memory.layers, self.config.num_layers - 1)
    }

    /// Runs every layer from `state` and replaces it by the final state: `x [T·N, D] → output [T·N, directions·H]`.
    ///
    /// # Errors
    /// If shapes do not fit what `memory` was made for, an id is not below `D`, or the device fails.
    pub fn forward<B: Recurrence>(
        &self,
        backend: &B,
        parameters: &ParameterSet<B>,
        input: Input<'_, B>,
        state: &mut State<B>,
        memory: &mut StackMemory<B>,
    ) -> Result<()> {
        let directions = self.config.num_directions();
        for index in 0..self.config.num_layers {
            if let Some(lower) = index.checked_sub(1) {
                memory.apply_dropout(backend, lower)?;
            }
            for direction in 0..directions {
                let position = index * directions + direction;
                // a layer reads the memory of the one below it
                let (below, rest) = memory.layers.split_at_mut(position);
                let input = memory.between.input(input, below, index);
                let pass = Pass { layer: &self.layers[position], parameters, input };
                rest[0].forward(backend, &pass, state, position)?;
                if let Some(joined) = memory.between.joined.get_mut(index) {
                    let h = self.config.hidden_size;
                    let columns = direction * h..(direction + 1) * h;
                    ops::copy(backend, rest[0].tape.output(), joined.view_mut().cols(columns))?;
                }
            }
        }
        Ok(())
    }

    /// The reverse of [`Stack::forward`]: from `grad_output [T·N, directions·H]` to the gradients of the parameters and, if
    /// requested, `grad_input [T·N, D]`, both accumulated. The final state is detached and has no gradient.
    ///
    /// # Errors
    /// If shapes do not fit what `memory` was made for, or the device fails.
    pub fn backward<B: Recurrence>(
        &self,
        backend: &B,
        parameters: &ParameterSet<B>,
        input: Input<'_, B>,
        grad_output: View<'_, B>,
        memory: &mut StackMemory<B>,
        gradients: &mut ParameterSet<B>,
        mut grad_input: Option<ViewMut<'_, B>>,
    ) -> Result<()> {
        let (directions, h) = (self.config.num_directions(), self.config.hidden_size);
        let StackMemory { layers, between, grad_between, initial_gradients, .. } = memory;
        let [mut above, mut below_gradient] = grad_between.each_mut();
        for index in (0..self.config.num_layers).rev() {
            let is_top = index + 1 == self.config.num_layers;
            if index > 0 {
                ops::fill(backend, 0.0, below_gradient.view_mut())?;
            }
            for direction in (0..directions).rev() {
                let position = index * directions + direction;
                let (below, rest) = layers.split_at_mut(position);
                let input = between.input(input, below, index);
                let pass = Pass { layer: &self.layers[position], parameters, input };
                let output = if is_top { grad_output } else { above.view() };
                let LayerMemory { tape, adjoint, plan, is_plan_disabled } = &mut rest[0];
                adjoint.detach(backend)?;
                let gradients = Gradients {
                    output: output.cols(direction * h..(direction + 1) * h),
                    adjoint,
                    parameters: gradients,
                    input: match index {
                        0 => grad_input.as_mut().map(|out| ViewMut::new(&mut *out.buffer, out.layout)),
                        _ => Some(below_gradient.view_mut()),
                    },
                    initial_state: *initial_gradients,
                };
                match plan {
                    Some(plan) if !*is_plan_disabled => backend.fused_backward(plan, &pass, tape, gradients)?,
                    _ => reference::backward(backend, &pass, tape, gradients)?,
                }
            }
            if let Some(mask) = index.checked_sub(1).and_then(|lower| between.mask_above(lower)) {
                ops::dropout(backend, mask, below_gradient.view_mut())?;
            }
            std::mem::swap(&mut above, &mut below_gradient);
        }
        Ok(())
    }
}

impl<B: Recurrence> LayerMemory<B> {
    /// Reads the layer's rows of the state, runs the forward pass and writes the final state back.
    fn forward(&mut self, backend: &B, pass: &Pass<'_, B>, state: &mut State<B>, position: usize) -> Result<()> {
        let n = self.tape.dims().batch_size;
        let (rows, initial, last) = (position * n..(position + 1) * n, self.tape.initial(), self.tape.last());
        let Self { tape, adjoint, plan, is_plan_disabled } = self;
        ops::copy(backend, state.hidden.view().rows(rows.clone()), tape.hidden.view_mut().rows(initial.clone()))?;
        ops::copy(backend, state.cell.view().rows(rows.clone()), tape.cell.view_mut().rows(initial))?;
        match plan {
            Some(plan) if !*is_plan_disabled => backend.fused_forward(plan, pass, tape)?,
            _ => reference::forward(backend, pass, tape, adjoint)?,
        }
        ops::copy(backend, tape.hidden.view().rows(last.clone()), state.hidden.view_mut().rows(rows.clone()))?;
        Ok(ops::copy(backend, tape.cell.view().rows(last), state.cell.view_mut().rows(rows))?)
    }
}
