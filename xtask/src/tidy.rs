//! `cargo xtask tidy`: rules of this repository that no compiler checks. A rule is a function from a file, or from all files,
//! to findings. Its unit tests include cases that fail. `tables.rs` has the exceptions and limits.

use std::path::Path;
use std::process::ExitCode;

use source::Source;
use text_file::TextFile;

use crate::process::{root, usage_error};

mod cycles;
mod dependencies;
mod files;
mod finding;
mod imports;
mod items;
mod links;
mod modules;
mod rust;
mod source;
mod tables;
mod text_file;

/// Prints every finding and a summary; fails if there is a finding.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let outcome = match arguments {
        [] => report(root()),
        [flag] if flag == "--cycles" => report_cycles(root()),
        [flag, path] if flag == "--cycles" => report_cycles(Path::new(path)),
        _ => return usage_error("tidy takes no arguments, or `--cycles [WORKSPACE]`"),
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs only the rule against import cycles, over the workspace in `root`; the number of findings.
fn report_cycles(root: &Path) -> Result<usize, String> {
    let mut texts = Vec::new();
    for path in files::list(root)? {
        if path.ends_with(".rs") || path.ends_with("Cargo.toml") {
            let text = std::fs::read_to_string(root.join(&path));
            let text = text.map_err(|error| format!("`{path}` cannot be read: {error}"))?;
            texts.push(TextFile { path, text });
        }
    }
    let findings = cycles::check(&texts);
    findings.iter().for_each(|finding| println!("{}", finding.message));
    println!("import cycles: {}", findings.len());
    Ok(findings.len())
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
    findings.extend(dependencies::check(&texts, tables::DEPENDENCIES));
    findings.extend(cycles::check(&texts));
    let sources: Vec<Source<'_>> = texts.iter().filter(|file| file.path.ends_with(".rs")).map(Source::new).collect();
    findings.extend(sources.iter().flat_map(rust::check));
    findings.extend(rust::check_exceptions(&sources, tables::LONG_FILES));
    findings.extend(rust::check_unsafe_files(&sources, tables::UNSAFE_FILES));
    for finding in &findings {
        eprintln!("{finding}");
    }
    println!("tidy: {} files, {}; findings: {}", paths.len(), rust::lengths(&sources), findings.len());
    Ok(findings.len())
}
