//! How much memory a stack takes, computed from its sizes before anything is allocated.
//!
//! Sizes are counted in 128 bits, so that absurd settings give an absurd number instead of a wrong one. Sizes of more than
//! 2⁴⁰ count as 2⁴⁰, and their products saturate.

use crate::memory::LayerMemory;
use crate::structure::Widths;
use crate::{Dims, ExecutionPath, Recurrence, StackConfig};

/// The tensors of a tape and an adjoint, empty ones included.
const TENSORS_PER_LAYER: u128 = 10;
/// What an allocation adds to the values of a tensor: the start of a cache line, and the allocator's own data.
const ALLOCATION_BYTES: u128 = 80;

/// The memory of a stack, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackBytes {
    /// Tapes, gradients and what connects the layers. It is in use as soon as it is allocated.
    pub tensors: u128,
    /// The plans of the fused path with their packed weights. It is in use after the first pass.
    pub plans: u128,
}

/// What a stack computes, as far as its memory depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackUse {
    /// Whether the input is one-hot.
    pub is_one_hot: bool,
    /// Whether there is dropout between layers.
    pub has_dropout: bool,
    /// Whether sequences start inside a minibatch.
    pub has_starts: bool,
    /// Whether there is weight drop.
    pub has_weight_drop: bool,
}

impl StackConfig {
    /// The memory that [`Stack::memory`](crate::Stack::memory) allocates for sequences of `num_steps` steps of `batch_size`
    /// rows, and that its use adds.
    pub fn memory_bytes<B: Recurrence>(
        &self,
        backend: &B,
        path: ExecutionPath,
        [num_steps, batch_size]: [usize; 2],
        StackUse { is_one_hot, has_dropout, has_starts, has_weight_drop }: StackUse,
    ) -> StackBytes {
        let [input_size, hidden_size, num_steps, batch_size] =
            [self.input_size, self.hidden_size, num_steps, batch_size].map(bounded);
        let [layers, directions] = [bounded(self.num_layers), self.num_directions()].map(|count| count as u128);
        let output_size = self.num_directions() * hidden_size;
        let rows = num_steps as u128 * batch_size as u128;
        let padded = |cols: usize| backend.row_stride(cols) as u128;

        let Widths { hidden, gates, cell, candidate, gate_gradients, candidate_gradient } =
            self.cell.widths(hidden_size);
        let per_row: u128 =
            [hidden, gates, cell, candidate, gate_gradients, candidate_gradient].map(padded).iter().sum();
        // the initial state, and the gradients of the states with an intermediate value
        let per_sequence = 3 * padded(hidden) + 2 * padded(cell);
        let states = batch_size as u128 * per_sequence + gate_gradients as u128;
        // the flags, and a copy of the states of every step
        let starts = if has_starts { 1 + padded(hidden) + padded(cell) } else { 0 };
        // `W_hh` after dropout, and its gradient
        let weight_drop = if has_weight_drop { 2 * gate_gradients as u128 * hidden_size as u128 } else { 0 };
        let values = rows.saturating_mul(per_row + starts).saturating_add(states).saturating_add(weight_drop);
        let overhead = TENSORS_PER_LAYER * ALLOCATION_BYTES + size_of::<LayerMemory<B>>() as u128;
        let layer = values.saturating_mul(FLOAT).saturating_add(overhead);

        let joined = if self.has_joined_outputs() { layers } else { 0 };
        let dropped = if has_dropout { layers.saturating_sub(1) } else { 0 };
        let gradients = if layers > 1 { 2 } else { 0 };
        let between = (FLOAT * rows).saturating_mul(padded(output_size)).saturating_add(ALLOCATION_BYTES);

        let plan = |input_size: usize, is_one_hot: bool| match path {
            ExecutionPath::Reference => 0,
            ExecutionPath::Auto | ExecutionPath::Fused => {
                backend.plan_bytes(self.cell, is_one_hot, Dims { num_steps, batch_size, input_size, hidden_size })
            }
        };
        let lowest = plan(input_size, is_one_hot);
        let higher = if layers > 1 { plan(output_size, false) } else { 0 };
        StackBytes {
            tensors: (layers * directions)
                .saturating_mul(layer)
                .saturating_add(between.saturating_mul(joined + dropped + gradients)),
            plans: layers.saturating_sub(1).saturating_mul(higher).saturating_add(lowest).saturating_mul(directions),
        }
    }
}

/// The bytes of a value.
const FLOAT: u128 = size_of::<f32>() as u128;

fn bounded(size: usize) -> usize {
    size.min(1 << 40)
}

#[cfg(test)]
mod tests {
    use rnnlm_tensor::{Cpu, Tensor};

    use super::*;
    use crate::{Cell, ParameterLayout, Stack};

    #[test]
    fn the_tensors_of_every_cell_are_counted() {
        let (cpu, one_hot) = (Cpu::new(1).unwrap(), StackUse { is_one_hot: true, ..StackUse::default() });
        for cell in Cell::ALL {
            let config = StackConfig {
                cell,
                input_size: 7,
                hidden_size: 5,
                num_layers: 1,
                bidirectional: false,
                residual: false,
            };
            let stack = Stack::new(&mut ParameterLayout::default(), config).unwrap();
            let memory = stack.memory(&cpu, ExecutionPath::Reference, [3, 2]).unwrap();
            let (tape, adjoint) = (memory.tape(0), memory.adjoint(0));
            let tensors = [
                &tape.gates,
                &tape.hidden,
                &tape.cell,
                &tape.candidate,
                &adjoint.gates,
                &adjoint.candidate,
                &adjoint.hidden,
                &adjoint.cell,
                &adjoint.scratch,
                &adjoint.bias,
            ];
            let values: usize = tensors.iter().map(|tensor: &&Tensor<Cpu>| tensor.view().buffer.len()).sum();
            let counted = config.memory_bytes(&cpu, ExecutionPath::Reference, [3, 2], one_hot);
            let overhead = TENSORS_PER_LAYER * ALLOCATION_BYTES + size_of::<LayerMemory<Cpu>>() as u128;
            assert_eq!(counted.tensors - overhead, 4 * values as u128, "{}", cell.name());
            assert_eq!(counted.plans, 0);
        }
    }

    #[test]
    fn the_packed_weights_are_counted() {
        let cpu = Cpu::new(1).unwrap();
        let config = StackConfig {
            cell: Cell::Lstm,
            input_size: 64,
            hidden_size: 128,
            num_layers: 2,
            bidirectional: false,
            residual: false,
        };
        let one_hot = StackUse { is_one_hot: true, ..StackUse::default() };
        let plans = |num_layers| {
            let config = StackConfig { num_layers, ..config };
            config.memory_bytes(&cpu, ExecutionPath::Auto, [3, 2], one_hot).plans
        };
        // W_hh forward and backward, [512, 128] each, and a table of 64 rows or W_ih of the second layer, [512, 128]
        let [lowest, higher] = [2 * 512 * 128 + 64 * 512, 3 * 512 * 128].map(|values| 4 * values as u128);
        for (found, expected) in [(plans(1), lowest), (plans(2) - plans(1), higher)] {
            // padding and the gradient of the hidden state are a small part
            assert!((expected..expected + expected / 10).contains(&found), "{found} {expected}");
        }
    }
}
