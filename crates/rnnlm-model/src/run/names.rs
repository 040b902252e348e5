//! The names of a run's files, and the most bytes that they may have.

use std::path::Path;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const VOCAB: &str = "vocab.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const MODEL: &str = "model.safetensors";
pub(crate) const TRAINER: &str = "trainer.safetensors";
pub(crate) const METRICS: &str = "metrics.jsonl";
pub(crate) const BEST: &str = "best.safetensors";
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// The chart that the command derives from the metrics.
pub(crate) const CHART: &str = "perplexity.svg";

/// Prefix of the names of temporary files. A file with this prefix was left by a process that ended early.
pub(crate) const TEMPORARY: &str = ".rnnlm-";

/// A configuration has a few hundred bytes.
pub(crate) const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// The limit of `rnnlm_vocab` for the content, and 1 kB for the digest. Ten million words are below it.
pub(crate) const MAX_VOCAB_BYTES: u64 = (1 << 28) + (1 << 10);

/// The folder that contains `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
