//! How a layer is spread over the multiprocessors of a GPU, beside the walk: slices of its units, groups of rows, and the
//! constants that its kernels are compiled with.

use rnnlm_tensor::cuda::Program;

use super::plan;
use crate::{Cell, Dims};

/// Hidden sizes that there are kernels for, as in `plan.rs`.
const UNITS: [usize; 3] = [256, 512, 1024];
/// The most weights `G·H²` of a layer that a multiprocessor takes alone, **H** rounded up as in `plan.rs`, a quarter of a
/// megabyte: about as many as its registers and shared memory hold, so that a step needs no letters from others.
const MAX_ALONE: usize = 1 << 16;
/// Threads of a block.
pub(super) const THREADS: usize = 256;
const WARP: usize = 32;
const WARPS: usize = THREADS / WARP;
/// Weights that a thread has in registers, of which it may have 255: those that sums and the step itself leave.
const TILE: usize = 128;
/// Rows of a wave, for groups of so many rows and for larger ones. The fewest units alone have a kernel for two: their groups
/// are small at the book's batch size already, while the steps of more units are longer and their groups larger.
const ROWS: [usize; 2] = [2, 4];
/// Rows of a group at the most: by estimate, arithmetic and letters of more take as long as a product of the whole batch and
/// a launch.
const MAX_ROWS: usize = 16;

/// The constants of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slicing {
    cell: Cell,
    /// The hidden size rounded up.
    units: usize,
    /// Rows of a wave.
    rows: usize,
}

/// A layer's blocks: slices of its units times groups of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spreading {
    pub(super) slicing: Slicing,
    pub(super) slices: usize,
    pub(super) groups: usize,
    /// Waves of a group.
    pub(super) waves: usize,
}

impl Spreading {
    /// For a layer on a device with so many multiprocessors, each of which takes one block; none for a layer that is too
    /// small, too large, has too many rows, or has a second product within its step.
    pub(super) fn choose(cell: Cell, dims: Dims, multiprocessors: usize) -> Option<Self> {
        let units = UNITS.into_iter().find(|&units| dims.hidden_size <= units)?;
        // a small layer is no larger for one multiprocessor because these kernels begin with more units
        let units_alone = plan::units(dims.hidden_size).unwrap_or(units);
        if !is_worthwhile(cell, units_alone) {
            return None;
        }
        let slices = dims.hidden_size.div_ceil(Slicing { cell, units, rows: 1 }.slice_units());
        let most_groups = multiprocessors / slices;
        let group = (most_groups > 0).then(|| dims.batch_size.div_ceil(most_groups))?;
        let rows = wave_rows(units).find(|&rows| group <= rows).unwrap_or(ROWS[ROWS.len() - 1]);
        let waves = group.div_ceil(rows);
        let groups = dims.batch_size.div_ceil(waves * rows);
        (group <= MAX_ROWS).then_some(Self { slicing: Slicing { cell, units, rows }, slices, groups, waves })
    }

    /// Letters of two steps: of every slice for every unit of every row, which is what the backward pass needs.
    pub(super) fn letters(&self) -> usize {
        2 * self.groups * self.waves * self.slicing.rows * self.slicing.most_slices() * self.slicing.units
    }
}

impl Slicing {
    /// Every configuration there is.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let sizes = || UNITS.into_iter().flat_map(|units| wave_rows(units).map(move |rows| (units, rows)));
        let all = Cell::ALL.into_iter().flat_map(move |cell| sizes().map(move |(units, rows)| (cell, units, rows)));
        let all = all.filter(|&(cell, units, _)| is_worthwhile(cell, units));
        all.map(|(cell, units, rows)| Self { cell, units, rows })
    }

    /// Units of a slice: the largest power of two whose weights the registers of a block hold, forward and back. A function
    /// of cell and units alone, since sums over slices depend on it.
    fn slice_units(&self) -> usize {
        let fits = |&slice: &usize| self.columns(slice) * self.units / WARPS <= TILE;
        (0..).map(|power| 1 << power).take_while(fits).last().unwrap_or(1)
    }

    /// Gates of a slice that a thread multiplies forward.
    fn columns(&self, slice_units: usize) -> usize {
        (self.cell.num_gates() * slice_units).div_ceil(WARP)
    }

    fn most_slices(&self) -> usize {
        self.units / self.slice_units()
    }

    /// Shared memory of a forward block: states of a wave, and what the warps have summed of two. While the weights are
    /// loaded it has a square for each warp instead.
    pub(super) fn forward_bytes(&self) -> usize {
        let sums = 2 * WARPS * self.rows * self.columns(self.slice_units()) * WARP;
        (self.rows * self.units + sums).max(WARPS * WARP * (WARP + 1)) * size_of::<f32>()
    }

    /// Shared memory of a backward block: what two waves multiply by `W_hh`.
    pub(super) fn backward_bytes(&self) -> usize {
        2 * self.rows * self.cell.num_gates() * self.slice_units() * size_of::<f32>()
    }

    /// The program with these constants.
    pub(super) fn program(&self) -> Program {
        let constants = [("UNITS", self.units), ("SLICE_UNITS", self.slice_units()), ("ROWS", self.rows)];
        Program {
            block_size: THREADS as u32,
            shared_bytes: self.forward_bytes().max(self.backward_bytes()) as u32,
            ..plan::program(
                self.cell,
                format!("{}, {} units spread, {} rows", self.cell.name(), self.units, self.rows),
                include_str!("spread.cu"),
                constants,
            )
        }
    }
}

/// Rows that a wave may have, the fewest first.
fn wave_rows(units: usize) -> impl Iterator<Item = usize> {
    ROWS.into_iter().filter(move |&rows| rows > ROWS[0] || units == UNITS[0])
}

/// Whether a multiprocessor has no room for the weights, and a step has one product.
fn is_worthwhile(cell: Cell, units: usize) -> bool {
    cell.num_gates() * units * units > MAX_ALONE && plan::products(cell) == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nonlinearity;

    const TANH: Cell = Cell::Rnn(Nonlinearity::Tanh);
    const GRU: Cell = Cell::Gru { reset_after: true };

    /// Slices, groups, waves, rows of a wave.
    fn choose(cell: Cell, hidden_size: usize, batch_size: usize) -> Option<[usize; 4]> {
        let dims = Dims { num_steps: 35, batch_size, input_size: 28, hidden_size };
        let spreading = Spreading::choose(cell, dims, 132)?;
        Some([spreading.slices, spreading.groups, spreading.waves, spreading.slicing.rows])
    }

    #[test]
    fn slices_and_groups_fill_the_multiprocessors() {
        assert_eq!(choose(Cell::Lstm, 256, 32), Some([8, 16, 1, 2]));
        assert_eq!(choose(GRU, 256, 64), Some([8, 16, 1, 4]));
        // 32 slices, so 4 groups of 16 rows in waves of 4
        assert_eq!(choose(Cell::Lstm, 512, 64), Some([32, 4, 4, 4]));
        assert_eq!(choose(TANH, 512, 64), Some([8, 16, 1, 4]));
        assert_eq!(choose(Cell::Lstm, 1024, 16), Some([128, 1, 4, 4]));
        // the last slice has one unit of 16, the last wave of the last group fewer rows than 4
        assert_eq!(choose(Cell::Lstm, 257, 33), Some([17, 5, 2, 4]));
        assert_eq!([choose(Cell::Lstm, 129, 1), choose(Cell::Lstm, 257, 1)], [Some([5, 1, 1, 2]), Some([17, 1, 1, 4])]);
    }

    #[test]
    fn what_is_too_small_too_large_or_has_too_many_rows_is_not_spread() {
        assert_eq!([choose(TANH, 256, 32), choose(Cell::Lstm, 128, 32), choose(GRU, 128, 32)], [None; 3]);
        assert_eq!([choose(Cell::Lstm, 1025, 1), choose(TANH, 1025, 1)], [None; 2]);
        assert_eq!([choose(Cell::Lstm, 512, 65), choose(Cell::Lstm, 256, 257)], [None, None]);
        let before = Cell::Gru { reset_after: false };
        assert_eq!([256, 512, 1024].map(|hidden_size| choose(before, hidden_size, 1)), [None; 3]);
        let dims = Dims { num_steps: 1, batch_size: 1, input_size: 1, hidden_size: 256 };
        assert_eq!(Spreading::choose(Cell::Lstm, dims, 7), None);
    }

    #[test]
    fn weights_fit_in_registers_and_all_else_in_the_shared_memory_of_every_device() {
        let slice_units = |cell, units| Slicing { cell, units, rows: 4 }.slice_units();
        assert_eq!([256, 512, 1024].map(|units| slice_units(Cell::Lstm, units)), [32, 16, 8]);
        assert_eq!([256, 512, 1024].map(|units| slice_units(GRU, units)), [32, 16, 8]);
        assert_eq!([512, 1024].map(|units| slice_units(TANH, units)), [64, 32]);
        for slicing in Slicing::all() {
            let (gates, slice) = (slicing.cell.num_gates(), slicing.slice_units());
            assert!(slicing.units / THREADS * gates * slice <= TILE, "{slicing:?}");
            assert!(slicing.rows * slice <= THREADS && gates * slice % 4 == 0, "{slicing:?}");
            assert!(slicing.forward_bytes().max(slicing.backward_bytes()) <= 48 << 10, "{slicing:?}");
        }
        // an LSTM and a GRU in three sizes, the RNNs from 512 units on; two waves where there are 256
        assert_eq!(Slicing::all().count(), 2 * 3 + 2 * 2 + 2);
    }

    #[test]
    fn there_is_a_letter_for_every_unit_of_every_row_from_every_slice() {
        let dims = Dims { num_steps: 35, batch_size: 5, input_size: 28, hidden_size: 256 };
        let spreading = Spreading::choose(Cell::Lstm, dims, 132).unwrap();
        // 3 groups of 2 rows
        assert_eq!(spreading.letters(), 2 * 6 * 8 * 256);
    }
}
