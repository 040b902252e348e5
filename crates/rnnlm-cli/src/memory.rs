//! Compares the memory that a command needs with the memory that is available, before it is allocated.

use rnnlm_model::{Backend, ModelConfig, TrainConfig};

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
    let available = available();
    if needed <= available {
        return Ok(());
    }
    let needed = human::bytes(needed);
    let available = human::bytes(available);
    Err(Failure::failed(format!("{activity} needs {needed} of memory, {available} is available")))
}

/// The bytes of memory that can be allocated.
fn available() -> u128 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    // A container may have less memory than the machine. Its free memory excludes the file cache, which the kernel can
    // reclaim, so the resident set is subtracted from the limit instead.
    let container = system.cgroup_limits().map(|limits| limits.total_memory.saturating_sub(limits.rss));
    let machine = [Some(system.available_memory()), container].into_iter().flatten().filter(|&free| free > 0);
    // an allocation beyond a limit of the process would abort it, so 0 bytes are an amount here
    let free = machine.chain(address_space()).min();
    // an unknown amount never refuses
    free.map_or(u128::MAX, u128::from)
}

/// The bytes of address space that the limits of the process leave (`ulimit -v`); `None` if there is no limit.
fn address_space() -> Option<u64> {
    let number = |file: &str, name: &str| -> Option<u64> {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let limit = number("/proc/self/limits", "Max address space")?;
    let used = number("/proc/self/status", "VmSize:")?;
    Some(limit.saturating_sub(used.saturating_mul(1024)))
}
