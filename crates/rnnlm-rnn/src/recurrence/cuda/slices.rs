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
const REGISTERS: usize = 128;
/// Rows of a wave, for groups of so many rows and for larger ones. The fewest units alone have a kernel for two: their groups
/// are small at the book's batch size already, while the steps of more units are longer and their groups larger.
const ROWS: [usize; 2] = [2, 4];
/// The same of wide slices, twice as many units with as many weights in shared memory as in registers. Groups that narrow ones
/// would take in several waves take fewer then, and half the letters: on an H200 an LSTM's steps with 512 units and 64 rows
/// are 1.4 times as fast, with 32 rows 1.3 times, and with 16, one wave in both, 0.96 times.
const WIDE_ROWS: [usize; 2] = [4, 8];
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
    /// Whether weights are in shared memory too.
    is_wide: bool,
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
    /// For a layer on a device with so many multiprocessors, each of which takes one block with at most `room` bytes of
    /// shared memory; none for a layer that is too small, too large, has too many rows, or has a second product within its
    /// step.
    pub(super) fn choose(cell: Cell, dims: Dims, multiprocessors: usize, room: usize) -> Option<Self> {
        let units = UNITS.into_iter().find(|&units| dims.hidden_size <= units)?;
        // a small layer is no larger for one multiprocessor because these kernels begin with more units
        let units_alone = plan::units(dims.hidden_size).unwrap_or(units);
        if !is_worthwhile(cell, units_alone) {
            return None;
        }
        let narrow = Self::in_slices(cell, dims, units, multiprocessors, false);
        if narrow.is_some_and(|narrow| narrow.waves == 1) {
            return narrow;
        }
        let fits = |wide: &Self| wide.slicing.forward_bytes().max(wide.slicing.backward_bytes()) <= room;
        Self::in_slices(cell, dims, units, multiprocessors, true).filter(fits).or(narrow)
    }

    /// In slices of one width.
    fn in_slices(cell: Cell, dims: Dims, units: usize, multiprocessors: usize, is_wide: bool) -> Option<Self> {
        let slicing = |rows| Slicing { cell, units, rows, is_wide };
        let slices = dims.hidden_size.div_ceil(slicing(1).slice_units());
        let most_groups = multiprocessors / slices;
        let group = (most_groups > 0).then(|| dims.batch_size.div_ceil(most_groups))?;
        let all = wave_rows(cell, units, is_wide);
        let rows = all.clone().find(|&rows| group <= rows).or_else(|| all.last())?;
        let waves = group.div_ceil(rows);
        let groups = dims.batch_size.div_ceil(waves * rows);
        (group <= MAX_ROWS).then_some(Self { slicing: slicing(rows), slices, groups, waves })
    }

    /// Letters of two steps: of every slice for every unit of every row, which is what the backward pass needs.
    pub(super) fn letters(&self) -> usize {
        2 * self.groups * self.waves * self.slicing.rows * self.slicing.most_slices() * self.slicing.units
    }
}

impl Slicing {
    /// Every configuration there is.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let sizes = || UNITS.into_iter().flat_map(|units| [(units, false), (units, true)]);
        let all =
            Cell::ALL.into_iter().flat_map(move |cell| sizes().map(move |(units, is_wide)| (cell, units, is_wide)));
        all.filter(|&(cell, units, _)| is_worthwhile(cell, units)).flat_map(|(cell, units, is_wide)| {
            wave_rows(cell, units, is_wide).map(move |rows| Self { cell, units, rows, is_wide })
        })
    }

    /// Units that are multiplied together, a narrow slice: the largest power of two whose weights the registers of a block
    /// hold, forward and back. A function of cell and units alone, since sums depend on it.
    fn part_units(&self) -> usize {
        let fits = |&part: &usize| self.columns(part) * self.units / WARPS <= REGISTERS;
        (0..).map(|power| 1 << power).take_while(fits).last().unwrap_or(1)
    }

    fn slice_units(&self) -> usize {
        self.part_units() << usize::from(self.is_wide)
    }

    /// Gates of a slice that a thread multiplies forward.
    fn columns(&self, slice_units: usize) -> usize {
        (self.cell.num_gates() * slice_units).div_ceil(WARP)
    }

    fn most_slices(&self) -> usize {
        self.units / self.slice_units()
    }

    /// Shared memory of a forward block: states of a wave, and what the warps have summed of two; while the weights are
    /// loaded, a square for each warp instead. Behind it the weights for which there are no registers.
    pub(super) fn forward_bytes(&self) -> usize {
        let columns = self.columns(self.slice_units());
        let sums = 2 * WARPS * self.rows * columns * WARP;
        let in_steps = (self.rows * self.units + sums).max(WARPS * WARP * (WARP + 1));
        (in_steps + weights_left(columns, self.units / WARPS)) * size_of::<f32>()
    }

    /// Shared memory of a backward block: what two waves multiply by `W_hh`, in as many splits as lanes share a sum. Behind
    /// it the weights for which there are no registers.
    pub(super) fn backward_bytes(&self) -> usize {
        let outputs = 4 * self.slice_units() / self.part_units();
        let splits = outputs * THREADS / self.units;
        let depth = self.cell.num_gates() * self.slice_units() / splits;
        let pitch = splits * (depth + if splits == 1 { 0 } else { 4 });
        (2 * self.rows * pitch + weights_left(outputs, depth)) * size_of::<f32>()
    }

    /// The program with these constants.
    pub(super) fn program(&self) -> Program {
        let constants = [
            ("UNITS", self.units),
            ("SLICE_UNITS", self.slice_units()),
            ("PART_UNITS", self.part_units()),
            ("ROWS", self.rows),
            ("REGISTERS", REGISTERS),
        ];
        let width = if self.is_wide { " wide" } else { "" };
        Program {
            block_size: THREADS as u32,
            shared_bytes: self.forward_bytes().max(self.backward_bytes()) as u32,
            // narrow slices take the place of wide ones
            is_spare: self.is_wide,
            ..plan::program(
                self.cell,
                format!("{}, {} units spread{width}, {} rows", self.cell.name(), self.units, self.rows),
                include_str!("spread.cu"),
                constants,
            )
        }
    }
}

/// Weights of all threads for which there are no registers, of `sums` by `depth` weights each.
fn weights_left(sums: usize, depth: usize) -> usize {
    let in_registers = (REGISTERS / sums / 4 * 4).min(depth);
    (depth - in_registers) * sums * THREADS
}

/// Rows that a wave may have, the fewest first; none where a wide slice has more units than threads for every row.
fn wave_rows(cell: Cell, units: usize, is_wide: bool) -> impl Iterator<Item = usize> + Clone {
    let slice_units = Slicing { cell, units, rows: 1, is_wide }.slice_units();
    let has_threads = !is_wide || WIDE_ROWS[WIDE_ROWS.len() - 1] * slice_units <= THREADS;
    let rows = if is_wide { WIDE_ROWS } else { ROWS };
    rows.into_iter().filter(move |&rows| has_threads && (rows > ROWS[0] || units == UNITS[0]))
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
        let spreading = Spreading::choose(cell, dims, 132, 227 << 10)?;
        Some([spreading.slices, spreading.groups, spreading.waves, spreading.slicing.rows])
    }

    #[test]
    fn slices_and_groups_fill_the_multiprocessors() {
        assert_eq!(choose(Cell::Lstm, 256, 32), Some([8, 16, 1, 2]));
        assert_eq!(choose(GRU, 256, 64), Some([8, 16, 1, 4]));
        assert_eq!(choose(Cell::Lstm, 512, 16), Some([32, 4, 1, 4]));
        assert_eq!(choose(TANH, 512, 64), Some([8, 16, 1, 4]));
        // the last slice has one unit of 16, the last wave of the last group fewer rows than 4
        assert_eq!([choose(Cell::Lstm, 129, 1), choose(Cell::Lstm, 257, 1)], [Some([5, 1, 1, 2]), Some([17, 1, 1, 4])]);
    }

    #[test]
    fn what_narrow_slices_take_in_several_waves_takes_wide_ones_where_there_is_room() {
        // 16 slices, so 8 groups of 8 rows instead of 4 groups of 4 waves
        assert_eq!([choose(Cell::Lstm, 512, 64), choose(GRU, 512, 32)], [Some([16, 8, 1, 8]), Some([16, 8, 1, 4])]);
        assert_eq!(
            [choose(Cell::Lstm, 512, 65), choose(Cell::Lstm, 1024, 16)],
            [Some([16, 5, 2, 8]), Some([64, 2, 1, 8])]
        );
        assert_eq!(choose(Cell::Lstm, 257, 33), Some([9, 9, 1, 4]));
        // 128 units with all their rows are more than threads
        assert_eq!(choose(TANH, 512, 65), Some([8, 9, 2, 4]));
        let dims = Dims { num_steps: 35, batch_size: 64, input_size: 28, hidden_size: 512 };
        let small = Spreading::choose(Cell::Lstm, dims, 132, 99 << 10).unwrap();
        assert_eq!([small.slices, small.groups, small.waves, small.slicing.rows], [32, 4, 4, 4]);
    }

    #[test]
    fn what_is_too_small_too_large_or_has_too_many_rows_is_not_spread() {
        assert_eq!([choose(TANH, 256, 32), choose(Cell::Lstm, 128, 32), choose(GRU, 128, 32)], [None; 3]);
        assert_eq!([choose(Cell::Lstm, 1025, 1), choose(TANH, 1025, 1)], [None; 2]);
        assert_eq!([choose(Cell::Lstm, 512, 129), choose(Cell::Lstm, 256, 257)], [None, None]);
        let before = Cell::Gru { reset_after: false };
        assert_eq!([256, 512, 1024].map(|hidden_size| choose(before, hidden_size, 1)), [None; 3]);
        let dims = Dims { num_steps: 1, batch_size: 1, input_size: 1, hidden_size: 256 };
        assert_eq!(Spreading::choose(Cell::Lstm, dims, 7, 227 << 10), None);
    }

    #[test]
    fn weights_have_registers_and_all_else_the_shared_memory_of_every_device() {
        let part_units = |cell, units| Slicing { cell, units, rows: 4, is_wide: true }.part_units();
        assert_eq!([256, 512, 1024].map(|units| part_units(Cell::Lstm, units)), [32, 16, 8]);
        assert_eq!([256, 512, 1024].map(|units| part_units(GRU, units)), [32, 16, 8]);
        assert_eq!([512, 1024].map(|units| part_units(TANH, units)), [64, 32]);
        // half of 65,536 weights, a megabyte in four slices, and 8 rows of 512 states and of twice 8 × 128 sums
        let wide = Slicing { cell: Cell::Lstm, units: 512, rows: 8, is_wide: true };
        assert_eq!(wide.forward_bytes(), 4 * (32_768 + 8 * 512 + 2 * 8 * 8 * 128));
        // 4 splits of 32 and a margin of 4 for 8 rows of two waves
        assert_eq!(wide.backward_bytes(), 4 * (32_768 + 2 * 8 * 4 * 36));
        for slicing in Slicing::all() {
            let (gates, slice) = (slicing.cell.num_gates(), slicing.slice_units());
            assert!(slicing.rows * slice <= THREADS && gates * slice % 4 == 0, "{slicing:?}");
            let room = if slicing.is_wide { 227 << 10 } else { 48 << 10 };
            assert!(slicing.forward_bytes().max(slicing.backward_bytes()) <= room, "{slicing:?}");
            let (outputs, depth) = (4, gates * slice * slicing.units / (4 * THREADS));
            assert!(slicing.is_wide || weights_left(outputs, depth) == 0, "{slicing:?}");
            assert!(slicing.is_wide || weights_left(slicing.columns(slice), slicing.units / WARPS) == 0, "{slicing:?}");
        }
        // an LSTM and a GRU in three sizes, the RNNs from 512 units on; two waves where there are 256, two more wide ones where
        // there are more
        assert_eq!(Slicing::all().count(), 2 * 3 + 2 * 2 + 2 + 2 * 2 * 2);
    }

    #[test]
    fn there_is_a_letter_for_every_unit_of_every_row_from_every_slice() {
        let dims = Dims { num_steps: 35, batch_size: 5, input_size: 28, hidden_size: 256 };
        let spreading = Spreading::choose(Cell::Lstm, dims, 132, 227 << 10).unwrap();
        // 3 groups of 2 rows
        assert_eq!(spreading.letters(), 2 * 6 * 8 * 256);
    }
}
