//! One typed function for each kernel of the tensor operations: its grid, its shared memory, and its arguments in the
//! order of its declaration in `kernels/*.cu`. Callers pass shapes that [`crate::ops`] has checked.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::compile::Program;
use super::gemm_tiles::{SPLIT_K_WORKSPACE, TILES, Tile, split_k, tile_size};
use super::launch::{Argument, Grid, Kernel, Matrix, Table};
use crate::{Activation, Mask, Result, Transpose, Update};

/// Threads of a block, in most kernels.
const THREADS: u32 = 256;
const WARP: u32 = 32;
/// The most blocks, and so partial sums, of a sum over a matrix.
const MAX_PARTIAL_SUMS: usize = 256;
/// Elements that each block of such a sum has at least.
const MIN_ELEMENTS_PER_BLOCK: usize = 4 * THREADS as usize;
/// As in `primitives.cuh`.
const LOADS_IN_FLIGHT: u32 = 16;
/// Columns of a block of `sum_rows`, as in `reduce.cu`.
const SUM_ROWS_COLUMNS: u32 = 8;
/// Elements of a vector access.
const VECTOR: usize = 4;
/// Fewer elements than this are reduced one per thread: a GPU has enough threads.
const VECTORIZE_MIN_ELEMENTS: usize = 1 << 14;

/// The program with all kernels of this file.
pub(super) fn program() -> Program {
    Program {
        name: "operations".to_owned(),
        sources: vec![
            include_str!("kernels/elementwise.cu"),
            include_str!("kernels/update.cu"),
            include_str!("kernels/dropout.cu"),
            include_str!("kernels/gather.cu"),
            include_str!("kernels/reduce.cu"),
            include_str!("kernels/gemm.cu"),
            include_str!("kernels/loss.cu"),
        ],
        constants: Vec::new(),
        block_size: THREADS,
        shared_bytes: TILES.map(Tile::shared_bytes).into_iter().max().unwrap_or(0) as u32,
        is_optional: false,
    }
}

/// The loaded kernels.
#[derive(Debug)]
pub(super) struct Kernels {
    stream: Arc<CudaStream>,
    fill: Kernel,
    copy: Kernel,
    axpy: Kernel,
    multiply: Kernel,
    normalize: Kernel,
    add_row: Kernel,
    zero_rows: Kernel,
    activate: Kernel,
    activate_backward: Kernel,
    clamp: Kernel,
    dropout: Kernel,
    dropout_rows: Kernel,
    update_sgd: Kernel,
    update_adam: Kernel,
    update_rmsprop: Kernel,
    clip_factor: Kernel,
    skip_nonfinite: Kernel,
    gather: Kernel,
    scatter_add: Kernel,
    partial_sums: Kernel,
    total: Kernel,
    sum_rows: Kernel,
    softmax_cross_entropy: Kernel,
    log_softmax: Kernel,
    /// By transpose, then by tile.
    gemm: [[Kernel; TILES.len()]; 3],
    reduce_splits: Kernel,
    /// The workspace of sums; locked while a sum's launches are queued.
    partial_sums_workspace: Mutex<CudaSlice<f64>>,
    /// The workspace of split-K multiplications; locked while their launches are queued.
    split_k_workspace: Mutex<CudaSlice<f32>>,
}

impl Kernels {
    /// Compiles and loads the kernels.
    pub(super) fn load(stream: &Arc<CudaStream>, device: &Arc<str>) -> Result<Self, String> {
        let module = program().load(stream.context())?;
        let kernel = |name: &str| {
            let function = module.load_function(name).map_err(|error| format!("kernel `{name}`: {error}"))?;
            Ok::<_, String>(Kernel { function, stream: Arc::clone(stream), device: Arc::clone(device) })
        };
        let gemm = |transpose: &str| -> Result<[Kernel; TILES.len()], String> {
            let [small, medium, large] = TILES.map(|tile| kernel(&format!("gemm_{transpose}_{}", tile.side)));
            Ok([small?, medium?, large?])
        };
        Ok(Self {
            stream: Arc::clone(stream),
            fill: kernel("fill")?,
            copy: kernel("copy")?,
            axpy: kernel("axpy")?,
            multiply: kernel("multiply")?,
            normalize: kernel("normalize")?,
            add_row: kernel("add_row")?,
            zero_rows: kernel("zero_rows")?,
            activate: kernel("activate")?,
            activate_backward: kernel("activate_backward")?,
            clamp: kernel("clamp")?,
            dropout: kernel("dropout")?,
            dropout_rows: kernel("dropout_rows")?,
            update_sgd: kernel("update_sgd")?,
            update_adam: kernel("update_adam")?,
            update_rmsprop: kernel("update_rmsprop")?,
            clip_factor: kernel("clip_factor")?,
            skip_nonfinite: kernel("skip_nonfinite")?,
            gather: kernel("gather")?,
            scatter_add: kernel("scatter_add")?,
            partial_sums: kernel("partial_sums")?,
            total: kernel("total")?,
            sum_rows: kernel("sum_rows")?,
            softmax_cross_entropy: kernel("softmax_cross_entropy")?,
            log_softmax: kernel("log_softmax")?,
            gemm: [gemm("nn")?, gemm("nt")?, gemm("tn")?],
            reduce_splits: kernel("reduce_splits")?,
            partial_sums_workspace: Mutex::new(
                stream.alloc_zeros(MAX_PARTIAL_SUMS).map_err(|error| error.to_string())?,
            ),
            split_k_workspace: Mutex::new(stream.alloc_zeros(SPLIT_K_WORKSPACE).map_err(|error| error.to_string())?),
        })
    }

    /// Queues a launch, unless the output has no elements.
    fn run<const N: usize>(&self, kernel: &Kernel, grid: Grid, arguments: [Argument; N]) -> Result<()> {
        if grid.blocks.contains(&0) {
            return Ok(());
        }
        // SAFETY: only the functions below call this one, each with the arguments that its kernel declares. The
        // matrices are views of buffers of this stream's device, which are freed on this stream and so after the
        // launch.
        unsafe { kernel.launch(grid, arguments) }
    }

    pub(super) fn fill(&self, value: f32, out: Matrix) -> Result<()> {
        self.run(&self.fill, per_element(out), [Argument::F32(value), Argument::Matrix(out)])
    }

    pub(super) fn copy(&self, a: Matrix, out: Matrix) -> Result<()> {
        self.run(&self.copy, per_element(out), [a, out].map(Argument::Matrix))
    }

    pub(super) fn axpy(&self, alpha: f32, a: Matrix, out: Matrix) -> Result<()> {
        self.run(&self.axpy, per_element(out), [Argument::F32(alpha), Argument::Matrix(a), Argument::Matrix(out)])
    }

    pub(super) fn multiply(&self, a: Matrix, b: Matrix, accumulate: bool, out: Matrix) -> Result<()> {
        let [a, b, out_matrix] = [a, b, out].map(Argument::Matrix);
        self.run(&self.multiply, per_element(out), [a, b, Argument::U32(accumulate.into()), out_matrix])
    }

    pub(super) fn normalize(&self, a: Matrix, b: Matrix, out: Matrix) -> Result<()> {
        self.run(&self.normalize, per_element(out), [a, b, out].map(Argument::Matrix))
    }

    pub(super) fn add_row(&self, row: Matrix, out: Matrix) -> Result<()> {
        self.run(&self.add_row, per_element(out), [row, out].map(Argument::Matrix))
    }

    pub(super) fn zero_rows(&self, mask: u64, out: Matrix) -> Result<()> {
        self.run(&self.zero_rows, per_element(out), [Argument::Pointer(mask), Argument::Matrix(out)])
    }

    pub(super) fn activate(&self, activation: Activation, out: Matrix) -> Result<()> {
        self.run(&self.activate, per_element(out), [activation_code(activation), Argument::Matrix(out)])
    }

    pub(super) fn activate_backward(&self, activation: Activation, y: Matrix, out: Matrix) -> Result<()> {
        let [y, out_matrix] = [y, out].map(Argument::Matrix);
        self.run(&self.activate_backward, per_element(out), [activation_code(activation), y, out_matrix])
    }

    pub(super) fn clamp(&self, bound: f32, out: Matrix) -> Result<()> {
        self.run(&self.clamp, per_element(out), [Argument::F32(bound), Argument::Matrix(out)])
    }

    pub(super) fn dropout(&self, mask: Mask, out: Matrix) -> Result<()> {
        // a Philox counter covers four elements
        let counters = out.rows as usize * (out.cols as usize).div_ceil(4);
        let grid = Grid::linear(counters.div_ceil(THREADS as usize), THREADS, 0);
        self.run(&self.dropout, grid, [Argument::Mask(mask.into()), Argument::Matrix(out)])
    }

    pub(super) fn dropout_rows(&self, mask: Mask, ids: u64, out: Matrix) -> Result<()> {
        let arguments = [Argument::Mask(mask.into()), Argument::Pointer(ids), Argument::Matrix(out)];
        self.run(&self.dropout_rows, per_element(out), arguments)
    }

    pub(super) fn update(
        &self,
        rule: Update,
        factor: Matrix,
        gradients: Matrix,
        state: [Matrix; 2],
        parameters: Matrix,
    ) -> Result<()> {
        use Argument::{F32, U32};
        let grid = per_element(parameters);
        let [first, second] = state.map(Argument::Matrix);
        let [factor, gradients, out] = [factor, gradients, parameters].map(Argument::Matrix);
        match rule {
            Update::Sgd { lr, momentum, nesterov, weight_decay } => {
                let [lr, momentum, weight_decay] = [lr, momentum, weight_decay].map(F32);
                let nesterov = U32(nesterov.into());
                let arguments = [lr, momentum, nesterov, weight_decay, factor, gradients, first, out];
                self.run(&self.update_sgd, grid, arguments)
            }
            Update::Adam { lr, betas, eps, weight_decay, decoupled, bias_corrections } => {
                let (decay, l2) = if decoupled { (1.0 - lr * weight_decay, 0.0) } else { (1.0, weight_decay) };
                let step_size = lr / bias_corrections[0];
                let scalars = [step_size, betas[0], betas[1], bias_corrections[1], eps, decay, l2].map(F32);
                let [step_size, beta1, beta2, correction2, eps, decay, l2] = scalars;
                let arguments =
                    [step_size, beta1, beta2, correction2, eps, decay, l2, factor, gradients, first, second, out];
                self.run(&self.update_adam, grid, arguments)
            }
            Update::Rmsprop { lr, alpha, eps, weight_decay, momentum } => {
                let [lr, alpha, eps, weight_decay, momentum] = [lr, alpha, eps, weight_decay, momentum].map(F32);
                let arguments = [lr, alpha, eps, weight_decay, momentum, factor, gradients, first, second, out];
                self.run(&self.update_rmsprop, grid, arguments)
            }
        }
    }

    pub(super) fn clip_factor(&self, sum_squares: Matrix, max_norm: f32, out: Matrix) -> Result<()> {
        let arguments = [Argument::Matrix(sum_squares), Argument::F32(max_norm), Argument::Matrix(out)];
        self.run(&self.clip_factor, Grid::linear(1, WARP, 0), arguments)
    }

    pub(super) fn skip_nonfinite(
        &self,
        bound: f32,
        loss: Matrix,
        sum_squares: Matrix,
        skipped: Matrix,
        factor: Matrix,
    ) -> Result<()> {
        let [loss, sum_squares, skipped, factor] = [loss, sum_squares, skipped, factor].map(Argument::Matrix);
        let arguments = [Argument::F32(bound), loss, sum_squares, skipped, factor];
        self.run(&self.skip_nonfinite, Grid::linear(1, WARP, 0), arguments)
    }

    pub(super) fn gather(&self, table: Table, ids: u64, out: Matrix) -> Result<()> {
        self.run(
            &self.gather,
            per_element(out),
            [Argument::Table(table), Argument::Pointer(ids), Argument::Matrix(out)],
        )
    }

    /// Adds to a table with `entries` entries.
    pub(super) fn scatter_add(&self, a: Matrix, ids: u64, table: Table, entries: u32) -> Result<()> {
        // scanned row indices, a sum for each thread, and a flag
        let shared_words = (LOADS_IN_FLIGHT + 1) * THREADS + 1;
        // one block per entry or one per row, whichever are fewer; most blocks for rows return early, so these are wide
        let block_per_entry = entries < a.rows;
        let (blocks, block_cols) = if block_per_entry { (entries, WARP) } else { (a.rows, 8 * WARP) };
        let blocks = [blocks, a.cols.div_ceil(block_cols), 1];
        let grid = Grid { blocks, ..Grid::linear(1, THREADS, shared_words as usize * size_of::<u32>()) };
        let [block_per_entry, block_cols] = [block_per_entry.into(), block_cols].map(Argument::U32);
        let arguments =
            [Argument::Matrix(a), Argument::Pointer(ids), block_per_entry, block_cols, Argument::Table(table)];
        self.run(&self.scatter_add, grid, arguments)
    }

    /// `out = Σ a`, or the sum of the squares, in two launches.
    pub(super) fn sum(&self, a: Matrix, squares: bool, out: Matrix) -> Result<()> {
        let blocks = (a.rows as usize * a.cols as usize).div_ceil(MIN_ELEMENTS_PER_BLOCK).clamp(1, MAX_PARTIAL_SUMS);
        let shared_bytes = (THREADS / WARP) as usize * size_of::<f64>();
        let workspace = self.partial_sums_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        let partial = Argument::Pointer(workspace.device_ptr(&self.stream).0);
        let arguments = [Argument::Matrix(a), Argument::U32(squares.into()), partial];
        self.run(&self.partial_sums, Grid::linear(blocks, THREADS, shared_bytes), arguments)?;
        let arguments = [partial, Argument::U32(blocks as u32), Argument::Matrix(out)];
        self.run(&self.total, Grid::linear(1, THREADS, shared_bytes), arguments)
    }

    pub(super) fn sum_rows(&self, a: Matrix, out: Matrix) -> Result<()> {
        let blocks = out.cols.div_ceil(SUM_ROWS_COLUMNS) as usize;
        let grid = Grid::linear(blocks, THREADS, THREADS as usize * size_of::<f32>());
        self.run(&self.sum_rows, grid, [a, out].map(Argument::Matrix))
    }

    pub(super) fn softmax_cross_entropy(
        &self,
        [scale, smoothing]: [f32; 2],
        targets: u64,
        logits: Matrix,
        losses: Matrix,
    ) -> Result<()> {
        let [scale, smoothing] = [scale, smoothing].map(Argument::F32);
        let [logits_matrix, losses] = [logits, losses].map(Argument::Matrix);
        let grid = Grid::linear(logits.rows.div_ceil(THREADS / WARP) as usize, THREADS, 0);
        self.run(
            &self.softmax_cross_entropy,
            grid,
            [scale, smoothing, Argument::Pointer(targets), logits_matrix, losses],
        )
    }

    pub(super) fn log_softmax(&self, shift: Option<Matrix>, out: Matrix) -> Result<()> {
        let grid = Grid::linear(out.rows.div_ceil(THREADS / WARP) as usize, THREADS, 0);
        let shift = shift.unwrap_or(Matrix { data: 0, ..out });
        self.run(&self.log_softmax, grid, [shift, out].map(Argument::Matrix))
    }

    /// One launch, and a second one for the reduction if k is split.
    pub(super) fn gemm(&self, transpose: Transpose, a: Matrix, b: Matrix, accumulate: bool, out: Matrix) -> Result<()> {
        let [rows, cols] = [out.rows as usize, out.cols as usize];
        let size = tile_size(rows, cols);
        let tile = TILES[size];
        let (kernels, k) = match transpose {
            Transpose::NN => (&self.gemm[0], a.cols),
            Transpose::NT => (&self.gemm[1], a.cols),
            Transpose::TN => (&self.gemm[2], a.rows),
        };
        let (split_len, splits) = split_k(k as usize, tile.count(rows, cols), tile.k);
        let grid = Grid {
            blocks: [cols.div_ceil(tile.side), rows.div_ceil(tile.side), splits].map(|blocks| blocks as u32),
            ..Grid::linear(1, THREADS, tile.shared_bytes())
        };
        let workspace = self.split_k_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        let partial = Argument::Pointer(workspace.device_ptr(&self.stream).0);
        let width = if out.is_vectorizable() && rows * cols >= VECTORIZE_MIN_ELEMENTS { VECTOR } else { 1 };
        let [a, b, out] = [a, b, out].map(Argument::Matrix);
        let accumulate = Argument::U32(accumulate.into());
        self.run(&kernels[size], grid, [a, b, Argument::U32(split_len as u32), accumulate, partial, out])?;
        if splits == 1 {
            return Ok(());
        }
        let grid = Grid::linear((rows * cols / width).div_ceil(THREADS as usize), THREADS, 0);
        let [splits, width] = [splits, width].map(|value| Argument::U32(value as u32));
        self.run(&self.reduce_splits, grid, [partial, splits, width, accumulate, out])
    }
}

impl Matrix {
    /// Whether it consists of whole, aligned vectors of four.
    fn is_vectorizable(&self) -> bool {
        self.data.is_multiple_of(16) && self.stride.is_multiple_of(4) && self.cols.is_multiple_of(4)
    }
}

/// One thread per element.
fn per_element(out: Matrix) -> Grid {
    Grid::linear((out.rows as usize * out.cols as usize).div_ceil(THREADS as usize), THREADS, 0)
}

/// The number that `elementwise.cu` uses for an activation.
fn activation_code(activation: Activation) -> Argument {
    Argument::U32(match activation {
        Activation::Tanh => 0,
        Activation::Relu => 1,
        Activation::Sigmoid => 2,
    })
}
