//! `cargo xtask cuda-gate`: compiles every CUDA program in every configuration for every architecture and reports exceeded
//! limits.
//!
//! Exit codes: 0 if everything compiles within its limits, or if NVRTC is not available, with a message; 1 otherwise.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose work is its report")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rnnlm_tensor::cuda::Program;
use rnnlm_tests::gate::{ARCHITECTURES, Usage, applies_to, compile, exceeded_limits, is_available};

/// An architecture, and the resources of a program's kernels there or the error that it does not compile with.
type Outcome = (u32, Result<Vec<Usage>, String>);

fn main() -> ExitCode {
    if !is_available() {
        println!("SKIPPED: neither the loader nor python3 finds libnvrtc.so: pip install nvidia-cuda-nvrtc-cu12");
        return ExitCode::SUCCESS;
    }
    let programs = rnnlm_tests::gate::programs();
    let mut failures = 0;
    for (program, outcomes) in programs.iter().zip(on_all_cores(&programs)) {
        let (line, errors) = report(program, &outcomes);
        println!("{line}");
        errors.iter().for_each(|error| eprintln!("error: {error}"));
        failures += errors.len();
    }
    println!("\n{} programs for {} architectures; {failures} errors", programs.len(), ARCHITECTURES.len());
    if failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Compiles all programs. Each thread takes the next program from a shared counter.
fn on_all_cores(programs: &[Program]) -> Vec<Vec<Outcome>> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![Vec::new(); programs.len()]);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(program) = programs.get(index) else { break };
                    let architectures =
                        ARCHITECTURES.into_iter().filter(|&architecture| applies_to(program, architecture));
                    let compiled = architectures.map(|architecture| (architecture, compile(program, architecture)));
                    let compiled = compiled.collect();
                    outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[index] = compiled;
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A line with the largest resources for each architecture, and the errors.
fn report(program: &Program, outcomes: &[Outcome]) -> (String, Vec<String>) {
    let mut line = format!("{:<44} {:>6} B shared", program.name, program.shared_bytes);
    let mut errors = Vec::new();
    for (architecture, outcome) in outcomes {
        let subject = format!("{} for sm_{architecture}", program.name);
        match outcome {
            Err(log) => errors.push(format!("{subject}: {log}")),
            Ok(usages) => {
                let registers = usages.iter().map(|usage| usage.registers).max().unwrap_or(0);
                let spilled: usize = usages.iter().map(|usage| usage.spilled).sum();
                let spilled = if spilled > 0 { format!("+{spilled}B") } else { String::new() };
                line.push_str(&format!("  sm_{architecture} {registers:>3}{spilled}"));
                for usage in usages {
                    let exceeded = exceeded_limits(program, usage, *architecture).into_iter();
                    errors.extend(exceeded.map(|limit| format!("{subject}, kernel `{}`: {limit}", usage.kernel)));
                }
            }
        }
    }
    (line, errors)
}
