//! Matrix products: ndarray's, a block of rows at a time, the blocks shared out to the pool.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, ShapeBuilder};

use super::Cpu;
use crate::{Layout, Product, View, ViewMut};

/// Rows of the output that one task computes; fixed, so that neither the split nor the order of a sum follows the number
/// of threads.
const ROWS_PER_TASK: usize = 32;
/// Products below this many multiplications are done where they stand: starting a task costs microseconds.
const SMALL: usize = 1 << 18;

fn array<'a>(a: &View<'a, Cpu>) -> ArrayView2<'a, f32> {
    let Layout { rows, cols, stride, .. } = a.layout;
    ArrayView2::from_shape((rows, cols).strides((stride, 1)), &a.buffer[a.layout.span()])
        .expect("a layout's span holds its elements")
}

pub(super) fn gemm(product: Product, a: View<'_, Cpu>, b: View<'_, Cpu>, accumulate: bool, out: ViewMut<'_, Cpu>) {
    let Layout { rows, cols, stride, .. } = out.layout;
    let (a, b) = match product {
        Product::AB => (array(&a), array(&b)),
        Product::ABt => (array(&a), array(&b).reversed_axes()),
        Product::AtB => (array(&a).reversed_axes(), array(&b)),
    };
    let mut out = ArrayViewMut2::from_shape((rows, cols).strides((stride, 1)), &mut out.buffer[out.layout.span()])
        .expect("a layout's span holds its elements");
    let beta = if accumulate { 1.0 } else { 0.0 };
    if rows * cols * a.ncols() < SMALL {
        general_mat_mul(1.0, &a, &b, beta, &mut out);
        return;
    }
    rayon::scope(|scope| {
        let blocks = a.axis_chunks_iter(Axis(0), ROWS_PER_TASK);
        for (a, mut out) in blocks.zip(out.axis_chunks_iter_mut(Axis(0), ROWS_PER_TASK)) {
            let b = b.view();
            scope.spawn(move |_| general_mat_mul(1.0, &a, &b, beta, &mut out));
        }
    });
}
