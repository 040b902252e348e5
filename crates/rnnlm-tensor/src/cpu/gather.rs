//! One-hot rows and embeddings: picking columns or rows of a table by id, and adding gradients back to them.

use rayon::prelude::*;

use super::isa::prefetch_from;
use super::{Cpu, Isa, Kernel, Lanes, check_id, row, row_mut};
use crate::{Result, View, ViewMut};

/// Columns of the gradient that one task adds up, and ids for which it does so at a time: what fits a first-level cache
/// and the stack. No bit depends on them.
const COLUMNS: usize = 64;
const IDS: usize = 64;
/// Rows that are asked for before they are needed: each lies in another page, so that no CPU does so by itself.
const ROWS_AHEAD: usize = 8;

pub(super) fn columns(table: View<'_, Cpu>, ids: &[u32], mut out: ViewMut<'_, Cpu>) -> Result<()> {
    for (r, &id) in ids.iter().enumerate() {
        let column = check_id("gather_columns", id, table.layout.cols)?;
        for (c, value) in row_mut(&mut out, r).iter_mut().enumerate() {
            *value = row(&table, c)[column];
        }
    }
    Ok(())
}

/// Rows are added up by id side by side and only then transposed into the table: walking down a column of it for every
/// row would touch a cache line for every element. The sum of all rows is that of all ids, of which there are fewer.
pub(super) fn add_columns(
    isa: Isa,
    a: View<'_, Cpu>,
    ids: &[u32],
    table: ViewMut<'_, Cpu>,
    mut sum: ViewMut<'_, Cpu>,
) -> Result<()> {
    for &id in ids {
        check_id("scatter_add_columns", id, table.layout.cols)?;
    }
    let (entries, stride, span) = (table.layout.cols, table.layout.stride, table.layout.span());
    let parts = table.buffer[span].par_chunks_mut(COLUMNS * stride).zip(row_mut(&mut sum, 0).par_chunks_mut(COLUMNS));
    parts.enumerate().for_each(|(task, (table, sum))| {
        let first = task * COLUMNS;
        let width = COLUMNS.min(a.layout.cols - first);
        for first_id in (0..entries).step_by(IDS) {
            let mut sums = [[0.0_f32; COLUMNS]; IDS];
            isa.run(AddById { a: a.cols(first..first + width), ids, first_id, sums: &mut sums });
            for sums in &sums {
                sum.iter_mut().zip(sums).for_each(|(sum, of_id)| *sum += of_id);
            }
            for (c, row) in table.chunks_mut(stride).enumerate() {
                row[first_id..entries].iter_mut().zip(&sums).for_each(|(value, sums)| *value += sums[c]);
            }
        }
    });
    Ok(())
}

/// Adds each row to the sum of its id, where that is one of those from `first_id` on.
struct AddById<'a> {
    a: View<'a, Cpu>,
    ids: &'a [u32],
    first_id: usize,
    sums: &'a mut [[f32; COLUMNS]; IDS],
}

impl Kernel for AddById<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (cols, stride) = (self.a.layout.cols, self.a.layout.stride.max(1));
        let rows = self.a.buffer[self.a.layout.span()].chunks(stride);
        for (row, &id) in rows.zip(self.ids) {
            prefetch_from(row.as_ptr().wrapping_add(ROWS_AHEAD * stride), cols);
            let Some(sums) = (id as usize).checked_sub(self.first_id).and_then(|index| self.sums.get_mut(index)) else {
                continue;
            };
            match row.first_chunk::<COLUMNS>() {
                // a length that is known needs no loop for a rest
                Some(row) if cols == COLUMNS => sums.iter_mut().zip(row).for_each(|(sum, a)| *sum += a),
                _ => sums.iter_mut().zip(&row[..cols]).for_each(|(sum, a)| *sum += a),
            }
        }
    }
}

pub(super) fn rows(table: View<'_, Cpu>, ids: &[u32], mut out: ViewMut<'_, Cpu>) -> Result<()> {
    for (r, &id) in ids.iter().enumerate() {
        let entry = check_id("gather_rows", id, table.layout.rows)?;
        row_mut(&mut out, r).copy_from_slice(row(&table, entry));
    }
    Ok(())
}

pub(super) fn add_rows(a: View<'_, Cpu>, ids: &[u32], mut table: ViewMut<'_, Cpu>) -> Result<()> {
    for (r, &id) in ids.iter().enumerate() {
        let entry = check_id("scatter_add_rows", id, table.layout.rows)?;
        row_mut(&mut table, entry).iter_mut().zip(row(&a, r)).for_each(|(value, a)| *value += a);
    }
    Ok(())
}
