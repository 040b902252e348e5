//! One typed function for each kernel of the tensor operations: its grid, its shared memory, and its arguments in the order
//! of its declaration in `kernels/*.cu`. Shapes fit each other when these are called; [`crate::ops`] has seen to that.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtr, DriverError};

use super::compile::Program;
use super::launch::{Argument, Grid, Matrix, Table, launch};
use crate::{Activation, Mask, Transpose, Update};

/// Threads of a block, of most kernels.
const THREADS: u32 = 256;
const WARP: u32 = 32;
/// Blocks that sum a matrix at the most, and so partial sums. Which elements a block sums depends on sizes alone.
const PARTIAL_SUMS: usize = 256;
/// Elements that one block sums before another is worth its while.
const SUMMED_BY_BLOCK: usize = 4 * THREADS as usize;
/// Terms of a sum that are on their way at once, as `prim.cuh` has it.
const AHEAD: u32 = 16;
/// Columns that a block of `sum_rows` has.
const SUMMED_COLUMNS: u32 = 8;
/// The tiles that `gemm.cu` is compiled for: side, and columns of an operand that are in shared memory at a time.
const TILES: [[usize; 2]; 3] = [[32, 32], [64, 16], [128, 16]];
/// Tiles of the largest size from which on it is taken: fewer are too few for a GPU unless k is cut into more slices than pay.
const LARGE_TILES: usize = 64;
/// Blocks up to which a product of few tiles is cut into slices, and the least strips of one: shorter ones cost more in sums
/// of slices than they save. Constants, so that no bit depends on how many blocks a GPU can have.
const SLICED_BLOCKS: usize = 256;
const STRIPS: usize = 4;
/// Neighbours that are read at once, and how many elements are enough for a GPU's threads to take so many each.
const PACK: usize = 4;
const MANY_ELEMENTS: usize = 1 << 14;
/// Elements of all slices at the most: no tile is larger than a large one.
const SLICED: usize = SLICED_BLOCKS * TILES[2][0] * TILES[2][0];

/// The program that holds them all.
pub(super) fn program() -> Program {
    let (elementwise, gather) = (include_str!("kernels/elementwise.cu"), include_str!("kernels/gather.cu"));
    let (update, dropout) = (include_str!("kernels/update.cu"), include_str!("kernels/dropout.cu"));
    let (reduce, gemm) = (include_str!("kernels/reduce.cu"), include_str!("kernels/gemm.cu"));
    Program {
        name: "operations".to_owned(),
        sources: vec![elementwise, update, dropout, gather, reduce, gemm, include_str!("kernels/loss.cu")],
        constants: Vec::new(),
        block_size: THREADS,
        shared_bytes: TILES.map(tiles_bytes).into_iter().max().unwrap_or(0) as u32,
        is_spare: false,
    }
}

/// Shared memory for the columns of both operands of a product, twice, with a margin of four rows.
fn tiles_bytes([tile, depth]: [usize; 2]) -> usize {
    4 * depth * (tile + 4) * size_of::<f32>()
}

/// The kernels, on a stream of their device.
#[derive(Debug)]
pub(super) struct Kernels {
    stream: Arc<CudaStream>,
    fill: CudaFunction,
    copy: CudaFunction,
    axpy: CudaFunction,
    multiply: CudaFunction,
    add_row: CudaFunction,
    activate: CudaFunction,
    activate_backward: CudaFunction,
    clamp: CudaFunction,
    dropout: CudaFunction,
    update_sgd: CudaFunction,
    update_adam: CudaFunction,
    update_rmsprop: CudaFunction,
    clip_factor: CudaFunction,
    skip_nonfinite: CudaFunction,
    gather: CudaFunction,
    scatter_add: CudaFunction,
    partial_sums: CudaFunction,
    total: CudaFunction,
    sum_rows: CudaFunction,
    softmax_cross_entropy: CudaFunction,
    /// By product, then by tile.
    gemm: [[CudaFunction; TILES.len()]; 3],
    sum_slices: CudaFunction,
    /// Lent to one sum after the other.
    partials: Mutex<CudaSlice<f64>>,
    /// Lent to one product after the other.
    slices: Mutex<CudaSlice<f32>>,
}

type Result<T = (), E = DriverError> = std::result::Result<T, E>;

impl Kernels {
    /// Compiles and loads them.
    pub(super) fn load(context: &Arc<CudaContext>, stream: &Arc<CudaStream>) -> Result<Self, String> {
        let module = program().load(context)?;
        let function = |name: &str| module.load_function(name).map_err(|error| format!("kernel `{name}`: {error}"));
        let gemm = |product: &str| -> Result<[CudaFunction; TILES.len()], String> {
            let [small, medium, large] = TILES.map(|[tile, _]| function(&format!("gemm_{product}_{tile}")));
            Ok([small?, medium?, large?])
        };
        Ok(Self {
            stream: Arc::clone(stream),
            fill: function("fill")?,
            copy: function("copy")?,
            axpy: function("axpy")?,
            multiply: function("multiply")?,
            add_row: function("add_row")?,
            activate: function("activate")?,
            activate_backward: function("activate_backward")?,
            clamp: function("clamp")?,
            dropout: function("dropout")?,
            update_sgd: function("update_sgd")?,
            update_adam: function("update_adam")?,
            update_rmsprop: function("update_rmsprop")?,
            clip_factor: function("clip_factor")?,
            skip_nonfinite: function("skip_nonfinite")?,
            gather: function("gather")?,
            scatter_add: function("scatter_add")?,
            partial_sums: function("partial_sums")?,
            total: function("total")?,
            sum_rows: function("sum_rows")?,
            softmax_cross_entropy: function("softmax_cross_entropy")?,
            gemm: [gemm("ab")?, gemm("abt")?, gemm("atb")?],
            sum_slices: function("sum_slices")?,
            partials: Mutex::new(stream.alloc_zeros(PARTIAL_SUMS).map_err(|error| error.to_string())?),
            slices: Mutex::new(stream.alloc_zeros(SLICED).map_err(|error| error.to_string())?),
        })
    }

    /// Queues a kernel; nothing for an output without elements.
    fn run<const N: usize>(&self, function: &CudaFunction, grid: Grid, arguments: [Argument; N]) -> Result {
        if grid.blocks.contains(&0) {
            return Ok(());
        }
        // SAFETY: the functions below, which alone call this one, hand over what their kernel declares; the matrices are
        // views of buffers on this stream's device, which are released on this stream and so behind the launch.
        unsafe { launch(&self.stream, function, grid, arguments) }
    }

    pub(super) fn fill(&self, value: f32, out: Matrix) -> Result {
        self.run(&self.fill, elements(out), [Argument::Float(value), Argument::Matrix(out)])
    }

    pub(super) fn copy(&self, a: Matrix, out: Matrix) -> Result {
        self.run(&self.copy, elements(out), [a, out].map(Argument::Matrix))
    }

    pub(super) fn axpy(&self, alpha: f32, a: Matrix, out: Matrix) -> Result {
        self.run(&self.axpy, elements(out), [Argument::Float(alpha), Argument::Matrix(a), Argument::Matrix(out)])
    }

    pub(super) fn multiply(&self, a: Matrix, b: Matrix, accumulate: bool, out: Matrix) -> Result {
        let [a, b, out_matrix] = [a, b, out].map(Argument::Matrix);
        self.run(&self.multiply, elements(out), [a, b, Argument::Number(accumulate.into()), out_matrix])
    }

    pub(super) fn add_row(&self, row: Matrix, out: Matrix) -> Result {
        self.run(&self.add_row, elements(out), [row, out].map(Argument::Matrix))
    }

    pub(super) fn activate(&self, activation: Activation, out: Matrix) -> Result {
        self.run(&self.activate, elements(out), [number_of(activation), Argument::Matrix(out)])
    }

    pub(super) fn activate_backward(&self, activation: Activation, y: Matrix, out: Matrix) -> Result {
        let [y, out_matrix] = [y, out].map(Argument::Matrix);
        self.run(&self.activate_backward, elements(out), [number_of(activation), y, out_matrix])
    }

    pub(super) fn clamp(&self, bound: f32, out: Matrix) -> Result {
        self.run(&self.clamp, elements(out), [Argument::Float(bound), Argument::Matrix(out)])
    }

    pub(super) fn dropout(&self, mask: Mask, out: Matrix) -> Result {
        let ([key, key_high], [layer, step, step_high]) = (mask.key(), mask.stream());
        let counters = out.rows as usize * (out.cols as usize).div_ceil(4);
        let grid = Grid::row(counters.div_ceil(THREADS as usize), THREADS, 0);
        let [key, key_high, layer, step, step_high, threshold] =
            [key, key_high, layer, step, step_high, mask.threshold()].map(Argument::Number);
        let (scale, out) = (Argument::Float(mask.scale()), Argument::Matrix(out));
        self.run(&self.dropout, grid, [key, key_high, layer, step, step_high, threshold, scale, out])
    }

    pub(super) fn update(
        &self,
        rule: Update,
        factor: Matrix,
        gradients: Matrix,
        state: [Matrix; 2],
        parameters: Matrix,
    ) -> Result {
        use Argument::{Float, Number};
        let grid = elements(parameters);
        let [first, second] = state.map(Argument::Matrix);
        let [factor, gradients, out] = [factor, gradients, parameters].map(Argument::Matrix);
        match rule {
            Update::Sgd { lr, momentum, nesterov, weight_decay } => {
                let [lr, momentum, weight_decay] = [lr, momentum, weight_decay].map(Float);
                let nesterov = Number(nesterov.into());
                let arguments = [lr, momentum, nesterov, weight_decay, factor, gradients, first, out];
                self.run(&self.update_sgd, grid, arguments)
            }
            Update::Adam { lr, betas, eps, weight_decay, decoupled, bias_corrections } => {
                let (shrunk, joined) = if decoupled { (1.0 - lr * weight_decay, 0.0) } else { (1.0, weight_decay) };
                let rate = lr / bias_corrections[0];
                let [rate, beta1, beta2, root, eps, shrunk, joined] =
                    [rate, betas[0], betas[1], bias_corrections[1], eps, shrunk, joined].map(Float);
                let arguments = [rate, beta1, beta2, root, eps, shrunk, joined, factor, gradients, first, second, out];
                self.run(&self.update_adam, grid, arguments)
            }
            Update::Rmsprop { lr, alpha, eps, weight_decay, momentum } => {
                let [lr, alpha, eps, weight_decay, momentum] = [lr, alpha, eps, weight_decay, momentum].map(Float);
                let arguments = [lr, alpha, eps, weight_decay, momentum, factor, gradients, first, second, out];
                self.run(&self.update_rmsprop, grid, arguments)
            }
        }
    }

    pub(super) fn clip_factor(&self, sum_squares: Matrix, max_norm: f32, out: Matrix) -> Result {
        let arguments = [Argument::Matrix(sum_squares), Argument::Float(max_norm), Argument::Matrix(out)];
        self.run(&self.clip_factor, Grid::row(1, WARP, 0), arguments)
    }

    pub(super) fn skip_nonfinite(
        &self,
        bound: f32,
        loss: Matrix,
        sum_squares: Matrix,
        skipped: Matrix,
        factor: Matrix,
    ) -> Result {
        let [loss, sum_squares, skipped, factor] = [loss, sum_squares, skipped, factor].map(Argument::Matrix);
        let arguments = [Argument::Float(bound), loss, sum_squares, skipped, factor];
        self.run(&self.skip_nonfinite, Grid::row(1, WARP, 0), arguments)
    }

    pub(super) fn gather(&self, table: Table, ids: u64, out: Matrix) -> Result {
        let arguments = [Argument::Table(table), Argument::Address(ids), Argument::Matrix(out)];
        self.run(&self.gather, elements(out), arguments)
    }

    /// Into a table of so many entries.
    pub(super) fn scatter_add(&self, a: Matrix, ids: u64, table: Table, entries: u32) -> Result {
        // places for the rows that a warp finds at once, a sum for each thread, and a flag
        let words = (AHEAD + 1) * THREADS + 1;
        // blocks for entries or for rows, whichever are fewer; many rows have theirs for nothing, so that these are wide
        let of_entries = entries < a.rows;
        let (owners, width) = if of_entries { (entries, WARP) } else { (a.rows, 8 * WARP) };
        let blocks = [owners, a.cols.div_ceil(width), 1];
        let grid = Grid { blocks, ..Grid::row(1, THREADS, words as usize * size_of::<u32>()) };
        let [of_entries, width] = [of_entries.into(), width].map(Argument::Number);
        let arguments = [Argument::Matrix(a), Argument::Address(ids), of_entries, width, Argument::Table(table)];
        self.run(&self.scatter_add, grid, arguments)
    }

    /// `out = Σ a`, or the sum of the squares: two launches, between which nobody else may have the partial sums.
    pub(super) fn sum(&self, a: Matrix, squares: bool, out: Matrix) -> Result {
        let blocks = (a.rows as usize * a.cols as usize).div_ceil(SUMMED_BY_BLOCK).clamp(1, PARTIAL_SUMS);
        let shared_bytes = (THREADS / WARP) as usize * size_of::<f64>();
        let partials = self.partials.lock().unwrap_or_else(PoisonError::into_inner);
        let partial = Argument::Address(partials.device_ptr(&self.stream).0);
        let arguments = [Argument::Matrix(a), Argument::Number(squares.into()), partial];
        self.run(&self.partial_sums, Grid::row(blocks, THREADS, shared_bytes), arguments)?;
        let arguments = [partial, Argument::Number(blocks as u32), Argument::Matrix(out)];
        self.run(&self.total, Grid::row(1, THREADS, shared_bytes), arguments)
    }

    pub(super) fn sum_rows(&self, a: Matrix, out: Matrix) -> Result {
        let blocks = out.cols.div_ceil(SUMMED_COLUMNS) as usize;
        let grid = Grid::row(blocks, THREADS, THREADS as usize * size_of::<f32>());
        self.run(&self.sum_rows, grid, [a, out].map(Argument::Matrix))
    }

    pub(super) fn softmax_cross_entropy(&self, scale: f32, targets: u64, logits: Matrix, losses: Matrix) -> Result {
        let [logits_matrix, losses] = [logits, losses].map(Argument::Matrix);
        let grid = Grid::row(logits.rows.div_ceil(THREADS / WARP) as usize, THREADS, 0);
        let arguments = [Argument::Float(scale), Argument::Address(targets), logits_matrix, losses];
        self.run(&self.softmax_cross_entropy, grid, arguments)
    }

    /// One launch, or a second one for the sums of slices, between which nobody else may have these.
    pub(super) fn gemm(&self, transpose: Transpose, a: Matrix, b: Matrix, accumulate: bool, out: Matrix) -> Result {
        let [rows, cols] = [out.rows as usize, out.cols as usize];
        let size = tile_size(rows, cols);
        let [tile, strip] = TILES[size];
        let (functions, depth) = match transpose {
            Transpose::NN => (&self.gemm[0], a.cols),
            Transpose::NT => (&self.gemm[1], a.cols),
            Transpose::TN => (&self.gemm[2], a.rows),
        };
        let (slice, slices) = slices(depth as usize, tiles(rows, cols, tile), strip);
        let grid = Grid {
            blocks: [cols.div_ceil(tile), rows.div_ceil(tile), slices].map(|blocks| blocks as u32),
            ..Grid::row(1, THREADS, tiles_bytes([tile, strip]))
        };
        let lent = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        let partial = Argument::Address(lent.device_ptr(&self.stream).0);
        let [a, b, out_matrix] = [a, b, out].map(Argument::Matrix);
        let [slice, slices, accumulate] = [slice as u32, slices as u32, accumulate.into()].map(Argument::Number);
        self.run(&functions[size], grid, [a, b, slice, accumulate, partial, out_matrix])?;
        if grid.blocks[2] == 1 {
            return Ok(());
        }
        let width = if out.is_in_packs() && rows * cols >= MANY_ELEMENTS { PACK } else { 1 };
        let grid = Grid::row((rows * cols / width).div_ceil(THREADS as usize), THREADS, 0);
        self.run(&self.sum_slices, grid, [partial, slices, Argument::Number(width as u32), accumulate, out_matrix])
    }
}

impl Matrix {
    /// Whether it can be read and written in packs of four, as `gemm.cu` has it.
    fn is_in_packs(&self) -> bool {
        self.data.is_multiple_of(16) && self.stride.is_multiple_of(4) && self.cols.is_multiple_of(4)
    }
}

/// How many tiles of that side an output has.
fn tiles(rows: usize, cols: usize, tile: usize) -> usize {
    rows.div_ceil(tile) * cols.div_ceil(tile)
}

/// Which of the [`TILES`] an output is cut into.
fn tile_size(rows: usize, cols: usize) -> usize {
    let [[small, _], [medium, _], [large, _]] = TILES;
    if rows.min(cols) > medium && tiles(rows, cols, large) >= LARGE_TILES {
        2
    } else {
        usize::from(rows.min(cols) > small)
    }
}

/// Columns of a slice of a product of that depth and so many tiles, which `strip` divides, and how many there are.
fn slices(depth: usize, tiles: usize, strip: usize) -> (usize, usize) {
    let wanted = (SLICED_BLOCKS / tiles.max(1)).min(depth / (STRIPS * strip)).max(1);
    let slice = depth.div_ceil(wanted).next_multiple_of(strip).max(strip);
    (slice, depth.div_ceil(slice).max(1))
}

/// A thread for each element.
fn elements(out: Matrix) -> Grid {
    Grid::row((out.rows as usize * out.cols as usize).div_ceil(THREADS as usize), THREADS, 0)
}

/// As `elementwise.cu` counts them.
fn number_of(activation: Activation) -> Argument {
    Argument::Number(match activation {
        Activation::Tanh => 0,
        Activation::Relu => 1,
        Activation::Sigmoid => 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tiles_are_for_outputs_that_have_many() {
        // a bias, the logits of the book, the gradient of 1024 × 256 weights, of 2048 × 512; then long and narrow ones
        assert_eq!(
            [(1, 512), (1120, 28), (1024, 256), (2048, 512)].map(|(rows, cols)| tile_size(rows, cols)),
            [0, 0, 1, 2]
        );
        assert_eq!([(100_000, 32), (100_000, 64), (100_000, 65)].map(|(rows, cols)| tile_size(rows, cols)), [0, 1, 2]);
    }

    #[test]
    fn slices_cover_the_depth_and_fit_in_what_is_lent() {
        // 1120 rows of 64 tiles: four slices of 280, in whole strips
        assert_eq!(slices(1120, 64, 32), (288, 4));
        // deep enough for two, and too shallow for two
        assert_eq!([slices(257, 9, 32), slices(255, 9, 32), slices(257, 9, 16)], [(160, 2), (256, 1), (80, 4)]);
        assert_eq!([slices(4096, 256, 16), slices(0, 1, 32), slices(1, 1, 16)], [(4096, 1), (32, 1), (16, 1)]);
        for (depth, tiles, strip) in (0..600).flat_map(|depth| (1..300).map(move |tiles| (depth, tiles, 32))) {
            let (slice, count) = slices(depth * 7, tiles, strip);
            assert!(slice % strip == 0 && slice * count >= depth * 7, "{depth} {tiles}");
            assert!(count == 1 || slice * (count - 1) < depth * 7 && tiles * count <= SLICED_BLOCKS, "{depth} {tiles}");
        }
    }
}
