//! Finding GPUs. The CUDA libraries are looked up before any other call to them, because a machine without a GPU is not
//! an error.

use cudarc::driver::{CudaContext, result, sys};

/// Why CUDA cannot be used on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CUDA cannot be used: `{library}` {reason}")]
pub struct CudaUnavailable {
    /// The library that is missing or reports an error.
    pub library: &'static str,
    /// The reason.
    pub reason: String,
}

/// The driver's library, a part of NVIDIA's driver.
pub const DRIVER: &str = "libcuda";
/// The compiler's library, a part of the CUDA toolkit that is also distributed separately.
pub const COMPILER: &str = "libnvrtc";

/// A GPU, as `rnnlm devices` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaDevice {
    /// The device ordinal, the N of `cuda:N`.
    pub ordinal: usize,
    /// The device name.
    pub name: String,
    /// The total memory, in bytes.
    pub memory: usize,
    /// The compute capability, major and minor.
    pub compute_capability: (u32, u32),
    /// The CUDA version that the driver supports, major and minor.
    pub driver: (u32, u32),
    /// The version of NVRTC, major and minor.
    pub compiler: (u32, u32),
}

/// Lists the GPUs of this machine.
///
/// # Errors
/// If a library is missing, or the driver finds no GPU.
pub fn devices() -> Result<Vec<CudaDevice>, CudaUnavailable> {
    check_libraries()?;
    let driver_error = |error: result::DriverError| unavailable(DRIVER, error.to_string());
    result::init().map_err(driver_error)?;
    let count = CudaContext::device_count().map_err(driver_error)?;
    if count < 1 {
        return Err(unavailable(DRIVER, "finds no GPU".to_owned()));
    }
    let driver = driver_version()?;
    let compiler = compiler_version()?;
    let device = |ordinal: usize| -> Result<CudaDevice, result::DriverError> {
        let context = CudaContext::new(ordinal)?;
        let (major, minor) = context.compute_capability()?;
        Ok(CudaDevice {
            ordinal,
            name: context.name()?,
            memory: context.total_mem()?,
            compute_capability: (major.unsigned_abs(), minor.unsigned_abs()),
            driver,
            compiler,
        })
    };
    (0..count.unsigned_abs() as usize).map(|ordinal| device(ordinal).map_err(driver_error)).collect()
}

/// An error unless both libraries can be loaded. Other functions of cudarc panic if a library is missing.
pub(super) fn check_libraries() -> Result<(), CudaUnavailable> {
    // SAFETY: loading a library runs only its own initialisers, here those of NVIDIA's driver.
    if !unsafe { sys::is_culib_present() } {
        return Err(unavailable(DRIVER, "is not found; it comes with NVIDIA's driver".to_owned()));
    }
    // SAFETY: as above, for NVIDIA's compiler.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        let reason = "is not found; it comes with the CUDA toolkit or `pip install nvidia-cuda-nvrtc-cu12`";
        return Err(unavailable(COMPILER, reason.to_owned()));
    }
    Ok(())
}

/// Turns off cudarc's two events per buffer, which a captured stream cannot wait for. With a single stream, on which
/// all work runs and all memory is freed, no events are needed.
pub(super) fn disable_event_tracking(context: &CudaContext) {
    // SAFETY: `Cuda` creates one stream per context and exposes neither, so no buffer is used on two streams.
    unsafe { context.disable_event_tracking() };
}

pub(super) fn unavailable(library: &'static str, reason: String) -> CudaUnavailable {
    CudaUnavailable { library, reason }
}

fn driver_version() -> Result<(u32, u32), CudaUnavailable> {
    let mut version = 0;
    // SAFETY: the library is loaded, and the function writes one integer through the pointer.
    let status = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    status.result().map_err(|error| unavailable(DRIVER, error.to_string()))?;
    let version = version.unsigned_abs();
    Ok((version / 1000, version % 1000 / 10))
}

fn compiler_version() -> Result<(u32, u32), CudaUnavailable> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the library is loaded, and the function writes two integers through the pointers.
    let status = unsafe { cudarc::nvrtc::sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    status.result().map_err(|error| unavailable(COMPILER, error.to_string()))?;
    Ok((major.unsigned_abs(), minor.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_an_error_that_names_it() {
        match devices() {
            Ok(devices) => assert!(!devices.is_empty()),
            Err(CudaUnavailable { library, reason }) => {
                assert!([DRIVER, COMPILER].contains(&library) && !reason.is_empty(), "{library} {reason}");
            }
        }
    }
}
