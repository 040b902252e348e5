//! `rnnlm devices`, and the only match over devices: what the commands run on.

use std::io::{Write, stdout};

use rnnlm_model::{LanguageModel, Run};
use rnnlm_rnn::Path;
use rnnlm_tensor::Cpu;
use rnnlm_tensor::cpu::Isa;
use serde_json::json;

use crate::args::{Compute, Device, DevicesArgs, Format};
use crate::failure::{Exit, Failure, Result};

/// More threads than this are a slip of the finger.
const MOST_THREADS: usize = 4096;

/// The CPU, with the threads that were asked for.
pub(crate) fn cpu(compute: &Compute) -> Result<Cpu> {
    if compute.threads > MOST_THREADS {
        return Err(Failure::usage(format!("--threads {} is more than {MOST_THREADS}", compute.threads)));
    }
    match compute.device {
        Device::Auto | Device::Cpu => Ok(Cpu::new(compute.threads)?),
    }
}

/// The model that a run was last saved with, or its best on held-out text.
pub(crate) fn load(run: &Run, best: bool, compute: &Compute) -> Result<LanguageModel<Cpu>> {
    let (cpu, path) = (cpu(compute)?, compute.path.into());
    Ok(if best { run.load_best(&cpu, path)? } else { run.load(&cpu, path)? })
}

/// The path in use, for people.
pub(crate) fn path_name(path: Path) -> &'static str {
    match path {
        Path::Fused => "fused path",
        Path::Auto | Path::Reference => "reference path",
    }
}

pub(crate) fn run(args: &DevicesArgs) -> Result<Exit> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let sets: Vec<&str> = Isa::available().map(Isa::name).collect();
    let (best, gpu) = (Isa::detect().name(), "this build has no GPU support");
    let mut out = stdout().lock();
    match args.format {
        Format::Json => {
            let cpu = json!({ "name": "cpu", "threads": threads, "instruction_sets": sets, "uses": best });
            writeln!(out, "{}", json!({ "devices": [cpu], "gpu": gpu }))
        }
        Format::Text => {
            let cores = crate::format::count(threads as u64, "thread");
            writeln!(out, "cpu   {cores}, {best} (has {}), fused path\ngpu   {gpu}", sets.join(", "))
        }
    }
    .map_err(Failure::Stream)?;
    Ok(Exit::Success)
}
