//! Compares the memory that a command needs with the memory that is available, before it is allocated.

use rnnlm_model::{ExecutionPath, ModelConfig, Recurrence, TextTokens, TrainConfig};

use crate::available_memory::available_memory;
use crate::failure::{Failure, Result};
use crate::human;
use crate::process_memory::ProcessMemory;

/// The memory of the program itself, if the system does not report what it uses.
const PROGRAM_BYTES: u128 = 10_000_000;

/// The memory of a training run, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    /// The most memory that the process uses at a time.
    pub(crate) host: u128,
    /// The most memory of the device, if it has its own.
    pub(crate) device: Option<u128>,
}

/// The memory that training will use; an error if the machine does not have it.
pub(crate) fn check_training<B: Recurrence>(
    backend: &B,
    model: &ModelConfig,
    train: &TrainConfig,
    path: ExecutionPath,
    text: TextTokens,
) -> Result<Estimate> {
    let needed = model.training_memory(backend, train, path, text);
    let (more, device) = if backend.shares_host_memory() {
        (needed.shared_peak(), None)
    } else {
        let [device, host] = needed.peaks();
        (host, Some(device))
    };
    let ids = (text.training + text.validation) as u128 * size_of::<u32>() as u128;
    let process = ProcessMemory::of_this_process();
    let [current, peak] =
        process.map_or([PROGRAM_BYTES + ids; 2], |process| [process.current, process.peak].map(u128::from));
    let estimate = Estimate { host: current.saturating_add(more).max(peak), device };
    // what is in use already is not available either
    check("training", estimate.host, available().saturating_add(current)).map_err(|failure| {
        failure.with_hint(format!(
            "reduce --hidden-size (now {}), --batch-size (now {}) or --num-steps (now {})",
            model.hidden_size, train.batch_size, train.num_steps
        ))
    })?;
    Ok(estimate)
}

/// An error if a weights file of this size cannot be imported in the available memory.
pub(crate) fn check_import(file_bytes: u64) -> Result<()> {
    // the file, its values as float32 (twice the bytes of float16), and the file to write
    let needed = 5 * u128::from(file_bytes);
    check("importing", needed, available()).map_err(|failure| failure.with_hint("use a machine with more memory"))
}

fn check(activity: &str, needed: u128, available: u128) -> Result<()> {
    if needed <= available {
        return Ok(());
    }
    let needed = human::bytes(needed);
    let available = human::bytes(available);
    Err(Failure::failed(format!("{activity} needs {needed} of memory, {available} is available")))
}

/// The memory that is available, in bytes. An unknown amount never refuses.
fn available() -> u128 {
    available_memory().map_or(u128::MAX, u128::from)
}
