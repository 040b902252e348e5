//! Memory: what training needs against what there is, before any of it is asked for.

use rnnlm_model::{ModelConfig, TrainConfig};

use crate::failure::{Failure, Result};
use crate::format;

/// The bytes that training needs, or a refusal where the machine does not have them.
pub(crate) fn check(model: &ModelConfig, train: &TrainConfig) -> Result<u128> {
    let needed = model.memory_needed(train);
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    // a container may have less than the machine, and what it calls free leaves out the file cache, which would be given
    // up; where nothing is said, allocation itself is the judge
    let container = system.cgroup_limits().map(|limits| limits.total_memory.saturating_sub(limits.rss));
    let free = [Some(system.available_memory()), container].into_iter().flatten().filter(|&free| free > 0).min();
    let available = free.map_or(u128::MAX, u128::from);
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
