//! A right operand that is packed once and used many times.

use rayon::prelude::*;

use super::blocking::{PARALLEL_PACK_MIN_LEN, PARALLEL_ROW_MIN_LEN, UNPACKED_MAX_LDB, UNPACKED_MAX_ROWS};
use super::macro_kernel::Matmul;
use super::operand::{Epilogue, MatRef, Store};
use super::packing::PackPanel;
use super::panels::{PanelLayout, Panels};
use crate::cpu::buffer::{Buffer, LINE};
use crate::cpu::isa::Isa;

/// The right operand `B[k, n]` of matrix multiplications, packed for one instruction set.
///
/// ```
/// use rnnlm_tensor::cpu::Isa;
/// use rnnlm_tensor::cpu::matmul::{Epilogue, MatRef, PackedMatrix};
///
/// let mut b = PackedMatrix::new(Isa::detect(), 2, 3);
/// b.pack(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3);
/// let mut c = [0.0; 3];
/// b.multiply(1, MatRef::row_major(&[1.0, 10.0], 2), &mut c, 3, false, Epilogue::None);
/// assert_eq!(c, [41.0, 52.0, 63.0]);
/// ```
#[derive(Debug)]
pub struct PackedMatrix {
    isa: Isa,
    k: usize,
    n: usize,
    padding: usize,
    values: Buffer,
}

impl PackedMatrix {
    /// A zero matrix `[k, n]`.
    pub fn new(isa: Isa, k: usize, n: usize) -> Self {
        Self { isa, k, n, padding: 0, values: Buffer::small(PanelLayout::new(isa, n).padded_cols() * k) }
    }

    /// The bytes of memory that [`PackedMatrix::new`] allocates. Counted in 128 bits, so that sizes beyond any memory give
    /// their true number.
    pub fn num_bytes(isa: Isa, k: u128, n: usize) -> u128 {
        Buffer::small_bytes(PanelLayout::new(isa, n).padded_cols() as u128 * k)
    }

    /// The same for outputs, biases and tables whose rows have `padding` spare elements ([`crate::Layout::padding`]): whole
    /// vectors are stored faster.
    #[must_use]
    pub fn with_padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// Changes the shape; the elements are unspecified until the next `pack`. Allocates only if more memory is needed than
    /// ever before, and frees none.
    pub fn resize(&mut self, k: usize, n: usize) {
        (self.k, self.n) = (k, n);
        let len = PanelLayout::new(self.isa, n).padded_cols() * k;
        if len > self.values.len() {
            self.values = Buffer::small(len);
        }
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// `[k, n]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.k, self.n]
    }

    /// Packs a row-major `[k, n]` with leading dimension `stride`.
    pub fn pack(&mut self, source: &[f32], stride: usize) {
        self.pack_from(MatRef::row_major(source, stride), true);
    }

    /// Packs the transpose of a row-major `[n, k]` with leading dimension `stride`: PyTorch's layout of a weight.
    pub fn pack_transposed(&mut self, source: &[f32], stride: usize) {
        self.pack_from(MatRef::transposed(source, stride), true);
    }

    /// Packs `b`, on several threads if `parallel` and if it is large.
    pub(super) fn pack_from(&mut self, b: MatRef<'_>, parallel: bool) {
        let (isa, k, layout) = (self.isa, self.k, PanelLayout::new(self.isa, self.n));
        let pack_panel = |start: usize, panel: &mut [f32]| {
            let b = b.submatrix([0, start]);
            isa.run(PackPanel { b, cols: layout.cols(start), width: layout.width(start), panel });
        };
        let is_large = k * layout.padded_cols() >= PARALLEL_PACK_MIN_LEN;
        for (first, width, values) in layout.split_mut(&mut self.values, k) {
            let panel_len = (k * width).max(1);
            if parallel && is_large {
                let panels = values.par_chunks_mut(panel_len).enumerate();
                panels.for_each(|(index, panel)| pack_panel(first + index * width, panel));
            } else {
                let panels = values.chunks_mut(panel_len).enumerate();
                panels.for_each(|(index, panel)| pack_panel(first + index * width, panel));
            }
        }
    }

    /// `C[m, n] = A[m, k] · self`, with leading dimension `c_stride`; the old `C` is the first term if `accumulate`, and the
    /// epilogue is added last.
    ///
    /// # Panics
    /// If a slice is too short for its rows.
    pub fn multiply(
        &self,
        m: usize,
        a: MatRef<'_>,
        c: &mut [f32],
        c_stride: usize,
        accumulate: bool,
        epilogue: Epilogue<'_>,
    ) {
        self.multiply_block(m, a, c, Store { stride: c_stride, accumulate, epilogue });
    }

    /// [`PackedMatrix::multiply`] for some rows of a larger `B`.
    pub(super) fn multiply_block(&self, m: usize, a: MatRef<'_>, c: &mut [f32], to: Store<'_>) {
        let layout = PanelLayout::new(self.isa, self.n);
        let padded_cols = layout.padded_cols();
        let layout =
            if padded_cols <= self.n + self.padding { PanelLayout::new(self.isa, padded_cols) } else { layout };
        let panels = Panels {
            values: &self.values,
            layout,
            col_stride: self.k,
            row_stride: None,
            packed_last: None,
            first_row: 0,
            depth: self.k,
        };
        let threads = rayon::current_num_threads();
        if m != 1 || self.k * self.n < PARALLEL_ROW_MIN_LEN || threads == 1 {
            return Matmul { m, a, panels, c, to }.run_on(self.isa);
        }
        // one row reads the whole weight for little arithmetic: two cores have twice the cache and its bandwidth
        let part = layout.cols_per_part(threads);
        c[..layout.n()].par_chunks_mut(part).enumerate().for_each(|(index, c)| {
            let first = index * part;
            let layout = PanelLayout::new(self.isa, c.len());
            let panels = Panels { values: &self.values[first * self.k..], layout, ..panels };
            Matmul { m, a, panels, c, to: to.at(0, first) }.run_on(self.isa);
        });
    }
}

/// Whether `B` is read in place for `m` rows of output: it is not transposed, and a panel of it stays in the second-level
/// cache. More than a few rows repay packing, unless the rows of `B` start at cache lines and are short. Results do not
/// depend on it.
pub(super) fn reads_in_place(b: MatRef<'_>, m: usize) -> bool {
    let is_short_and_aligned = b.row_stride.is_multiple_of(LINE) && b.row_stride <= UNPACKED_MAX_LDB / 2;
    b.col_stride == 1 && b.row_stride <= UNPACKED_MAX_LDB && (is_short_and_aligned || m <= UNPACKED_MAX_ROWS)
}

/// `C[m, n] = A[m, k] · B[k, n]` with `B` in place. If the vectors of the last panel would end past the last row of `B`, that
/// panel is packed into `packed_last`.
pub(super) fn multiply_in_place(
    [m, k, n]: [usize; 3],
    [a, b]: [MatRef<'_>; 2],
    packed_last: &mut PackedMatrix,
    c: &mut [f32],
    to: Store<'_>,
) {
    let isa = packed_last.isa;
    let layout = PanelLayout::new(isa, n);
    let ends_past_b = k.saturating_sub(1) * b.row_stride + layout.padded_cols() > b.values.len();
    let padded_panel = layout.padded_panel().filter(|_| ends_past_b);
    let packed_last = padded_panel.map(|start| {
        packed_last.resize(k, n - start);
        packed_last.pack_from(b.submatrix([0, start]), false);
        &*packed_last.values
    });
    let panels = Panels {
        values: b.values,
        layout,
        col_stride: 1,
        row_stride: Some(b.row_stride),
        packed_last,
        first_row: 0,
        depth: k,
    };
    Matmul { m, a, panels, c, to }.run_on(isa);
}

/// The weight of a linear map, packed once for each version of the parameters: decoding multiplies single rows by a weight
/// that does not change.
#[derive(Debug, Default)]
pub struct LinearCache {
    version: Option<u64>,
    packed: Option<PackedMatrix>,
}

impl LinearCache {
    /// The transpose of the row-major `weight[n, k]`, packed if `version` differs from that of the last call.
    pub(super) fn get(&mut self, isa: Isa, version: u64, [n, k]: [usize; 2], weight: MatRef<'_>) -> &PackedMatrix {
        let packed = self.packed.get_or_insert_with(|| PackedMatrix::new(isa, k, n));
        if self.version != Some(version) || packed.shape() != [k, n] || packed.isa() != isa {
            if packed.isa() != isa {
                *packed = PackedMatrix::new(isa, k, n);
            }
            packed.resize(k, n);
            packed.pack_from(weight, true);
            self.version = Some(version);
        }
        packed
    }
}
