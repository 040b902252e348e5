//! Memory: what training needs against what there is, before any of it is asked for.

use rnnlm_model::{ModelConfig, TrainConfig};

use crate::failure::{Failure, Result};
use crate::format;

/// The bytes that training needs, or a refusal where the machine does not have them.
pub(crate) fn check(model: &ModelConfig, train: &TrainConfig) -> Result<u128> {
    let needed = model.memory_needed(train.batch_size, train.num_steps);
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    // where the system does not say how much there is, allocation itself is the judge
    let available = match u128::from(system.available_memory()) {
        0 => u128::MAX,
        available => available,
    };
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
