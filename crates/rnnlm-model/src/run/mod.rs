//! The folder of a run. It contains everything that using the model needs; generating and scoring need no corpus.
//!
//! ```text
//! config.json          all settings of the run
//! vocab.json           tokens in id order, normalization
//! tokenizer.json       the same for the library `tokenizers`; the tokenizer of a run of subwords
//! trainer.safetensors  parameters, carried state, optimizer, position: what exact resumption needs
//! model.safetensors    the parameters alone, under PyTorch's names
//! best.safetensors     the model with the best perplexity on the validation set, if there is one
//! metrics.jsonl        one line per epoch, and more within long epochs
//! checkpoints/         earlier versions of trainer.safetensors, if they are kept
//! ```
//!
//! An imported run has no trainer and no metrics.
//!
//! All files but `metrics.jsonl` and `tokenizer.json` contain a digest of their own bytes, which every read verifies, and each is replaced
//! atomically. [`Run`] reads, [`RunWriter`] writes.

mod branches;
mod checkpoints;
mod compare;
mod digest;
mod disk;
mod files;
mod folder;
mod import;
mod links;
mod locate;
mod lock;
mod log;
mod metadata;
mod names;
mod options;
mod reader;
mod record;
mod replacement;
mod shared;
mod source;
mod token_size;
mod weights;
mod writer;

pub use self::compare::{Difference, differences};
pub use self::disk::{Disk, System};
pub use self::import::{
    Checkpoint, ImportOptions, ImportVocab, ImportedModel, ImportedModule, ModuleKind, Rename, read_vocab,
};
pub use self::options::{RunOptions, UsedDevice, UsedPath};
pub use self::reader::Run;
pub use self::record::{CorpusRecord, FORMAT_VERSION, ImportRecord, Metrics, RunConfig, ValidationRecord};
pub use self::token_size::{TokenSize, TokenSizes};
pub use self::writer::RunWriter;
