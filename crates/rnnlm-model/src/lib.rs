//! Recurrent language models: train, evaluate, generate, save.
//!
//! This crate is the only dependency that a program needs: it re-exports the devices, the cells, and the corpus types.
//!
//! ```
//! use rnnlm_model::{Cell, Corpus, CorpusOptions, CorpusRecord, Cpu, ExecutionPath, Generator, ModelConfig, Run};
//! use rnnlm_model::{RunConfig, RunWriter, Sampler, TrainConfig, Trainer};
//!
//! // read a text as characters, and train a GRU on it
//! let options = CorpusOptions::default();
//! let corpus = Corpus::from_bytes("the tide comes in and ".repeat(20).as_bytes(), &options)?;
//! let cell = Cell::Gru { reset_after: true };
//! let model = ModelConfig { cell, hidden_size: 32, ..ModelConfig::book(corpus.vocab.len()) };
//! let train = TrainConfig { batch_size: 4, num_steps: 16, epochs: 60, ..TrainConfig::book() };
//! let device = Cpu::new(1)?;
//! let mut trainer = Trainer::new(&device, &model, &train, ExecutionPath::Auto)?;
//! let never_stop = || false;
//! while trainer.position().epoch < train.epochs {
//!     trainer.epoch(&corpus.ids, &never_stop)?;
//! }
//!
//! // save it
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("run");
//! let config = RunConfig::new(CorpusRecord::new("tide", &options, &corpus), model, train);
//! RunWriter::create(&path, false, config, corpus.vocab)?.save(&trainer)?;
//!
//! // load it, generate text, and score a text
//! let run = Run::open(&path)?;
//! let model = run.load(&device, ExecutionPath::Auto)?;
//! let mut generated = Vec::new();
//! let prefix = run.vocab().encode_prefix("the t").ids;
//! Generator::new(&model)?.generate(&prefix, 12, &mut Sampler::greedy(), &mut |id| {
//!     generated.push(id);
//!     true
//! })?;
//! assert_eq!(run.vocab().decode(&generated)?, "ide comes in");
//! let perplexity = model.evaluate(&run.vocab().encode("and the tide comes in").ids)?.perplexity();
//! assert!(perplexity < 1.5, "{perplexity}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The eight stages
//!
//! A corpus is read once: 1 text, 2 tokens. Each training step then is: 3 minibatch, 4 input, 5 layers, 6 output and loss,
//! 7 gradients, 8 update. [`Trainer::step`] runs stages 3 to 8; the example `stages` shows the shape of each result.
//!
//! | type | |
//! |---|---|
//! | [`Corpus`], [`Vocab`] | text, tokens and ids |
//! | [`LanguageModel`] | one-hot or embedded input, recurrent layers, output layer; the book's `RNNModel` |
//! | [`Trainer`] | the training loop; the book's `train_ch8` |
//! | [`Generator`] | generates text; the book's `predict_ch8` |
//! | [`Decoder`] | generates many texts as one batch, each with a [`Sampler`] |
//! | [`sampler`], [`BeamSearch`] | filters of the next token; the most probable texts |
//! | [`Continuation`], [`TokenRegex`] | where a text ends; what it has to match |
//! | [`Scorer`], [`DynamicEvaluator`] | the probability of each token, of a fixed model and of one that adapts |
//! | [`Run`], [`RunWriter`] | reads and writes the folder of a run |
//! | [`Cpu`], `Cuda` | devices |
//!
//! # Guarantees
//!
//! Nothing here prints, exits the process or reads environment variables. The same seed gives the same bits. The content of
//! a file is checked before it is used.
//!
//! # Features
//!
//! - `cuda`: NVIDIA GPUs, as `Cuda`. The build needs no CUDA; the driver is loaded at run time. Off by default.

mod average;
pub mod beam;
mod collective;
mod config;
mod constraint;
mod continuation;
mod decoder;
mod dynamic;
mod embedding;
mod error;
mod evaluate;
mod extend;
mod generate;
mod gradient_ranges;
mod import_error;
mod init;
mod model;
mod normal;
mod optimizer;
mod output;
mod position;
mod queue;
mod reduction;
mod regularization;
mod report;
mod rng;
mod run;
pub mod sampler;
mod scorer;
mod shard_order;
mod shards;
mod trainer;
mod workspace;

pub use beam::BeamSearch;
pub use collective::{Collective, CollectiveError, Single};
pub use config::{
    AdaptiveSoftmax, Average, Init, ModelConfig, NonMonotone, OptimizerConfig, Plateau, Schedule, TextTokens,
    TrainConfig, TrainingMemory,
};
pub use constraint::{Constraint, TokenRegex};
pub use continuation::{Continuation, Finish, StopConditions};
pub use decoder::{DecodedToken, Decoder, Request, Slot};
pub use dynamic::{DynamicConfig, DynamicEvaluator, DynamicRule};
pub use error::{Error, Result};
pub use evaluate::Evaluation;
pub use generate::Generator;
pub use import_error::ImportError;
pub use model::LanguageModel;
pub use optimizer::Optimizer;
pub use position::{Best, Position, Snapshot};
pub use regularization::Regularization;
pub use report::{EpochProgress, EpochReport, LOG_MINIBATCHES, NonFinite, StepReport};
pub use rng::SplitMix64;
pub use rnnlm_rnn::{
    Cell, ExecutionPath, Nonlinearity, ParameterLayout, ParameterSet, ParameterSpec, Recurrence, State,
};
#[cfg(feature = "cuda")]
pub use rnnlm_tensor::Cuda;
pub use rnnlm_tensor::{Backend, Cpu, Mask, Tensor};
pub use rnnlm_vocab::{
    Batches, Corpus, CorpusOptions, DocumentSet, Documents, Encoding, Minibatch, Normalization, Sampling, TextIds,
    TokenKind, Vocab,
};
pub use run::{
    Checkpoint, CorpusRecord, Difference, Disk, FORMAT_VERSION, ImportOptions, ImportRecord, ImportVocab,
    ImportedModel, ImportedModule, Metrics, ModuleKind, Rename, Run, RunConfig, RunOptions, RunWriter, System,
    TokenSize, TokenSizes, UsedDevice, UsedPath, ValidationRecord, differences, read_vocab,
};
pub use sampler::Sampler;
pub use scorer::{Scorer, TokenDetails, TokenScore};
pub use trainer::{AfterStep, Trainer};
pub use workspace::Workspace;
/// The crates below this one, for items that are not re-exported above.
pub use {rnnlm_rnn, rnnlm_tensor, rnnlm_vocab};
