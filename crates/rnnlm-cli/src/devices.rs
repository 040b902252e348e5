//! `rnnlm devices`: what computations can run on, and what is missing where there is no GPU.

use std::io::{Write, stdout};

use rnnlm_rnn::ExecutionPath;
use rnnlm_tensor::cpu::Isa;
use serde_json::json;

use crate::args::{DevicesArgs, Format};
use crate::device::{self, Gpu};
use crate::failure::{Exit, Failure, Result};
use crate::format;

/// The path in use, for people.
pub(crate) fn path_name(path: ExecutionPath) -> &'static str {
    match path {
        ExecutionPath::Fused => "fused path",
        ExecutionPath::Auto | ExecutionPath::Reference => "reference path",
    }
}

pub(crate) fn run(args: &DevicesArgs) -> Result<Exit> {
    let gpus = device::list();
    let text = match args.format {
        Format::Json => as_json(&gpus),
        Format::Text => as_text(&gpus),
    };
    writeln!(stdout().lock(), "{text}").map_err(Failure::Stream)?;
    Ok(Exit::Success)
}

/// Threads, the instruction sets there is code for, and the one that is used.
fn cpu() -> (usize, Vec<&'static str>, &'static str) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    (threads, Isa::available().map(Isa::name).collect(), Isa::detect().name())
}

fn as_json(gpus: &Result<Vec<Gpu>, String>) -> String {
    let (threads, sets, uses) = cpu();
    let gpu = |gpu: &Gpu| {
        json!({
            "name": gpu.device,
            "gpu": gpu.name,
            "memory": gpu.memory,
            "compute_capability": gpu.compute_capability,
            "driver": gpu.driver,
            "nvrtc": gpu.compiler,
        })
    };
    let mut devices = vec![json!({ "name": "cpu", "threads": threads, "instruction_sets": sets, "uses": uses })];
    devices.extend(gpus.iter().flatten().map(gpu));
    json!({ "devices": devices, "no_gpu": gpus.as_ref().err() }).to_string()
}

fn as_text(gpus: &Result<Vec<Gpu>, String>) -> String {
    let (threads, sets, uses) = cpu();
    let cores = format::count(threads as u64, "thread");
    let mut lines = vec![format!("cpu     {cores}, {uses} (has {}), fused path", sets.join(", "))];
    match gpus {
        Ok(gpus) => lines.extend(gpus.iter().map(|gpu| {
            format!(
                "{:<7} {}, {}, compute capability {}, driver for CUDA {}, NVRTC {}",
                gpu.device,
                gpu.name,
                format::bytes(gpu.memory.into()),
                gpu.compute_capability,
                gpu.driver,
                gpu.compiler
            )
        })),
        Err(reason) => lines.push(format!("no gpu  {reason}")),
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_listed_with_all_that_is_known_of_it() {
        let gpus = Ok(vec![Gpu {
            device: "cuda:1".to_owned(),
            name: "NVIDIA T4".to_owned(),
            memory: 16 << 30,
            compute_capability: "7.5".to_owned(),
            driver: "13.0".to_owned(),
            compiler: "12.9".to_owned(),
        }]);
        let text = as_text(&gpus);
        let line = "NVIDIA T4, 17.2 GB, compute capability 7.5, driver for CUDA 13.0, NVRTC 12.9";
        assert_eq!(text.lines().nth(1), Some(format!("cuda:1  {line}").as_str()));
        let json: serde_json::Value = serde_json::from_str(&as_json(&gpus)).unwrap();
        assert_eq!([&json["devices"][1]["name"], &json["devices"][1]["nvrtc"]], ["cuda:1", "12.9"]);
        assert_eq!(json["devices"][1]["memory"], 16_u64 << 30);
        assert!(json["no_gpu"].is_null());
    }

    #[test]
    fn without_a_gpu_the_reason_is_there() {
        let none = Err("`libcuda` is not found".to_owned());
        assert!(as_text(&none).ends_with("\nno gpu  `libcuda` is not found"));
        assert!(as_json(&none).contains("\"no_gpu\":\"`libcuda` is not found\""));
    }
}
