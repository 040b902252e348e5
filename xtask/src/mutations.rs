//! `cargo xtask mutations`: mutation tests of the CUDA kernels. Each mutation is a plausible error in a kernel or a
//! launch, and must make a row of the table of checks fail. No file is changed: environment variables tell the emulated
//! compiler and driver (`tests/emulation/`) what to mutate, and the library has no code for it.

use std::process::{Command, ExitCode, Stdio};

use crate::emulation::{BuildError, Emulation};
use crate::verify;

/// Variables of the emulated compiler: a text of a kernel's source, and its replacement.
const FROM: &str = "RNNLM_EMULATION_MUTATE_FROM";
const TO: &str = "RNNLM_EMULATION_MUTATE_TO";
/// Variable of the emulated driver: the kernel that is launched without its last block.
const GRID: &str = "RNNLM_EMULATION_MUTATE_GRID";

/// An error in a kernel, and the rows that must detect it.
struct Mutation {
    description: &'static str,
    /// The kernel's source file.
    file: &'static str,
    change: Change,
    /// The rows to run, as for `verify --filter`.
    filter: &'static str,
}

enum Change {
    /// Replaces a text that the source contains once.
    Source { from: &'static str, to: &'static str },
    /// Launches a kernel without its last block. The source contains `declaration` once.
    Grid { declaration: &'static str, kernel: &'static str },
}

const PERSISTENT: &str = "crates/rnnlm-rnn/src/recurrence/cuda/persistent.cu";
const MULTI_BLOCK: &str = "crates/rnnlm-rnn/src/recurrence/cuda/multi_block.cuh";
const STEPWISE: &str = "crates/rnnlm-rnn/src/recurrence/cuda/stepwise.cu";
const REDUCE: &str = "crates/rnnlm-tensor/src/cuda/kernels/reduce.cu";
const GEMM: &str = "crates/rnnlm-tensor/src/cuda/kernels/gemm.cu";
const ELEMENTWISE: &str = "crates/rnnlm-tensor/src/cuda/kernels/elementwise.cu";
const PRIMITIVES: &str = "crates/rnnlm-tensor/src/cuda/kernels/primitives.cuh";

const MUTATIONS: &[Mutation] = &[
    Mutation {
        description: "missing barrier between two steps",
        file: PERSISTENT,
        change: Change::Source {
            from: "units[row].gates[gate];\n    }\n    block_barrier();\n  }",
            to: "units[row].gates[gate];\n    }\n  }",
        },
        filter: "lstm forward T35 N3 V28 H33 cuda (emulated) fused",
    },
    Mutation {
        description: "missing barrier before a sum over warps",
        file: PRIMITIVES,
        change: Change::Source { from: " = value;\n  block_barrier();", to: " = value;" },
        filter: "sum 70×65",
    },
    Mutation {
        description: "single buffer for the states before and after a step",
        file: PERSISTENT,
        change: Change::Source { from: "states + (index + 1) % 2 *", to: "states + index % 2 *" },
        filter: "gru forward T35 N3 V28 H33 cuda (emulated) fused",
    },
    Mutation {
        description: "single buffer for the operands of all backward steps",
        file: PERSISTENT,
        change: Change::Source { from: "operands + index % 2 * BLOCK_ROWS * LENGTH", to: "operands" },
        filter: "lstm backward T35 N3 V28 H33 cuda (emulated) fused",
    },
    Mutation {
        description: "weights of the next gate",
        file: PERSISTENT,
        change: Change::Source {
            from: "weight.at(gate * hidden_size + unit, from)",
            to: "weight.at((gate + 1) % GATES * hidden_size + unit, from)",
        },
        filter: "gru forward T35 N3 V28 H33 cuda (emulated) fused",
    },
    Mutation {
        description: "forget gate and cell gate exchanged",
        file: "crates/rnnlm-rnn/src/cell/lstm/lstm.cu",
        change: Change::Source { from: "INPUT, FORGET, CELL, OUTPUT };", to: "INPUT, CELL, FORGET, OUTPUT };" },
        filter: "lstm forward T35 N3 V28 H33 cuda (emulated) fused",
    },
    Mutation {
        description: "sum without the last elements",
        file: REDUCE,
        change: Change::Source {
            from: "len = (size_t)a.rows * a.cols;",
            to: "len = (size_t)a.rows * a.cols / WARP * WARP;",
        },
        filter: "sum 70×65",
    },
    Mutation {
        description: "matmul without the last part of k",
        file: GEMM,
        change: Change::Source { from: "at < end; at += TILE_K", to: "at + TILE_K <= end; at += TILE_K" },
        filter: "gemm A·Bᵀ 70×65×257",
    },
    Mutation {
        description: "matmul without the last split of k",
        file: GEMM,
        change: Change::Source { from: "first + i < splits ?", to: "first + i + 1 < splits ?" },
        filter: "gemm A·Bᵀ 70×65×257",
    },
    Mutation {
        description: "message used before it has arrived",
        file: PRIMITIVES,
        change: Change::Source { from: "if (messages[i].sequence != sequence)", to: "if (false)" },
        filter: "lstm forward T3 N3 D5 H150 bidirectional cuda (emulated) multi-block",
    },
    Mutation {
        description: "single message buffer for consecutive steps",
        file: MULTI_BLOCK,
        change: Change::Source { from: "(sequence % 2 * num_blocks().y * tiles * TILE_ROWS + row)", to: "row" },
        filter: "lstm backward T3 N3 D5 H150 bidirectional cuda (emulated) multi-block",
    },
    Mutation {
        description: "backward step without the gradient from later steps",
        file: STEPWISE,
        change: Change::Source {
            from: "d_hidden.at(e.row, e.col) + output.at(e.row, e.col)",
            to: "output.at(e.row, e.col)",
        },
        filter: "gru backward T2 N3 D5 H257 bidirectional cuda (emulated) automatic",
    },
    Mutation {
        description: "update that is never skipped",
        file: "crates/rnnlm-tensor/src/cuda/kernels/update.cu",
        change: Change::Source { from: "return factor.data[0] != factor.data[0];", to: "return false;" },
        filter: "lstm diverging T7 N4 V11 H16 4 steps cuda (emulated) fused",
    },
    Mutation {
        description: "reset of a state without its last unit",
        file: ELEMENTWISE,
        change: Change::Source { from: "mask[e.row])", to: "mask[e.row] && e.col + 1 < out.cols)" },
        filter: "lstm forward T35 N3 D5 H9 starts cuda (emulated) reference",
    },
    Mutation {
        description: "reset of every row by the flag of the first",
        file: ELEMENTWISE,
        change: Change::Source { from: "mask[e.row])", to: "mask[0])" },
        filter: "gru backward T35 N3 V2 H33 late starts cuda (emulated) reference",
    },
    Mutation {
        description: "matmul launched without its last block",
        file: GEMM,
        change: Change::Grid { declaration: "GEMM(gemm_nt_64, 64, 16, NT)", kernel: "gemm_nt_64" },
        filter: "gemm A·Bᵀ 70×65×257",
    },
    Mutation {
        description: "backward pass launched without its last block",
        file: PERSISTENT,
        change: Change::Grid { declaration: "KERNEL(UNITS) persistent_backward(", kernel: "persistent_backward" },
        filter: "rnn tanh backward T2 N32 D4 H9 cuda (emulated) fused",
    },
];

/// The selected rows of the table of checks.
struct Rows {
    count: usize,
    /// The rows that failed, with single spaces between columns.
    failed: Vec<String>,
}

/// Runs every mutation test. Exit code 0 if all mutations are caught.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if let Some(argument) = arguments.first() {
        return crate::process::usage_error(&format!("`mutations` takes no arguments, found `{argument}`"));
    }
    let emulation = match Emulation::build() {
        Ok(emulation) => emulation,
        Err(BuildError::Unavailable(reason)) => {
            println!("SKIPPED: {reason}");
            return ExitCode::SUCCESS;
        }
        Err(BuildError::Failed(reason)) => {
            eprintln!("error: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let mut missed = 0;
    for mutation in MUTATIONS {
        let outcome = mutation.test(&emulation);
        let (_, file) = mutation.file.rsplit_once('/').unwrap_or_default();
        println!("{:<8}{}, {file}", if outcome.is_ok() { "caught" } else { "MISSED" }, mutation.description);
        println!("        {}", outcome.as_ref().unwrap_or_else(|reason| reason));
        missed += usize::from(outcome.is_err());
    }
    println!("\n{} of {} mutations were caught", MUTATIONS.len() - missed, MUTATIONS.len());
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Mutation {
    /// The first row that fails with the mutation and passes without it, or the reason why there is none.
    fn test(&self, emulation: &Emulation) -> Result<String, String> {
        self.check_source()?;
        let unmutated = self.rows(emulation, &[])?;
        if let Some(row) = unmutated.failed.first() {
            return Err(format!("failed without the mutation: {row}"));
        }
        let variables: &[(&str, &str)] = match &self.change {
            Change::Source { from, to } => &[(FROM, from), (TO, to)],
            Change::Grid { kernel, .. } => &[(GRID, kernel)],
        };
        let mutated = self.rows(emulation, variables)?;
        let first = mutated.failed.first().ok_or_else(|| format!("all {} rows passed", mutated.count))?;
        if first.contains("does not compile") {
            return Err(format!("the mutation does not compile: {first}"));
        }
        Ok(format!("{} of {} rows: {first}", mutated.failed.len(), mutated.count))
    }

    /// An error unless the source contains the mutated text exactly once.
    fn check_source(&self) -> Result<(), String> {
        let source =
            std::fs::read_to_string(crate::process::root().join(self.file)).map_err(|error| error.to_string())?;
        let (Change::Source { from: text, .. } | Change::Grid { declaration: text, .. }) = &self.change;
        match source.matches(text).count() {
            1 => Ok(()),
            count => Err(format!("outdated: the source contains `{text}` {count} times")),
        }
    }

    /// Runs the rows with these environment variables.
    fn rows(&self, emulation: &Emulation, variables: &[(&str, &str)]) -> Result<Rows, String> {
        let mut command: Command = verify::command(&["--backend", "cuda", "--filter", self.filter].map(str::to_owned));
        command.envs(emulation.variables()).envs(variables.iter().copied()).stderr(Stdio::inherit());
        let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let rows: Vec<String> = text.lines().filter(|line| line.contains(" cuda (emulated) ")).map(squeeze).collect();
        if rows.is_empty() {
            return Err(format!("no emulated row contains `{}`", self.filter));
        }
        Ok(Rows { count: rows.len(), failed: rows.into_iter().filter(|row| row.contains(" FAIL")).collect() })
    }
}

/// Replaces runs of spaces by one.
fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_gpu_lists_every_mutation() {
        let page = std::fs::read_to_string(crate::process::root().join("docs/gpu.md")).unwrap();
        for mutation in MUTATIONS {
            let (_, file) = mutation.file.rsplit_once('/').unwrap();
            assert!(page.contains(&format!("| {} | `{file}`", mutation.description)), "{}", mutation.description);
        }
        let is_mutation = |line: &&str| line.starts_with("| ") && (line.contains(".cu`") || line.contains(".cuh`"));
        assert_eq!(page.lines().filter(is_mutation).count(), MUTATIONS.len(), "the page lists others");
    }

    #[test]
    fn every_mutation_applies_to_its_source() {
        for mutation in MUTATIONS {
            assert_eq!(mutation.check_source(), Ok(()), "{}", mutation.description);
            if let Change::Source { from, to } = mutation.change {
                assert_ne!(from, to, "{}", mutation.description);
            }
        }
        let change = Change::Source { from: "no such text", to: "" };
        let outdated = Mutation { file: GEMM, description: "", change, filter: "" };
        assert_eq!(outdated.check_source(), Err("outdated: the source contains `no such text` 0 times".to_owned()));
    }
}
