//! Memory: what training needs against what there is, before any of it is asked for.

use rnnlm_model::{Backend, ModelConfig, TrainConfig};

use crate::failure::{Failure, Result};
use crate::format;

/// The bytes that training needs, or a refusal where the machine does not have them.
pub(crate) fn check<B: Backend>(backend: &B, model: &ModelConfig, train: &TrainConfig) -> Result<u128> {
    let needed = model.memory_needed(backend, train);
    let available = available();
    if needed <= available {
        return Ok(needed);
    }
    Err(Failure::new(
        format!("training would need {} of memory, {} are available", format::bytes(needed), format::bytes(available)),
        format!(
            "smaller --hidden-size (now {}), --batch-size (now {}) or --num-steps (now {})",
            model.hidden_size, train.batch_size, train.num_steps
        ),
    ))
}

/// A refusal where a file of weights does not fit in memory together with what is made of it.
pub(crate) fn check_import(bytes: u64) -> Result<()> {
    // the file, its values as float32, which are twice as many bytes as float16, and the file that is written
    let (needed, available) = (5 * u128::from(bytes), available());
    if needed <= available {
        return Ok(());
    }
    let needed = format::bytes(needed);
    Err(Failure::new(
        format!("importing would need {needed} of memory, {} are available", format::bytes(available)),
        "a machine with more memory",
    ))
}

/// The bytes of memory that may be asked for.
fn available() -> u128 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    // a container may have less than the machine, and what it calls free leaves out the file cache, which would be given
    // up; where nothing is said, allocation itself is the judge
    let container = system.cgroup_limits().map(|limits| limits.total_memory.saturating_sub(limits.rss));
    let free = [Some(system.available_memory()), container].into_iter().flatten().filter(|&free| free > 0).min();
    free.map_or(u128::MAX, u128::from)
}
