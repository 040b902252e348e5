//! Kernel launches: arguments as kernels declare them, and the call to the driver.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaStream, result};

use crate::{Error, Mask, Result};

/// A matrix as `primitives.cuh` declares it: element `(r, c)` is `data[r·stride + c]`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Matrix {
    /// The device address of element `(0, 0)`.
    pub data: u64,
    /// Number of rows.
    pub rows: u32,
    /// Number of columns.
    pub cols: u32,
    /// Elements from the start of a row to the start of the next one.
    pub stride: u32,
}

/// A table as `gather.cu` declares it: element `e` of entry `id` is `data[id·entry_stride + e·element_stride]`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Table {
    /// The device address of entry 0.
    pub data: u64,
    /// Elements from one entry to the next.
    pub entry_stride: u32,
    /// Elements from one element of an entry to the next.
    pub element_stride: u32,
}

/// A dropout mask as `dropout.cu` declares it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DropoutMask {
    key: [u32; 2],
    /// The second to fourth words of the counter.
    stream: [u32; 3],
    period: u32,
    /// Rows of a minibatch that the matrix has: the first of each step, their number, and that of the minibatch.
    rows: [u32; 3],
    threshold: u32,
    scale: f32,
}

impl From<Mask> for DropoutMask {
    fn from(mask: Mask) -> Self {
        Self {
            key: mask.key(),
            stream: mask.stream(),
            period: mask.period,
            rows: [mask.rows.first, mask.rows.len, mask.rows.batch_size],
            threshold: mask.threshold(),
            scale: mask.scale(),
        }
    }
}

/// One kernel argument, passed by value.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// A device pointer.
    Pointer(u64),
    /// `unsigned`.
    U32(u32),
    /// `float`.
    F32(f32),
    /// `Matrix`.
    Matrix(Matrix),
    /// `Table`.
    Table(Table),
    /// `DropoutMask`.
    Mask(DropoutMask),
    /// A struct of four `unsigned`.
    U32x4([u32; 4]),
}

impl Argument {
    /// A pointer to the value without the enum's tag.
    fn as_mut_ptr(&mut self) -> *mut c_void {
        match self {
            Self::Pointer(value) => (&raw mut *value).cast(),
            Self::U32(value) => (&raw mut *value).cast(),
            Self::F32(value) => (&raw mut *value).cast(),
            Self::Matrix(value) => (&raw mut *value).cast(),
            Self::Table(value) => (&raw mut *value).cast(),
            Self::Mask(value) => (&raw mut *value).cast(),
            Self::U32x4(value) => (&raw mut *value).cast(),
        }
    }
}

/// The launch configuration of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Blocks along x, y and z.
    pub blocks: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// Whether it is a cooperative launch, whose blocks all run at the same time and may wait for each other.
    pub cooperative: bool,
}

impl Grid {
    /// A one-dimensional grid.
    pub fn linear(blocks: usize, threads: u32, shared_bytes: usize) -> Self {
        Self { blocks: [blocks as u32, 1, 1], threads, shared_bytes: shared_bytes as u32, cooperative: false }
    }
}

/// A kernel of one device, with the stream that it is launched on.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub(super) function: CudaFunction,
    pub(super) stream: Arc<CudaStream>,
    /// The device's name, for errors.
    pub(super) device: Arc<str>,
}

impl Kernel {
    /// Queues one launch. Allocates nothing.
    ///
    /// # Errors
    /// If the driver rejects the launch, for example a cooperative one with more blocks than the device runs at the
    /// same time.
    ///
    /// # Safety
    /// The arguments must match the kernel's declaration in number, order and type. Whatever the kernel reads or writes
    /// through them on this grid must be in buffers of this device that are freed on the same stream, after the launch.
    pub unsafe fn launch<const N: usize>(&self, grid: Grid, mut arguments: [Argument; N]) -> Result<()> {
        let device_error = |error: cudarc::driver::DriverError| Error::Device {
            device: self.device.to_string(),
            reason: error.to_string(),
        };
        self.stream.context().bind_to_thread().map_err(device_error)?;
        let mut pointers = arguments.each_mut().map(Argument::as_mut_ptr);
        let [x, y, z] = grid.blocks;
        let queue = if grid.cooperative { result::launch_cooperative_kernel } else { result::launch_kernel };
        // SAFETY: the driver copies each value through its pointer before it returns; the caller guarantees the rest.
        unsafe {
            queue(
                self.function.cu_function(),
                (x, y, z),
                (grid.threads, 1, 1),
                grid.shared_bytes,
                self.stream.cu_stream(),
                &mut pointers,
            )
        }
        .map_err(device_error)
    }
}
