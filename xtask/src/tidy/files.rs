//! The rules for all files: size, name, and no path of a particular machine.

use std::path::Path;
use std::process::Command;

use super::finding::Finding;
use super::source::find_words;
use super::tables::{FORBIDDEN_NAMES, MAX_BYTES, UNFINISHED};
use super::text_file::TextFile;

/// The only registry that the lock file may name, as cargo writes it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Folders in the root of a file system whose paths are specific to one machine.
const MACHINE_FOLDERS: &[&str] = &["home", "root", "work", "tmp", "Users", "mnt"];

/// The files that git tracks, or would after `git add`.
pub(super) fn list(root: &Path) -> Result<Vec<String>, String> {
    // Git refuses a checkout that belongs to another user unless its folder is declared safe.
    let arguments = ["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root).output();
    let output = output.map_err(|error| format!("git cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let names = String::from_utf8(output.stdout).map_err(|error| format!("a file name is not UTF-8: {error}"))?;
    let mut paths: Vec<String> = names.split_terminator('\0').map(str::to_owned).collect();
    // Git also lists tracked files that are deleted on disk.
    paths.retain(|path| root.join(path).is_file());
    paths.sort_unstable();
    paths.dedup();
    if paths.is_empty() { Err(String::from("git lists no file")) } else { Ok(paths) }
}

/// Rule: a file is small and its name is allowed.
pub(super) fn check_name_and_size(path: &str, bytes: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    if bytes > MAX_BYTES {
        findings.push(Finding::in_file(path, format!("{bytes} bytes; the limit is {MAX_BYTES}")));
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let forbidden = FORBIDDEN_NAMES.iter().filter(|(forbidden, _)| *forbidden == name);
    findings.extend(
        forbidden.map(|(_, reason)| Finding::in_file(path, format!("this file name is not allowed: {reason}"))),
    );
    findings
}

/// Rule: a text names no path of a particular machine, no other registry and no unfinished work.
pub(super) fn check_text(file: &TextFile) -> Vec<Finding> {
    let is_rust = file.path.ends_with(".rs");
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let mut add = |message: String| findings.push(Finding::at(&file.path, index + 1, message));
        if let Some(folder) = MACHINE_FOLDERS.iter().find(|folder| has_absolute_path(line, folder)) {
            add(format!("a path in `/{folder}` exists on one machine only: use an argument or a relative path"));
        }
        if !is_rust && let Some(word) = UNFINISHED.iter().find(|word| find_words(line, word).next().is_some()) {
            add(format!("`{word}`: finish or remove it"));
        }
        if file.path.ends_with("Cargo.lock") && line.starts_with("source = ") && !line.contains(REGISTRY) {
            add(String::from("this dependency is not from crates.io"));
        }
    }
    findings
}

/// Whether `line` contains an absolute path in this folder of the root.
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
    fn a_forbidden_name_fails() {
        assert_eq!(check_name_and_size("data/timemachine.txt", 1).len(), 1);
        assert_eq!(check_name_and_size("crates/a/build.rs", 1).len(), 1);
        assert_eq!(check_name_and_size("crates/a/src/rebuild.rs", 1), []);
    }

    #[test]
    fn a_path_of_a_particular_machine_fails() {
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
