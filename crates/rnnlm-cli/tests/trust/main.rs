//! Runs that are killed, moved, damaged, written by several processes or short of disk space: the tests that need
//! processes of their own. `tests/GUARANTEES.md` lists the guarantees.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod damage;
mod folders;
mod kill;
mod options;
mod processes;
mod resume;
mod space;
#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "tests/cli uses the rest")]
mod support;
mod token_caches;

use std::fs;
use std::path::Path;

use rnnlm_model::Metrics;
use support::SMALL;

/// The command line of a training run that takes milliseconds: the flags in `more`, and those of [`SMALL`] that are not
/// in `more`.
fn train_args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let others = SMALL.chunks(2).filter(|flag| !more.contains(&flag[0])).flatten().copied();
    ["train", "--quiet"].into_iter().chain(others).chain(more.iter().copied()).collect()
}

/// The part of a run that is reproducible: the bytes of the model, and the metrics of every epoch without times.
fn result_of(run: &Path) -> (Vec<u8>, Vec<Metrics>) {
    let timeless = |line| Metrics { tokens_per_second: 0.0, seconds: 0.0, ..serde_json::from_str(line).unwrap() };
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().map(timeless).collect();
    (fs::read(run.join("model.safetensors")).unwrap(), metrics)
}

/// Temporary files that are left in the folder of a run.
fn leftovers(run: &Path) -> Vec<String> {
    let names = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.') && name != ".rnnlm.lock").collect()
}
