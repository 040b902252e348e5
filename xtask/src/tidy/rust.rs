//! The rules for a Rust file: module documentation, length, `unsafe` and its safety comments, the feature `cuda`, and calls
//! that are not allowed in a library.

use super::finding::Finding;
use super::source::{Line, Source, find_words};
use super::tables::{CUDA_CFG_FILES, LIBRARIES, LONG_FILES, MAX_LINES, UNFINISHED, UNSAFE_FILES, is_listed};

/// Calls that are not allowed in a library outside its tests: printing, exiting, reading the environment.
const NOT_IN_LIBRARIES: &[&str] = &[
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "process::exit",
    "process::abort",
    "std::env",
    "env::var",
    "env::vars",
    "env::var_os",
    "env::args",
    "env::current_dir",
    "env::temp_dir",
];

/// Macros of unfinished work, matched in code only.
const UNFINISHED_CODE: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// A `SAFETY:` comment must have more words than this.
const MIN_SAFETY_WORDS: usize = 4;

/// Every rule for one file.
pub(super) fn check(source: &Source<'_>) -> Vec<Finding> {
    let rules = [module_docs, length, safety, unfinished, library, cuda];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

/// Rule: the file begins with `//!` documentation.
fn module_docs(source: &Source<'_>) -> Vec<Finding> {
    let has_docs = source.lines.first().is_some_and(|line| line.text.starts_with("//! "));
    let finding = || Finding::at(source.path, 1, "the file must begin with `//!`: what it contains");
    if has_docs { Vec::new() } else { vec![finding()] }
}

/// Rule: the file has at most `MAX_LINES` lines, or its own limit.
fn length(source: &Source<'_>) -> Vec<Finding> {
    let exception = LONG_FILES.iter().find(|(path, ..)| *path == source.path);
    let limit = exception.map_or(MAX_LINES, |(_, limit, _)| *limit);
    let lines = source.length();
    let finding =
        || Finding::in_file(source.path, format!("{lines} lines without tests; the limit is {limit}: divide it"));
    if lines <= limit { Vec::new() } else { vec![finding()] }
}

/// Rule: only the listed files contain `unsafe`, and each `unsafe` block or `impl` has a safety comment above it.
fn safety(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        let Some(at) = find_words(&line.code, "unsafe").next() else { continue };
        if !is_listed(source.path, UNSAFE_FILES) {
            findings.push(Finding::at(
                source.path,
                index + 1,
                "contains `unsafe`, and `UNSAFE_FILES` does not list this file",
            ));
        }
        let next = line.code[at + "unsafe".len()..].trim_start();
        // The documentation of an `unsafe fn` or `unsafe trait` states the obligations of callers or implementors.
        let is_obligation = ["fn", "trait", "extern"].iter().any(|word| find_words(next, word).next() == Some(0));
        if !is_obligation && !states_a_fact(&source.lines[..index]) {
            findings.push(Finding::at(source.path, index + 1, "no `// SAFETY:` comment directly above"));
        }
    }
    findings
}

/// Whether the comment at the end of these lines is `// SAFETY:` and a sentence.
fn states_a_fact(above: &[Line<'_>]) -> bool {
    let comment: Vec<&str> =
        above.iter().rev().map(|line| line.text.trim()).take_while(|text| text.starts_with("//")).collect();
    let Some(first) = comment.iter().rposition(|text| text.starts_with("// SAFETY:")) else { return false };
    let words: usize = comment[..=first].iter().map(|text| text.split_whitespace().skip(1).count()).sum();
    words > MIN_SAFETY_WORDS
}

/// Rule: nothing is unfinished.
fn unfinished(source: &Source<'_>) -> Vec<Finding> {
    let message = |word: &str| format!("`{word}`: finish or remove it");
    let in_code = find_in_code(source, UNFINISHED_CODE, |_| true, message);
    let anywhere = source.lines.iter().enumerate().flat_map(|(index, line)| {
        let found = UNFINISHED.iter().filter(|word| {
            find_words(&line.code, word).next().is_some() || find_words(&line.comment, word).next().is_some()
        });
        found.map(move |word| Finding::at(source.path, index + 1, message(word)))
    });
    in_code.into_iter().chain(anywhere).collect()
}

/// Rule: a library returns values and errors; only the program prints, exits and reads the environment.
fn library(source: &Source<'_>) -> Vec<Finding> {
    if !LIBRARIES.iter().any(|folder| source.path.starts_with(folder)) {
        return Vec::new();
    }
    let message = |word: &str| format!("`{word}` in a library: return a value or an error");
    find_in_code(source, NOT_IN_LIBRARIES, |line| !line.is_test, message)
}

/// Rule: only the listed files test the feature `cuda`.
fn cuda(source: &Source<'_>) -> Vec<Finding> {
    if is_listed(source.path, CUDA_CFG_FILES) {
        return Vec::new();
    }
    let tests_feature = |line: &Line<'_>| {
        line.text.contains("feature = \"cuda\"")
            && ["cfg", "cfg_attr"].iter().any(|cfg| find_words(&line.code, cfg).next().is_some())
    };
    let lines = source.lines.iter().enumerate().filter(|(_, line)| tests_feature(line));
    let message = "tests the feature `cuda`, and `CUDA_CFG_FILES` does not list this file";
    lines.map(|(index, _)| Finding::at(source.path, index + 1, message)).collect()
}

/// Rule: every file in `exceptions` is longer than `MAX_LINES`.
pub(super) fn check_exceptions(sources: &[Source<'_>], exceptions: &[(&str, usize, &str)]) -> Vec<Finding> {
    let is_needed = |path: &str| sources.iter().any(|source| source.path == path && source.length() > MAX_LINES);
    let stale = exceptions.iter().filter(|(path, ..)| !is_needed(path));
    stale
        .map(|(path, ..)| Finding::in_file(path, "is in `LONG_FILES`, and is not longer than the general limit"))
        .collect()
}

/// Rule: every entry of `listed` matches a file that contains `unsafe`.
pub(super) fn check_unsafe_files(sources: &[Source<'_>], listed: &[&str]) -> Vec<Finding> {
    let has_unsafe =
        |source: &Source<'_>| source.lines.iter().any(|line| find_words(&line.code, "unsafe").next().is_some());
    let is_needed =
        |entry: &&&str| sources.iter().any(|source| is_listed(source.path, &[**entry]) && has_unsafe(source));
    let stale = listed.iter().filter(|entry| !is_needed(entry));
    stale.map(|entry| Finding::in_file(entry, "is in `UNSAFE_FILES`, and contains no `unsafe`")).collect()
}

/// The number of files, their total length and the longest, as text.
pub(super) fn lengths(sources: &[Source<'_>]) -> String {
    let total: usize = sources.iter().map(Source::length).sum();
    let longest = sources.iter().max_by_key(|source| source.length());
    let longest =
        longest.map_or(String::new(), |source| format!(", the longest `{}` with {}", source.path, source.length()));
    format!("{} Rust files with {total} lines without tests{longest}", sources.len())
}

/// A finding for each line that passes `filter` and contains one of `words` in its code.
fn find_in_code(
    source: &Source<'_>,
    words: &[&str],
    filter: impl Fn(&Line<'_>) -> bool,
    message: impl Fn(&str) -> String,
) -> Vec<Finding> {
    let lines = source.lines.iter().enumerate().filter(|(_, line)| filter(line));
    let found = lines.flat_map(|(index, line)| {
        words.iter().filter(|word| find_words(&line.code, word).next().is_some()).map(move |word| (index, *word))
    });
    found.map(|(index, word)| Finding::at(source.path, index + 1, message(word))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::text_file::TextFile;
    use super::*;

    /// The lines of what `rule` finds in a file with this text.
    fn findings(rule: fn(&Source<'_>) -> Vec<Finding>, path: &str, text: &str) -> Vec<Option<usize>> {
        let file = TextFile { path: path.to_owned(), text: text.to_owned() };
        rule(&Source::new(&file)).into_iter().map(|finding| finding.line).collect()
    }

    const LIBRARY: &str = "crates/rnnlm-vocab/src/a.rs";
    const WITH_UNSAFE: &str = "crates/rnnlm-tensor/src/cpu/isa.rs";

    #[test]
    fn a_file_without_documentation_fails() {
        assert_eq!(findings(module_docs, LIBRARY, "//! What it is.\n\nuse a;\n"), []);
        for text in ["use a;\n", "\n//! What it is.\n", "// What it is.\n", "//!\n", ""] {
            assert_eq!(findings(module_docs, LIBRARY, text), [Some(1)], "{text:?}");
        }
    }

    #[test]
    fn a_long_file_fails() {
        let tests = "#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(findings(length, LIBRARY, &format!("{}{tests}", "a();\n".repeat(MAX_LINES))), []);
        assert_eq!(findings(length, LIBRARY, &format!("{}{tests}", "a();\n".repeat(MAX_LINES + 1))), [None]);
    }

    #[test]
    fn an_exception_that_is_not_needed_fails() {
        let files = [MAX_LINES, MAX_LINES + 1]
            .map(|lines| TextFile { path: format!("a{lines}.rs"), text: "a();\n".repeat(lines) });
        let sources: Vec<Source<'_>> = files.iter().map(Source::new).collect();
        let exceptions = [("a400.rs", 500, "short"), ("a401.rs", 500, "long"), ("gone.rs", 500, "not there")];
        let stale: Vec<String> =
            check_exceptions(&sources, &exceptions).into_iter().map(|finding| finding.path).collect();
        assert_eq!(stale, ["a400.rs", "gone.rs"]);
    }

    #[test]
    fn unsafe_in_an_unlisted_file_fails() {
        let text = "// SAFETY: the slice has eight elements.\nunsafe { a() }\n";
        assert_eq!(findings(safety, WITH_UNSAFE, text), []);
        assert_eq!(findings(safety, LIBRARY, text), [Some(2)]);
        assert_eq!(findings(safety, LIBRARY, "// unsafe\nlet a = \"unsafe\";\n#![deny(unsafe_code)]\n"), []);
    }

    #[test]
    fn a_listed_file_without_unsafe_fails() {
        let files = [("a.rs", "unsafe fn a() {}\n"), ("b/c.rs", "unsafe fn b() {}\n"), ("d.rs", "// unsafe\n")];
        let files = files.map(|(path, text)| TextFile { path: path.to_owned(), text: text.to_owned() });
        let sources: Vec<Source<'_>> = files.iter().map(Source::new).collect();
        let stale = check_unsafe_files(&sources, &["a.rs", "b/*.rs", "d.rs", "gone.rs"]);
        assert_eq!(stale.into_iter().map(|finding| finding.path).collect::<Vec<_>>(), ["d.rs", "gone.rs"]);
    }

    #[test]
    fn unsafe_without_a_safety_comment_fails() {
        let comment = "// SAFETY: the slice has\n// eight elements.\n";
        for text in ["let a = unsafe { b() };", "unsafe impl Send for A {}", "unsafe {"] {
            assert_eq!(findings(safety, WITH_UNSAFE, &format!("{comment}{text}")), [], "{text}");
            assert_eq!(findings(safety, WITH_UNSAFE, text), [Some(1)], "{text}");
            assert_eq!(findings(safety, WITH_UNSAFE, &format!("{comment}\n{text}")), [Some(4)], "{text}");
            assert_eq!(findings(safety, WITH_UNSAFE, &format!("// SAFETY: ffi.\n{text}")), [Some(2)], "{text}");
        }
        assert_eq!(
            findings(safety, WITH_UNSAFE, "pub unsafe fn a() {}\nunsafe trait B {}\nunsafe extern \"C\" {}"),
            []
        );
    }

    #[test]
    fn unfinished_work_fails() {
        for text in ["todo!()", "dbg!(a)", "unimplemented!()", "// TODO: a", "/// FIXME a"] {
            assert_eq!(findings(unfinished, LIBRARY, text), [Some(1)], "{text}");
        }
        assert_eq!(findings(unfinished, LIBRARY, "// todo!() in a comment\nlet a = \"TODO\"; let TODOS = 1;\n"), []);
    }

    #[test]
    fn a_library_that_prints_exits_or_reads_the_environment_fails() {
        let lines = [
            "println!(\"a\");",
            "eprint!(\"a\");",
            "std::process::exit(1);",
            "use std::env;",
            "let a = env::var(\"A\");",
            "let a = std::env::args();",
        ];
        for line in lines {
            assert!(!findings(library, LIBRARY, line).is_empty(), "{line}");
            assert_eq!(findings(library, "crates/rnnlm-cli/src/main.rs", line), [], "{line}");
            assert_eq!(findings(library, "crates/rnnlm-vocab/tests/a.rs", line), [], "{line}");
            assert_eq!(findings(library, LIBRARY, &format!("/// {line}")), [], "{line}");
            assert_eq!(findings(library, LIBRARY, &format!("#[cfg(test)]\nmod tests {{\n{line}\n}}")), [], "{line}");
        }
        assert_eq!(findings(library, LIBRARY, "let a = env!(\"CARGO_PKG_VERSION\");"), []);
    }

    #[test]
    fn the_feature_cuda_in_an_unlisted_file_fails() {
        let text = "//! With `feature = \"cuda\"`.\n#[cfg(feature = \"cuda\")]\nmod cuda;\n";
        assert_eq!(findings(cuda, "crates/rnnlm-tensor/src/lib.rs", text), []);
        assert_eq!(findings(cuda, LIBRARY, text), [Some(2)]);
        assert_eq!(findings(cuda, LIBRARY, "if cfg!(feature = \"cuda\") {}"), [Some(1)]);
    }
}
