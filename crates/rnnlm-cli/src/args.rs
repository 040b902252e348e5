//! Arguments that several commands share.

use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use rnnlm_model::{LanguageModel, Run};
use rnnlm_rnn::{ExecutionPath, Recurrence};

use crate::failure::Result;
use crate::progress::error_line;

/// The format of a result on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Human-readable text.
    Text,
    /// One JSON object.
    Json,
}

/// The value of `--device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// The first usable GPU, else the CPU.
    Auto,
    Cpu,
    /// The GPU with this number; an error if it cannot be used.
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
            _ => Err("expected one of auto, cpu, cuda, cuda:N".to_owned()),
        }
    }
}

/// The value of `--path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComputePath {
    /// The fused path if the device has one, else the reference path.
    Auto,
    /// Fused kernels; an error if the device has none for the cell.
    Fused,
    /// One tensor operation at a time, as the equations are written.
    Reference,
}

impl From<ComputePath> for ExecutionPath {
    fn from(path: ComputePath) -> Self {
        match path {
            ComputePath::Auto => Self::Auto,
            ComputePath::Fused => Self::Fused,
            ComputePath::Reference => Self::Reference,
        }
    }
}

// clap would take a doc comment on a flattened struct as the text of the command
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Compute {
    /// Number of threads; 0 uses one per core. Results do not depend on it.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Computation")]
    pub(crate) threads: usize,
    /// Device to compute on. `auto` is the first usable GPU, else the CPU; `cuda` is `cuda:0`. A named GPU that cannot
    /// be used is an error.
    #[arg(long, value_name = "auto|cpu|cuda|cuda:N", default_value = "auto", help_heading = "Computation")]
    pub(crate) device: Device,
    /// Implementation of the recurrent layers.
    #[arg(long, value_enum, default_value = "auto", help_heading = "Computation")]
    pub(crate) path: ComputePath,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SavedModel {
    /// Folder of the run.
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Use the model with the best validation perplexity instead of the last one.
    #[arg(long)]
    pub(crate) best: bool,
}

impl SavedModel {
    /// Loads the model of an opened run: the best or the last one. Warns if it is untrained.
    pub(crate) fn load<B: Recurrence>(&self, run: &Run, backend: &B, compute: &Compute) -> Result<LanguageModel<B>> {
        let path = compute.path.into();
        if !self.best {
            warn_if_untrained(run)?;
        }
        let model = if self.best { run.load_best(backend, path)? } else { run.load(backend, path)? };
        Ok(model)
    }
}

/// Warns if the last model of a run has its initial, random weights.
pub(crate) fn warn_if_untrained(run: &Run) -> Result<()> {
    if run.is_untrained()? {
        let run = run.path().display();
        error_line(&format!(
            "warning: the model of `{run}` is untrained: no checkpoint was saved after its first step"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_name_or_a_numbered_gpu() {
        let parsed = ["auto", "cpu", "cuda", "cuda:0", "cuda:12"].map(|text| text.parse::<Device>().unwrap());
        assert_eq!(parsed, [Device::Auto, Device::Cpu, Device::Cuda(0), Device::Cuda(0), Device::Cuda(12)]);
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:0:1", "CPU"] {
            let error = text.parse::<Device>().unwrap_err();
            assert_eq!(error, "expected one of auto, cpu, cuda, cuda:N", "{text}");
        }
    }
}
