//! Recurrent language models: train, score, let speak, save.
//!
//! Stages 4 to 8 of the walk from text to update, with `rnnlm-rnn` for the recurrent layers: [`LanguageModel`] is one-hot
//! input, layers and output layer under the parameter names of the book's `RNNModel`; [`Trainer`] is the loop of the book's
//! `train_ch8`; [`Generator`] its `predict_ch8`; [`Run`] the folder that a training leaves behind.
//!
//! ```
//! use rnnlm_model::{Generator, ModelConfig, Sampler, TrainConfig, Trainer};
//! use rnnlm_rnn::ExecutionPath;
//! use rnnlm_tensor::Cpu;
//! use rnnlm_vocab::{Corpus, CorpusOptions};
//!
//! let corpus = Corpus::from_bytes("the tide comes in and ".repeat(20).as_bytes(), &CorpusOptions::default())?;
//! let model = ModelConfig { hidden_size: 32, ..ModelConfig::book(corpus.vocab.len()) };
//! let train = TrainConfig { batch_size: 4, num_steps: 16, ..TrainConfig::book() };
//! let mut trainer = Trainer::new(&Cpu::new(1)?, &model, &train, ExecutionPath::Auto)?;
//! let first = trainer.epoch(&corpus.ids, &|| false)?.expect("nobody stopped it").perplexity;
//! for _ in 0..40 {
//!     trainer.epoch(&corpus.ids, &|| false)?;
//! }
//! let last = trainer.epoch(&corpus.ids, &|| false)?.expect("nobody stopped it").perplexity;
//! assert!(first > 5.0 && last < 1.2, "from {first} to {last}");
//!
//! let prefix = corpus.vocab.encode_prefix("the t").ids;
//! let mut said = Vec::new();
//! Generator::new(trainer.model())?.generate(&prefix, 12, &mut Sampler::Greedy, &mut |id| {
//!     said.push(id);
//!     true
//! })?;
//! assert_eq!(corpus.vocab.decode(&said)?, "ide comes in");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Invariants:** nothing here prints, exits or reads the environment; the same seed gives the same bits; what is read
//! from a file is checked before it is used.

mod config;
mod embedding;
mod error;
mod evaluate;
mod generate;
mod init;
mod model;
mod optimizer;
mod output;
mod queue;
mod rng;
mod run;
mod trainer;

pub use config::{CellKind, Init, ModelConfig, NonlinearityKind, OptimizerConfig, Plateau, Schedule, TrainConfig};
pub use error::{Error, Result};
pub use evaluate::Evaluation;
pub use generate::{Generator, Sampler};
pub use model::{LanguageModel, Workspace};
pub use optimizer::Optimizer;
pub use rng::SplitMix64;
pub use run::{
    Checkpoint, CorpusRecord, Difference, Disk, FORMAT_VERSION, ImportRecord, Metrics, Run, RunConfig, RunWriter,
    System, Unfit, ValidationRecord, differences, read_vocab,
};
pub use trainer::{Best, EpochReport, Position, Snapshot, StepReport, Trainer};
