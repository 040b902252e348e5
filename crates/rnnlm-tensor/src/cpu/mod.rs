//! The CPU: the inner loops are compiled for each instruction set, rows are shared out to a rayon pool in
//! such a way that the number of threads changes the time and never a bit.

mod buffer;
mod dropout;
mod elementwise;
mod gather;
mod isa;
pub mod math;
pub mod matmul;
pub mod work_splitting;
pub use buffer::{Buffer, PAGE, row_stride};
pub use isa::{Isa, Kernel, Lanes};
use matmul::LinearCache;
mod loss;
mod reduce;
mod update;

use std::ops::Range;
use std::sync::Arc;

use crate::{Activation, Backend, Error, Mask, Result, Transpose, Update, View, ViewMut};

/// A CPU with a pool of threads of its own.
#[derive(Clone, Debug)]
pub struct Cpu {
    pool: Arc<rayon::ThreadPool>,
    isa: Isa,
}

impl Cpu {
    /// A pool of `threads` threads, or of one for each core if `threads` is 0.
    ///
    /// # Errors
    /// If the operating system refuses the threads.
    pub fn new(threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("rnnlm-{index}"))
            .build()
            .map_err(|error| Error::Threads { threads, reason: error.to_string() })?;
        Ok(Self { pool: Arc::new(pool), isa: Isa::detect() })
    }

    /// The same CPU restricted to an instruction set, for checking each one that it has.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// The instruction set that fused code uses.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Number of threads in the pool.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}

/// The elements of one row of a view.
fn row<'a>(a: &View<'a, Cpu>, index: usize) -> &'a [f32] {
    let start = a.layout.offset + index * a.layout.stride;
    &a.buffer[start..start + a.layout.cols]
}

/// The elements of one row of a view, to write.
fn row_mut<'b>(out: &'b mut ViewMut<'_, Cpu>, index: usize) -> &'b mut [f32] {
    let start = out.layout.offset + index * out.layout.stride;
    &mut out.buffer[start..start + out.layout.cols]
}

/// An error unless `id` names one of `bound` entries.
fn check_id(op: &'static str, id: u32, bound: usize) -> Result<usize> {
    let index = id as usize;
    if index < bound { Ok(index) } else { Err(Error::IdOutOfRange { op, id, bound }) }
}

/// A vector of `len` default values, or an error where `vec!` would abort.
fn vector<T: Clone + Default>(len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(len)
        .map_err(|_| Error::OutOfMemory { device: "cpu".to_owned(), bytes: len.saturating_mul(size_of::<T>()) })?;
    values.resize(len, T::default());
    Ok(values)
}

impl Backend for Cpu {
    type Buffer = Buffer;
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

    fn row_stride(&self, cols: usize) -> usize {
        row_stride(cols)
    }

    fn allocate(&self, len: usize) -> Result<Buffer> {
        Buffer::zeros(len)
    }

    fn allocate_indices(&self, len: usize) -> Result<Vec<u32>> {
        vector(len)
    }

    fn write(&self, values: &[f32], to: &mut Buffer, offset: usize) -> Result<()> {
        let room = to.len().saturating_sub(offset);
        let target = to.get_mut(offset..offset.saturating_add(values.len())).ok_or(Error::Length {
            op: "write",
            what: "places",
            expected: values.len(),
            found: room,
        })?;
        target.copy_from_slice(values);
        Ok(())
    }

    fn read(&self, from: &Buffer, offset: usize, values: &mut [f32]) -> Result<()> {
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
        crate::ops::check_len("write_indices", "ids", to.len(), ids.len())?;
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

    fn fill(&self, value: f32, out: ViewMut<'_, Self>) -> Result<()> {
        self.run(|| elementwise::fill(value, out));
        Ok(())
    }

    fn copy(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        elementwise::zip(a, out, |a, out| *out = a);
        Ok(())
    }

    fn axpy(&self, alpha: f32, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        elementwise::zip(a, out, |a, out| *out += alpha * a);
        Ok(())
    }

    fn multiply(&self, a: View<'_, Self>, b: View<'_, Self>, accumulate: bool, out: ViewMut<'_, Self>) -> Result<()> {
        elementwise::multiply(a, b, accumulate, out);
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

    fn activate(&self, activation: Activation, out: ViewMut<'_, Self>) -> Result<()> {
        self.run(|| elementwise::activate(activation, out));
        Ok(())
    }

    fn activate_backward(&self, activation: Activation, y: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        match activation {
            Activation::Tanh => elementwise::zip(y, out, |y, out| *out *= 1.0 - y * y),
            Activation::Sigmoid => elementwise::zip(y, out, |y, out| *out *= y * (1.0 - y)),
            Activation::Relu => elementwise::zip(y, out, |y, out| {
                if y <= 0.0 {
                    *out = 0.0;
                }
            }),
        }
        Ok(())
    }

    fn softmax_cross_entropy(
        &self,
        scale: f32,
        targets: &Vec<u32>,
        range: Range<usize>,
        logits: ViewMut<'_, Self>,
        losses: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.run(|| loss::softmax_cross_entropy(self.isa, scale, &targets[range], logits, losses))
    }

    fn sum(&self, a: View<'_, Self>, mut out: ViewMut<'_, Self>) -> Result<()> {
        row_mut(&mut out, 0)[0] = self.run(|| reduce::sum_of(a, f64::from)) as f32;
        Ok(())
    }

    fn sum_squares(&self, a: View<'_, Self>, mut out: ViewMut<'_, Self>) -> Result<()> {
        row_mut(&mut out, 0)[0] = self.run(|| reduce::sum_of(a, |a| f64::from(a) * f64::from(a))) as f32;
        Ok(())
    }

    fn clip_factor(&self, sum_squares: View<'_, Self>, max_norm: f32, mut out: ViewMut<'_, Self>) -> Result<()> {
        let norm = row(&sum_squares, 0)[0].sqrt();
        let factor = max_norm / (norm + 1e-6);
        // `f32::min` would turn NaN into 1 and hide a divergence
        row_mut(&mut out, 0)[0] = if factor > 1.0 { 1.0 } else { factor };
        Ok(())
    }

    fn skip_nonfinite(
        &self,
        bound: f32,
        loss: View<'_, Self>,
        sum_squares: View<'_, Self>,
        mut skipped: ViewMut<'_, Self>,
        mut factor: ViewMut<'_, Self>,
    ) -> Result<()> {
        // a NaN is within no bound
        if !(row(&loss, 0)[0].abs() <= bound && row(&sum_squares, 0)[0].is_finite()) {
            row_mut(&mut skipped, 0)[0] = 1.0;
        }
        if row_mut(&mut skipped, 0)[0] != 0.0 {
            row_mut(&mut factor, 0)[0] = f32::NAN;
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

    fn update(
        &self,
        rule: Update,
        factor: View<'_, Self>,
        gradients: View<'_, Self>,
        state: [ViewMut<'_, Self>; 2],
        parameters: ViewMut<'_, Self>,
    ) -> Result<()> {
        let factor = row(&factor, 0)[0];
        if !factor.is_nan() {
            self.run(|| update::update(rule, factor, gradients, state, parameters));
        }
        Ok(())
    }
}
