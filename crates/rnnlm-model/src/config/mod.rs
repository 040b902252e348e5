//! Everything that defines a run, as plain values: what is written to `config.json` and read back.
//!
//! A number or a switch that came later than the format is left out of the file where it has the value that it had before it
//! existed.

mod model;
mod optimizer;
mod schedule;
mod train;

pub use self::model::{CellKind, ModelConfig, NonlinearityKind};
pub use self::optimizer::OptimizerConfig;
pub use self::schedule::{Plateau, Schedule};
pub use self::train::{Init, TrainConfig};

/// Whether a setting has the value that it had before it existed.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
