//! [`Backend::gemm`](crate::Backend::gemm) and [`Backend::linear`](crate::Backend::linear) on the CPU.

use rayon::prelude::*;

use super::blocking::PARALLEL_MIN_FLOPS;
use super::operand::{Epilogue, MatRef, Store};
use super::packed::LinearCache;
use super::threading::{self, Problem};
use crate::cpu::Cpu;
use crate::{Layout, Transpose, View, ViewMut};

/// `out = a·b`, or `out += a·b` if `accumulate`.
pub(in crate::cpu) fn gemm(
    cpu: &Cpu,
    transpose: Transpose,
    a: View<'_, Cpu>,
    b: View<'_, Cpu>,
    accumulate: bool,
    out: ViewMut<'_, Cpu>,
) {
    let (k, a, b) = match transpose {
        Transpose::NN => (a.layout.cols, row_major(&a), row_major(&b)),
        Transpose::NT => (a.layout.cols, row_major(&a), transposed(&b)),
        Transpose::TN => (a.layout.rows, transposed(&a), row_major(&b)),
    };
    multiply(cpu, k, [a, b], accumulate, Epilogue::None, out);
}

/// The bytes of scratch memory that the threads of `cpu` keep for a multiplication `C[m, n] = A[m, k] · B[k, n]`.
pub fn scratch_bytes(cpu: &Cpu, [m, k]: [u128; 2], n: usize) -> u128 {
    threading::scratch_bytes(cpu.isa(), cpu.threads(), [m, k], n)
}

/// `out = x·weightᵀ + bias`.
pub(in crate::cpu) fn linear(
    cpu: &Cpu,
    x: View<'_, Cpu>,
    weight: View<'_, Cpu>,
    bias: View<'_, Cpu>,
    out: ViewMut<'_, Cpu>,
) {
    let epilogue = Epilogue::Bias(&bias.buffer[bias.layout.offset..]);
    multiply(cpu, x.layout.cols, [row_major(&x), transposed(&weight)], false, epilogue, out);
}

/// [`linear`] with a weight that is packed once for each `version`: the same bits, without packing in every call.
pub(in crate::cpu) fn linear_packed(
    cpu: &Cpu,
    x: View<'_, Cpu>,
    weight: View<'_, Cpu>,
    version: u64,
    cache: &mut LinearCache,
    bias: View<'_, Cpu>,
    out: ViewMut<'_, Cpu>,
) {
    let Layout { offset, rows, cols, stride, .. } = out.layout;
    if rows == 0 || cols == 0 {
        return;
    }
    let packed = cache.get(cpu.isa(), version, weight.shape(), transposed(&weight));
    let out = &mut out.buffer[offset..offset + (rows - 1) * stride + cols];
    let (x, bias) = (row_major(&x), Epilogue::Bias(&bias.buffer[bias.layout.span()]));
    let [k, _] = packed.shape();
    if rows == 1 || cpu.threads() == 1 || 2 * rows * cols * k < PARALLEL_MIN_FLOPS {
        return packed.multiply(rows, x, out, stride, false, bias);
    }
    let rows_per_task = rows.div_ceil(cpu.threads());
    out.par_chunks_mut(rows_per_task * stride).enumerate().for_each(|(task, out)| {
        let x = x.submatrix([task * rows_per_task, 0]);
        packed.multiply(out.len().div_ceil(stride), x, out, stride, false, bias);
    });
}

fn multiply(
    cpu: &Cpu,
    k: usize,
    [a, b]: [MatRef<'_>; 2],
    accumulate: bool,
    epilogue: Epilogue<'_>,
    out: ViewMut<'_, Cpu>,
) {
    let Layout { offset, rows, cols, stride, padding } = out.layout;
    if rows == 0 || cols == 0 {
        return;
    }
    // whole vectors of a bias must not end past its memory
    let padding = if let Epilogue::Bias(bias) = epilogue { padding.min(bias.len() - cols) } else { padding };
    let out = &mut out.buffer[offset..offset + (rows - 1) * stride + cols + padding];
    let to = Store { stride, accumulate, epilogue };
    Problem { isa: cpu.isa(), threads: cpu.threads(), k, a, b, to, padding }.run([rows, cols], out);
}

/// The matrix, with the rest of its last row's stride where that is within the buffer.
fn row_major<'a>(a: &View<'a, Cpu>) -> MatRef<'a> {
    let Layout { offset, rows, stride, .. } = a.layout;
    MatRef::row_major(&a.buffer[offset..a.buffer.len().min(offset + rows * stride)], stride)
}

fn transposed<'a>(a: &View<'a, Cpu>) -> MatRef<'a> {
    MatRef::transposed(&a.buffer[a.layout.span()], a.layout.stride)
}
