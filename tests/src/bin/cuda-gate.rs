//! `cargo xtask cuda-gate`, beside the walk: compiles every CUDA program in every configuration in use for every
//! architecture, and says what is beyond its bounds.
//!
//! Exit codes: 0 if everything compiles within its bounds, or if there is no NVRTC, which is said; 1 otherwise.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose work is its report")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rnnlm_tensor::cuda::Program;
use rnnlm_tests::gate::{ARCHITECTURES, Usage, compile, excesses, is_available, is_for};

/// Registers and spilled bytes of each kernel of a program for each architecture, or why there are none.
type Outcome = (u32, Result<Vec<Usage>, String>);

fn main() -> ExitCode {
    if !is_available() {
        println!("SKIPPED: no libnvrtc.so that the loader or python3 knows: pip install nvidia-cuda-nvrtc-cu12");
        return ExitCode::SUCCESS;
    }
    let programs = rnnlm_tests::gate::programs();
    let mut failures = 0;
    for (program, outcomes) in programs.iter().zip(on_every_core(&programs)) {
        let (line, complaints) = report(program, &outcomes);
        println!("{line}");
        complaints.iter().for_each(|complaint| eprintln!("error: {complaint}"));
        failures += complaints.len();
    }
    println!("\n{} programs for {} architectures; {failures} beyond their bounds", programs.len(), ARCHITECTURES.len());
    if failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Compiles everything; each core takes the next program that none has begun.
fn on_every_core(programs: &[Program]) -> Vec<Vec<Outcome>> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![Vec::new(); programs.len()]);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(program) = programs.get(index) else { break };
                    let architectures = ARCHITECTURES.into_iter().filter(|&architecture| is_for(program, architecture));
                    let own = architectures.map(|architecture| (architecture, compile(program, architecture)));
                    outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[index] = own.collect();
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A line with the worst of each architecture, and what is wrong.
fn report(program: &Program, outcomes: &[Outcome]) -> (String, Vec<String>) {
    let mut line = format!("{:<44} {:>6} B shared", program.name, program.shared_bytes);
    let mut complaints = Vec::new();
    for (architecture, outcome) in outcomes {
        let place = format!("{} for sm_{architecture}", program.name);
        match outcome {
            Err(log) => complaints.push(format!("{place}: {log}")),
            Ok(usages) => {
                let registers = usages.iter().map(|usage| usage.registers).max().unwrap_or(0);
                let spilled: usize = usages.iter().map(|usage| usage.spilled).sum();
                let spilled = if spilled > 0 { format!("+{spilled}B") } else { String::new() };
                line.push_str(&format!("  sm_{architecture} {registers:>3}{spilled}"));
                for usage in usages {
                    let beyond = excesses(program, usage, *architecture).into_iter();
                    complaints.extend(beyond.map(|excess| format!("{place}, kernel `{}`: {excess}", usage.kernel)));
                }
            }
        }
    }
    (line, complaints)
}
