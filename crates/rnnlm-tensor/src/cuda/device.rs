//! Which GPUs there are, and whether they can be used: the libraries that CUDA needs are looked for before anything of
//! them is called, since a program without a GPU is no error.

use cudarc::driver::{CudaContext, result, sys};

/// Why CUDA cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CUDA cannot be used: `{library}` {reason}")]
pub struct CudaUnavailable {
    /// The library that is missing or refuses.
    pub library: &'static str,
    /// What is the matter with it.
    pub reason: String,
}

/// The driver's library; it comes with the driver.
pub const DRIVER: &str = "libcuda";
/// The compiler's library; it comes with the CUDA toolkit, or by itself.
pub const COMPILER: &str = "libnvrtc";

/// A GPU, as `rnnlm devices` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaDevice {
    /// Its number, as `cuda:N`.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// Its memory, in bytes.
    pub memory: usize,
    /// Major and minor.
    pub compute_capability: (u32, u32),
    /// The version of CUDA that the driver is for, major and minor.
    pub driver: (u32, u32),
    /// The version of NVRTC, major and minor.
    pub compiler: (u32, u32),
}

/// Every GPU of this machine.
///
/// # Errors
/// If a library is missing, or the driver finds no GPU.
pub fn devices() -> Result<Vec<CudaDevice>, CudaUnavailable> {
    check_libraries()?;
    let refused = |error: result::DriverError| unavailable(DRIVER, error.to_string());
    result::init().map_err(refused)?;
    let count = CudaContext::device_count().map_err(refused)?;
    if count < 1 {
        return Err(unavailable(DRIVER, "finds no GPU".to_owned()));
    }
    let (driver, compiler) = (driver_version()?, compiler_version()?);
    let device = |ordinal: usize| -> Result<CudaDevice, result::DriverError> {
        let context = CudaContext::new(ordinal)?;
        let (major, minor) = context.compute_capability()?;
        let compute_capability = (major.unsigned_abs(), minor.unsigned_abs());
        Ok(CudaDevice {
            ordinal,
            name: context.name()?,
            memory: context.total_mem()?,
            compute_capability,
            driver,
            compiler,
        })
    };
    (0..count.unsigned_abs() as usize).map(|ordinal| device(ordinal).map_err(refused)).collect()
}

/// An error unless both libraries can be loaded; everything else of cudarc panics where one is missing.
pub(super) fn check_libraries() -> Result<(), CudaUnavailable> {
    // SAFETY: opening a library by its name runs the initialisers of NVIDIA's driver, or nothing where there is none.
    if !unsafe { sys::is_culib_present() } {
        return Err(unavailable(DRIVER, "is not found; it comes with NVIDIA's driver".to_owned()));
    }
    // SAFETY: as above, of NVIDIA's compiler.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        let reason = "is not found; it comes with the CUDA toolkit or `pip install nvidia-cuda-nvrtc-cu12`";
        return Err(unavailable(COMPILER, reason.to_owned()));
    }
    Ok(())
}

/// Everything runs on one stream and is released on it, so that no event has to say what is done: cudarc would record two
/// for each buffer, and a captured stream may not wait for them.
pub(super) fn use_one_stream(context: &CudaContext) {
    // SAFETY: `Cuda` makes one stream for each context that it opens and hands out neither, so nothing is read on one
    // stream while another writes it.
    unsafe { context.disable_event_tracking() };
}

pub(super) fn unavailable(library: &'static str, reason: String) -> CudaUnavailable {
    CudaUnavailable { library, reason }
}

fn driver_version() -> Result<(u32, u32), CudaUnavailable> {
    let mut version = 0;
    // SAFETY: the library is loaded, and the function writes one integer to the place that it is given.
    let status = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    status.result().map_err(|error| unavailable(DRIVER, error.to_string()))?;
    let version = version.unsigned_abs();
    Ok((version / 1000, version % 1000 / 10))
}

fn compiler_version() -> Result<(u32, u32), CudaUnavailable> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the library is loaded, and the function writes two integers to the places that it is given.
    let status = unsafe { cudarc::nvrtc::sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    status.result().map_err(|error| unavailable(COMPILER, error.to_string()))?;
    Ok((major.unsigned_abs(), minor.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_nothing_panics() {
        match devices() {
            Ok(devices) => assert!(!devices.is_empty()),
            Err(CudaUnavailable { library, reason }) => {
                assert!([DRIVER, COMPILER].contains(&library) && !reason.is_empty(), "{library} {reason}");
            }
        }
    }
}
