//! Launches: arguments as a kernel takes them, and the one place that hands them to the driver.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaStream, DriverError, result};

use super::Cuda;
use super::module::Kernel;
use crate::Result;

/// A matrix as `prim.cuh` declares it: element `(r, c)` stands at `data[r·stride + c]`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Matrix {
    /// The device's address of element `(0, 0)`.
    pub data: u64,
    /// Number of rows.
    pub rows: u32,
    /// Number of columns.
    pub cols: u32,
    /// Distance between the starts of two rows.
    pub stride: u32,
}

/// A table as `gather.cu` declares it: element `i` of entry `id` stands at `data[id·entry_stride + i·element_stride]`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Table {
    /// The device's address of entry 0.
    pub data: u64,
    /// Distance between two entries.
    pub entry_stride: u32,
    /// Distance between two elements of an entry.
    pub element_stride: u32,
}

/// One argument of a kernel, by value.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// A pointer to the device's memory.
    Address(u64),
    /// `unsigned`.
    Number(u32),
    /// `float`.
    Float(f32),
    /// `Matrix`.
    Matrix(Matrix),
    /// `Table`.
    Table(Table),
    /// Four `unsigned` as one struct.
    Numbers([u32; 4]),
}

impl Argument {
    /// Where the value stands, without its tag.
    fn place(&mut self) -> *mut c_void {
        match self {
            Self::Address(value) => (&raw mut *value).cast(),
            Self::Number(value) => (&raw mut *value).cast(),
            Self::Float(value) => (&raw mut *value).cast(),
            Self::Matrix(value) => (&raw mut *value).cast(),
            Self::Table(value) => (&raw mut *value).cast(),
            Self::Numbers(value) => (&raw mut *value).cast(),
        }
    }
}

/// How many threads run a kernel, and what a block of them shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Blocks along x, y and z.
    pub blocks: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// Whether all blocks run at the same time, so that one may wait for what another tells.
    pub at_once: bool,
}

impl Grid {
    /// `blocks` blocks in a row.
    pub fn row(blocks: usize, threads: u32, shared_bytes: usize) -> Self {
        Self { blocks: [blocks as u32, 1, 1], threads, shared_bytes: shared_bytes as u32, at_once: false }
    }
}

/// Queues one launch. Nothing is allocated.
///
/// # Errors
/// If the driver refuses it, as it does with more blocks at once than the device can run.
///
/// # Safety
/// The arguments must be, in number, order and type, those of the kernel's declaration, and whatever it reads or writes
/// with them on this grid must lie in buffers that live until the stream has come so far.
pub(super) unsafe fn launch<const N: usize>(
    stream: &Arc<CudaStream>,
    function: &CudaFunction,
    grid: Grid,
    mut arguments: [Argument; N],
) -> Result<(), DriverError> {
    stream.context().bind_to_thread()?;
    let mut places = arguments.each_mut().map(Argument::place);
    let [x, y, z] = grid.blocks;
    let queue = if grid.at_once { result::launch_cooperative_kernel } else { result::launch_kernel };
    // SAFETY: the driver reads each value through its pointer before it returns; the rest is promised by the caller.
    unsafe {
        queue(
            function.cu_function(),
            (x, y, z),
            (grid.threads, 1, 1),
            grid.shared_bytes,
            stream.cu_stream(),
            &mut places,
        )
    }
}

impl Cuda {
    /// Queues one launch of another crate's kernel on this device's stream. Nothing is allocated.
    ///
    /// # Errors
    /// If the driver refuses it.
    ///
    /// # Safety
    /// The arguments must be, in number, order and type, those of the kernel's declaration, and whatever it reads or writes
    /// with them on this grid must lie in buffers of this device, which are released on this stream and so behind it.
    pub unsafe fn launch<const N: usize>(&self, kernel: &Kernel, grid: Grid, arguments: [Argument; N]) -> Result<()> {
        // SAFETY: the caller's promise is the one that is asked for here.
        self.done(unsafe { launch(self.stream(), &kernel.function, grid, arguments) })
    }
}
