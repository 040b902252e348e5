//! `cargo xtask faults`, beside the walk: mistakes that a CUDA kernel may come to have, each put into what the emulation
//! compiles or launches, and each of which must turn a row of the table of checks red. No file is touched: the stand-ins of
//! `tests/emulation/` are told of the fault by the environment, and the product knows nothing of it.

use std::process::{Command, ExitCode, Stdio};

use crate::emulation::{Absence, Emulation};
use crate::verify;

/// Variables of the compiler's stand-in: a text of a kernel's source, and what stands there instead.
const FROM: &str = "RNNLM_EMULATION_FAULT_FROM";
const TO: &str = "RNNLM_EMULATION_FAULT_TO";
/// Variable of the driver's stand-in: the kernel of whose launches the last block is left out.
const SHORT: &str = "RNNLM_EMULATION_FAULT_SHORT";

/// A mistake, and where it must be seen.
struct Fault {
    what: &'static str,
    /// The kernel's source.
    file: &'static str,
    change: Change,
    /// The rows that are run, as `verify --filter` takes them.
    rows: &'static str,
}

enum Change {
    /// A text of the source, which stands there once, becomes another.
    Text { from: &'static str, to: &'static str },
    /// A kernel, which the source declares so, is launched with a block too few.
    BlockTooFew { declared: &'static str, kernel: &'static str },
}

const RECURRENCE: &str = "crates/rnnlm-rnn/src/recurrence/cuda/recurrence.cu";
const SPREAD: &str = "crates/rnnlm-rnn/src/recurrence/cuda/spread.cu";
const STEP: &str = "crates/rnnlm-rnn/src/recurrence/cuda/step.cu";
const REDUCE: &str = "crates/rnnlm-tensor/src/cuda/kernels/reduce.cu";
const GEMM: &str = "crates/rnnlm-tensor/src/cuda/kernels/gemm.cu";
const PRIMITIVES: &str = "crates/rnnlm-tensor/src/cuda/kernels/prim.cuh";

const FAULTS: &[Fault] = &[
    Fault {
        what: "no barrier between two steps",
        file: RECURRENCE,
        change: Change::Text {
            from: "units[row].gates[gate];\n    }\n    block_barrier();\n  }",
            to: "units[row].gates[gate];\n    }\n  }",
        },
        rows: "lstm forward T35 N3 V28 H33 cuda (emulated) fused",
    },
    Fault {
        what: "no barrier before a sum over warps",
        file: PRIMITIVES,
        change: Change::Text { from: " = value;\n  block_barrier();", to: " = value;" },
        rows: "sum 70×65",
    },
    Fault {
        what: "one buffer for the states before and after a step",
        file: RECURRENCE,
        change: Change::Text { from: "states + (index + 1) % 2 *", to: "states + index % 2 *" },
        rows: "gru forward T35 N3 V28 H33 cuda (emulated) fused",
    },
    Fault {
        what: "one buffer for the products of all steps",
        file: RECURRENCE,
        change: Change::Text { from: "products + index % 2 * GROUP * LENGTH", to: "products" },
        rows: "lstm backward T35 N3 V28 H33 cuda (emulated) fused",
    },
    Fault {
        what: "a gate's weights at its neighbour's place",
        file: RECURRENCE,
        change: Change::Text {
            from: "weight.at(gate * hidden_size + unit, from)",
            to: "weight.at((gate + 1) % GATES * hidden_size + unit, from)",
        },
        rows: "gru forward T35 N3 V28 H33 cuda (emulated) fused",
    },
    Fault {
        what: "forget gate and cell candidate exchanged",
        file: "crates/rnnlm-rnn/src/lstm/lstm.cu",
        change: Change::Text { from: "INPUT, FORGET, CELL, OUTPUT };", to: "INPUT, CELL, FORGET, OUTPUT };" },
        rows: "lstm forward T35 N3 V28 H33 cuda (emulated) fused",
    },
    Fault {
        what: "a sum without the last elements",
        file: REDUCE,
        change: Change::Text {
            from: "len = (size_t)a.rows * a.cols;",
            to: "len = (size_t)a.rows * a.cols / WARP * WARP;",
        },
        rows: "sum 70×65",
    },
    Fault {
        what: "a product without the last columns",
        file: GEMM,
        change: Change::Text { from: "at < end; at += DEPTH", to: "at + DEPTH <= end; at += DEPTH" },
        rows: "gemm A·Bᵀ 70×65×257",
    },
    Fault {
        what: "a product without its last slice",
        file: GEMM,
        change: Change::Text { from: "first + i < slices ?", to: "first + i + 1 < slices ?" },
        rows: "gemm A·Bᵀ 70×65×257",
    },
    Fault {
        what: "a letter that is read before it has come",
        file: PRIMITIVES,
        change: Change::Text { from: "if (letters[i].stamp != stamp)", to: "if (false)" },
        rows: "lstm forward T3 N3 D5 H150 bidirectional cuda (emulated) spread",
    },
    Fault {
        what: "one place for the letters of two steps",
        file: SPREAD,
        change: Change::Text { from: "(stamp % 2 * num_blocks().y * waves * ROWS + row)", to: "row" },
        rows: "lstm backward T3 N3 D5 H150 bidirectional cuda (emulated) spread",
    },
    Fault {
        what: "a step back that forgets the one behind it",
        file: STEP,
        change: Change::Text {
            from: "d_hidden.at(e.row, e.col) + output.at(e.row, e.col)",
            to: "output.at(e.row, e.col)",
        },
        rows: "gru backward T2 N3 D5 H257 bidirectional cuda (emulated) automatic",
    },
    Fault {
        what: "an update that nothing holds back",
        file: "crates/rnnlm-tensor/src/cuda/kernels/update.cu",
        change: Change::Text { from: "return factor.data[0] != factor.data[0];", to: "return false;" },
        rows: "lstm diverging T7 N4 V11 H16 4 steps cuda (emulated) fused",
    },
    Fault {
        what: "a product with a block too few",
        file: GEMM,
        change: Change::BlockTooFew { declared: "GEMM(gemm_abt_64, 64, 16, ABT)", kernel: "gemm_abt_64" },
        rows: "gemm A·Bᵀ 70×65×257",
    },
    Fault {
        what: "a pass through time with a block too few",
        file: RECURRENCE,
        change: Change::BlockTooFew { declared: "KERNEL(UNITS) recurrence_backward(", kernel: "recurrence_backward" },
        rows: "rnn tanh backward T2 N32 D4 H9 cuda (emulated) fused",
    },
];

/// What the table said with a fault in it.
struct Seen {
    rows: usize,
    /// Rows that failed, without the spaces between their columns.
    failed: Vec<String>,
}

/// Puts each fault in. Exit code 0 if all are noticed.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if let Some(argument) = arguments.first() {
        return crate::usage_error(&format!("faults takes no argument, and got `{argument}`"));
    }
    let emulation = match Emulation::build() {
        Ok(emulation) => emulation,
        Err(Absence::Unavailable(reason)) => {
            println!("SKIPPED: {reason}");
            return ExitCode::SUCCESS;
        }
        Err(Absence::Broken(how)) => {
            eprintln!("error: {how}");
            return ExitCode::FAILURE;
        }
    };
    let mut missed = 0;
    for fault in FAULTS {
        let outcome = fault.try_out(&emulation);
        let (_, file) = fault.file.rsplit_once('/').unwrap_or_default();
        println!("{:<9}{}, in {file}", if outcome.is_ok() { "noticed" } else { "MISSED" }, fault.what);
        println!("         {}", outcome.as_ref().unwrap_or_else(|reason| reason));
        missed += usize::from(outcome.is_err());
    }
    println!("\n{} of {} faults were noticed", FAULTS.len() - missed, FAULTS.len());
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Fault {
    /// The first row that is red with the fault and green without it; or why there is none.
    fn try_out(&self, emulation: &Emulation) -> Result<String, String> {
        self.find()?;
        let healthy = self.see(emulation, &[])?;
        if let Some(row) = healthy.failed.first() {
            return Err(format!("red without the fault: {row}"));
        }
        let variables: &[(&str, &str)] = match &self.change {
            Change::Text { from, to } => &[(FROM, from), (TO, to)],
            Change::BlockTooFew { kernel, .. } => &[(SHORT, kernel)],
        };
        let seen = self.see(emulation, variables)?;
        let first = seen.failed.first().ok_or_else(|| format!("all {} rows stayed green", seen.rows))?;
        if first.contains("does not compile") {
            return Err(format!("no fault that a compiler lets through: {first}"));
        }
        Ok(format!("{} of {} rows: {first}", seen.failed.len(), seen.rows))
    }

    /// An error unless the source has, once, what the fault changes.
    fn find(&self) -> Result<(), String> {
        let source = std::fs::read_to_string(crate::root().join(self.file)).map_err(|error| error.to_string())?;
        let (Change::Text { from: text, .. } | Change::BlockTooFew { declared: text, .. }) = &self.change;
        match source.matches(text).count() {
            1 => Ok(()),
            count => Err(format!("stale: the source has `{text}` {count} times")),
        }
    }

    /// Runs the rows with these variables.
    fn see(&self, emulation: &Emulation, variables: &[(&str, &str)]) -> Result<Seen, String> {
        let mut command: Command = verify::command(&["--backend", "cuda", "--filter", self.rows].map(str::to_owned));
        command.envs(emulation.variables()).envs(variables.iter().copied()).stderr(Stdio::inherit());
        let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let rows: Vec<String> = text.lines().filter(|line| line.contains(" cuda (emulated) ")).map(narrow).collect();
        if rows.is_empty() {
            return Err(format!("no emulated row has `{}` in it", self.rows));
        }
        Ok(Seen { rows: rows.len(), failed: rows.into_iter().filter(|row| row.contains(" FAIL")).collect() })
    }
}

/// One space where a table has several.
fn narrow(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_on_gpus_lists_the_faults() {
        let page = std::fs::read_to_string(crate::root().join("docs/gpu.md")).unwrap();
        for fault in FAULTS {
            let (_, file) = fault.file.rsplit_once('/').unwrap();
            assert!(page.contains(&format!("| {} | `{file}`", fault.what)), "{}", fault.what);
        }
        let is_fault = |line: &&str| line.starts_with("| ") && (line.contains(".cu`") || line.contains(".cuh`"));
        assert_eq!(page.lines().filter(is_fault).count(), FAULTS.len(), "and no other");
    }

    #[test]
    fn every_fault_is_found_in_its_source_and_changes_it() {
        for fault in FAULTS {
            assert_eq!(fault.find(), Ok(()), "{}", fault.what);
            if let Change::Text { from, to } = fault.change {
                assert_ne!(from, to, "{}", fault.what);
            }
        }
        let stale = Fault { file: GEMM, what: "", change: Change::Text { from: "no such text", to: "" }, rows: "" };
        assert_eq!(stale.find(), Err("stale: the source has `no such text` 0 times".to_owned()));
    }
}
