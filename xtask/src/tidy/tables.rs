//! The tables of `cargo xtask tidy`: allowed files, names, sizes and dependencies.

/// The packages of the workspace that each package may depend on.
pub(super) const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("rnnlm-vocab", &[]),
    ("rnnlm-tensor", &[]),
    ("rnnlm-tokenizer", &["rnnlm-vocab"]),
    ("rnnlm-rnn", &["rnnlm-tensor"]),
    ("rnnlm-model", &["rnnlm-vocab", "rnnlm-tensor", "rnnlm-rnn"]),
    ("rnnlm-mpi", &["rnnlm-model"]),
    ("rnnlm-server", &["rnnlm-model", "rnnlm-vocab"]),
    (
        "rnnlm-cli",
        &["rnnlm-model", "rnnlm-mpi", "rnnlm-rnn", "rnnlm-server", "rnnlm-tensor", "rnnlm-tokenizer", "rnnlm-vocab"],
    ),
    ("rnnlm-tests", &["rnnlm-vocab", "rnnlm-tensor", "rnnlm-rnn", "rnnlm-model"]),
    ("xtask", &[]),
];

/// The folders of the libraries' sources. A library does not print, exit or read the environment.
pub(super) const LIBRARIES: &[&str] = &[
    "crates/rnnlm-vocab/src/",
    "crates/rnnlm-tensor/src/",
    "crates/rnnlm-rnn/src/",
    "crates/rnnlm-model/src/",
    "crates/rnnlm-tokenizer/src/",
];

/// The files that may contain `unsafe`. One `*` matches any text.
pub(super) const UNSAFE_FILES: &[&str] = &[
    "crates/rnnlm-model/tests/allocation.rs",
    "crates/rnnlm-model/tests/fuzz/memory.rs",
    "crates/rnnlm-mpi/src/ffi.rs",
    "crates/rnnlm-rnn/src/recurrence/cpu/plan.rs",
    "crates/rnnlm-rnn/src/recurrence/cpu/rows.rs",
    "crates/rnnlm-rnn/src/recurrence/cuda/kernels.rs",
    "crates/rnnlm-tensor/src/cpu/isa.rs",
    "crates/rnnlm-tensor/src/cpu/matmul/micro_kernel.rs",
    "crates/rnnlm-tensor/src/cuda/compile.rs",
    "crates/rnnlm-tensor/src/cuda/device.rs",
    "crates/rnnlm-tensor/src/cuda/kernels.rs",
    "crates/rnnlm-tensor/src/cuda/launch.rs",
    "tests/src/gate.rs",
];

/// The files that may test the feature `cuda`: those that declare a module, and the one match over devices.
pub(super) const CUDA_CFG_FILES: &[&str] = &[
    "crates/rnnlm-model/src/lib.rs",
    "crates/rnnlm-tensor/src/lib.rs",
    "crates/rnnlm-rnn/src/lib.rs",
    "crates/rnnlm-rnn/src/*/mod.rs",
    "crates/rnnlm-cli/src/compute.rs",
    "tests/src/paths.rs",
];

/// Words of unfinished work, anywhere in a file.
pub(super) const UNFINISHED: &[&str] = &["TODO", "FIXME"];

/// The maximum number of lines of a source file, tests not counted.
pub(super) const MAX_LINES: usize = 400;

/// Files that may be longer: file, limit, reason.
pub(super) const LONG_FILES: &[(&str, usize, &str)] = &[];

/// The maximum size in bytes of a file in git.
pub(super) const MAX_BYTES: u64 = 1_000_000;

/// File names that are not allowed, with the reason.
pub(super) const FORBIDDEN_NAMES: &[(&str, &str)] = &[
    ("timemachine.txt", "the corpus is downloaded and verified, not bundled"),
    ("build.rs", "the build needs no tool or device other than rustc"),
];

/// Whether `path` matches one of `patterns`. One `*` in a pattern matches any text.
pub(super) fn is_listed(path: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match pattern.split_once('*') {
        Some((start, end)) => path.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
        None => path == *pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_text() {
        let patterns = ["src/cpu/tile*", "src/*/mod.rs", "src/lib.rs"];
        for path in ["src/cpu/tile.rs", "src/cpu/tile/avx2.rs", "src/gru/mod.rs", "src/lib.rs"] {
            assert!(is_listed(path, &patterns), "{path}");
        }
        for path in ["src/cpu/gemm.rs", "src/mod.rs", "src/lib.rs.orig", "other/src/lib.rs"] {
            assert!(!is_listed(path, &patterns), "{path}");
        }
    }
}
