//! The settings of a run as plain values, which `config.json` stores.
//!
//! Settings that were added after the first format are omitted from the file when they have their default value, which is
//! the behaviour before they existed.

mod adaptive_softmax;
mod average;
mod defaults;
mod memory;
mod model;
mod numbers;
mod optimizer;
mod schedule;
mod train;
mod variable_bptt;

pub use self::adaptive_softmax::AdaptiveSoftmax;
pub(crate) use self::adaptive_softmax::Cluster;
pub use self::average::{Average, NonMonotone};
pub(crate) use self::defaults::is_default;
pub use self::memory::{TextTokens, TrainingMemory};
pub use self::model::ModelConfig;
pub(crate) use self::numbers::shortest;
pub use self::optimizer::OptimizerConfig;
pub use self::schedule::{Plateau, Schedule};
pub use self::train::{Init, TrainConfig};
