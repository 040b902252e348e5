//! Matrix products of the [`Backend`](crate::Backend): the right operand is laid out in a buffer that each thread keeps, the
//! rows of the output are shared out to the pool.

use std::cell::RefCell;

use rayon::prelude::*;

use super::product::{DEPTH, Packed, Rows};
use super::{Cpu, Isa, Kernel, Lanes, row, row_mut};
use crate::{Layout, Product, View, ViewMut};

/// Products below this many multiplications are done where they stand: starting a task costs microseconds.
const SMALL: usize = 1 << 18;
/// Rows of the output that a task has at the least; tiles are at most so high.
const ROWS: usize = 8;
/// Rows of the output, a multiple of [`ROWS`], that pass all panels together: their part of the left operand stays in the
/// second-level cache.
const BLOCK: usize = 256;

/// Up to so many rows, laying the right operand out costs more than it saves.
const FEW_ROWS: usize = 3;

thread_local! {
    /// Where the right operand is laid out; it grows to the largest one and stays.
    static PACKED: RefCell<Option<Packed>> = const { RefCell::new(None) };
}

/// `out = a·b`, `+=` if `accumulate`; the number of threads decides how rows are shared out and changes no bit.
pub(super) fn gemm(
    cpu: &Cpu,
    product: Product,
    a: View<'_, Cpu>,
    b: View<'_, Cpu>,
    accumulate: bool,
    out: ViewMut<'_, Cpu>,
) {
    let Layout { rows, cols, stride, .. } = out.layout;
    let inner = if product == Product::AtB { a.layout.rows } else { a.layout.cols };
    if rows == 0 || cols == 0 {
        return;
    }
    if product == Product::ABt && rows <= FEW_ROWS {
        return dot_products(cpu.isa, a, b, accumulate, out);
    }
    let (a, b) = match product {
        Product::AB => (as_it_stands(&a), as_it_stands(&b)),
        Product::ABt => (as_it_stands(&a), transposed(&b)),
        Product::AtB => (transposed(&a), as_it_stands(&b)),
    };
    let out = &mut out.buffer[out.layout.span()];
    let work = |first: usize, out: &mut [f32]| some_rows(cpu.isa, [inner, cols], a, b, first, out, stride, accumulate);
    if rows * cols * inner < SMALL {
        work(0, out);
    } else {
        let rows = rows.div_ceil(cpu.threads()).next_multiple_of(ROWS);
        out.par_chunks_mut(rows * stride).enumerate().for_each(|(index, out)| work(index * rows, out));
    }
}

/// Rows `first..` of the output, as many as `out` has. Blocks of the right operand are laid out where they are used: what
/// another core has laid out would have to come from its cache.
fn some_rows(
    isa: Isa,
    [inner, cols]: [usize; 2],
    a: Rows<'_>,
    b: Rows<'_>,
    first: usize,
    out: &mut [f32],
    stride: usize,
    accumulate: bool,
) {
    let mut packed = take(isa);
    for start in (0..inner.max(1)).step_by(DEPTH) {
        packed.resize(DEPTH.min(inner - start), cols);
        packed.lay_out(b.from([start, 0]), false);
        for (index, out) in out.chunks_mut(BLOCK * stride).enumerate() {
            let a = a.from([first + index * BLOCK, start]);
            packed.multiply(out.len().div_ceil(stride), a, out, stride, accumulate || start > 0);
        }
    }
    PACKED.set(Some(packed));
}

fn as_it_stands<'a>(a: &View<'a, Cpu>) -> Rows<'a> {
    Rows { values: &a.buffer[a.layout.span()], row_stride: a.layout.stride, col_stride: 1 }
}

fn transposed<'a>(a: &View<'a, Cpu>) -> Rows<'a> {
    Rows { values: &a.buffer[a.layout.span()], row_stride: 1, col_stride: a.layout.stride }
}

/// `a·bᵀ` for a few rows: every element is a product of two rows as they stand.
fn dot_products(isa: Isa, a: View<'_, Cpu>, b: View<'_, Cpu>, accumulate: bool, mut out: ViewMut<'_, Cpu>) {
    for r in 0..a.layout.rows {
        let a = row(&a, r);
        for (index, out) in row_mut(&mut out, r).iter_mut().enumerate() {
            let dot = isa.run(Dot(a, row(&b, index)));
            *out = if accumulate { *out + dot } else { dot };
        }
    }
}

/// A kernel for each product: with the loop over them in one function its sums would not stay in registers.
struct Dot<'a>(&'a [f32], &'a [f32]);

/// Partial sums of a [`Dot`], so that additions do not wait for each other; fixed, so that the order is.
const SUMS: usize = 64;

impl Kernel for Dot<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<L: Lanes>(self) -> f32 {
        let mut sums = [0.0_f32; SUMS];
        let (a, a_rest) = self.0.as_chunks::<SUMS>();
        let (b, b_rest) = self.1.as_chunks::<SUMS>();
        for (a, b) in a.iter().zip(b) {
            for j in 0..SUMS {
                sums[j] = L::mul_add(a[j], b[j], sums[j]);
            }
        }
        let mut sum = 0.0;
        for (a, b) in a_rest.iter().zip(b_rest) {
            sum = L::mul_add(*a, *b, sum);
        }
        // halves are added to halves, all of the same width, so that this too is done side by side
        let mut width = SUMS / 2;
        while width > 0 {
            for j in 0..width {
                sums[j] += sums[j + width];
            }
            width /= 2;
        }
        sum + sums[0]
    }
}

/// This thread's buffer; another one if it is lent already, which happens when a task that waits takes up another's work.
fn take(isa: Isa) -> Packed {
    PACKED.take().filter(|packed| packed.isa() == isa).unwrap_or_else(|| Packed::new(isa, 0, 0))
}
