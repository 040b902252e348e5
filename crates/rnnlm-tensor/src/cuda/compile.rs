//! Run-time compilation: NVRTC compiles a kernel's source, which includes no headers, for the GPU of this machine, and
//! the driver loads the result.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaModule};
use cudarc::nvrtc::{Ptx, result as nvrtc, sys};

/// Source text and the compile-time constants of one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The name in messages.
    pub name: String,
    /// The kernels' sources, which follow the primitives.
    pub sources: Vec<&'static str>,
    /// Compile-time constants, each passed as `-D`.
    pub constants: Vec<(&'static str, String)>,
    /// Threads of its largest block.
    pub block_size: u32,
    /// The most dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// Whether devices with less shared memory use another program in its place.
    pub is_optional: bool,
}

/// The device primitives that every kernel may use.
const PRIMITIVES: &str = include_str!("kernels/primitives.cuh");

impl Program {
    /// The source text as NVRTC gets it.
    pub fn source(&self) -> String {
        std::iter::once(PRIMITIVES).chain(self.sources.iter().copied()).collect::<Vec<_>>().join("\n")
    }

    /// The options for NVRTC, without the target architecture.
    pub fn options(&self) -> Vec<String> {
        let constants = self.constants.iter().map(|(name, value)| format!("-D{name}={value}"));
        // no fast math: it replaces tanhf by an approximation with a relative error of 2⁻¹¹
        std::iter::once("--std=c++17".to_owned()).chain(constants).collect()
    }

    /// Compiles for the device of `context` and loads the module.
    ///
    /// # Errors
    /// The error of the compiler or of the driver.
    pub(super) fn load(&self, context: &Arc<CudaContext>) -> Result<Arc<CudaModule>, String> {
        let (major, minor) = context.compute_capability().map_err(|error| error.to_string())?;
        let image = self.compile(major * 10 + minor)?;
        context.load_module(image).map_err(|error| format!("program `{}`: {error}", self.name))
    }

    /// Compiles to machine code for an architecture, or to PTX if this NVRTC is older than the GPU.
    fn compile(&self, architecture: i32) -> Result<Ptx, String> {
        let newest = newest_architecture()?;
        let is_known = architecture <= newest;
        let (kind, target) = if is_known { ("sm", architecture) } else { ("compute", newest) };
        let mut options = self.options();
        options.push(format!("--gpu-architecture={kind}_{target}"));
        let source = CString::new(self.source()).map_err(|error| error.to_string())?;
        let program = nvrtc::create_program(&source, None).map_err(|error| error.to_string())?;
        // SAFETY: `program` was created above and is destroyed only after this.
        let compiled = unsafe { compile(program, &options, is_known) };
        // SAFETY: `program` was created above, and nothing uses it after this.
        unsafe { nvrtc::destroy_program(program) }.map_err(|error| error.to_string())?;
        compiled.map_err(|reason| format!("program `{}` does not compile: {reason}", self.name))
    }
}

/// Compiles, and returns machine code or PTX.
///
/// # Safety
/// `program` must exist.
unsafe fn compile(program: sys::nvrtcProgram, options: &[String], machine_code: bool) -> Result<Ptx, String> {
    // SAFETY: the caller guarantees that `program` exists; NVRTC's log and PTX end with a zero byte, as documented.
    unsafe {
        if let Err(error) = nvrtc::compile_program(program, options) {
            let log = nvrtc::get_program_log(program).unwrap_or_default();
            let log =
                if log.is_empty() { String::new() } else { CStr::from_ptr(log.as_ptr()).to_string_lossy().into() };
            return Err(format!("{error}: {}", log.trim()));
        }
        if !machine_code {
            let text = nvrtc::get_ptx(program).map_err(|error| error.to_string())?;
            return Ok(Ptx::from_src(CStr::from_ptr(text.as_ptr()).to_string_lossy()));
        }
        let mut size = 0;
        sys::nvrtcGetCUBINSize(program, &raw mut size).result().map_err(|error| error.to_string())?;
        let mut image = vec![0_u8; size];
        sys::nvrtcGetCUBIN(program, image.as_mut_ptr().cast()).result().map_err(|error| error.to_string())?;
        Ok(Ptx::from_binary(image))
    }
}

/// The newest architecture that this NVRTC supports: `90` for compute capability 9.0.
fn newest_architecture() -> Result<i32, String> {
    let mut count = 0;
    // SAFETY: the function writes one integer through the pointer.
    unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count) }.result().map_err(|error| error.to_string())?;
    let mut supported = vec![0; count.unsigned_abs() as usize];
    // SAFETY: the function writes as many integers as the call above returned, and the vector has that length.
    unsafe { sys::nvrtcGetSupportedArchs(supported.as_mut_ptr()) }.result().map_err(|error| error.to_string())?;
    supported.into_iter().max().ok_or_else(|| "NVRTC supports no architecture".to_owned())
}
