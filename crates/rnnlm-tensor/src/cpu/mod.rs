//! The CPU backend: kernels are compiled for each instruction set, and rayon tasks split the work. The instruction set
//! (AVX2 or AVX-512) and the number of threads affect the time, never a result.

mod array;
mod buffer;
mod device;
mod dropout;
mod elementwise;
mod gather;
mod isa;
mod loss;
pub mod math;
pub mod matmul;
mod reduce;
mod rows;
mod update;
pub mod work_splitting;

use std::ops::Range;

pub use self::buffer::{Buffer, PAGE, row_stride};
pub use self::device::Cpu;
pub use self::isa::{Isa, Kernel, Lanes};
use self::matmul::LinearCache;
use self::rows::{scalar, scalar_mut};
use crate::{Activation, Backend, Error, Mask, Result, Transpose, Update, View, ViewMut};

impl Backend for Cpu {
    type Buffer = Buffer;
    type Slice = [f32];
    type Indices = Vec<u32>;
    type LinearCache = LinearCache;

    fn name(&self) -> String {
        match self.threads() {
            1 => "cpu (1 thread)".to_owned(),
            threads => format!("cpu ({threads} threads)"),
        }
    }

    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    fn prefers_ranges(&self) -> bool {
        true
    }

    fn row_stride(&self, cols: usize) -> usize {
        row_stride(cols)
    }

    fn allocate(&self, len: usize) -> Result<Buffer> {
        Buffer::zeros(len)
    }

    fn allocate_indices(&self, len: usize) -> Result<Vec<u32>> {
        buffer::try_vec(len)
    }

    fn write(&self, values: &[f32], to: &mut [f32], offset: usize) -> Result<()> {
        let found = to.len().saturating_sub(offset);
        let target = to.get_mut(offset..offset.saturating_add(values.len())).ok_or(Error::Length {
            op: "write",
            what: "elements",
            expected: values.len(),
            found,
        })?;
        target.copy_from_slice(values);
        Ok(())
    }

    fn read(&self, from: &[f32], offset: usize, values: &mut [f32]) -> Result<()> {
        let found = from.len().saturating_sub(offset);
        let source = from.get(offset..offset.saturating_add(values.len())).ok_or(Error::Length {
            op: "read",
            what: "values",
            expected: values.len(),
            found,
        })?;
        values.copy_from_slice(source);
        Ok(())
    }

    fn write_indices(&self, ids: &[u32], to: &mut Vec<u32>) -> Result<()> {
        crate::error::check_len("write_indices", "ids", to.len(), ids.len())?;
        to.copy_from_slice(ids);
        Ok(())
    }

    fn copy_indices(&self, from: &Vec<u32>, offset: usize, to: &mut Vec<u32>) -> Result<()> {
        let (expected, found) = (to.len(), from.len().saturating_sub(offset));
        let ids = from.get(offset..offset.saturating_add(expected));
        let ids = ids.ok_or(Error::Length { op: "copy_indices", what: "ids", expected, found })?;
        to.copy_from_slice(ids);
        Ok(())
    }

    fn indices_len(&self, indices: &Vec<u32>) -> usize {
        indices.len()
    }

    fn set_indices_len(&self, indices: &mut Vec<u32>, len: usize) {
        assert!(len <= indices.capacity(), "{len} ids in memory for {}", indices.capacity());
        indices.resize(len, 0);
    }

    fn fill(&self, value: f32, out: ViewMut<'_, Self>) -> Result<()> {
        self.run(|| elementwise::fill(value, out));
        Ok(())
    }

    fn copy(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        elementwise::copy(a, out);
        Ok(())
    }

    fn axpy(&self, alpha: f32, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        elementwise::axpy(alpha, a, out);
        Ok(())
    }

    fn multiply(&self, a: View<'_, Self>, b: View<'_, Self>, accumulate: bool, out: ViewMut<'_, Self>) -> Result<()> {
        elementwise::multiply(a, b, accumulate, out);
        Ok(())
    }

    fn normalize(&self, a: View<'_, Self>, b: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        elementwise::normalize(a, b, out);
        Ok(())
    }

    fn gemm(
        &self,
        transpose: Transpose,
        a: View<'_, Self>,
        b: View<'_, Self>,
        accumulate: bool,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.run(|| matmul::gemm(self, transpose, a, b, accumulate, out));
        Ok(())
    }

    fn linear(
        &self,
        x: View<'_, Self>,
        weight: View<'_, Self>,
        bias: View<'_, Self>,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.run(|| matmul::linear(self, x, weight, bias, out));
        Ok(())
    }

    fn linear_packed(
        &self,
        x: View<'_, Self>,
        weight: View<'_, Self>,
        version: u64,
        cache: &mut LinearCache,
        bias: View<'_, Self>,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.run(|| matmul::linear_packed(self, x, weight, version, cache, bias, out));
        Ok(())
    }

    fn add_row(&self, row: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        elementwise::add_row(row, out);
        Ok(())
    }

    fn sum_rows(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.run(|| reduce::sum_rows(self.isa, a, out));
        Ok(())
    }

    fn gather_columns(&self, table: View<'_, Self>, ids: &Vec<u32>, out: ViewMut<'_, Self>) -> Result<()> {
        gather::columns(table, ids, out)
    }

    fn scatter_add_columns(
        &self,
        a: View<'_, Self>,
        ids: &Vec<u32>,
        table: ViewMut<'_, Self>,
        sum: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.run(|| gather::add_columns(self.isa, a, ids, table, sum))
    }

    fn gather_rows(&self, table: View<'_, Self>, ids: &Vec<u32>, out: ViewMut<'_, Self>) -> Result<()> {
        gather::rows(table, ids, out)
    }

    fn scatter_add_rows(&self, a: View<'_, Self>, ids: &Vec<u32>, table: ViewMut<'_, Self>) -> Result<()> {
        gather::add_rows(a, ids, table)
    }

    fn zero_rows(&self, mask: &Vec<u32>, range: Range<usize>, out: ViewMut<'_, Self>) -> Result<()> {
        elementwise::zero_rows(&mask[range], out);
        Ok(())
    }

    fn activate(&self, activation: Activation, out: ViewMut<'_, Self>) -> Result<()> {
        self.run(|| elementwise::activate(activation, out));
        Ok(())
    }

    fn activate_backward(&self, activation: Activation, y: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        elementwise::activate_backward(activation, y, out);
        Ok(())
    }

    fn softmax_cross_entropy(
        &self,
        scale: f32,
        smoothing: f32,
        targets: &Vec<u32>,
        range: Range<usize>,
        logits: ViewMut<'_, Self>,
        losses: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.run(|| loss::softmax_cross_entropy(self.isa, [scale, smoothing], &targets[range], logits, losses))
    }

    fn log_softmax(&self, shift: Option<View<'_, Self>>, out: ViewMut<'_, Self>) -> Result<()> {
        self.run(|| loss::log_softmax(self.isa, shift, out));
        Ok(())
    }

    fn sum(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        *scalar_mut(out) = self.run(|| reduce::sum_of(a, f64::from)) as f32;
        Ok(())
    }

    fn sum_squares(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        *scalar_mut(out) = self.run(|| reduce::sum_of(a, reduce::square)) as f32;
        Ok(())
    }

    fn sum_squares_in(&self, a: View<'_, Self>, ranges: &[Range<usize>], out: ViewMut<'_, Self>) -> Result<()> {
        *scalar_mut(out) = self.run(|| reduce::sum_squares_in(a, ranges)) as f32;
        Ok(())
    }

    fn clip_factor(&self, sum_squares: View<'_, Self>, max_norm: f32, out: ViewMut<'_, Self>) -> Result<()> {
        let norm = scalar(sum_squares).sqrt();
        let factor = max_norm / (norm + 1e-6);
        // `f32::min` would turn NaN into 1 and hide a divergence
        *scalar_mut(out) = if factor > 1.0 { 1.0 } else { factor };
        Ok(())
    }

    fn skip_nonfinite(
        &self,
        bound: f32,
        loss: View<'_, Self>,
        sum_squares: View<'_, Self>,
        skipped: ViewMut<'_, Self>,
        factor: ViewMut<'_, Self>,
    ) -> Result<()> {
        let skipped = scalar_mut(skipped);
        // a comparison with NaN is false
        let is_finite = scalar(loss).abs() <= bound && scalar(sum_squares).is_finite();
        if !is_finite {
            *skipped = 1.0;
        }
        if *skipped != 0.0 {
            *scalar_mut(factor) = f32::NAN;
        }
        Ok(())
    }

    fn clamp(&self, bound: f32, out: ViewMut<'_, Self>) -> Result<()> {
        elementwise::clamp(bound, out);
        Ok(())
    }

    fn dropout(&self, mask: Mask, out: ViewMut<'_, Self>) -> Result<()> {
        self.run(|| dropout::dropout(self.isa, mask, out));
        Ok(())
    }

    fn dropout_rows(&self, mask: Mask, ids: &Vec<u32>, out: ViewMut<'_, Self>) -> Result<()> {
        dropout::dropout_rows(mask, ids, out);
        Ok(())
    }

    fn update(
        &self,
        rule: Update,
        factor: View<'_, Self>,
        gradients: View<'_, Self>,
        state: [ViewMut<'_, Self>; 2],
        parameters: ViewMut<'_, Self>,
    ) -> Result<()> {
        let factor = scalar(factor);
        if !factor.is_nan() {
            self.run(|| update::update(rule, factor, gradients, state, parameters));
        }
        Ok(())
    }
}
