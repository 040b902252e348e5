//! Compares the memory that a command needs with the memory that is available, before it is allocated.

use rnnlm_model::{Backend, ModelConfig, TrainConfig};

use crate::available_memory::available_memory;
use crate::failure::{Failure, Result};
use crate::human;

/// The bytes that training needs; an error if the machine does not have them.
pub(crate) fn check_training<B: Backend>(backend: &B, model: &ModelConfig, train: &TrainConfig) -> Result<u128> {
    let needed = model.memory_needed(backend, train);
    check("training", needed).map_err(|failure| {
        failure.with_hint(format!(
            "reduce --hidden-size (now {}), --batch-size (now {}) or --num-steps (now {})",
            model.hidden_size, train.batch_size, train.num_steps
        ))
    })?;
    Ok(needed)
}

/// An error if a weights file of this size cannot be imported in the available memory.
pub(crate) fn check_import(file_bytes: u64) -> Result<()> {
    // the file, its values as float32 (twice the bytes of float16), and the file to write
    let needed = 5 * u128::from(file_bytes);
    check("importing", needed).map_err(|failure| failure.with_hint("use a machine with more memory"))
}

fn check(activity: &str, needed: u128) -> Result<()> {
    // an unknown amount never refuses
    let available = available_memory().map_or(u128::MAX, u128::from);
    if needed <= available {
        return Ok(());
    }
    let needed = human::bytes(needed);
    let available = human::bytes(available);
    Err(Failure::failed(format!("{activity} needs {needed} of memory, {available} is available")))
}
