//! Configurations of the persistent kernels of `persistent.cu`: the constants that they are compiled with, and how many
//! of the weights a block keeps in shared memory.

use rnnlm_tensor::cuda::Program;

use super::fused_cell::FusedCell;
use crate::Dims;

/// The hidden sizes that the kernels are compiled for. A layer of another size uses the next larger one, padded with
/// zeros.
const UNITS: [usize; 5] = [32, 64, 128, 256, 512];
/// The most weights `G·UNITS²` of a layer: 1 MiB. For larger layers, reading the weights from the L2 cache in each step
/// takes longer than a launch per step. An LSTM of 256 units, which has exactly this many, is 1.3 times as fast as
/// stepwise on an H200.
const MAX_WEIGHTS: usize = 1 << 18;
/// Rows per block: one as long as there are multiprocessors for all rows, else four, which reuse each weight that is
/// loaded.
const BLOCK_ROWS: [usize; 2] = [1, 4];
/// Bytes of a vector of four weights.
const FLOAT4_BYTES: usize = 4 * size_of::<f32>();

/// The compile-time constants of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PersistentConfig {
    pub(super) cell: FusedCell,
    /// The hidden size, rounded up to one of [`UNITS`]; also the threads of a block.
    pub(super) units: usize,
    /// Rows of the batch per block.
    pub(super) block_rows: usize,
}

/// A pass's use of shared memory on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SharedMemory {
    /// Chunks of weights kept there.
    pub(super) weight_chunks: usize,
    /// The size for a block.
    pub(super) bytes: usize,
}

impl PersistentConfig {
    /// The configuration for a layer, or `None` if the layer is too large or has no recurrent weights.
    pub(super) fn choose(cell: FusedCell, dims: Dims, multiprocessors: usize) -> Option<Self> {
        let units = padded_units(dims.hidden_size)?;
        let block_rows = BLOCK_ROWS[usize::from(dims.batch_size > multiprocessors)];
        Self { cell, units, block_rows }.if_small()
    }

    /// Every configuration.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let sizes = || UNITS.into_iter().flat_map(|units| BLOCK_ROWS.map(|block_rows| (units, block_rows)));
        let all = FusedCell::all().flat_map(move |cell| sizes().map(move |(units, rows)| (cell, units, rows)));
        all.filter_map(|(cell, units, block_rows)| Self { cell, units, block_rows }.if_small())
    }

    fn if_small(self) -> Option<Self> {
        let is_small = self.gates() * self.units * self.units <= MAX_WEIGHTS;
        (is_small && self.cell.recurrent_matmuls() > 0).then_some(self)
    }

    pub(super) fn gates(&self) -> usize {
        self.cell.num_gates()
    }

    /// Chunks of four weights in a thread's registers. A block's threads share 65,536 registers, and one thread has at
    /// most 255; sums and the step itself need the rest.
    fn register_chunks(&self) -> usize {
        match (self.units, self.block_rows) {
            (512, 1) => 16,
            (512, _) => 8,
            (_, 1) => 32,
            _ => 20,
        }
    }

    /// Chunks along k in a thread's registers in the forward pass; each has the weights of all gates.
    fn forward_registers(&self) -> usize {
        (self.register_chunks() / self.gates()).min(self.units / 4)
    }

    /// Chunks along k in a thread's registers in the backward pass, where k runs over all gates.
    fn backward_registers(&self) -> usize {
        self.register_chunks().min(self.gates() * self.units / 4)
    }

    /// Shared memory for the states of the forward pass, in bytes.
    fn forward_states(&self) -> usize {
        (1 + self.cell.recurrent_matmuls()) * self.block_rows * self.units * size_of::<f32>()
    }

    /// Shared memory for the operands of `W_hh` in the backward pass, in bytes.
    fn backward_operands(&self) -> usize {
        2 * self.block_rows * self.gates() * self.units * size_of::<f32>()
    }

    /// Shared memory of the forward and the backward pass on a device whose blocks have at most `max_shared_bytes`.
    /// `None` if the states do not fit.
    pub(super) fn shared_memory(&self, max_shared_bytes: usize) -> Option<[SharedMemory; 2]> {
        let with_weights = |states: usize, chunks: usize, width: usize| {
            let chunk_bytes = width * self.units * FLOAT4_BYTES;
            let weight_chunks = (max_shared_bytes.checked_sub(states)? / chunk_bytes).min(chunks);
            Some(SharedMemory { weight_chunks, bytes: states + weight_chunks * chunk_bytes })
        };
        let forward_chunks = self.units / 4 - self.forward_registers();
        let backward_chunks = self.gates() * self.units / 4 - self.backward_registers();
        Some([
            with_weights(self.forward_states(), forward_chunks, self.gates())?,
            with_weights(self.backward_operands(), backward_chunks, 1)?,
        ])
    }

    /// The program with these constants.
    pub(super) fn program(&self) -> Program {
        let constants = [
            ("UNITS", self.units),
            ("BLOCK_ROWS", self.block_rows),
            ("FORWARD_REGISTERS", self.forward_registers()),
            ("BACKWARD_REGISTERS", self.backward_registers()),
        ];
        let name = format!("{}, persistent, H{}, rows {}", self.cell.name(), self.units, self.block_rows);
        Program {
            block_size: self.units as u32,
            // weights use what a device has beyond this
            shared_bytes: self.forward_states().max(self.backward_operands()) as u32,
            ..self.cell.program(name, &[include_str!("persistent.cu")], constants)
        }
    }
}

/// The hidden size, rounded up to one of [`UNITS`].
pub(super) fn padded_units(hidden_size: usize) -> Option<usize> {
    UNITS.into_iter().find(|&units| hidden_size <= units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cell, Nonlinearity};

    const TANH: Cell = Cell::Rnn(Nonlinearity::Tanh);

    fn config(cell: Cell, hidden_size: usize, batch_size: usize, multiprocessors: usize) -> Option<PersistentConfig> {
        let dims = Dims { num_steps: 35, batch_size, input_size: 28, hidden_size };
        PersistentConfig::choose(FusedCell::of(cell).unwrap(), dims, multiprocessors)
    }

    fn choose(cell: Cell, hidden_size: usize, batch_size: usize) -> Option<(usize, usize)> {
        config(cell, hidden_size, batch_size, 132).map(|config| (config.units, config.block_rows))
    }

    #[test]
    fn the_books_models_have_a_configuration_and_large_ones_have_none() {
        assert_eq!(choose(TANH, 256, 32), Some((256, 1)));
        assert_eq!(choose(TANH, 512, 1024), Some((512, 4)));
        assert_eq!(choose(Cell::Lstm, 256, 132), Some((256, 1)));
        assert_eq!(choose(Cell::Gru { reset_after: false }, 1, 133), Some((32, 4)));
        assert_eq!([choose(TANH, 513, 32), choose(Cell::Lstm, 257, 32)], [None, None]);
    }

    #[test]
    fn shared_memory_holds_as_many_weights_as_fit() {
        let tanh = config(TANH, 256, 1, 1).unwrap();
        // 64 chunks of 4 KiB, 32 of them in registers; two states of 1 KiB
        let all = SharedMemory { weight_chunks: 32, bytes: 32 * 4096 + 2048 };
        assert_eq!(tanh.shared_memory(227 << 10), Some([all, all]));
        let some = SharedMemory { weight_chunks: 11, bytes: 11 * 4096 + 2048 };
        assert_eq!(tanh.shared_memory(48 << 10), Some([some, some]));
        assert_eq!(tanh.shared_memory(2048), Some([SharedMemory { weight_chunks: 0, bytes: 2048 }; 2]));
        assert_eq!(tanh.shared_memory(2047), None);
    }

    #[test]
    fn the_states_of_every_configuration_fit_on_every_device() {
        for config in PersistentConfig::all() {
            assert!(config.shared_memory(48 << 10).is_some(), "{config:?}");
        }
        assert_eq!(PersistentConfig::all().count(), 5 * 4 * 2 + 2 * 2);
    }
}
