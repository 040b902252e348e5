//! NVIDIA GPUs: buffers are device memory, each operation is a kernel launch on one stream, and only [`Backend::read`]
//! waits for the device. Building this crate needs no CUDA toolkit, and a program starts without a driver: the
//! libraries are loaded on first use, and kernels are compiled at run time for the GPU of the machine.
//!
//! The order of each sum depends on sizes alone, so that results are reproducible on the same kind of GPU.
//!
//! [`Backend::read`]: crate::Backend::read

mod backend;
mod buffer;
mod compile;
mod context;
mod device;
mod gemm_tiles;
mod kernels;
mod launch;
mod module;

pub use self::buffer::{Buffer, Indices};
pub use self::compile::Program;
pub use self::context::Cuda;
pub use self::device::{COMPILER, CudaDevice, CudaUnavailable, DRIVER, devices};
pub use self::launch::{Argument, Grid, Kernel, Matrix, Table};

/// Every program of this crate.
pub fn programs() -> Vec<Program> {
    vec![kernels::program()]
}
