//! One-hot rows and embeddings: picking columns or rows of a table by id, and adding gradients back to them.

use std::cell::RefCell;

use rayon::prelude::*;

use super::{Cpu, check_id, row, row_mut};
use crate::{Result, View, ViewMut};

/// Columns of the gradient that one task adds up; fixed, though no bit depends on it.
const COLUMNS_PER_TASK: usize = 64;

thread_local! {
    /// Sums of one task, a row for each id; it grows to the largest table and stays.
    static SUMS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

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
/// row would touch a cache line for every element.
pub(super) fn add_columns(a: View<'_, Cpu>, ids: &[u32], table: ViewMut<'_, Cpu>) -> Result<()> {
    for &id in ids {
        check_id("scatter_add_columns", id, table.layout.cols)?;
    }
    let (entries, stride, span) = (table.layout.cols, table.layout.stride, table.layout.span());
    table.buffer[span].par_chunks_mut(COLUMNS_PER_TASK * stride).enumerate().for_each(|(task, table)| {
        let first = task * COLUMNS_PER_TASK;
        let width = COLUMNS_PER_TASK.min(a.layout.cols - first);
        let mut sums = SUMS.take();
        sums.clear();
        sums.resize(entries * width, 0.0);
        for (r, &id) in ids.iter().enumerate() {
            let sums = &mut sums[id as usize * width..][..width];
            sums.iter_mut().zip(&row(&a, r)[first..]).for_each(|(sum, a)| *sum += a);
        }
        for (c, row) in table.chunks_mut(stride).enumerate() {
            row[..entries].iter_mut().enumerate().for_each(|(id, value)| *value += sums[id * width + c]);
        }
        SUMS.set(sums);
    });
    Ok(())
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
