//! A GPU of NVIDIA's: buffers are memory of the device, every operation is a kernel on one stream, and nothing waits for the
//! device but [`Backend::read`]. No CUDA toolkit is needed to build it and no driver to start it: the libraries are looked
//! for when somebody asks, and kernels are compiled at run time for the GPU that is there.
//!
//! Sums have one order that depends on sizes alone, so that the same run gives the same bits again.

mod compile;
mod device;
mod kernels;
mod launch;
mod module;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use cudarc::driver::{CudaContext, CudaModule, CudaSlice, CudaStream, DevicePtr, DriverError};

pub use self::compile::Program;
use self::device::unavailable;
pub use self::device::{COMPILER, CudaDevice, CudaUnavailable, DRIVER, devices};
use self::kernels::Kernels;
pub use self::launch::{Argument, Grid, Matrix, Table};
pub use self::module::Kernel;
use crate::{Activation, Backend, Error, Layout, Mask, Result, Transpose, Update, View, ViewMut};

/// A GPU with a stream of its own.
#[derive(Clone, Debug)]
pub struct Cuda {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    stream: Arc<CudaStream>,
    kernels: Kernels,
    /// Programs of other crates, compiled.
    modules: Mutex<Vec<(Program, Arc<CudaModule>)>>,
}

/// Memory for `f32` on the device.
#[derive(Debug)]
pub struct Buffer {
    /// At least one element, since the driver gives out nothing for none.
    slice: CudaSlice<f32>,
    len: usize,
    /// The device's address, which no operation changes.
    address: u64,
}

/// Memory for token ids on the device.
#[derive(Debug)]
pub struct Indices {
    slice: CudaSlice<u32>,
    len: usize,
    address: u64,
    /// The largest of them, so that the host can refuse one that is outside a table.
    largest: u32,
}

impl Cuda {
    /// GPU number `ordinal`, ready for every operation.
    ///
    /// # Errors
    /// If CUDA cannot be used here, there is no such GPU, or its kernels cannot be compiled.
    pub fn new(ordinal: usize) -> Result<Self, CudaUnavailable> {
        device::check_libraries()?;
        let refused = |error: DriverError| unavailable(DRIVER, error.to_string());
        let context = CudaContext::new(ordinal).map_err(refused)?;
        device::use_one_stream(&context);
        let stream = context.new_stream().map_err(refused)?;
        let name = format!("cuda:{ordinal} ({})", context.name().map_err(refused)?);
        let kernels = Kernels::load(&context, &stream).map_err(|reason| unavailable(COMPILER, reason))?;
        Ok(Self { shared: Arc::new(Shared { name, stream, kernels, modules: Mutex::default() }) })
    }

    fn stream(&self) -> &Arc<CudaStream> {
        &self.shared.stream
    }

    fn kernels(&self) -> &Kernels {
        &self.shared.kernels
    }

    /// What the driver says of the device.
    fn failure(&self, error: DriverError) -> Error {
        Error::Device { device: self.name(), reason: error.to_string() }
    }

    /// An operation's outcome.
    fn done<T>(&self, outcome: Result<T, DriverError>) -> Result<T> {
        outcome.map_err(|error| self.failure(error))
    }

    fn zeros<T>(&self, len: usize) -> Result<(CudaSlice<T>, u64)>
    where
        T: cudarc::driver::DeviceRepr + cudarc::driver::ValidAsZeroBits,
    {
        let bytes = len.saturating_mul(size_of::<T>());
        let full = || Error::OutOfMemory { device: self.name(), bytes };
        // kernels count in 32 bits
        if u32::try_from(len).is_err() {
            return Err(full());
        }
        let slice = self.stream().alloc_zeros(len.max(1)).map_err(|error| match error.0 {
            cudarc::driver::sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => full(),
            _ => self.failure(error),
        })?;
        let address = slice.device_ptr(self.stream()).0;
        Ok((slice, address))
    }
}

/// Every program of this crate in every configuration in use.
pub fn programs() -> Vec<Program> {
    vec![kernels::program()]
}

/// Where a view's matrix lies.
fn matrix(buffer: &Buffer, layout: Layout) -> Matrix {
    Matrix {
        data: buffer.address + (layout.offset * size_of::<f32>()) as u64,
        rows: layout.rows as u32,
        cols: layout.cols as u32,
        stride: layout.stride as u32,
    }
}

impl From<View<'_, Cuda>> for Matrix {
    fn from(view: View<'_, Cuda>) -> Self {
        matrix(view.buffer, view.layout)
    }
}

impl From<ViewMut<'_, Cuda>> for Matrix {
    fn from(view: ViewMut<'_, Cuda>) -> Self {
        matrix(view.buffer, view.layout)
    }
}

/// A table of which rows are picked.
fn by_rows(matrix: Matrix) -> Table {
    Table { data: matrix.data, entry_stride: matrix.stride, element_stride: 1 }
}

/// A table of which columns are picked.
fn by_columns(matrix: Matrix) -> Table {
    Table { data: matrix.data, entry_stride: 1, element_stride: matrix.stride }
}

/// An error unless every id names one of `bound` entries.
fn check_ids(op: &'static str, ids: &Indices, bound: u32) -> Result<()> {
    if ids.len == 0 || ids.largest < bound {
        return Ok(());
    }
    Err(Error::IdOutOfRange { op, id: ids.largest, bound: bound as usize })
}

/// An error unless `offset..offset + len` lies within `room` elements.
fn check_range(op: &'static str, what: &'static str, offset: usize, len: usize, room: usize) -> Result<()> {
    let found = room.saturating_sub(offset);
    if offset <= room && len <= found { Ok(()) } else { Err(Error::Length { op, what, expected: len, found }) }
}

impl Backend for Cuda {
    type Buffer = Box<Buffer>;
    type Slice = Buffer;
    type Indices = Indices;

    fn name(&self) -> String {
        self.shared.name.clone()
    }

    /// As many as the largest epoch of most texts has; the driver itself makes the host wait when its queue is full.
    fn max_queued_steps(&self) -> usize {
        1024
    }

    fn allocate(&self, len: usize) -> Result<Box<Buffer>> {
        let (slice, address) = self.zeros(len)?;
        Ok(Box::new(Buffer { slice, len, address }))
    }

    fn allocate_indices(&self, len: usize) -> Result<Indices> {
        let (slice, address) = self.zeros(len)?;
        Ok(Indices { slice, len, address, largest: 0 })
    }

    fn write(&self, values: &[f32], to: &mut Buffer, offset: usize) -> Result<()> {
        check_range("write", "elements", offset, values.len(), to.len)?;
        if values.is_empty() {
            return Ok(());
        }
        let mut target = to.slice.slice_mut(offset..offset + values.len());
        self.done(self.stream().memcpy_htod(values, &mut target))
    }

    fn read(&self, from: &Buffer, offset: usize, values: &mut [f32]) -> Result<()> {
        check_range("read", "values", offset, values.len(), from.len)?;
        if values.is_empty() {
            return Ok(());
        }
        let source = from.slice.slice(offset..offset + values.len());
        self.done(self.stream().memcpy_dtoh(&source, values))?;
        self.done(self.stream().synchronize())
    }

    fn write_indices(&self, ids: &[u32], to: &mut Indices) -> Result<()> {
        crate::ops::check_len("write_indices", "ids", to.len, ids.len())?;
        to.largest = ids.iter().copied().max().unwrap_or(0);
        if ids.is_empty() {
            return Ok(());
        }
        self.done(self.stream().memcpy_htod(ids, &mut to.slice))
    }

    fn copy_indices(&self, from: &Indices, offset: usize, to: &mut Indices) -> Result<()> {
        check_range("copy_indices", "ids", offset, to.len, from.len)?;
        to.largest = from.largest;
        if to.len == 0 {
            return Ok(());
        }
        let source = from.slice.slice(offset..offset + to.len);
        self.done(self.stream().memcpy_dtod(&source, &mut to.slice))
    }

    fn indices_len(&self, indices: &Indices) -> usize {
        indices.len
    }

    fn fill(&self, value: f32, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().fill(value, out.into()))
    }

    fn copy(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().copy(a.into(), out.into()))
    }

    fn axpy(&self, alpha: f32, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().axpy(alpha, a.into(), out.into()))
    }

    fn multiply(&self, a: View<'_, Self>, b: View<'_, Self>, accumulate: bool, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().multiply(a.into(), b.into(), accumulate, out.into()))
    }

    fn gemm(
        &self,
        transpose: Transpose,
        a: View<'_, Self>,
        b: View<'_, Self>,
        accumulate: bool,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.done(self.kernels().gemm(transpose, a.into(), b.into(), accumulate, out.into()))
    }

    fn add_row(&self, row: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().add_row(row.into(), out.into()))
    }

    fn sum_rows(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().sum_rows(a.into(), out.into()))
    }

    fn gather_columns(&self, table: View<'_, Self>, ids: &Indices, out: ViewMut<'_, Self>) -> Result<()> {
        let table = Matrix::from(table);
        check_ids("gather_columns", ids, table.cols)?;
        self.done(self.kernels().gather(by_columns(table), ids.address, out.into()))
    }

    fn scatter_add_columns(
        &self,
        a: View<'_, Self>,
        ids: &Indices,
        table: ViewMut<'_, Self>,
        sum: ViewMut<'_, Self>,
    ) -> Result<()> {
        let table = Matrix::from(table);
        check_ids("scatter_add_columns", ids, table.cols)?;
        self.done(self.kernels().scatter_add(a.into(), ids.address, by_columns(table), table.cols))?;
        self.sum_rows(a, sum)
    }

    fn gather_rows(&self, table: View<'_, Self>, ids: &Indices, out: ViewMut<'_, Self>) -> Result<()> {
        let table = Matrix::from(table);
        check_ids("gather_rows", ids, table.rows)?;
        self.done(self.kernels().gather(by_rows(table), ids.address, out.into()))
    }

    fn scatter_add_rows(&self, a: View<'_, Self>, ids: &Indices, table: ViewMut<'_, Self>) -> Result<()> {
        let table = Matrix::from(table);
        check_ids("scatter_add_rows", ids, table.rows)?;
        self.done(self.kernels().scatter_add(a.into(), ids.address, by_rows(table), table.rows))
    }

    fn activate(&self, activation: Activation, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().activate(activation, out.into()))
    }

    fn activate_backward(&self, activation: Activation, y: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().activate_backward(activation, y.into(), out.into()))
    }

    fn softmax_cross_entropy(
        &self,
        scale: f32,
        targets: &Indices,
        range: Range<usize>,
        logits: ViewMut<'_, Self>,
        losses: ViewMut<'_, Self>,
    ) -> Result<()> {
        let logits = Matrix::from(logits);
        check_ids("softmax_cross_entropy", targets, logits.cols)?;
        let targets = targets.address + (range.start * size_of::<u32>()) as u64;
        self.done(self.kernels().softmax_cross_entropy(scale, targets, logits, losses.into()))
    }

    fn sum(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().sum(a.into(), false, out.into()))
    }

    fn sum_squares(&self, a: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().sum(a.into(), true, out.into()))
    }

    fn clip_factor(&self, sum_squares: View<'_, Self>, max_norm: f32, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().clip_factor(sum_squares.into(), max_norm, out.into()))
    }

    fn skip_nonfinite(
        &self,
        bound: f32,
        loss: View<'_, Self>,
        sum_squares: View<'_, Self>,
        skipped: ViewMut<'_, Self>,
        factor: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.done(self.kernels().skip_nonfinite(bound, loss.into(), sum_squares.into(), skipped.into(), factor.into()))
    }

    fn clamp(&self, bound: f32, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().clamp(bound, out.into()))
    }

    fn dropout(&self, mask: Mask, out: ViewMut<'_, Self>) -> Result<()> {
        self.done(self.kernels().dropout(mask, out.into()))
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
        self.done(self.kernels().update(rule, factor.into(), gradients.into(), state, parameters.into()))
    }
}
