//! Opens the device that `--device` names and runs a [`Task`] on it. This file has the only match over devices.

use std::any::TypeId;

use rnnlm_rnn::Recurrence;
use rnnlm_tensor::{Backend, Cpu};

use crate::args::{Compute, Device};
use crate::failure::{Exit, Failure, Result};
use crate::progress::error_line;

/// A larger number of threads is a typing error.
const MAX_THREADS: usize = 4096;

/// The part of a command that needs a device, written once for all backends.
pub(crate) trait Task: Send {
    /// Runs the task.
    fn run<B: Recurrence>(self, backend: &B) -> Result<Exit>;
}

/// Runs `task` on the device of the command line, and prints the name of a GPU that `auto` found.
pub(crate) fn run(compute: &Compute, task: impl Task) -> Result<Exit> {
    run_on_device(compute, true, task)
}

/// Like [`run`], for a task that prints the name of its device itself.
pub(crate) fn run_quietly(compute: &Compute, task: impl Task) -> Result<Exit> {
    run_on_device(compute, false, task)
}

fn run_on_device(compute: &Compute, print_gpu: bool, task: impl Task) -> Result<Exit> {
    if compute.threads > MAX_THREADS {
        return Err(Failure::usage(format!("--threads {} exceeds the maximum of {MAX_THREADS}", compute.threads)));
    }
    let gpu = match compute.device {
        Device::Cpu => None,
        Device::Auto => gpu::first_usable(),
        Device::Cuda(ordinal) => Some(gpu::open(ordinal)?),
    };
    match gpu {
        Some(gpu) => {
            if print_gpu && compute.device == Device::Auto {
                error_line(&format!("device  {}", gpu.name()));
            }
            task.run(&gpu)
        }
        None => {
            let cpu = Cpu::new(compute.threads)?;
            // the whole task on one thread of the pool: the C library keeps freed memory for each thread that allocates
            cpu.run(|| task.run(&cpu))
        }
    }
}

/// Whether `B` is the CPU.
pub(crate) fn is_cpu<B: Backend>() -> bool {
    TypeId::of::<B>() == TypeId::of::<Cpu>()
}

/// Lists the GPUs, or returns the reason why there are none.
pub(crate) use gpu::list as list_gpus;

/// A GPU in the list of `rnnlm devices`.
pub(crate) struct Gpu {
    /// The value of `--device` that selects it.
    pub(crate) device: String,
    pub(crate) name: String,
    /// In bytes.
    pub(crate) memory: u64,
    pub(crate) compute_capability: String,
    /// The CUDA version of the driver.
    pub(crate) driver: String,
    /// The version of NVRTC.
    pub(crate) compiler: String,
}

#[cfg(feature = "cuda")]
mod gpu {
    use rnnlm_tensor::Cuda;
    use rnnlm_tensor::cuda::{self, CudaUnavailable, DRIVER};

    use super::{Failure, Gpu, Result, error_line};

    /// Opens the GPU with this number.
    pub(super) fn open(ordinal: usize) -> Result<Cuda> {
        Cuda::new(ordinal).map_err(|error| Failure::failed(format!("--device cuda:{ordinal}: {error}")))
    }

    /// Opens the first usable GPU. Prints a warning if there is a driver and no usable GPU; without a driver, a CPU is
    /// what the user expects.
    pub(super) fn first_usable() -> Option<Cuda> {
        let warn = |error: CudaUnavailable| error_line(&format!("warning: {error}; using the CPU"));
        let gpus = match cuda::devices() {
            Ok(gpus) => gpus,
            Err(error) if error.library == DRIVER => return None,
            Err(error) => {
                warn(error);
                return None;
            }
        };
        let mut first_error = None;
        for gpu in gpus {
            match Cuda::new(gpu.ordinal) {
                Ok(cuda) => return Some(cuda),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map(warn);
        None
    }

    pub(crate) fn list() -> Result<Vec<Gpu>, String> {
        let version = |(major, minor): (u32, u32)| format!("{major}.{minor}");
        let gpus = cuda::devices().map_err(|error| error.to_string())?.into_iter().map(|gpu| Gpu {
            device: format!("cuda:{}", gpu.ordinal),
            name: gpu.name,
            memory: gpu.memory as u64,
            compute_capability: version(gpu.compute_capability),
            driver: version(gpu.driver),
            compiler: version(gpu.compiler),
        });
        Ok(gpus.collect())
    }
}

#[cfg(not(feature = "cuda"))]
mod gpu {
    use rnnlm_tensor::Cpu;

    use super::{Failure, Gpu, Result};

    const NO_SUPPORT: &str = "this build has no GPU support: it was built without the feature `cuda`";

    /// Always fails. `Cpu` only serves as a type that implements the backend.
    pub(super) fn open(ordinal: usize) -> Result<Cpu> {
        Err(Failure::failed(format!("--device cuda:{ordinal}: {NO_SUPPORT}")))
    }

    pub(super) fn first_usable() -> Option<Cpu> {
        None
    }

    pub(crate) fn list() -> Result<Vec<Gpu>, String> {
        Err(NO_SUPPORT.to_owned())
    }
}
