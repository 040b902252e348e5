//! The list of backends, paths and instruction sets that are verified.

use std::sync::Arc;

use rnnlm_rnn::ExecutionPath;
use rnnlm_tensor::cpu::Isa;
use rnnlm_tensor::{Cpu, Cuda};

use crate::Result;
use crate::device::{Device, On, Schedules};
use crate::emulated::BACKEND;

/// The largest case that an emulated device runs under all of its schedules, in hidden values: T·N·H.
const MAX_SCHEDULED_VOLUME: usize = 4000;

/// Creates a device with a number of threads, 0 for one per core.
pub type Threads = Arc<dyn Fn(usize) -> Result<Arc<dyn Device>> + Send + Sync>;

/// A backend on one of its paths, with their names.
#[derive(Clone)]
pub struct Target {
    /// `cpu`, `cuda (emulated)`, or `cuda` and the device's name.
    pub backend: String,
    /// `reference`, `fused AVX2`, …
    pub path: String,
    /// The device that computes.
    pub device: Arc<dyn Device>,
    /// The same path with another number of threads; none for a GPU.
    pub with_threads: Option<Threads>,
    /// Whether the path can start sequences inside a minibatch.
    pub has_starts: bool,
    /// The same backend with automatic selection of the path, if some layers have no fused path.
    pub automatic: Option<Arc<dyn Device>>,
    /// The largest case that is run, in hidden values: T·N·H. Larger ones take too long on an emulated device.
    pub max_volume: usize,
}

/// A path that this machine or build does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// `cpu`, `cuda (emulated)`, or `cuda` and the device's name.
    pub backend: String,
    /// The path's name.
    pub path: String,
    /// Why it cannot be checked.
    pub reason: String,
}

/// All paths.
pub struct Paths {
    /// The reference path on the CPU, which the others are compared with.
    pub reference: Target,
    /// Every other path that runs here.
    pub others: Vec<Target>,
    /// Every GPU with enough multiprocessors for the multi-block persistent kernels.
    pub multi_block: Vec<Target>,
    /// Every implementation of the tensor operations that runs here: a backend, or the CPU with one instruction set.
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

/// Finds every path on this machine.
///
/// # Errors
/// If the CPU's threads cannot be started.
pub fn paths() -> Result<Paths> {
    let mut paths = Paths {
        reference: cpu("reference", Isa::detect(), ExecutionPath::Reference)?,
        others: Vec::new(),
        multi_block: Vec::new(),
        operations: Vec::new(),
        missing: missing_instruction_sets(),
    };
    for isa in Isa::available() {
        paths.operations.push(cpu(isa.name(), isa, ExecutionPath::Reference)?);
        paths.others.push(cpu(&format!("fused {}", isa.name()), isa, ExecutionPath::Fused)?);
    }
    if let Err(reason) = add_gpus(&mut paths) {
        let missing =
            |path: &str| Missing { backend: "cuda".to_owned(), path: path.to_owned(), reason: reason.clone() };
        paths.missing.extend(["reference", "fused"].map(missing));
    }
    Ok(paths)
}

/// Adds every GPU on each of its paths, or returns why there is none. A set of emulated devices is one GPU under several
/// schedules, the first of which runs threads in sequential order.
fn add_gpus(paths: &mut Paths) -> std::result::Result<(), String> {
    let devices = rnnlm_tensor::cuda::devices().map_err(|error| error.to_string())?;
    let (emulated, real): (Vec<_>, Vec<_>) = devices.into_iter().partition(|gpu| gpu.name.starts_with("emulated"));
    let open = |ordinal: usize| Cuda::new(ordinal).map_err(|error| error.to_string());
    for gpu in real {
        let backend = open(gpu.ordinal)?;
        let name = format!("cuda {}", gpu.name);
        let on = |path| Arc::new(On { backend: backend.clone(), path }) as Arc<dyn Device>;
        paths.add_gpu(&name, "", on, usize::MAX);
        paths.multi_block.push(gpu_target(&name, "fused", on(ExecutionPath::Fused), usize::MAX));
    }
    for (index, set) in emulated.chunk_by(|_, gpu| gpu.name != "emulated").enumerate() {
        let set = set.iter().map(|gpu| open(gpu.ordinal)).collect::<std::result::Result<Vec<_>, _>>()?;
        let on = |backend: &Cuda, path| Arc::new(On { backend: backend.clone(), path }) as Arc<dyn Device>;
        let first = |path| on(&set[0], path);
        let random = |path| set[1..].iter().map(|backend| on(backend, path)).collect();
        let all = |path| Arc::new(Schedules { in_order: first(path), random: random(path) }) as Arc<dyn Device>;
        let suffix = format!(", {} schedules", set.len() - 1);
        if index == 0 {
            paths.add_gpu(BACKEND, "", first, usize::MAX);
            paths.add_gpu(BACKEND, &suffix, all, MAX_SCHEDULED_VOLUME);
        } else {
            let path = format!("multi-block{suffix}");
            paths.multi_block.push(gpu_target(BACKEND, &path, all(ExecutionPath::Fused), usize::MAX));
        }
    }
    Ok(())
}

/// A GPU on one path.
fn gpu_target(name: &str, path: &str, device: Arc<dyn Device>, max_volume: usize) -> Target {
    let (backend, path) = (name.to_owned(), path.to_owned());
    Target { backend, path, device, with_threads: None, has_starts: false, automatic: None, max_volume }
}

impl Paths {
    /// Adds a GPU's operations, and its layers on each path.
    fn add_gpu(&mut self, name: &str, suffix: &str, on: impl Fn(ExecutionPath) -> Arc<dyn Device>, max_volume: usize) {
        let target = |label: &str, path| gpu_target(name, &format!("{label}{suffix}"), on(path), max_volume);
        self.operations.push(target("operations", ExecutionPath::Reference));
        let reference = Target { has_starts: true, ..target("reference", ExecutionPath::Reference) };
        let fused = Target { automatic: Some(on(ExecutionPath::Auto)), ..target("fused", ExecutionPath::Fused) };
        self.others.extend([reference, fused]);
    }
}

/// The CPU with one instruction set.
fn cpu(name: &str, isa: Isa, path: ExecutionPath) -> Result<Target> {
    let with_threads: Threads =
        Arc::new(move |threads| Ok(Arc::new(On { backend: Cpu::new(threads)?.with_isa(isa), path })));
    let device = with_threads(0)?;
    Ok(Target {
        backend: "cpu".to_owned(),
        path: name.to_owned(),
        device,
        with_threads: Some(with_threads),
        has_starts: true,
        automatic: None,
        max_volume: usize::MAX,
    })
}

/// The instruction sets that there is code for on this architecture and that this CPU does not have.
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
    fn every_instruction_set_is_verified_or_listed_as_missing() {
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
