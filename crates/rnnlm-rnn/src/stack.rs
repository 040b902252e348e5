//! The recurrent part of a model, `torch.nn.{RNN,GRU,LSTM}`: several layers of one or two directions, with dropout and residual
//! connections between them.
//!
//! ```text
//! x_l = dropout(y_{l−1})                 l ≥ 1
//! y_l = layer_l(x_l) + x_l               l ≥ 1, with residual connections; the lowest layer has none
//! ```

use rnnlm_tensor::{Backend, Tensor, View, ViewMut, ops};

use crate::config::StackConfig;
use crate::memory::{StackMemory, State};
use crate::{Direction, Error, ExecutionPath, Input, Layer, ParameterLayout, ParameterSet, Recurrence, Result};

/// Layers in PyTorch's order: layer 0 forward, layer 0 reverse, layer 1 forward, …
#[derive(Clone, Debug)]
pub struct Stack {
    config: StackConfig,
    layers: Vec<Layer>,
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
        StackMemory::new(backend, self.config, &self.layers, path, [num_steps, batch_size])
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
                rest[0].forward(backend, (&self.layers[position], parameters, input), state, position)?;
                if let Some(joined) = memory.between.joined.get_mut(index) {
                    let h = self.config.hidden_size;
                    let columns = direction * h..(direction + 1) * h;
                    ops::copy(backend, rest[0].tape.output(), joined.view_mut().cols(columns))?;
                }
            }
            if self.config.residual && index > 0 {
                memory.between.add_residual(backend, index)?;
            }
        }
        Ok(())
    }

    /// The reverse of [`Stack::forward`]: from `grad_output [T·N, directions·H]` to the gradients of the parameters and, if
    /// requested, `grad_input [T·N, D]`, both accumulated. The final state is detached and has no gradient. There is one set
    /// of gradients for each shard ([`StackMemory::with_shards`]), usually one.
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
        gradients: &mut [ParameterSet<B>],
        mut grad_input: Option<ViewMut<'_, B>>,
    ) -> Result<()> {
        let (directions, h) = (self.config.num_directions(), self.config.hidden_size);
        let StackMemory { layers, between, grad_between, initial_gradients, shards, .. } = memory;
        let num_shards = shards.as_ref().map_or(1, |shards| shards.rows.count);
        if gradients.len() != num_shards {
            return Err(Error::Shards { gradients: gradients.len(), shards: num_shards });
        }
        let [mut above, mut below_gradient] = grad_between.each_mut();
        for index in (0..self.config.num_layers).rev() {
            let is_top = index + 1 == self.config.num_layers;
            let grad_output = if is_top { grad_output } else { above.view() };
            match index {
                0 => {}
                _ if self.config.residual => ops::copy(backend, grad_output, below_gradient.view_mut())?,
                _ => ops::fill(backend, 0.0, below_gradient.view_mut())?,
            }
            for direction in (0..directions).rev() {
                let position = index * directions + direction;
                let (below, rest) = layers.split_at_mut(position);
                let input = between.input(input, below, index);
                let grad_output = grad_output.cols(direction * h..(direction + 1) * h);
                let grad_input = match index {
                    0 => grad_input.as_mut().map(|out| ViewMut::new(&mut *out.buffer, out.layout)),
                    _ => Some(below_gradient.view_mut()),
                };
                let layer = (&self.layers[position], parameters, input);
                let gradients = (&mut *gradients, shards.as_ref());
                rest[0].backward(backend, layer, grad_output, gradients, grad_input, *initial_gradients)?;
            }
            if let Some(mask) = index.checked_sub(1).and_then(|lower| between.mask_above(lower)) {
                ops::dropout(backend, mask, below_gradient.view_mut())?;
            }
            std::mem::swap(&mut above, &mut below_gradient);
        }
        Ok(())
    }
}
