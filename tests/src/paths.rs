//! The one list of backends, paths and instruction sets, beside the walk: whatever stands here is verified.

use std::sync::Arc;

use rnnlm_rnn::Path;
use rnnlm_tensor::Cpu;
use rnnlm_tensor::cpu::Isa;

use crate::Result;
use crate::device::{Device, On};

/// Makes a device with a given number of threads, 0 for one on each core.
pub type Threads = Arc<dyn Fn(usize) -> Result<Arc<dyn Device>> + Send + Sync>;

/// A backend on one of its paths, by name.
#[derive(Clone)]
pub struct Target {
    /// `cpu`, `cuda (emulated)`, or `cuda` and the device's name.
    pub backend: String,
    /// `reference`, `fused AVX2`, …
    pub path: String,
    /// What computes.
    pub device: Arc<dyn Device>,
    /// The same with another number of threads, where that means something.
    pub with_threads: Option<Threads>,
}

/// A path that this machine or this build does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// `cpu`, `cuda (emulated)`, or `cuda` and the device's name.
    pub backend: String,
    /// Its name.
    pub path: String,
    /// Why it cannot be checked.
    pub reason: String,
}

/// Everything that could be verified.
pub struct Paths {
    /// The reference on the CPU, which the others are held against.
    pub reference: Target,
    /// Every other path that runs here.
    pub others: Vec<Target>,
    /// Every set of tensor operations that runs here: a backend, or a CPU held to one instruction set.
    pub operations: Vec<Target>,
    /// Every path that does not run here.
    pub missing: Vec<Missing>,
}

impl Paths {
    /// Every path that runs here.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.reference).chain(&self.others)
    }
}

/// Looks for every path on this machine.
///
/// # Errors
/// If the CPU's threads cannot be started.
pub fn paths() -> Result<Paths> {
    let mut paths = Paths {
        reference: cpu("reference", Isa::detect(), Path::Reference)?,
        others: Vec::new(),
        operations: Vec::new(),
        missing: missing_instruction_sets(),
    };
    for isa in Isa::available() {
        paths.operations.push(cpu(isa.name(), isa, Path::Reference)?);
        paths.others.push(cpu(&format!("fused {}", isa.name()), isa, Path::Fused)?);
    }
    for path in ["reference", "fused"] {
        let reason = "this build has no CUDA backend".to_owned();
        paths.missing.push(Missing { backend: "cuda".to_owned(), path: path.to_owned(), reason });
    }
    Ok(paths)
}

/// The CPU held to an instruction set.
fn cpu(name: &str, isa: Isa, path: Path) -> Result<Target> {
    let with_threads: Threads =
        Arc::new(move |threads| Ok(Arc::new(On { backend: Cpu::new(threads)?.with_isa(isa), path })));
    let device = with_threads(0)?;
    Ok(Target { backend: "cpu".to_owned(), path: name.to_owned(), device, with_threads: Some(with_threads) })
}

/// What there is code for on this architecture and this CPU does not have.
fn missing_instruction_sets() -> Vec<Missing> {
    let known: &[&str] = if cfg!(target_arch = "x86_64") { &["AVX2", "AVX-512"] } else { &[] };
    let missing = known.iter().filter(|&&name| Isa::available().all(|isa| isa.name() != name));
    let row = |name: &&str| Missing {
        backend: "cpu".to_owned(),
        path: format!("fused {name}"),
        reason: format!("this CPU has no {name}"),
    };
    missing.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_is_either_verified_or_named_as_missing() {
        let paths = paths().unwrap();
        let found = paths.others.iter().map(|target| target.path.as_str());
        let missing = paths.missing.iter().filter(|missing| missing.backend == "cpu").map(|m| m.path.as_str());
        let mut all: Vec<&str> = found.chain(missing).collect();
        all.sort_unstable();
        let expected: &[&str] = if cfg!(target_arch = "x86_64") {
            &["fused AVX-512", "fused AVX2", "fused portable"]
        } else {
            &["fused portable"]
        };
        assert_eq!(all, expected);
    }
}
