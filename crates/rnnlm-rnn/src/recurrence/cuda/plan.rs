//! Which configuration of the fused recurrence a layer gets on a GPU, beside the walk: constants that its kernels are
//! compiled with, and how much of the weights shared memory holds.

use rnnlm_tensor::cuda::Program;

use crate::{Cell, Dims, Nonlinearity};

/// Hidden sizes that there are kernels for; a layer of another size takes the next larger one, whose further units are zero.
const UNITS: [usize; 5] = [32, 64, 128, 256, 512];
/// The most weights `G·UNITS²` of a layer, a megabyte. Larger ones cost more on their way from the L2 cache at each step
/// than the launches that the fused path saves.
const MAX_WEIGHTS: usize = 1 << 18;
/// Rows of a block: one while there are multiprocessors for all, else as many as weights are then read for at once.
const GROUPS: [usize; 2] = [1, 4];
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
        let units = UNITS.into_iter().find(|&units| dims.hidden_size <= units)?;
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

    /// Products with `W_hh` a step.
    fn products(&self) -> usize {
        if self.cell == (Cell::Gru { reset_after: false }) { 2 } else { 1 }
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
        (1 + self.products()) * self.group * self.units * size_of::<f32>()
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
        let (source, relu) = match self.cell {
            Cell::Rnn(phi) => (include_str!("../../elman/elman.cu"), Some(phi == Nonlinearity::Relu)),
            Cell::Gru { .. } => (include_str!("../../gru/gru.cu"), None),
            Cell::Lstm => (include_str!("../../lstm/lstm.cu"), None),
        };
        let mut constants = vec![
            ("GATES", self.gates().to_string()),
            ("PRODUCTS", self.products().to_string()),
            ("UNITS", self.units.to_string()),
            ("GROUP", self.group.to_string()),
            ("FORWARD_REGISTERS", self.forward_registers().to_string()),
            ("BACKWARD_REGISTERS", self.backward_registers().to_string()),
        ];
        constants.extend(relu.map(|relu| ("RELU", u8::from(relu).to_string())));
        Program {
            name: format!("{}, {} units, {} rows", self.cell.name(), self.units, self.group),
            sources: vec![include_str!("unit.cuh"), source, include_str!("recurrence.cu")],
            constants,
            block_size: self.units as u32,
            // what weights take besides is what a device has left
            shared_bytes: self.forward_states().max(self.backward_products()) as u32,
        }
    }
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
