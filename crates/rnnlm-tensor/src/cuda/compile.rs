//! Kernels from source to device: NVRTC compiles a text that includes nothing, for exactly the GPU at hand, and the driver
//! loads what comes out.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaModule};
use cudarc::nvrtc::{Ptx, result as nvrtc, sys};

/// What is compiled: a text, and the options that make one configuration of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// What it is, for people.
    pub name: String,
    /// The kernels' sources; the primitives are put before them.
    pub sources: Vec<&'static str>,
    /// Constants of the configuration, each a `#define`.
    pub constants: Vec<(&'static str, String)>,
    /// Threads of its largest block.
    pub block_size: u32,
    /// The most dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// Whether a device without so much shared memory does without it.
    pub is_spare: bool,
}

/// All that kernels may use of a device.
const PRIMITIVES: &str = include_str!("kernels/prim.cuh");

impl Program {
    /// The whole text.
    pub fn source(&self) -> String {
        std::iter::once(PRIMITIVES).chain(self.sources.iter().copied()).collect::<Vec<_>>().join("\n")
    }

    /// The options that NVRTC gets besides the target.
    pub fn options(&self) -> Vec<String> {
        let constants = self.constants.iter().map(|(name, value)| format!("-D{name}={value}"));
        // no fast math: it would replace tanh by an approximation of eleven bits
        std::iter::once("--std=c++17".to_owned()).chain(constants).collect()
    }

    /// Compiles for the device of `context` and loads it there.
    ///
    /// # Errors
    /// What the compiler or the driver says.
    pub(super) fn load(&self, context: &Arc<CudaContext>) -> Result<Arc<CudaModule>, String> {
        let (major, minor) = context.compute_capability().map_err(|error| error.to_string())?;
        let image = self.compile(major * 10 + minor)?;
        context.load_module(image).map_err(|error| format!("program `{}`: {error}", self.name))
    }

    /// Machine code for an architecture; an NVRTC that is older than the GPU gives an intermediate form instead.
    fn compile(&self, architecture: i32) -> Result<Ptx, String> {
        let newest = newest_architecture()?;
        let is_known = architecture <= newest;
        let (kind, target) = if is_known { ("sm", architecture) } else { ("compute", newest) };
        let mut options = self.options();
        options.push(format!("--gpu-architecture={kind}_{target}"));
        let source = CString::new(self.source()).map_err(|error| error.to_string())?;
        let program = nvrtc::create_program(&source, None).map_err(|error| error.to_string())?;
        // SAFETY: `program` was created above and is destroyed only after this.
        let compiled = unsafe { compiled(program, &options, is_known) };
        // SAFETY: `program` was created above, and nothing uses it after this.
        unsafe { nvrtc::destroy_program(program) }.map_err(|error| error.to_string())?;
        compiled.map_err(|reason| format!("program `{}` does not compile: {reason}", self.name))
    }
}

/// Compiles, and takes out machine code or the intermediate form.
///
/// # Safety
/// `program` must exist.
unsafe fn compiled(program: sys::nvrtcProgram, options: &[String], machine_code: bool) -> Result<Ptx, String> {
    // SAFETY: `program` exists, as the caller promises; the log ends with a zero byte, as NVRTC documents.
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

/// The newest architecture that this NVRTC knows, as `90` for 9.0.
fn newest_architecture() -> Result<i32, String> {
    let mut count = 0;
    // SAFETY: the function writes one integer to the place that it is given.
    unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count) }.result().map_err(|error| error.to_string())?;
    let mut known = vec![0; count.unsigned_abs() as usize];
    // SAFETY: there is room for as many integers as the function before has said.
    unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) }.result().map_err(|error| error.to_string())?;
    known.into_iter().max().ok_or_else(|| "NVRTC knows no architecture".to_owned())
}
