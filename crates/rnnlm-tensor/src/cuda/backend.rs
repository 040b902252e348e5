//! The tensor operations on a GPU, each one a kernel launch.

use std::ops::Range;

use super::buffer::{Buffer, Indices, check_range};
use super::context::Cuda;
use super::launch::{Matrix, Table};
use crate::error::check_len;
use crate::{Activation, Backend, Mask, Result, Transpose, Update, View, ViewMut};

impl Backend for Cuda {
    type Buffer = Box<Buffer>;
    type Slice = Buffer;
    type Indices = Indices;
    type LinearCache = ();

    fn name(&self) -> String {
        self.device_name().to_string()
    }

    /// More than an epoch of most texts. The driver blocks the host when its own queue is full.
    fn max_queued_steps(&self) -> usize {
        1024
    }

    fn allocate(&self, len: usize) -> Result<Box<Buffer>> {
        let (slice, address) = self.allocate_zeros(len)?;
        Ok(Box::new(Buffer { slice, len, address }))
    }

    fn allocate_indices(&self, len: usize) -> Result<Indices> {
        let (slice, address) = self.allocate_zeros(len)?;
        Ok(Indices { slice, len, address, largest: 0 })
    }

    fn write(&self, values: &[f32], to: &mut Buffer, offset: usize) -> Result<()> {
        check_range("write", "values", offset, values.len(), to.len)?;
        if values.is_empty() {
            return Ok(());
        }
        let mut target = to.slice.slice_mut(offset..offset + values.len());
        self.check(self.stream().memcpy_htod(values, &mut target))
    }

    fn read(&self, from: &Buffer, offset: usize, values: &mut [f32]) -> Result<()> {
        check_range("read", "values", offset, values.len(), from.len)?;
        if values.is_empty() {
            return Ok(());
        }
        let source = from.slice.slice(offset..offset + values.len());
        self.check(self.stream().memcpy_dtoh(&source, values))?;
        self.check(self.stream().synchronize())
    }

    fn write_indices(&self, ids: &[u32], to: &mut Indices) -> Result<()> {
        check_len("write_indices", "ids", to.len, ids.len())?;
        to.largest = ids.iter().copied().max().unwrap_or(0);
        if ids.is_empty() {
            return Ok(());
        }
        self.check(self.stream().memcpy_htod(ids, &mut to.slice))
    }

    fn copy_indices(&self, from: &Indices, offset: usize, to: &mut Indices) -> Result<()> {
        check_range("copy_indices", "ids", offset, to.len, from.len)?;
        to.largest = from.largest;
        if to.len == 0 {
            return Ok(());
        }
        let source = from.slice.slice(offset..offset + to.len);
        self.check(self.stream().memcpy_dtod(&source, &mut to.slice))
    }

    fn indices_len(&self, indices: &Indices) -> usize {
        indices.len
    }

    fn set_indices_len(&self, indices: &mut Indices, len: usize) {
        assert!(len <= indices.slice.len(), "{len} ids in memory for {}", indices.slice.len());
        indices.len = len;
    }

    fn fill(&self, value: f32, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().fill(value, out.into())
    }

    fn copy(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().copy(a.into(), out.into())
    }

    fn axpy(&self, alpha: f32, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().axpy(alpha, a.into(), out.into())
    }

    fn multiply(&self, a: View<'_, Self>, b: View<'_, Self>, accumulate: bool, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().multiply(a.into(), b.into(), accumulate, out.into())
    }

    fn normalize(&self, a: View<'_, Self>, b: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().normalize(a.into(), b.into(), out.into())
    }

    fn gemm(
        &self,
        transpose: Transpose,
        a: View<'_, Self>,
        b: View<'_, Self>,
        accumulate: bool,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.kernels().gemm(transpose, a.into(), b.into(), accumulate, out.into())
    }

    fn add_row(&self, row: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().add_row(row.into(), out.into())
    }

    fn sum_rows(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().sum_rows(a.into(), out.into())
    }

    fn gather_columns(&self, table: View<'_, Self>, ids: &Indices, out: ViewMut<'_, Self>) -> Result<()> {
        let table = Matrix::from(table);
        ids.check_bound("gather_columns", table.cols)?;
        self.kernels().gather(Table::of_columns(table), ids.address, out.into())
    }

    fn scatter_add_columns(
        &self,
        a: View<'_, Self>,
        ids: &Indices,
        table: ViewMut<'_, Self>,
        sum: ViewMut<'_, Self>,
    ) -> Result<()> {
        let table = Matrix::from(table);
        ids.check_bound("scatter_add_columns", table.cols)?;
        self.kernels().scatter_add(a.into(), ids.address, Table::of_columns(table), table.cols)?;
        self.sum_rows(a, sum)
    }

    fn gather_rows(&self, table: View<'_, Self>, ids: &Indices, out: ViewMut<'_, Self>) -> Result<()> {
        let table = Matrix::from(table);
        ids.check_bound("gather_rows", table.rows)?;
        self.kernels().gather(Table::of_rows(table), ids.address, out.into())
    }

    fn scatter_add_rows(&self, a: View<'_, Self>, ids: &Indices, table: ViewMut<'_, Self>) -> Result<()> {
        let table = Matrix::from(table);
        ids.check_bound("scatter_add_rows", table.rows)?;
        self.kernels().scatter_add(a.into(), ids.address, Table::of_rows(table), table.rows)
    }

    fn zero_rows(&self, mask: &Indices, range: Range<usize>, out: ViewMut<'_, Self>) -> Result<()> {
        let mask = mask.address + (range.start * size_of::<u32>()) as u64;
        self.kernels().zero_rows(mask, out.into())
    }

    fn activate(&self, activation: Activation, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().activate(activation, out.into())
    }

    fn activate_backward(&self, activation: Activation, y: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().activate_backward(activation, y.into(), out.into())
    }

    fn softmax_cross_entropy(
        &self,
        scale: f32,
        smoothing: f32,
        targets: &Indices,
        range: Range<usize>,
        logits: ViewMut<'_, Self>,
        losses: ViewMut<'_, Self>,
    ) -> Result<()> {
        let logits = Matrix::from(logits);
        targets.check_bound("softmax_cross_entropy", logits.cols)?;
        let targets = targets.address + (range.start * size_of::<u32>()) as u64;
        self.kernels().softmax_cross_entropy([scale, smoothing], targets, logits, losses.into())
    }

    fn log_softmax(&self, shift: Option<View<'_, Self>>, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().log_softmax(shift.map(Matrix::from), out.into())
    }

    fn sum(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().sum(a.into(), false, out.into())
    }

    fn sum_squares(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().sum(a.into(), true, out.into())
    }

    fn clip_factor(&self, sum_squares: View<'_, Self>, max_norm: f32, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().clip_factor(sum_squares.into(), max_norm, out.into())
    }

    fn skip_nonfinite(
        &self,
        bound: f32,
        loss: View<'_, Self>,
        sum_squares: View<'_, Self>,
        skipped: ViewMut<'_, Self>,
        factor: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.kernels().skip_nonfinite(bound, loss.into(), sum_squares.into(), skipped.into(), factor.into())
    }

    fn clamp(&self, bound: f32, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().clamp(bound, out.into())
    }

    fn dropout(&self, mask: Mask, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().dropout(mask, out.into())
    }

    fn dropout_rows(&self, mask: Mask, ids: &Indices, out: ViewMut<'_, Self>) -> Result<()> {
        self.kernels().dropout_rows(mask, ids.address, out.into())
    }

    fn update(
        &self,
        rule: Update,
        factor: View<'_, Self>,
        gradients: View<'_, Self>,
        state: [ViewMut<'_, Self>; 2],
        parameters: ViewMut<'_, Self>,
    ) -> Result<()> {
        let state = state.map(Matrix::from);
        self.kernels().update(rule, factor.into(), gradients.into(), state, parameters.into())
    }
}
