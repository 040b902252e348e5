//! `cargo xtask tidy`, beside the walk: the rules a reader relies on and no compiler knows. This file holds what they
//! allow; a rule is a function from a file to findings, in the modules below, and has a test that shows it failing.

use std::path::Path;
use std::process::ExitCode;

use files::TextFile;
use source::Source;

mod arrows;
mod files;
mod links;
mod rust;
mod source;

/// Which packages of the workspace a package may depend on. Arrows point one way, from the text up to the program.
const ARROWS: &[(&str, &[&str])] = &[
    ("rnnlm-vocab", &[]),
    ("rnnlm-tensor", &[]),
    ("rnnlm-rnn", &["rnnlm-tensor"]),
    ("rnnlm-model", &["rnnlm-vocab", "rnnlm-tensor", "rnnlm-rnn"]),
    ("rnnlm-cli", &["rnnlm-model", "rnnlm-rnn", "rnnlm-tensor", "rnnlm-vocab"]),
    ("rnnlm-tests", &["rnnlm-vocab", "rnnlm-tensor", "rnnlm-rnn", "rnnlm-model"]),
    ("xtask", &[]),
];

/// Where the libraries' sources are: nothing there prints, exits or reads the environment.
const LIBRARIES: &[&str] =
    &["crates/rnnlm-vocab/src/", "crates/rnnlm-tensor/src/", "crates/rnnlm-rnn/src/", "crates/rnnlm-model/src/"];

/// Where `unsafe` may stand. One `*` stands for any text.
const UNSAFE_FILES: &[&str] = &[
    "crates/rnnlm-model/tests/allocation.rs",
    "crates/rnnlm-model/tests/fuzz/memory.rs",
    "crates/rnnlm-rnn/src/recurrence/cpu/mod.rs",
    "crates/rnnlm-rnn/src/recurrence/cpu/rows.rs",
    "crates/rnnlm-rnn/src/recurrence/cuda/kernels.rs",
    "crates/rnnlm-tensor/src/cpu/isa.rs",
    "crates/rnnlm-tensor/src/cpu/strassen/at_once.rs",
    "crates/rnnlm-tensor/src/cpu/tile.rs",
    "crates/rnnlm-tensor/src/cuda/compile.rs",
    "crates/rnnlm-tensor/src/cuda/device.rs",
    "crates/rnnlm-tensor/src/cuda/kernels.rs",
    "crates/rnnlm-tensor/src/cuda/launch.rs",
    "tests/src/gate.rs",
];

/// Where the feature `cuda` may be asked for: where a module is declared, and the one match over devices.
const CUDA_CFG_FILES: &[&str] = &[
    "crates/rnnlm-model/src/lib.rs",
    "crates/rnnlm-tensor/src/lib.rs",
    "crates/rnnlm-rnn/src/lib.rs",
    "crates/rnnlm-rnn/src/*/mod.rs",
    "crates/rnnlm-cli/src/compute.rs",
    "tests/src/paths.rs",
];

/// How many lines a source file may have, its tests not counted.
const MAX_LINES: usize = 400;

/// Files that may be longer: the file, its own limit, the reason.
const LONG_FILES: &[(&str, usize, &str)] = &[];

/// How many bytes a file in git may have.
const MAX_BYTES: u64 = 1_000_000;

/// Names that no file may have, and the reason.
const FORBIDDEN_NAMES: &[(&str, &str)] = &[
    ("timemachine.txt", "the corpus is fetched under its checksum, not bundled"),
    ("build.rs", "building needs no compiler, toolkit or device but rustc"),
];

/// One thing that is wrong. Without a line it is about the file as a whole.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: Option<usize>,
    message: String,
}

impl Finding {
    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), message: message.into() }
    }

    fn of(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// Prints every finding and a line of counts; fails when there is a finding.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if let Some(argument) = arguments.first() {
        return crate::usage_error(&format!("tidy takes no argument, and got `{argument}`"));
    }
    match report(crate::root()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every rule over the files of the repository; the number of findings.
fn report(root: &Path) -> Result<usize, String> {
    let paths = files::list(root)?;
    let mut findings = Vec::new();
    let mut texts = Vec::new();
    for path in &paths {
        let bytes = std::fs::read(root.join(path)).map_err(|error| format!("`{path}` cannot be read: {error}"))?;
        findings.extend(files::check_name_and_size(path, bytes.len() as u64));
        texts.extend(String::from_utf8(bytes).ok().map(|text| TextFile { path: path.clone(), text }));
    }
    findings.extend(texts.iter().flat_map(files::check_text));
    findings.extend(texts.iter().flat_map(|file| links::check(file, &paths)));
    findings.extend(arrows::check(&texts, ARROWS));
    let sources: Vec<Source<'_>> = texts.iter().filter(|file| file.path.ends_with(".rs")).map(Source::new).collect();
    findings.extend(sources.iter().flat_map(rust::check));
    findings.extend(rust::check_exceptions(&sources, LONG_FILES));
    for finding in &findings {
        eprintln!("{finding}");
    }
    println!("tidy: {} files, {}; findings: {}", paths.len(), rust::lengths(&sources), findings.len());
    Ok(findings.len())
}

/// Whether `path` is one that a table above names. One `*` in a pattern stands for any text.
fn is_listed(path: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match pattern.split_once('*') {
        Some((start, end)) => path.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
        None => path == *pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let patterns = ["src/cpu/tile*", "src/*/mod.rs", "src/lib.rs"];
        for path in ["src/cpu/tile.rs", "src/cpu/tile/avx2.rs", "src/gru/mod.rs", "src/lib.rs"] {
            assert!(is_listed(path, &patterns), "{path}");
        }
        for path in ["src/cpu/gemm.rs", "src/mod.rs", "src/lib.rs.orig", "other/src/lib.rs"] {
            assert!(!is_listed(path, &patterns), "{path}");
        }
    }
}
