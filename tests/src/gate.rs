//! The compile gate: compiles every CUDA program in every configuration with NVRTC, for every architecture, which needs no
//! driver and no GPU. Registers, spilled bytes and shared memory are read from the compiler's log and have upper limits, so
//! that a change that makes a kernel slow fails before it runs.

use std::ffi::{CStr, CString};
use std::fmt;

use cudarc::nvrtc::{result as nvrtc, sys};
use rnnlm_tensor::cuda::Program;

/// The supported architectures by compute capability: Turing, Ampere (two), Ada, Hopper, Blackwell.
pub const ARCHITECTURES: [u32; 6] = [75, 80, 86, 89, 90, 100];

/// The maximum number of bytes that a kernel spills from registers to memory, stores and loads together.
const MAX_SPILL_BYTES: usize = 64;
/// The number of registers that the threads of a block share.
const REGISTERS: usize = 65536;
/// The allocation granularity of registers per thread.
const REGISTER_STEP: usize = 8;

/// The resources that the compiler reports for a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The entry function.
    pub kernel: String,
    /// Registers per thread.
    pub registers: usize,
    /// Bytes stored and loaded because of too few registers.
    pub spilled: usize,
    /// Bytes of shared memory that the source declares.
    pub shared: usize,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} registers, {} bytes spilled", self.kernel, self.registers, self.spilled)
    }
}

/// The maximum shared memory per block on an architecture, in bytes: CUDA C++ Programming Guide, "Technical
/// Specifications per Compute Capability".
fn max_shared_bytes(architecture: u32) -> usize {
    match architecture {
        75 => 64 << 10,
        80 => 163 << 10,
        86 | 89 => 99 << 10,
        _ => 227 << 10,
    }
}

/// Every program of every crate in every configuration, as the crates list them.
pub fn programs() -> Vec<Program> {
    [rnnlm_tensor::cuda::programs(), rnnlm_rnn::cuda_programs()].concat()
}

/// Whether NVRTC is available, which [`compile`] needs.
pub fn is_available() -> bool {
    // SAFETY: the function opens libraries by name; NVRTC has no initializers that run when it is loaded.
    unsafe { sys::is_culib_present() }
}

/// Compiles `program` for an architecture and returns the resources of its kernels.
///
/// # Errors
/// The compiler's log.
pub fn compile(program: &Program, architecture: u32) -> Result<Vec<Usage>, String> {
    let source = CString::new(program.source()).map_err(|error| error.to_string())?;
    let handle = nvrtc::create_program(&source, None).map_err(|error| error.to_string())?;
    let fixed = [format!("--gpu-architecture=sm_{architecture}"), "--ptxas-options=-v".into()];
    // SAFETY: `handle` was created above and is destroyed below; the log that NVRTC returns is zero-terminated.
    let (outcome, log) = unsafe {
        let outcome = nvrtc::compile_program(handle, &[&fixed[..], &program.options()].concat());
        let log = nvrtc::get_program_log(handle).unwrap_or_default();
        let log = if log.is_empty() { String::new() } else { CStr::from_ptr(log.as_ptr()).to_string_lossy().into() };
        (outcome, log)
    };
    // SAFETY: `handle` was created above and nothing uses it any more.
    let destroyed = unsafe { nvrtc::destroy_program(handle) };
    outcome.and(destroyed).map_err(|error| format!("{error}: {}", log.trim()))?;
    let usages = usages(&log);
    if usages.is_empty() { Err(format!("no kernel in the log: {}", log.trim())) } else { Ok(usages) }
}

/// Whether `program` must compile for an architecture: an optional one only if the architecture has its shared memory.
pub fn applies_to(program: &Program, architecture: u32) -> bool {
    !program.is_optional || program.shared_bytes as usize <= max_shared_bytes(architecture)
}

/// The limits of an architecture that `usage` exceeds, as messages.
pub fn exceeded_limits(program: &Program, usage: &Usage, architecture: u32) -> Vec<String> {
    let mut found = Vec::new();
    if usage.spilled > MAX_SPILL_BYTES {
        found.push(format!("{} bytes spilled; the limit is {MAX_SPILL_BYTES}", usage.spilled));
    }
    let shared = usage.shared + program.shared_bytes as usize;
    if shared > max_shared_bytes(architecture) {
        found.push(format!("{shared} bytes of shared memory; the limit is {}", max_shared_bytes(architecture)));
    }
    let registers =
        usage.registers.next_multiple_of(REGISTER_STEP) * (program.block_size as usize).next_multiple_of(32);
    if registers > REGISTERS {
        found.push(format!("{registers} registers for {} threads; the limit is {REGISTERS}", program.block_size));
    }
    found
}

/// Parses the log of `--ptxas-options=-v`.
fn usages(log: &str) -> Vec<Usage> {
    let mut usages: Vec<Usage> = Vec::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let kernel = rest.split('\'').next().unwrap_or_default().to_owned();
            usages.push(Usage { kernel, ..Usage::default() });
        }
        let Some(usage) = usages.last_mut() else { continue };
        let number = |what: &str| number_before(line, what);
        usage.spilled += number(" bytes spill stores").unwrap_or(0) + number(" bytes spill loads").unwrap_or(0);
        usage.registers = number(" registers").unwrap_or(usage.registers);
        usage.shared = number(" bytes smem").unwrap_or(usage.shared);
    }
    usages
}

/// The number directly before `what`.
fn number_before(line: &str, what: &str) -> Option<usize> {
    let (before, _) = line.split_once(what)?;
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'forward' for 'sm_90'
ptxas info    : Function properties for forward
    8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 8 bytes cumulative stack size, 512 bytes smem, 420 bytes cmem[0]
ptxas info    : Compiling entry function 'backward' for 'sm_90'
ptxas info    : Function properties for backward
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers";

    #[test]
    fn the_log_is_parsed_kernel_by_kernel() {
        let usage =
            |kernel: &str, registers, spilled, shared| Usage { kernel: kernel.to_owned(), registers, spilled, shared };
        assert_eq!(usages(LOG), [usage("forward", 128, 28, 512), usage("backward", 40, 0, 0)]);
    }

    #[test]
    fn exceeded_limits_are_reported() {
        let program = |block_size, shared_bytes| Program {
            name: "a".to_owned(),
            sources: Vec::new(),
            constants: Vec::new(),
            block_size,
            shared_bytes,
            is_optional: false,
        };
        let usage = |registers, spilled| Usage { kernel: "a".to_owned(), registers, spilled, shared: 0 };
        assert_eq!(exceeded_limits(&program(512, 64 << 10), &usage(128, 64), 75), [""; 0]);
        assert_eq!(exceeded_limits(&program(512, 0), &usage(128, 65), 90).len(), 1);
        assert_eq!(exceeded_limits(&program(512, 0), &usage(129, 0), 90).len(), 1);
        assert_eq!(exceeded_limits(&program(512, (64 << 10) + 1), &usage(128, 0), 75).len(), 1);
        assert_eq!(exceeded_limits(&program(512, (64 << 10) + 1), &usage(128, 0), 80), [""; 0]);
        let optional = Program { is_optional: true, ..program(512, (64 << 10) + 1) };
        assert_eq!([75, 80].map(|architecture| applies_to(&optional, architecture)), [false, true]);
        assert!(applies_to(&program(512, (64 << 10) + 1), 75));
    }
}
