//! `--device`: which device computes, and the only match over devices. What a command does on it is a [`Work`], written
//! once for all of them.

use std::str::FromStr;

use rnnlm_model::{LanguageModel, Run};
use rnnlm_rnn::Recurrence;
use rnnlm_tensor::Cpu;

use crate::args::Compute;
use crate::failure::{Exit, Failure, Result};
use crate::progress::error_line;

/// More threads than this are a slip of the finger.
const MOST_THREADS: usize = 4096;

/// What `--device` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// The first usable GPU, else the CPU.
    Auto,
    Cpu,
    /// The GPU of this number, or an error.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("cuda:").map(str::parse)) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(Ok(ordinal))) => Ok(Self::Cuda(ordinal)),
            _ => Err("one of auto, cpu, cuda, cuda:N is needed".to_owned()),
        }
    }
}

/// What a command does once it knows its device.
pub(crate) trait Work {
    /// Does it.
    fn on<B: Recurrence>(self, backend: &B) -> Result<Exit>;
}

/// Does `work` on the device that was asked for. A GPU that nobody asked for by name is named on standard error, if
/// `says_so`: a training names its device itself.
pub(crate) fn run(compute: &Compute, says_so: bool, work: impl Work) -> Result<Exit> {
    if compute.threads > MOST_THREADS {
        return Err(Failure::usage(format!("--threads {} is more than {MOST_THREADS}", compute.threads)));
    }
    let gpu = match compute.device {
        Device::Cpu => None,
        Device::Auto => gpu::first(),
        Device::Cuda(ordinal) => Some(gpu::open(ordinal)?),
    };
    match gpu {
        Some(gpu) => {
            if says_so && compute.device == Device::Auto {
                error_line(&format!("on      {}", rnnlm_tensor::Backend::name(&gpu)));
            }
            work.on(&gpu)
        }
        None => work.on(&Cpu::new(compute.threads)?),
    }
}

/// The model that a run was last saved with, or with `best` the one that predicted held-out text best.
pub(crate) fn load<B: Recurrence>(run: &Run, best: bool, backend: &B, compute: &Compute) -> Result<LanguageModel<B>> {
    let path = compute.path.into();
    Ok(if best { run.load_best(backend, path)? } else { run.load(backend, path)? })
}

/// Every GPU, or why there is none, for people.
pub(crate) use gpu::list;

/// A GPU as `rnnlm devices` lists it.
pub(crate) struct Gpu {
    /// As `--device` takes it.
    pub(crate) device: String,
    pub(crate) name: String,
    /// In bytes.
    pub(crate) memory: u64,
    pub(crate) compute_capability: String,
    /// The version of CUDA that the driver is for.
    pub(crate) driver: String,
    /// The version of NVRTC.
    pub(crate) compiler: String,
}

#[cfg(feature = "cuda")]
mod gpu {
    use rnnlm_tensor::Cuda;
    use rnnlm_tensor::cuda::{self, CudaUnavailable, DRIVER};

    use super::{Failure, Gpu, Result, error_line};

    /// The GPU of this number.
    pub(super) fn open(ordinal: usize) -> Result<Cuda> {
        Cuda::new(ordinal).map_err(|error| Failure::no_device(format!("--device cuda:{ordinal}: {error}")))
    }

    /// The first that works. No driver is no news; one with GPUs that cannot be used is.
    pub(super) fn first() -> Option<Cuda> {
        let warn = |error: CudaUnavailable| error_line(&format!("warning: {error}; the CPU computes instead"));
        let gpus = match cuda::devices() {
            Ok(gpus) => gpus,
            Err(error) if error.library == DRIVER => return None,
            Err(error) => {
                warn(error);
                return None;
            }
        };
        let mut refused = None;
        for gpu in gpus {
            match Cuda::new(gpu.ordinal) {
                Ok(cuda) => return Some(cuda),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map(warn);
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

    const WITHOUT: &str = "this build has no GPU support: it was made without the feature `cuda`";

    /// No build without GPUs has one; the type is never used.
    pub(super) fn open(ordinal: usize) -> Result<Cpu> {
        Err(Failure::no_device(format!("--device cuda:{ordinal}: {WITHOUT}")))
    }

    pub(super) fn first() -> Option<Cpu> {
        None
    }

    pub(crate) fn list() -> Result<Vec<Gpu>, String> {
        Err(WITHOUT.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_word_or_a_numbered_gpu() {
        let parsed = ["auto", "cpu", "cuda", "cuda:0", "cuda:12"].map(|text| text.parse::<Device>().unwrap());
        assert_eq!(parsed, [Device::Auto, Device::Cpu, Device::Cuda(0), Device::Cuda(0), Device::Cuda(12)]);
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:0:1", "CPU"] {
            let error = text.parse::<Device>().unwrap_err();
            assert_eq!(error, "one of auto, cpu, cuda, cuda:N is needed", "{text}");
        }
    }
}
