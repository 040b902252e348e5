//! The handle of a GPU: a CUDA context with one stream and the compiled kernels.

use std::sync::{Arc, Mutex};

use cudarc::driver::{
    CudaContext, CudaModule, CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError, ValidAsZeroBits,
};

use super::compile::Program;
use super::device::{self, COMPILER, CudaUnavailable, DRIVER, unavailable};
use super::kernels::Kernels;
use crate::{Error, Result};

/// A GPU, with one stream on which all work runs in order.
#[derive(Clone, Debug)]
pub struct Cuda {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: Arc<str>,
    stream: Arc<CudaStream>,
    kernels: Kernels,
    modules: Mutex<Vec<(Program, Arc<CudaModule>)>>,
}

impl Cuda {
    /// Opens GPU number `ordinal` and compiles the kernels of the tensor operations.
    ///
    /// # Errors
    /// If CUDA cannot be used on this machine, there is no such GPU, or the kernels do not compile.
    pub fn new(ordinal: usize) -> Result<Self, CudaUnavailable> {
        device::check_libraries()?;
        let driver_error = |error: DriverError| unavailable(DRIVER, error.to_string());
        let context = CudaContext::new(ordinal).map_err(driver_error)?;
        device::disable_event_tracking(&context);
        let stream = context.new_stream().map_err(driver_error)?;
        let name: Arc<str> = format!("cuda:{ordinal} ({})", context.name().map_err(driver_error)?).into();
        let kernels = Kernels::load(&stream, &name).map_err(|reason| unavailable(COMPILER, reason))?;
        Ok(Self { shared: Arc::new(Shared { name, stream, kernels, modules: Mutex::default() }) })
    }

    pub(super) fn device_name(&self) -> &Arc<str> {
        &self.shared.name
    }

    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.shared.stream
    }

    /// The kernels of the tensor operations.
    pub(super) fn kernels(&self) -> &Kernels {
        &self.shared.kernels
    }

    /// Compiled programs of other crates.
    pub(super) fn modules(&self) -> &Mutex<Vec<(Program, Arc<CudaModule>)>> {
        &self.shared.modules
    }

    /// An error of this device.
    pub(super) fn device_error(&self, reason: String) -> Error {
        Error::Device { device: self.device_name().to_string(), reason }
    }

    /// Converts the driver's error.
    pub(super) fn check<T>(&self, result: Result<T, DriverError>) -> Result<T> {
        result.map_err(|error| self.device_error(error.to_string()))
    }

    /// Allocates `len` zeros and returns them with their device address. There is at least one element, because the
    /// driver rejects an allocation of no bytes.
    pub(super) fn allocate_zeros<T: DeviceRepr + ValidAsZeroBits>(&self, len: usize) -> Result<(CudaSlice<T>, u64)> {
        let bytes = len.saturating_mul(size_of::<T>());
        let out_of_memory = || Error::OutOfMemory { device: self.device_name().to_string(), bytes };
        // kernels use 32-bit sizes
        if u32::try_from(len).is_err() {
            return Err(out_of_memory());
        }
        let slice = self.stream().alloc_zeros(len.max(1)).map_err(|error| match error.0 {
            cudarc::driver::sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => out_of_memory(),
            _ => self.device_error(error.to_string()),
        })?;
        let address = slice.device_ptr(self.stream()).0;
        Ok((slice, address))
    }
}
