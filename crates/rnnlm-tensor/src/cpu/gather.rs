//! Selecting columns or rows of a table by id, and adding gradients back to them.

use ndarray::{ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

use super::buffer::PREFETCH_ROWS;
use super::device::Cpu;
use super::isa::{Isa, Kernel, Lanes, prefetch_from};
use super::rows::{row, row_mut};
use crate::error::check_ids;
use crate::{Result, View, ViewMut};

/// Columns and ids whose sums [`add_columns`] accumulates in one pass over the rows: 16 KiB, which fit the first-level cache.
/// No result depends on them.
const COLS_PER_BLOCK: usize = 64;
const IDS_PER_BLOCK: usize = 64;

/// `out[r, :] = table[:, ids[r]]`.
pub(super) fn columns(table: View<'_, Cpu>, ids: &[u32], out: ViewMut<'_, Cpu>) -> Result<()> {
    check_ids("gather_columns", ids, table.layout.cols)?;
    let table = ArrayView2::from(table);
    let mut out = ArrayViewMut2::from(out);
    for (mut row, &id) in out.rows_mut().into_iter().zip(ids) {
        row.assign(&table.column(id as usize));
    }
    Ok(())
}

/// `table[:, ids[r]] += a[r, :]` and `sum += Σ_r a[r, :]`.
///
/// Rows are first summed by id in a contiguous block, which is then transposed into the table: adding each row to a column
/// would touch one cache line per element. `sum` adds the sums of all ids in the order of the ids.
pub(super) fn add_columns(
    isa: Isa,
    a: View<'_, Cpu>,
    ids: &[u32],
    table: ViewMut<'_, Cpu>,
    mut sum: ViewMut<'_, Cpu>,
) -> Result<()> {
    check_ids("scatter_add_columns", ids, table.layout.cols)?;
    let entries = table.layout.cols;
    let stride = table.layout.stride.max(1);
    let table_blocks = table.buffer[table.layout.span()].par_chunks_mut(COLS_PER_BLOCK * stride);
    let sum_blocks = row_mut(&mut sum, 0).par_chunks_mut(COLS_PER_BLOCK);
    table_blocks.zip(sum_blocks).enumerate().for_each(|(block, (table, sum))| {
        let first = block * COLS_PER_BLOCK;
        let a = a.cols(first..first + sum.len());
        for first_id in (0..entries).step_by(IDS_PER_BLOCK) {
            let mut sums = [[0.0_f32; COLS_PER_BLOCK]; IDS_PER_BLOCK];
            isa.run(SumById { a, ids, first_id, sums: &mut sums });
            for id_sums in &sums {
                sum.iter_mut().zip(id_sums).for_each(|(sum, id_sum)| *sum += id_sum);
            }
            for (c, row) in table.chunks_mut(stride).enumerate() {
                row[first_id..entries].iter_mut().zip(&sums).for_each(|(value, id_sums)| *value += id_sums[c]);
            }
        }
    });
    Ok(())
}

/// `sums[ids[r] − first_id] += a[r, :]` for the ids of one block.
struct SumById<'a> {
    a: View<'a, Cpu>,
    ids: &'a [u32],
    first_id: usize,
    sums: &'a mut [[f32; COLS_PER_BLOCK]; IDS_PER_BLOCK],
}

impl Kernel for SumById<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let cols = self.a.layout.cols;
        let stride = self.a.layout.stride.max(1);
        let rows = self.a.buffer[self.a.layout.span()].chunks(stride);
        for (row, &id) in rows.zip(self.ids) {
            // consecutive rows are often in different pages, which the hardware does not prefetch across
            prefetch_from(row.as_ptr().wrapping_add(PREFETCH_ROWS * stride), cols);
            let Some(sums) = (id as usize).checked_sub(self.first_id).and_then(|index| self.sums.get_mut(index)) else {
                continue;
            };
            match row.first_chunk::<COLS_PER_BLOCK>() {
                // a constant length needs no remainder loop
                Some(row) if cols == COLS_PER_BLOCK => sums.iter_mut().zip(row).for_each(|(sum, a)| *sum += a),
                _ => sums.iter_mut().zip(&row[..cols]).for_each(|(sum, a)| *sum += a),
            }
        }
    }
}

/// `out[r, :] = table[ids[r], :]`, on slices because `ArrayBase::assign` takes 1.2 to 1.5 times as long.
pub(super) fn rows(table: View<'_, Cpu>, ids: &[u32], mut out: ViewMut<'_, Cpu>) -> Result<()> {
    check_ids("gather_rows", ids, table.layout.rows)?;
    for (r, &id) in ids.iter().enumerate() {
        row_mut(&mut out, r).copy_from_slice(row(&table, id as usize));
    }
    Ok(())
}

/// `table[ids[r], :] += a[r, :]`, on slices because `+=` of arrays takes 1.05 times as long.
pub(super) fn add_rows(a: View<'_, Cpu>, ids: &[u32], mut table: ViewMut<'_, Cpu>) -> Result<()> {
    check_ids("scatter_add_rows", ids, table.layout.rows)?;
    for (r, &id) in ids.iter().enumerate() {
        row_mut(&mut table, id as usize).iter_mut().zip(row(&a, r)).for_each(|(value, a)| *value += a);
    }
    Ok(())
}
