//! Matrix products of the [`Backend`](crate::Backend): the right operand is laid out in a buffer that each thread keeps, the
//! rows of the output are shared out to the pool, or the columns where there are few rows.

use std::cell::{Cell, RefCell};

use rayon::prelude::*;

use super::buffer::LINE;
use super::product::{DEPTH, MOST_COLS, Multiply, Onto, Packed, Rows};
use super::shares::{self, Share};
use super::strassen;
use super::{Cpu, Isa, Kernel, Lanes, elementwise, math, row, row_mut};
use crate::{Layout, Transpose, View, ViewMut};

/// Products below this many multiplications are done where they stand: starting a task costs microseconds.
const SMALL: usize = 1 << 18;
/// Rows of the output that tasks have a multiple of.
const ROWS: usize = 2;
/// An output of so few rows, and two tiles of columns and more for each thread, is shared out by columns: all of the right
/// operand for a few rows each would take longer to read than to multiply.
const LOW: usize = 32;
/// Rows of the output, a multiple of [`ROWS`], that pass all panels together: their part of the left operand stays in the
/// second-level cache.
const BLOCK: usize = 256;

/// The most numbers that a vector has.
const MOST_LANES: usize = 16;
/// Up to so many rows, laying the right operand out costs more than it saves.
const FEW_ROWS: usize = 3;

thread_local! {
    /// Where the right operand is laid out; it grows to the largest one and stays.
    static PACKED: RefCell<Option<Packed>> = const { RefCell::new(None) };
    /// Where blocks of columns of a low output stand; it grows likewise.
    static COLUMNS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// `out = a·b`, `+=` if `accumulate`; the number of threads decides how the output is shared out and changes no bit.
pub(super) fn gemm(
    cpu: &Cpu,
    transpose: Transpose,
    a: View<'_, Cpu>,
    b: View<'_, Cpu>,
    accumulate: bool,
    out: ViewMut<'_, Cpu>,
) {
    if transpose == Transpose::NT && out.layout.rows <= FEW_ROWS {
        return dot_products(cpu.isa, a, b, accumulate, out);
    }
    let (inner, a, b) = match transpose {
        Transpose::NN => (a.layout.cols, as_it_stands(&a), as_it_stands(&b)),
        Transpose::NT => (a.layout.cols, as_it_stands(&a), transposed(&b)),
        Transpose::TN => (a.layout.rows, transposed(&a), as_it_stands(&b)),
    };
    let onto = if accumulate { Onto::Output } else { Onto::Nothing };
    multiply(cpu, inner, [a, b], onto, out);
}

/// `out = x·weightᵀ + bias`. The bias joins where sums are stored, unless that is several times: it is added to
/// the whole sum.
pub(super) fn linear(cpu: &Cpu, x: View<'_, Cpu>, weight: View<'_, Cpu>, bias: View<'_, Cpu>, out: ViewMut<'_, Cpu>) {
    if out.layout.rows <= FEW_ROWS || x.layout.cols > DEPTH {
        gemm(cpu, Transpose::NT, x, weight, false, ViewMut::new(out.buffer, out.layout));
        return elementwise::add_row(bias, out);
    }
    let (inner, a, b) = (x.layout.cols, as_it_stands(&x), transposed(&weight));
    let onto = Onto::Row(&bias.buffer[bias.layout.offset..]);
    multiply(cpu, inner, [a, b], onto, out);
}

/// A product of two operands that are ready, shared out to the pool.
fn multiply(cpu: &Cpu, inner: usize, [a, b]: [Rows<'_>; 2], onto: Onto<'_>, out: ViewMut<'_, Cpu>) {
    let Layout { offset, rows, cols, stride, padding } = out.layout;
    // a vector of a bias must not end behind its memory
    let padding = if let Onto::Row(row) = onto { padding.min(row.len() - cols) } else { padding };
    if rows == 0 || cols == 0 {
        return;
    }
    let in_pairs = strassen::suits_once(cpu.isa, [rows, inner, cols], a);
    let operands = Operands { isa: cpu.isa, inner, a, b, onto, in_pairs };
    let together = if in_pairs { strassen::TOGETHER } else { ROWS };
    let out = &mut out.buffer[offset..offset + (rows - 1) * stride + cols + padding];
    let threads = cpu.threads();
    if threads == 1 || rows * cols * inner < SMALL {
        let mut all = Part { first: [0, 0], cols, out, stride, padding, together };
        (0..operands.num_steps()).for_each(|index| operands.step(index, &mut all));
    } else if rows <= LOW && cols / threads >= 2 * MOST_COLS {
        operands.by_columns(cols.div_ceil(threads).next_multiple_of(LINE), [rows, cols], out, stride);
    } else {
        let rows = rows.div_ceil(threads).next_multiple_of(together);
        let parts = out.par_chunks_mut(rows * stride).enumerate();
        let part = |(index, out)| Part { first: [index * rows, 0], cols, out, stride, padding, together };
        operands.walk([rows, cols], parts.map(part));
    }
}

/// A part of the output: its first row and column in there, how many columns it has, and where it stands.
struct Part<'a> {
    first: [usize; 2],
    cols: usize,
    out: &'a mut [f32],
    stride: usize,
    /// [`Layout::padding`] of the output.
    padding: usize,
    /// Rows that are multiplied together.
    together: usize,
}

impl Share for Part<'_> {
    fn count(&self) -> usize {
        self.out.len().div_ceil(self.stride)
    }

    fn together(&self) -> usize {
        self.together
    }

    fn split(self, middle: usize) -> [Self; 2] {
        let (before, behind) = self.out.split_at_mut(middle * self.stride);
        let [row, col] = self.first;
        [Self { out: before, ..self }, Self { first: [row + middle, col], out: behind, ..self }]
    }
}

/// What is multiplied: some rows of the right operand in a step.
struct Operands<'a> {
    isa: Isa,
    inner: usize,
    a: Rows<'a>,
    b: Rows<'a>,
    /// What the first step is added to.
    onto: Onto<'a>,
    /// Whether rows are taken in pairs.
    in_pairs: bool,
}

impl Operands<'_> {
    /// Rows of the right operand in a step.
    fn depth(&self) -> usize {
        if self.in_pairs { strassen::DEPTH } else { DEPTH }
    }

    fn num_steps(&self) -> usize {
        self.inner.div_ceil(self.depth()).max(1)
    }

    /// All steps of parts of at the most so many rows and columns, shared out to the pool.
    fn walk<'p>(&self, [rows, cols]: [usize; 2], parts: impl IndexedParallelIterator<Item = Part<'p>>) {
        shares::walk(parts, rows, self.num_steps(), self.depth().min(self.inner) * cols, |index, part| {
            self.step(index, part);
        });
    }

    /// All steps of an output that is cut into blocks of `width` columns. While they last, each block stands by itself: what
    /// threads write to is a slice, in which no other has a place.
    fn by_columns(&self, width: usize, [rows, cols]: [usize; 2], out: &mut [f32], stride: usize) {
        let mut blocks = COLUMNS.take();
        blocks.resize(blocks.len().max(rows * cols), 0.0);
        let (whole, parts) = (&*out, blocks[..rows * cols].par_chunks_mut(rows * width).enumerate());
        self.walk(
            [rows, width],
            parts.map(|(index, block)| {
                let (first, cols) = (index * width, block.len() / rows);
                if matches!(self.onto, Onto::Output) {
                    let rows = block.chunks_exact_mut(cols).zip(whole.chunks(stride));
                    rows.for_each(|(block, row)| block.copy_from_slice(&row[first..first + cols]));
                }
                Part { first: [0, first], cols, out: block, stride: cols, padding: 0, together: ROWS }
            }),
        );
        for (index, block) in blocks[..rows * cols].chunks(rows * width).enumerate() {
            let (first, cols) = (index * width, block.len() / rows);
            let rows = block.chunks_exact(cols).zip(out.chunks_mut(stride));
            rows.for_each(|(block, row)| row[first..first + cols].copy_from_slice(block));
        }
        COLUMNS.set(blocks);
    }

    /// Adds to a part what a step comes to. The right operand is laid out where it is used: what another core has laid out
    /// would have to come from its cache.
    fn step(&self, index: usize, part: &mut Part<'_>) {
        let Self { isa, inner, a, b, onto, in_pairs } = *self;
        let (mut rows, start) = (part.count(), index * self.depth());
        let Part { first: [row, col], cols, ref mut out, stride, padding, .. } = *part;
        let (mut a, b, depth) = (a.from([row, start]), b.from([start, col]), self.depth().min(inner - start));
        let (mut onto, mut out) = (if start > 0 { Onto::Output } else { onto.at(0, col) }, &mut **out);
        if in_pairs {
            let whole = rows / strassen::TOGETHER * strassen::TOGETHER;
            strassen::multiply_once(isa, [whole, depth, cols], [a, b], out, stride, onto);
            if whole == rows {
                return;
            }
            (rows, a, onto, out) = (rows - whole, a.from([whole, 0]), onto.at(whole, 0), &mut out[whole * stride..]);
        }
        let mut packed = take(isa).with_padding(padding);
        if a.col_stride != 1 && Multiply::can_stand(b, rows) {
            let sizes = [rows, depth, cols];
            Multiply::with_right_as_it_stands(sizes, [a, b], &mut packed, out, stride, onto).run_on(isa);
        } else {
            packed.resize(depth, cols);
            packed.lay_out(b, false);
            for (index, out) in out.chunks_mut(BLOCK * stride).enumerate() {
                packed.multiply(out.len().div_ceil(stride), a.from([index * BLOCK, 0]), out, stride, onto);
            }
        }
        PACKED.set(Some(packed));
    }
}

/// With what stands behind the last row, as behind all others, where that belongs to the same memory.
fn as_it_stands<'a>(a: &View<'a, Cpu>) -> Rows<'a> {
    let Layout { offset, rows, stride, .. } = a.layout;
    let values = &a.buffer[offset..a.buffer.len().min(offset + rows * stride)];
    Rows { values, row_stride: stride, col_stride: 1 }
}

fn transposed<'a>(a: &View<'a, Cpu>) -> Rows<'a> {
    Rows { values: &a.buffer[a.layout.span()], row_stride: 1, col_stride: a.layout.stride }
}

/// `a·bᵀ` for a few rows: every element is a product of two rows as they stand.
fn dot_products(isa: Isa, a: View<'_, Cpu>, b: View<'_, Cpu>, accumulate: bool, mut out: ViewMut<'_, Cpu>) {
    let (values, stride) = (&b.buffer[b.layout.span()], b.layout.stride);
    for r in 0..a.layout.rows {
        isa.run(Dots { a: row(&a, r), b: values, stride, accumulate, out: row_mut(&mut out, r) });
    }
}

/// The products of one row with several, which lie `stride` apart.
struct Dots<'a> {
    a: &'a [f32],
    b: &'a [f32],
    stride: usize,
    accumulate: bool,
    out: &'a mut [f32],
}

/// Partial sums of a product, so that additions do not wait for each other; fixed, so that the order is.
const SUMS: usize = 64;

impl Kernel for Dots<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { a, b, stride, accumulate, out } = self;
        for (index, out) in out.iter_mut().enumerate() {
            let b = b.get(index * stride..).unwrap_or_default();
            // the number of vectors is a constant of `L`: one arm is left
            let dot = match SUMS / L::LANES {
                4 => dot::<L, 4>(a, &b[..a.len()]),
                8 => dot::<L, 8>(a, &b[..a.len()]),
                vectors => unreachable!("no product with {vectors} vectors"),
            };
            *out = if accumulate { *out + dot } else { dot };
        }
    }
}

#[inline(always)]
fn dot<L: Lanes, const NV: usize>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [L::splat(0.0); NV];
    let (a, a_rest) = a.as_chunks::<SUMS>();
    let (b, b_rest) = b.as_chunks::<SUMS>();
    for (a, b) in a.iter().zip(b) {
        for (v, sum) in sums.iter_mut().enumerate() {
            let at = v * L::LANES;
            *sum = L::mul_add_vector(L::load(&a[at..]), L::load(&b[at..]), *sum);
        }
    }
    let mut sum = 0.0;
    for (a, b) in a_rest.iter().zip(b_rest) {
        sum = L::mul_add(*a, *b, sum);
    }
    // halves are added to halves, of vectors first and then of lanes, so that this too is done side by side
    let mut vectors = NV / 2;
    while vectors > 0 {
        for v in 0..vectors {
            sums[v] = L::add(sums[v], sums[v + vectors]);
        }
        vectors /= 2;
    }
    let mut lanes = [0.0; MOST_LANES];
    L::store(sums[0], &mut lanes);
    sum + math::tree_reduce(&mut lanes[..L::LANES], |a, b| a + b)
}

/// This thread's buffer; another one if it is lent already, which happens when a task that waits takes up another's work.
fn take(isa: Isa) -> Packed {
    PACKED.take().filter(|packed| packed.isa() == isa).unwrap_or_else(|| Packed::new(isa, 0, 0))
}
