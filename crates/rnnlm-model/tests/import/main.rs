//! Import of models that PyTorch trained.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod checkpoints;
mod errors;
mod names;
mod shapes;
mod support;
mod vocab;
