//! `rnnlm devices`: lists the CPU and the GPUs, and what is missing if there is no usable GPU.

use rnnlm_tensor::cpu::Isa;
use serde_json::{Value, json};

use crate::args::Format;
use crate::compute::{self, Gpu};
use crate::failure::{Exit, Result};
use crate::{human, output};

/// List the CPU and the GPUs.
#[derive(Debug, clap::Args)]
pub(crate) struct DevicesArgs {
    /// Format of the result on standard output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn run(args: &DevicesArgs) -> Result<Exit> {
    let gpus = compute::list_gpus();
    match args.format {
        Format::Json => output::json(&as_json(&gpus)),
        Format::Text => output::line(&as_text(&gpus)),
    }?;
    Ok(Exit::Success)
}

/// The number of threads, the instruction sets that have kernels, and the one in use.
fn cpu() -> (usize, Vec<&'static str>, &'static str) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    (threads, Isa::available().map(Isa::name).collect(), Isa::detect().name())
}

fn as_json(gpus: &Result<Vec<Gpu>, String>) -> Value {
    let (threads, instruction_sets, in_use) = cpu();
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
    let mut devices =
        vec![json!({ "name": "cpu", "threads": threads, "instruction_sets": instruction_sets, "uses": in_use })];
    devices.extend(gpus.iter().flatten().map(gpu));
    json!({ "devices": devices, "no_gpu": gpus.as_ref().err() })
}

fn as_text(gpus: &Result<Vec<Gpu>, String>) -> String {
    let (threads, instruction_sets, in_use) = cpu();
    let threads = human::count(threads as u64, "thread");
    let mut lines =
        vec![format!("cpu     {threads}, {in_use} (available: {}), fused path", instruction_sets.join(", "))];
    match gpus {
        Ok(gpus) => lines.extend(gpus.iter().map(|gpu| {
            format!(
                "{:<7} {}, {}, compute capability {}, driver for CUDA {}, NVRTC {}",
                gpu.device,
                gpu.name,
                human::bytes(gpu.memory.into()),
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
    fn a_gpu_is_listed_with_every_property() {
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
        let json = as_json(&gpus);
        assert_eq!([&json["devices"][1]["name"], &json["devices"][1]["nvrtc"]], ["cuda:1", "12.9"]);
        assert_eq!(json["devices"][1]["memory"], 16_u64 << 30);
        assert!(json["no_gpu"].is_null());
    }

    #[test]
    fn without_a_gpu_the_reason_is_printed() {
        let none = Err("`libcuda` is not found".to_owned());
        assert!(as_text(&none).ends_with("\nno gpu  `libcuda` is not found"));
        assert!(as_json(&none).to_string().contains("\"no_gpu\":\"`libcuda` is not found\""));
    }
}
