//! Tests of the `rnnlm` command: what `--help` documents, and every error with its message and exit code.

mod adaptive_softmax;
mod bad_input;
mod devices;
mod documents;
mod eval;
mod generate;
mod import;
mod memory;
mod prefixes;
mod progress;
mod runs;
mod score;
#[cfg(feature = "serve")]
mod serve;
mod settings;
mod signals;
mod subwords;
mod support;
mod sweep;
#[cfg(target_os = "linux")]
mod terminal;
mod texts;
mod validation;
mod vocabularies;
