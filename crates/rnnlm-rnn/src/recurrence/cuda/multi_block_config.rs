//! Configurations of the multi-block persistent kernels of `multi_block.cu`: how a layer is divided among
//! multiprocessors into column slices and groups of rows, and the constants that the kernels are compiled with.

use rnnlm_tensor::cuda::Program;

use super::fused_cell::FusedCell;
use super::persistent_config::padded_units;
use crate::Dims;

/// The hidden sizes that the kernels are compiled for. A layer of another size uses the next larger one, padded with
/// zeros.
const UNITS: [usize; 3] = [256, 512, 1024];
/// The most weights `G·H²` of a layer for a single block, 256 KiB, with **H** padded as in `persistent_config.rs`. This
/// is about what the registers and shared memory of a multiprocessor hold, so that a step needs no messages.
const SINGLE_BLOCK_MAX_WEIGHTS: usize = 1 << 16;
/// Threads of a block.
pub(super) const THREADS: usize = 256;
const WARP: usize = 32;
const WARPS: usize = THREADS / WARP;
/// Weights in a thread's registers, of which it has at most 255. Sums and the step itself need the rest.
const WEIGHT_REGISTERS: usize = 128;
/// Rows of a tile with narrow slices. Two rows are for the smallest of [`UNITS`] only, which has small groups at the
/// book's batch size.
const NARROW_TILE_ROWS: [usize; 2] = [2, 4];
/// Rows of a tile with wide slices. A wide slice has twice as many units and keeps half of its weights in shared
/// memory. Groups that need several tiles with narrow slices then need fewer tiles and half the messages. On an H200
/// the steps of an LSTM with 512 units are 1.4 times as fast with 64 rows and 1.3 times with 32 rows; with 16 rows, one
/// tile in both widths, 0.96 times.
const WIDE_TILE_ROWS: [usize; 2] = [4, 8];
/// The most rows of a group. By estimate, a step with more rows takes as long as a matmul of the whole batch and a
/// launch.
const MAX_GROUP_ROWS: usize = 16;

/// The compile-time constants of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MultiBlockConfig {
    cell: FusedCell,
    /// The hidden size, rounded up to one of [`UNITS`].
    units: usize,
    tile_rows: usize,
    /// Whether slices are wide.
    is_wide: bool,
}

/// A layer's division into blocks: one for each column slice and group of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) config: MultiBlockConfig,
    pub(super) slices: usize,
    pub(super) groups: usize,
    /// Row tiles of a group.
    pub(super) tiles: usize,
}

impl Partition {
    /// The partition of a layer on a device that runs one block per multiprocessor, with at most `max_shared_bytes` of
    /// shared memory. `None` for a layer that is too small, too large or has too many rows, and for a cell with two
    /// recurrent matmuls.
    pub(super) fn choose(cell: FusedCell, dims: Dims, multiprocessors: usize, max_shared_bytes: usize) -> Option<Self> {
        let units = UNITS.into_iter().find(|&units| dims.hidden_size <= units)?;
        // the padding of the single-block kernel counts, which has smaller sizes
        if !is_worthwhile(cell, padded_units(dims.hidden_size).unwrap_or(units)) {
            return None;
        }
        let narrow = Self::with_slices(cell, dims, units, multiprocessors, false);
        if narrow.is_some_and(|narrow| narrow.tiles == 1) {
            return narrow;
        }
        let fits = |wide: &Self| wide.config.shared_bytes() <= max_shared_bytes;
        Self::with_slices(cell, dims, units, multiprocessors, true).filter(fits).or(narrow)
    }

    /// The partition with slices of one width.
    fn with_slices(cell: FusedCell, dims: Dims, units: usize, multiprocessors: usize, is_wide: bool) -> Option<Self> {
        let config = |tile_rows| MultiBlockConfig { cell, units, tile_rows, is_wide };
        let slices = dims.hidden_size.div_ceil(config(1).slice_units());
        let max_groups = multiprocessors / slices;
        let group_rows = (max_groups > 0).then(|| dims.batch_size.div_ceil(max_groups))?;
        let sizes = tile_rows(cell, units, is_wide);
        let rows = sizes.clone().find(|&rows| group_rows <= rows).or_else(|| sizes.last())?;
        let tiles = group_rows.div_ceil(rows);
        let groups = dims.batch_size.div_ceil(tiles * rows);
        (group_rows <= MAX_GROUP_ROWS).then_some(Self { config: config(rows), slices, groups, tiles })
    }

    /// The number of message buffers for two steps. The backward pass needs one from every slice for every unit of
    /// every row.
    pub(super) fn messages(&self) -> usize {
        2 * self.groups * self.tiles * self.config.tile_rows * self.config.max_slices() * self.config.units
    }
}

impl MultiBlockConfig {
    /// Every configuration.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let sizes = || UNITS.into_iter().flat_map(|units| [(units, false), (units, true)]);
        let all = FusedCell::all().flat_map(move |cell| sizes().map(move |(units, is_wide)| (cell, units, is_wide)));
        all.filter(|&(cell, units, _)| is_worthwhile(cell, units)).flat_map(|(cell, units, is_wide)| {
            tile_rows(cell, units, is_wide).map(move |tile_rows| Self { cell, units, tile_rows, is_wide })
        })
    }

    /// Units of a narrow slice: the largest power of two whose weights fit in the registers of a block, forward and
    /// backward. It depends on cell and units alone, since the order of sums depends on it.
    fn narrow_units(&self) -> usize {
        let fits = |&narrow: &usize| self.columns(narrow) * self.units / WARPS <= WEIGHT_REGISTERS;
        (0..).map(|power| 1 << power).take_while(fits).last().unwrap_or(1)
    }

    fn slice_units(&self) -> usize {
        self.narrow_units() << usize::from(self.is_wide)
    }

    /// Weight rows of a slice per thread in the forward pass.
    fn columns(&self, slice_units: usize) -> usize {
        (self.cell.num_gates() * slice_units).div_ceil(WARP)
    }

    fn max_slices(&self) -> usize {
        self.units / self.slice_units()
    }

    /// Shared memory of a forward block: the states of a tile, and the sums of all warps for two tiles; while weights
    /// are loaded, one square per warp instead. The weights that do not fit in registers follow.
    fn forward_bytes(&self) -> usize {
        let columns = self.columns(self.slice_units());
        let sums = 2 * WARPS * self.tile_rows * columns * WARP;
        let in_steps = (self.tile_rows * self.units + sums).max(WARPS * WARP * (WARP + 1));
        (in_steps + weights_in_shared_memory(columns, self.units / WARPS)) * size_of::<f32>()
    }

    /// Shared memory of a backward block: the operands of `W_hh` for two tiles, in one split for each lane that shares
    /// a sum. The weights that do not fit in registers follow.
    fn backward_bytes(&self) -> usize {
        let outputs = 4 * self.slice_units() / self.narrow_units();
        let splits = outputs * THREADS / self.units;
        let depth = self.cell.num_gates() * self.slice_units() / splits;
        let pitch = splits * (depth + if splits == 1 { 0 } else { 4 });
        (2 * self.tile_rows * pitch + weights_in_shared_memory(outputs, depth)) * size_of::<f32>()
    }

    /// Shared memory of a block in the forward and the backward pass.
    pub(super) fn pass_bytes(&self) -> [usize; 2] {
        [self.forward_bytes(), self.backward_bytes()]
    }

    /// The most shared memory of a block.
    fn shared_bytes(&self) -> usize {
        self.forward_bytes().max(self.backward_bytes())
    }

    /// The program with these constants.
    pub(super) fn program(&self) -> Program {
        let constants = [
            ("UNITS", self.units),
            ("SLICE_UNITS", self.slice_units()),
            ("NARROW_UNITS", self.narrow_units()),
            ("TILE_ROWS", self.tile_rows),
            ("WEIGHT_REGISTERS", WEIGHT_REGISTERS),
        ];
        let width = if self.is_wide { "wide" } else { "narrow" };
        let name = format!("{}, multi-block, H{}, {width}, rows {}", self.cell.name(), self.units, self.tile_rows);
        Program {
            block_size: THREADS as u32,
            shared_bytes: self.shared_bytes() as u32,
            // devices with less shared memory use narrow slices
            is_optional: self.is_wide,
            ..self.cell.program(name, &[include_str!("multi_block.cuh"), include_str!("multi_block.cu")], constants)
        }
    }
}

/// The weights of all threads that do not fit in registers, if each thread has `sums` by `depth` weights.
fn weights_in_shared_memory(sums: usize, depth: usize) -> usize {
    let in_registers = (WEIGHT_REGISTERS / sums / 4 * 4).min(depth);
    (depth - in_registers) * sums * THREADS
}

/// The possible numbers of rows of a tile, in ascending order; none if a wide slice has too many units for one thread
/// per unit of every row.
fn tile_rows(cell: FusedCell, units: usize, is_wide: bool) -> impl Iterator<Item = usize> + Clone {
    let slice_units = MultiBlockConfig { cell, units, tile_rows: 1, is_wide }.slice_units();
    let has_threads = !is_wide || WIDE_TILE_ROWS[WIDE_TILE_ROWS.len() - 1] * slice_units <= THREADS;
    let rows = if is_wide { WIDE_TILE_ROWS } else { NARROW_TILE_ROWS };
    rows.into_iter().filter(move |&rows| has_threads && (rows > NARROW_TILE_ROWS[0] || units == UNITS[0]))
}

/// Whether the weights are too many for one multiprocessor and a step has a single recurrent matmul.
fn is_worthwhile(cell: FusedCell, units: usize) -> bool {
    cell.num_gates() * units * units > SINGLE_BLOCK_MAX_WEIGHTS && cell.recurrent_matmuls() == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cell, Nonlinearity};

    const TANH: Cell = Cell::Rnn(Nonlinearity::Tanh);
    const GRU: Cell = Cell::Gru { reset_after: true };
    /// Shared memory of a block on an H200.
    const H200_SHARED: usize = 227 << 10;

    fn fused(cell: Cell) -> FusedCell {
        FusedCell::of(cell).unwrap()
    }

    fn dims(hidden_size: usize, batch_size: usize) -> Dims {
        Dims { num_steps: 35, batch_size, input_size: 28, hidden_size }
    }

    /// Slices, groups, tiles, rows of a tile.
    fn sizes(partition: Partition) -> [usize; 4] {
        [partition.slices, partition.groups, partition.tiles, partition.config.tile_rows]
    }

    /// On an H200.
    fn choose(cell: Cell, hidden_size: usize, batch_size: usize) -> Option<[usize; 4]> {
        Partition::choose(fused(cell), dims(hidden_size, batch_size), 132, H200_SHARED).map(sizes)
    }

    #[test]
    fn slices_and_groups_fill_the_multiprocessors() {
        assert_eq!(choose(Cell::Lstm, 256, 32), Some([8, 16, 1, 2]));
        assert_eq!(choose(GRU, 256, 64), Some([8, 16, 1, 4]));
        assert_eq!(choose(Cell::Lstm, 512, 16), Some([32, 4, 1, 4]));
        assert_eq!(choose(TANH, 512, 64), Some([8, 16, 1, 4]));
        // the last slice has one unit of 16, the last tile of the last group fewer rows than 4
        assert_eq!([choose(Cell::Lstm, 129, 1), choose(Cell::Lstm, 257, 1)], [Some([5, 1, 1, 2]), Some([17, 1, 1, 4])]);
    }

    #[test]
    fn wide_slices_replace_several_tiles_of_narrow_ones_if_they_fit() {
        // 16 slices, so 8 groups of 8 rows instead of 4 groups of 4 tiles
        assert_eq!([choose(Cell::Lstm, 512, 64), choose(GRU, 512, 32)], [Some([16, 8, 1, 8]), Some([16, 8, 1, 4])]);
        assert_eq!(
            [choose(Cell::Lstm, 512, 65), choose(Cell::Lstm, 1024, 16)],
            [Some([16, 5, 2, 8]), Some([64, 2, 1, 8])]
        );
        assert_eq!(choose(Cell::Lstm, 257, 33), Some([9, 9, 1, 4]));
        // 128 units of 8 rows would need more threads than a block has
        assert_eq!(choose(TANH, 512, 65), Some([8, 9, 2, 4]));
        let small = Partition::choose(fused(Cell::Lstm), dims(512, 64), 132, 99 << 10).unwrap();
        assert_eq!(sizes(small), [32, 4, 4, 4]);
    }

    #[test]
    fn layers_that_are_too_small_too_large_or_have_too_many_rows_have_no_partition() {
        assert_eq!([choose(TANH, 256, 32), choose(Cell::Lstm, 128, 32), choose(GRU, 128, 32)], [None; 3]);
        assert_eq!([choose(Cell::Lstm, 1025, 1), choose(TANH, 1025, 1)], [None; 2]);
        assert_eq!([choose(Cell::Lstm, 512, 129), choose(Cell::Lstm, 256, 257)], [None, None]);
        let reset_before = Cell::Gru { reset_after: false };
        assert_eq!([256, 512, 1024].map(|hidden_size| choose(reset_before, hidden_size, 1)), [None; 3]);
        assert_eq!(Partition::choose(fused(Cell::Lstm), dims(256, 1), 7, H200_SHARED), None);
    }

    #[test]
    fn narrow_weights_fit_in_registers_and_everything_fits_in_shared_memory() {
        let config = |cell, units, tile_rows| MultiBlockConfig { cell: fused(cell), units, tile_rows, is_wide: true };
        let narrow_units = |cell, units| config(cell, units, 4).narrow_units();
        assert_eq!([256, 512, 1024].map(|units| narrow_units(Cell::Lstm, units)), [32, 16, 8]);
        assert_eq!([256, 512, 1024].map(|units| narrow_units(GRU, units)), [32, 16, 8]);
        assert_eq!([512, 1024].map(|units| narrow_units(TANH, units)), [64, 32]);
        let wide = config(Cell::Lstm, 512, 8);
        // half of 65,536 weights, 8 rows of 512 states, and twice 8 × 8 × 128 sums
        assert_eq!(wide.forward_bytes(), 4 * (32_768 + 8 * 512 + 2 * 8 * 8 * 128));
        // half of the weights, and for two tiles 8 rows of 4 splits of 32 with 4 elements of padding
        assert_eq!(wide.backward_bytes(), 4 * (32_768 + 2 * 8 * 4 * 36));
        for config in MultiBlockConfig::all() {
            let gates = config.cell.num_gates();
            let slice = config.slice_units();
            assert!(config.tile_rows * slice <= THREADS && gates * slice % 4 == 0, "{config:?}");
            let max_shared_bytes = if config.is_wide { H200_SHARED } else { 48 << 10 };
            assert!(config.shared_bytes() <= max_shared_bytes, "{config:?}");
            let forward = weights_in_shared_memory(config.columns(slice), config.units / WARPS);
            let backward = weights_in_shared_memory(4, gates * slice * config.units / (4 * THREADS));
            assert!(config.is_wide || [forward, backward] == [0, 0], "{config:?}");
        }
        // LSTM and GRU in three sizes, the RNNs from 512 units on; two tile sizes for 256 units, and two wide ones for
        // more units with gates
        assert_eq!(MultiBlockConfig::all().count(), 2 * 3 + 2 * 2 + 2 + 2 * 2 * 2);
    }

    #[test]
    fn there_is_a_message_for_every_unit_of_every_row_from_every_slice() {
        let partition = Partition::choose(fused(Cell::Lstm), dims(256, 5), 132, H200_SHARED).unwrap();
        // 3 groups of 2 rows
        assert_eq!(partition.messages(), 2 * 6 * 8 * 256);
    }
}
