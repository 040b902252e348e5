//! Recurrent language models: train, evaluate, generate, save.
mod config;
mod error;
mod evaluate;
mod generate;
mod init;
mod model;
mod optimizer;
mod output;
mod run;
mod trainer;

pub use config::{CellKind, Init, ModelConfig, NonlinearityKind, TrainConfig};
pub use error::{Error, Result};
pub use evaluate::Evaluation;
pub use generate::{Generator, Sampler};
pub use model::{LanguageModel, Workspace};
pub use optimizer::Sgd;
pub use run::{CorpusRecord, FORMAT_VERSION, Metrics, Run, RunConfig};
pub use trainer::{EpochReport, Position, StepReport, Trainer};
