//! The rules for any file, beside the walk: how large it is, how it is called, and that it names no machine.

use std::path::Path;
use std::process::Command;

use super::rust::{UNFINISHED, find_words};
use super::{FORBIDDEN_NAMES, Finding, MAX_BYTES};

/// The one registry that the lock file may name, as cargo writes it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Folders at the root of somebody's machine.
const MACHINE_FOLDERS: &[&str] = &["home", "root", "work", "tmp", "Users", "mnt"];

/// A file that is UTF-8, with its path from the root of the repository.
pub(super) struct TextFile {
    pub(super) path: String,
    pub(super) text: String,
}

/// The files that are in git or would be after `git add`.
pub(super) fn list(root: &Path) -> Result<Vec<String>, String> {
    // The checkout may belong to another user than the one who checks it, which git else refuses.
    let arguments = ["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root).output();
    let output = output.map_err(|error| format!("git cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let names = String::from_utf8(output.stdout).map_err(|error| format!("a file name is not UTF-8: {error}"))?;
    let mut paths: Vec<String> = names.split_terminator('\0').map(str::to_owned).collect();
    // A file can be in git and deleted on disk.
    paths.retain(|path| root.join(path).is_file());
    paths.sort_unstable();
    paths.dedup();
    if paths.is_empty() { Err(String::from("git lists no file")) } else { Ok(paths) }
}

/// The file is small, and not one of those that have no place here.
pub(super) fn check_name_and_size(path: &str, bytes: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    if bytes > MAX_BYTES {
        findings.push(Finding::of(path, format!("{bytes} bytes, and at most {MAX_BYTES} may be")));
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let forbidden = FORBIDDEN_NAMES.iter().filter(|(forbidden, _)| *forbidden == name);
    findings.extend(forbidden.map(|(_, reason)| Finding::of(path, format!("does not belong here: {reason}"))));
    findings
}

/// The text names no folder of one machine and no registry of its own, and is finished.
pub(super) fn check_text(file: &TextFile) -> Vec<Finding> {
    let is_rust = file.path.ends_with(".rs");
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let mut add = |message: String| findings.push(Finding::at(&file.path, index + 1, message));
        if let Some(folder) = MACHINE_FOLDERS.iter().find(|folder| has_absolute_path(line, folder)) {
            add(format!("a path under `/{folder}` is one of some machine: take it as an argument, or a relative one"));
        }
        if !is_rust && let Some(word) = UNFINISHED.iter().find(|word| find_words(line, word).next().is_some()) {
            add(format!("`{word}`: finish it, or leave it out"));
        }
        if file.path.ends_with("Cargo.lock") && line.starts_with("source = ") && !line.contains(REGISTRY) {
            add(String::from("a dependency that is not from crates.io"));
        }
    }
    findings
}

/// Whether `line` has a path that starts with this folder of the root.
fn has_absolute_path(line: &str, folder: &str) -> bool {
    let path = format!("/{folder}/");
    let starts = |at: usize| {
        let previous = line[..at].chars().next_back();
        previous.is_none_or(|previous| !previous.is_alphanumeric() && !"._-~/}*".contains(previous))
    };
    line.match_indices(&path).any(|(at, _)| starts(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<Option<usize>> {
        let file = TextFile { path: path.to_owned(), text: text.to_owned() };
        check_text(&file).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_large_file_fails() {
        assert_eq!(check_name_and_size("a.bin", MAX_BYTES), []);
        assert_eq!(check_name_and_size("a.bin", MAX_BYTES + 1).len(), 1);
    }

    #[test]
    fn a_name_without_a_place_fails() {
        assert_eq!(check_name_and_size("data/timemachine.txt", 1).len(), 1);
        assert_eq!(check_name_and_size("crates/a/build.rs", 1).len(), 1);
        assert_eq!(check_name_and_size("crates/a/src/rebuild.rs", 1), []);
    }

    #[test]
    fn a_path_of_some_machine_fails() {
        for folder in MACHINE_FOLDERS {
            assert_eq!(lines("a.md", &format!("a\ncd /{folder}/b")), [Some(2)], "{folder}");
            assert_eq!(lines("a.rs", &format!("let a = \"/{folder}/b\";")), [Some(1)], "{folder}");
            let relative = format!("../{folder}/b, https://a.org/{folder}/b, ~/{folder}/b, {folder}/b, $A/{folder}/b");
            assert_eq!(lines("a.md", &relative), [], "{folder}");
        }
    }

    #[test]
    fn unfinished_prose_fails() {
        assert_eq!(lines("a.md", "# A\nTODO: b"), [Some(2)]);
        assert_eq!(lines("a.cu", "// FIXME"), [Some(1)]);
    }

    #[test]
    fn another_registry_fails() {
        let text = format!("source = \"{REGISTRY}\"\nsource = \"registry+https://example.org/index\"\n");
        assert_eq!(lines("Cargo.lock", &text), [Some(2)]);
    }
}
