//! One row of `A`, as in decoding: several panels are multiplied together, because the few sums of one panel would wait for
//! the latency of each fused multiply-add. The order of each sum is that of a tile.

use super::blocking::SINGLE_ROW_PANELS;
use super::micro_kernel::store;
use super::operand::Store;
use super::panels::{Panel, Panels};
use crate::cpu::isa::Lanes;

/// `c = a · panels` for a contiguous row `a`, with tiles of `NV` vectors.
#[inline(always)]
pub(super) fn single_row<L: Lanes, const NV: usize>(a: &[f32], panels: &Panels<'_>, c: &mut [f32], to: Store<'_>) {
    let nr = NV * L::LANES;
    let whole = panels.layout.starts().take_while(|start| panels.layout.width(*start) == nr).count();
    for index in (0..whole).step_by(SINGLE_ROW_PANELS) {
        let start = index * nr;
        match whole - index {
            1 => multiply::<L, NV, 1>(a, panels, start, c, to),
            2 => multiply::<L, NV, 2>(a, panels, start, c, to),
            3 => multiply::<L, NV, 3>(a, panels, start, c, to),
            _ => multiply::<L, NV, SINGLE_ROW_PANELS>(a, panels, start, c, to),
        }
    }
    let start = whole * nr;
    match (panels.layout.padded_cols() - start) / L::LANES {
        0 => {}
        1 => multiply::<L, 1, 1>(a, panels, start, c, to),
        2 => multiply::<L, 2, 1>(a, panels, start, c, to),
        _ => multiply::<L, 2, 2>(a, panels, start, c, to),
    }
}

/// The row times `P` panels of `NV` vectors, the first of which starts at column `start`.
#[inline(always)]
fn multiply<L: Lanes, const NV: usize, const P: usize>(
    a: &[f32],
    panels: &Panels<'_>,
    start: usize,
    c: &mut [f32],
    to: Store<'_>,
) {
    let starts: [usize; P] = std::array::from_fn(|q| start + q * NV * L::LANES);
    let sums = row_sums::<L, NV, P>(a, starts.map(|start| panels.get(start)));
    for (sums, start) in sums.iter().zip(starts) {
        store::<L, 1, NV>(&[*sums], &mut c[start..], panels.layout.cols(start), to.at(0, start));
    }
}

/// The sums of the row over `P` panels.
#[inline(always)]
fn row_sums<L: Lanes, const NV: usize, const P: usize>(a: &[f32], panels: [Panel<'_>; P]) -> [[L::Vector; NV]; P] {
    let mut sums = [[L::splat(0.0); NV]; P];
    for (p, &a) in a[..panels[0].depth].iter().enumerate() {
        let a = L::splat(a);
        for (sums, panel) in sums.iter_mut().zip(&panels) {
            let b = panel.row::<L, NV>(p);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = L::mul_add_vector(a, b, *sum);
            }
        }
    }
    sums
}
