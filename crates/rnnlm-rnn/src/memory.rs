//! The state of a stack between minibatches, and the memory of its passes.

mod between;
mod shards;

use rnnlm_tensor::{Backend, Mask, Tensor, View, ViewMut, ops};

use crate::config::StackConfig;
use crate::recurrence::reference;
use crate::shards::{LayerShards, ShardCopy, StackShards};
use crate::{
    Adjoint, Cell, Direction, DroppedWeight, Error, ExecutionPath, Gradients, Input, Layer, ParameterSet, Pass,
    Recurrence, Result, Tape,
};

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
    pub(crate) layers: Vec<LayerMemory<B>>,
    pub(crate) between: Between<B>,
    /// `[T·N, directions·H]`: the gradient of a layer's output and that of its input.
    pub(crate) grad_between: [Tensor<B>; 2],
    /// Layers below the last.
    num_lower_layers: usize,
    /// Whether the backward pass computes the gradient of the initial state.
    pub(crate) initial_gradients: bool,
    /// The path that was requested.
    path: ExecutionPath,
    /// `T·N` flags of the last [`StackMemory::set_starts`], in the form of the device.
    starts: Vec<u32>,
    /// `None` for a single shard.
    pub(crate) shards: Option<StackShards<B>>,
}

/// What a layer reads of the layer below it, where that is not simply its output.
#[derive(Debug)]
pub(crate) struct Between<B: Backend> {
    /// `[T·N, directions·H]` of each layer, if there are two directions or residual connections: the outputs of the directions,
    /// concatenated by columns, plus the input of a layer with a residual connection.
    pub(crate) joined: Vec<Tensor<B>>,
    /// The dropout mask between layers.
    mask: Option<Mask>,
    /// `[T·N, directions·H]` of each layer but the last: its output after dropout. Empty until the first mask.
    dropped: Vec<Tensor<B>>,
}

/// The memory of one layer and direction.
#[derive(Debug)]
pub(crate) struct LayerMemory<B: Recurrence> {
    cell: Cell,
    pub(crate) tape: Tape<B>,
    pub(crate) adjoint: Adjoint<B>,
    plan: Option<B::Plan>,
    /// Whether the plan is not used, because it cannot start sequences inside a minibatch.
    is_plan_disabled: bool,
    /// `None` until the first mask, and for a cell without `W_hh`.
    weight_drop: Option<WeightDrop<B>>,
    /// `None` for a single shard.
    shard: Option<ShardCopy<B>>,
}

/// Weight drop of one layer and direction.
#[derive(Debug)]
struct WeightDrop<B: Backend> {
    /// `None` while the memory is only kept for later.
    mask: Option<Mask>,
    /// `[G·H, H]`: `W_hh ∘ mask`.
    weight: Tensor<B>,
    /// `[G·H, H]`: its gradient.
    gradient: Tensor<B>,
}

impl<B: Recurrence> StackMemory<B> {
    /// Memory for `num_steps` steps of `batch_size` rows.
    pub(crate) fn new(
        backend: &B,
        config: StackConfig,
        layers: &[Layer],
        path: ExecutionPath,
        [num_steps, batch_size]: [usize; 2],
    ) -> Result<Self> {
        let layers = layers.iter().map(|layer| LayerMemory::new(backend, layer, path, [num_steps, batch_size]));
        let (rows, width) = (num_steps * batch_size, config.output_size());
        let joined = if config.has_joined_outputs() { config.num_layers } else { 0 };
        let between = if config.num_layers > 1 { width } else { 0 };
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            between: Between {
                joined: (0..joined).map(|_| Tensor::padded(backend, rows, width)).collect::<Result<_, _>>()?,
                mask: None,
                dropped: Vec::new(),
            },
            grad_between: [Tensor::padded(backend, rows, between)?, Tensor::padded(backend, rows, between)?],
            num_lower_layers: config.num_layers - 1,
            initial_gradients: true,
            path,
            starts: Vec::new(),
            shards: None,
        })
    }

    /// The tape of one layer and direction, in PyTorch's order.
    pub fn tape(&self, index: usize) -> &Tape<B> {
        &self.layers[index].tape
    }

    /// The gradients of one layer and direction, in PyTorch's order.
    pub fn adjoint(&self, index: usize) -> &Adjoint<B> {
        &self.layers[index].adjoint
    }

    /// Changes the number of steps **T** of the following passes, without allocation. Starts are set after it.
    ///
    /// # Panics
    /// If the memory was made for fewer steps, or `num_steps` is 0.
    pub fn set_num_steps(&mut self, backend: &B, num_steps: usize) {
        assert!(num_steps > 0, "a sequence has at least one step");
        for layer in &mut self.layers {
            layer.tape.set_num_steps(backend, num_steps);
            layer.adjoint.set_rows(layer.tape.dims().rows());
        }
        let rows = self.layers[0].tape.dims().rows();
        let Between { joined, dropped, .. } = &mut self.between;
        let tensors = joined.iter_mut().chain(dropped).chain(&mut self.grad_between);
        tensors.for_each(|tensor| tensor.set_rows(rows));
    }

    /// Omits the gradient of the initial state from the backward pass, which saves a multiplication.
    #[must_use]
    pub fn without_initial_gradients(self) -> Self {
        Self { initial_gradients: false, ..self }
    }

    /// Sets the dropout mask between layers, `dropout` of `torch.nn.{RNN,GRU,LSTM}`, until the next call; the index of the layer
    /// is added to that of the mask. With a period of **N** rows, all steps have the same mask: locked dropout. `None` drops
    /// nothing.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn set_dropout_mask(&mut self, backend: &B, mask: Option<Mask>) -> Result<()> {
        let Between { mask: current, dropped, .. } = &mut self.between;
        let missing = if mask.is_some() { self.num_lower_layers.saturating_sub(dropped.len()) } else { 0 };
        for _ in 0..missing {
            dropped.push(self.grad_between[0].zeros_like(backend)?);
        }
        *current = mask;
        Ok(())
    }

    /// Sets the mask of weight drop until the next call: `W_hh ∘ mask` takes the place of `W_hh` in all steps, and the gradient
    /// of `W_hh` is multiplied by the mask. The index of the layer and direction, in PyTorch's order, is added to that of the
    /// mask. `None` drops nothing.
    ///
    /// This is the DropConnect of Merity, Keskar, Socher, *Regularizing and Optimizing LSTM Language Models* (2017), section 2,
    /// `WeightDrop` of the AWD-LSTM code, with `torch.nn.functional.dropout`.
    ///
    /// # Errors
    /// If the cell has no `W_hh`, or the device is out of memory.
    pub fn set_weight_mask(&mut self, backend: &B, mask: Option<Mask>) -> Result<()> {
        for (index, memory) in self.layers.iter_mut().enumerate() {
            let mask = mask.map(|mask| Mask { layer: mask.layer + index as u32, ..mask });
            if mask.is_some() && memory.weight_drop.is_none() {
                memory.weight_drop = Some(WeightDrop::new(backend, memory.cell, memory.tape.dims().hidden_size)?);
            }
            if let Some(weight_drop) = &mut memory.weight_drop {
                weight_drop.mask = mask;
            }
        }
        Ok(())
    }

    /// Sets the rows that start a sequence, such as a document, until the next call. `starts` has `T·N` flags in the order of
    /// the input's rows, step by step. Where row `n` starts at step `t`, step `t` reads zeros instead of the state of row `n`
    /// in every layer, and no gradient flows back to the step before, or to the initial state if `t = 0`. The output of the
    /// step before keeps its gradient. `None`, the default, carries every state through all steps.
    ///
    /// The flags apply to [`Stack::forward`] and to the [`Stack::backward`] that reverses it; do not change them in between.
    /// The first call with flags allocates a copy of the states of every step. If the device's fused path cannot start
    /// sequences ([`Recurrence::has_fused_starts`]), [`ExecutionPath::Auto`] runs the reference path while flags are set.
    ///
    /// ```
    /// # use rnnlm_rnn::{Cell, ExecutionPath, ParameterLayout, Stack, StackConfig};
    /// # use rnnlm_tensor::Cpu;
    /// # let cpu = Cpu::new(1)?;
    /// # let config = StackConfig { cell: Cell::Lstm, input_size: 3, hidden_size: 4, num_layers: 2, bidirectional: false, residual: false };
    /// # let stack = Stack::new(&mut ParameterLayout::default(), config)?;
    /// // two steps of two rows: the second row starts a sequence at the second step
    /// let mut memory = stack.memory(&cpu, ExecutionPath::Auto, [2, 2])?;
    /// memory.set_starts(&cpu, Some(&[false, false, false, true]))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`Stack::forward`]: crate::Stack::forward
    /// [`Stack::backward`]: crate::Stack::backward
    ///
    /// # Errors
    /// If the stack is bidirectional, if there are not `T·N` flags, if the path is [`ExecutionPath::Fused`] and cannot start
    /// sequences, or if the device fails or is out of memory.
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
            // all memory first, so that an error changes nothing
            self.layers.iter_mut().try_for_each(|layer| layer.tape.allocate_starts(backend))?;
            self.starts.clear();
            self.starts.extend(flags.iter().copied().map(u32::from));
        }
        for layer in &mut self.layers {
            layer.is_plan_disabled = disables_plans;
            if let Some(memory) = &mut layer.tape.starts {
                memory.set(backend, starts.and(Some(&self.starts)))?;
            }
        }
        Ok(())
    }

    /// The `T·N` flags of [`StackMemory::set_starts`] on the device; `None` if no row starts a sequence.
    pub fn starts(&self) -> Option<&B::Indices> {
        crate::starts::Starts::enabled(&self.layers[0].tape.starts).map(|starts| &starts.mask)
    }

    /// Applies dropout to the output of layer `lower`, if there is a mask.
    pub(crate) fn apply_dropout(&mut self, backend: &B, lower: usize) -> Result<()> {
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

impl<B: Recurrence> LayerMemory<B> {
    /// Memory for `num_steps` steps of `batch_size` rows.
    fn new(backend: &B, layer: &Layer, path: ExecutionPath, [num_steps, batch_size]: [usize; 2]) -> Result<Self> {
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
        Ok(Self {
            cell: layer.cell,
            tape: Tape::new(backend, widths, layer.direction, dims)?,
            adjoint: Adjoint::new(backend, widths, dims)?,
            plan,
            is_plan_disabled: false,
            weight_drop: None,
            shard: None,
        })
    }

    /// Reads the layer's rows of the state, runs the forward pass and writes the final state back.
    pub(crate) fn forward(
        &mut self,
        backend: &B,
        (layer, parameters, input): (&Layer, &ParameterSet<B>, Input<'_, B>),
        state: &mut State<B>,
        position: usize,
    ) -> Result<()> {
        let n = self.tape.dims().batch_size;
        let (rows, initial, last) = (position * n..(position + 1) * n, self.tape.initial(), self.tape.last());
        let Self { tape, adjoint, plan, is_plan_disabled, weight_drop, .. } = self;
        if let Some(weight_drop) = weight_drop {
            weight_drop.apply(backend, layer, parameters)?;
        }
        let dropped_weight = weight_drop.as_ref().and_then(WeightDrop::dropped);
        let pass = &Pass { layer, parameters, input, dropped_weight };
        ops::copy(backend, state.hidden.view().rows(rows.clone()), tape.hidden.view_mut().rows(initial.clone()))?;
        ops::copy(backend, state.cell.view().rows(rows.clone()), tape.cell.view_mut().rows(initial))?;
        match plan {
            Some(plan) if !*is_plan_disabled => backend.fused_forward(plan, pass, tape)?,
            _ => reference::forward(backend, pass, tape, adjoint)?,
        }
        ops::copy(backend, tape.hidden.view().rows(last.clone()), state.hidden.view_mut().rows(rows.clone()))?;
        Ok(ops::copy(backend, tape.cell.view().rows(last), state.cell.view_mut().rows(rows))?)
    }

    /// From the gradient of the layer's output to the gradients of its parameters, of its input if `input` is given, and of
    /// its initial state if `initial_state`. The final state is detached.
    pub(crate) fn backward(
        &mut self,
        backend: &B,
        (layer, parameters, input): (&Layer, &ParameterSet<B>, Input<'_, B>),
        output: View<'_, B>,
        (gradients, shards): (&mut [ParameterSet<B>], Option<&StackShards<B>>),
        grad_input: Option<ViewMut<'_, B>>,
        initial_state: bool,
    ) -> Result<()> {
        let Self { tape, adjoint, plan, is_plan_disabled, weight_drop, shard, .. } = self;
        adjoint.detach(backend)?;
        let (dropped_weight, grad_weight) = match weight_drop {
            Some(WeightDrop { mask: Some(mask), weight, gradient }) => {
                (Some(DroppedWeight { mask: *mask, weight_hh: weight.view() }), Some(gradient))
            }
            _ => (None, None),
        };
        let pass = &Pass { layer, parameters, input, dropped_weight };
        let gradients = Gradients {
            output,
            adjoint,
            parameters: gradients,
            shards: shards.zip(shard.as_mut()).map(|(stack, copy)| LayerShards { stack, copy }),
            dropped_weight: grad_weight,
            input: grad_input,
            initial_state,
        };
        match plan {
            Some(plan) if !*is_plan_disabled => backend.fused_backward(plan, pass, tape, gradients),
            _ => reference::backward(backend, pass, tape, gradients),
        }
    }
}

impl<B: Backend> WeightDrop<B> {
    /// Memory for a layer, without a mask.
    fn new(backend: &B, cell: Cell, hidden_size: usize) -> Result<Self> {
        if cell.recurrent_blocks().is_empty() {
            return Err(Error::NoRecurrentWeight { cell: cell.name() });
        }
        let weight = || Tensor::zeros(backend, cell.num_gates() * hidden_size, hidden_size);
        Ok(Self { mask: None, weight: weight()?, gradient: weight()? })
    }

    /// Computes `W_hh ∘ mask`.
    fn apply(&mut self, backend: &B, layer: &Layer, parameters: &ParameterSet<B>) -> Result<()> {
        let Some(mask) = self.mask else { return Ok(()) };
        ops::copy(backend, layer.weights(parameters).weight_hh, self.weight.view_mut())?;
        Ok(ops::dropout(backend, mask, self.weight.view_mut())?)
    }

    /// `W_hh ∘ mask`, if there is a mask.
    fn dropped(&self) -> Option<DroppedWeight<'_, B>> {
        Some(DroppedWeight { mask: self.mask?, weight_hh: self.weight.view() })
    }
}
