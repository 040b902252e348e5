//! Matrix products of the [`Backend`](crate::Backend): the right operand is laid out in a buffer that each thread keeps, the
//! rows of the output are shared out to the pool.

use std::cell::RefCell;

use rayon::prelude::*;

use super::product::{Packed, Rows};
use super::{Cpu, Isa, Kernel, Lanes, row, row_mut};
use crate::{Layout, Product, View, ViewMut};

/// Products below this many multiplications are done where they stand: starting a task costs microseconds.
const SMALL: usize = 1 << 18;
/// Rows of the output that a task has at the least; tiles are at most so high.
const ROWS: usize = 8;

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
    let mut packed = take(cpu.isa);
    packed.resize(inner, cols);
    let source = &b.buffer[b.layout.span()];
    match product {
        Product::ABt => packed.pack_transposed(source, b.layout.stride),
        Product::AB | Product::AtB => packed.pack(source, b.layout.stride),
    }
    let values = &a.buffer[a.layout.span()];
    let (row_stride, col_stride) = match product {
        Product::AtB => (1, a.layout.stride),
        Product::AB | Product::ABt => (a.layout.stride, 1),
    };
    let out = &mut out.buffer[out.layout.span()];
    let multiply = |first: usize, out: &mut [f32]| {
        let rows = out.len().div_ceil(stride);
        // an empty sum has no element of `a` to point at
        let values = if inner == 0 { values } else { &values[first * row_stride..] };
        packed.multiply(rows, Rows { values, row_stride, col_stride }, out, stride, accumulate);
    };
    if rows * cols * inner < SMALL {
        multiply(0, out);
    } else {
        let rows = rows.div_ceil(cpu.threads()).next_multiple_of(ROWS);
        out.par_chunks_mut(rows * stride).enumerate().for_each(|(index, out)| multiply(index * rows, out));
    }
    PACKED.set(Some(packed));
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
