//! Rows and elements of views, for code that needs slices rather than arrays.

use super::device::Cpu;
use crate::{View, ViewMut};

/// The elements of row `index`.
pub(super) fn row<'a>(a: &View<'a, Cpu>, index: usize) -> &'a [f32] {
    let start = a.layout.offset + index * a.layout.stride;
    &a.buffer[start..start + a.layout.cols]
}

/// The elements of row `index`, mutable.
pub(super) fn row_mut<'b>(out: &'b mut ViewMut<'_, Cpu>, index: usize) -> &'b mut [f32] {
    let start = out.layout.offset + index * out.layout.stride;
    &mut out.buffer[start..start + out.layout.cols]
}

/// The element of a `[1, 1]` view.
pub(super) fn scalar(a: View<'_, Cpu>) -> f32 {
    a.buffer[a.layout.offset]
}

/// The element of a `[1, 1]` view, mutable.
pub(super) fn scalar_mut(out: ViewMut<'_, Cpu>) -> &mut f32 {
    &mut out.buffer[out.layout.offset]
}
