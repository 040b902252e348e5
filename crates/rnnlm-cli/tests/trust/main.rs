//! A run that is killed, starved, moved or fought over loses nothing: what takes processes of its own. `tests/PROMISES.md`
//! has the list.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod damage;
mod folders;
mod kill;
mod processes;
mod resume;
mod space;
#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::fs;
use std::path::Path;

use rnnlm_model::Metrics;
use support::SMALL;

/// The command line of a training that takes milliseconds: the flags in `more`, and of [`SMALL`] those that are not there.
fn training<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let others = SMALL.chunks(2).filter(|flag| !more.contains(&flag[0])).flatten().copied();
    ["train", "--quiet"].into_iter().chain(others).chain(more.iter().copied()).collect()
}

/// What must be the same of two runs: the model byte for byte, and of every epoch all but its time.
fn ending(run: &Path) -> (Vec<u8>, Vec<Metrics>) {
    let timeless = |line| Metrics { tokens_per_second: 0.0, seconds: 0.0, ..serde_json::from_str(line).unwrap() };
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().map(timeless).collect();
    (fs::read(run.join("model.safetensors")).unwrap(), metrics)
}

/// What is in a run's folder that should not be once nobody works on it.
fn litter(run: &Path) -> Vec<String> {
    let names = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.') && name != ".rnnlm.lock").collect()
}
