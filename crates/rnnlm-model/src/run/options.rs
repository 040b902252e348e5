//! The options of a run: how often it is saved and sampled, and where it is computed.

use serde::{Deserialize, Serialize};

/// Options that a resumed run keeps. They may change during a run. Only `path` and `device` affect the bits of the results.
/// An option is `None` in a run that was written before the option existed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOptions {
    /// Interval between two checkpoints, as `--checkpoint-every` accepts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<String>,
    /// Number of earlier checkpoints to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<usize>,
    /// Prefixes of the samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<Vec<String>>,
    /// Epochs between two samples; 0 for samples only at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_every: Option<u64>,
    /// The execution path of the recurrent layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<UsedPath>,
    /// The type of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<UsedDevice>,
}

/// The execution path that a run used; [`ExecutionPath`](crate::ExecutionPath) without `Auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsedPath {
    /// Fused kernels.
    Fused,
    /// One tensor operation at a time.
    Reference,
}

/// The type of device that a run used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsedDevice {
    /// A CPU.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}
