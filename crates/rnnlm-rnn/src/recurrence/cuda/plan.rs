//! Which programs of the fused recurrence a layer gets on a GPU, beside the walk: constants that its kernels are compiled
//! with, and how much of the weights shared memory holds.

use rnnlm_tensor::cuda::Program;

use crate::{Cell, Dims, Nonlinearity};

/// Hidden sizes that there are kernels for; a layer of another size takes the next larger one, whose further units are zero.
const UNITS: [usize; 5] = [32, 64, 128, 256, 512];
/// The most weights `G·UNITS²` of a layer, a megabyte. Larger ones cost more on their way from the L2 cache at each step
/// than the launches that one for all steps saves; an LSTM of 256 units, which has as many, is 1.3 times as fast in one launch
/// as step by step on an H200.
const MAX_WEIGHTS: usize = 1 << 18;
/// Rows of a block: one while there are multiprocessors for all, else as many as weights are then read for at once.
const GROUPS: [usize; 2] = [1, 4];
/// Threads of a block that takes one step.
pub(super) const STEP_THREADS: u32 = 256;
/// Bytes of four weights.
const FOUR: usize = 4 * size_of::<f32>();

/// The constants of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    cell: Cell,
    /// Threads of a block, and the hidden size rounded up.
    pub(super) units: usize,
    /// Rows of a block.
    pub(super) group: usize,
}

/// A pass of a configuration on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// Chunks of weights in shared memory.
    pub(super) kept: usize,
    /// Shared memory of a block.
    pub(super) shared_bytes: usize,
}

impl Configuration {
    /// The configuration for a layer, if there is one.
    pub(super) fn choose(cell: Cell, dims: Dims, multiprocessors: usize) -> Option<Self> {
        let units = units(dims.hidden_size)?;
        let group = GROUPS[usize::from(dims.batch_size > multiprocessors)];
        Self { cell, units, group }.if_small()
    }

    /// Every configuration there is.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let sizes = || UNITS.into_iter().flat_map(|units| GROUPS.map(|group| (units, group)));
        let all = Cell::ALL.into_iter().flat_map(move |cell| sizes().map(move |(units, group)| (cell, units, group)));
        all.filter_map(|(cell, units, group)| Self { cell, units, group }.if_small())
    }

    fn if_small(self) -> Option<Self> {
        (self.gates() * self.units * self.units <= MAX_WEIGHTS).then_some(self)
    }

    pub(super) fn gates(&self) -> usize {
        self.cell.num_gates()
    }

    /// Chunks of four weights that a thread has in registers, of which there are 65,536 for the threads of a block and at
    /// most 255 for one: those that sums and the step itself leave.
    fn in_registers(&self) -> usize {
        match (self.units, self.group) {
            (512, 1) => 16,
            (512, _) => 8,
            (_, 1) => 32,
            _ => 20,
        }
    }

    /// Chunks along k that a thread of the forward pass has in registers, each of all gates.
    fn forward_registers(&self) -> usize {
        (self.in_registers() / self.gates()).min(self.units / 4)
    }

    /// The same of the backward pass, whose chunks go through all gates.
    fn backward_registers(&self) -> usize {
        self.in_registers().min(self.gates() * self.units / 4)
    }

    /// Shared memory for states, without weights.
    fn forward_states(&self) -> usize {
        (1 + products(self.cell)) * self.group * self.units * size_of::<f32>()
    }

    /// Shared memory for what is multiplied by `W_hh`, without weights.
    fn backward_products(&self) -> usize {
        2 * self.group * self.gates() * self.units * size_of::<f32>()
    }

    /// Both passes on a device whose blocks may have `room` bytes of shared memory; none if the states do not fit.
    pub(super) fn fit(&self, room: usize) -> Option<[Fit; 2]> {
        let fit = |states: usize, chunks: usize, width: usize| {
            let bytes = width * self.units * FOUR;
            let kept = (room.checked_sub(states)? / bytes).min(chunks);
            Some(Fit { kept, shared_bytes: states + kept * bytes })
        };
        let forward_chunks = self.units / 4 - self.forward_registers();
        let backward_chunks = self.gates() * self.units / 4 - self.backward_registers();
        Some([
            fit(self.forward_states(), forward_chunks, self.gates())?,
            fit(self.backward_products(), backward_chunks, 1)?,
        ])
    }

    /// The program with these constants.
    pub(super) fn program(&self) -> Program {
        let constants = [
            ("UNITS", self.units),
            ("GROUP", self.group),
            ("FORWARD_REGISTERS", self.forward_registers()),
            ("BACKWARD_REGISTERS", self.backward_registers()),
        ];
        Program {
            block_size: self.units as u32,
            // what weights take besides is what a device has left
            shared_bytes: self.forward_states().max(self.backward_products()) as u32,
            ..program(
                self.cell,
                format!("{}, {} units, {} rows", self.cell.name(), self.units, self.group),
                include_str!("recurrence.cu"),
                constants,
            )
        }
    }
}

/// The hidden size rounded up to one that there is a kernel for.
pub(super) fn units(hidden_size: usize) -> Option<usize> {
    UNITS.into_iter().find(|&units| hidden_size <= units)
}

/// The program whose launches take one step each.
pub(super) fn step_program(cell: Cell) -> Program {
    program(cell, format!("{}, step by step", cell.name()), include_str!("step.cu"), [])
}

/// A cell's own arithmetic with what brings it through its steps.
pub(super) fn program<const N: usize>(
    cell: Cell,
    name: String,
    steps: &'static str,
    constants: [(&'static str, usize); N],
) -> Program {
    let (source, relu) = match cell {
        Cell::Rnn(phi) => (include_str!("../../cell/elman/elman.cu"), Some(phi == Nonlinearity::Relu)),
        Cell::Gru { .. } => (include_str!("../../cell/gru/gru.cu"), None),
        Cell::Lstm => (include_str!("../../cell/lstm/lstm.cu"), None),
    };
    let of_cell = [("GATES", cell.num_gates()), ("PRODUCTS", products(cell))];
    let constants = of_cell.into_iter().chain(constants).chain(relu.map(|relu| ("RELU", usize::from(relu))));
    Program {
        name,
        sources: vec![include_str!("unit.cuh"), source, steps],
        constants: constants.map(|(name, value)| (name, value.to_string())).collect(),
        block_size: STEP_THREADS,
        shared_bytes: 0,
        is_spare: false,
    }
}

/// Products with `W_hh` a step.
pub(super) fn products(cell: Cell) -> usize {
    if cell == (Cell::Gru { reset_after: false }) { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(cell: Cell, hidden_size: usize, batch_size: usize) -> Option<(usize, usize)> {
        let dims = Dims { num_steps: 35, batch_size, input_size: 28, hidden_size };
        Configuration::choose(cell, dims, 132).map(|configuration| (configuration.units, configuration.group))
    }

    #[test]
    fn the_books_models_have_one_and_large_ones_have_none() {
        let tanh = Cell::Rnn(Nonlinearity::Tanh);
        assert_eq!(choose(tanh, 256, 32), Some((256, 1)));
        assert_eq!(choose(tanh, 512, 1024), Some((512, 4)));
        assert_eq!(choose(Cell::Lstm, 256, 132), Some((256, 1)));
        assert_eq!(choose(Cell::Gru { reset_after: false }, 1, 133), Some((32, 4)));
        assert_eq!([choose(tanh, 513, 32), choose(Cell::Lstm, 257, 32)], [None, None]);
    }

    #[test]
    fn what_shared_memory_has_room_for_is_kept_there() {
        let dims = Dims { num_steps: 1, batch_size: 1, input_size: 1, hidden_size: 256 };
        let tanh = Configuration::choose(Cell::Rnn(Nonlinearity::Tanh), dims, 1).unwrap();
        // 64 chunks of 4 KB, 32 of them in registers; two states of 1 KB
        let all = Fit { kept: 32, shared_bytes: 32 * 4096 + 2048 };
        assert_eq!(tanh.fit(227 << 10), Some([all, all]));
        let some = Fit { kept: 11, shared_bytes: 11 * 4096 + 2048 };
        assert_eq!(tanh.fit(48 << 10), Some([some, some]));
        assert_eq!(tanh.fit(2048), Some([Fit { kept: 0, shared_bytes: 2048 }; 2]));
        assert_eq!(tanh.fit(2047), None);
    }

    #[test]
    fn every_configuration_has_states_that_every_device_has_room_for() {
        for configuration in Configuration::all() {
            assert!(configuration.fit(48 << 10).is_some(), "{configuration:?}");
        }
        assert_eq!(Configuration::all().count(), 5 * 4 * 2 + 2 * 2);
    }
}
