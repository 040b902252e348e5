//! The rules for one Rust file, beside the walk: how it opens, how long it is, where `unsafe` may stand and with what
//! proof, and what no library does.

use super::source::{Line, Source, is_word};
use super::{CUDA_CFG_FILES, Finding, LIBRARIES, LONG_FILES, MAX_LINES, UNSAFE_FILES, is_listed};

/// What no library does outside its tests: print, exit, read the environment.
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

/// What is left over from a work in progress, in code.
const UNFINISHED_CODE: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// What is left over from a work in progress, anywhere.
pub(super) const UNFINISHED: &[&str] = &["TODO", "FIXME"];

/// The fewest words that can state a fact after `SAFETY:`.
const MIN_SAFETY_WORDS: usize = 4;

/// Every rule for one file.
pub(super) fn check(source: &Source<'_>) -> Vec<Finding> {
    let rules = [opening, length, proofs, unfinished, library, cuda];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

/// The file opens with a `//!` that says what it is.
fn opening(source: &Source<'_>) -> Vec<Finding> {
    let opens = source.lines.first().is_some_and(|line| line.text.starts_with("//! "));
    let finding = || Finding::at(source.path, 1, "the file must open with `//!`: what it is, and where in the walk");
    if opens { Vec::new() } else { vec![finding()] }
}

/// The file is short enough to be read at one sitting.
fn length(source: &Source<'_>) -> Vec<Finding> {
    let exception = LONG_FILES.iter().find(|(path, ..)| *path == source.path);
    let limit = exception.map_or(MAX_LINES, |(_, limit, _)| *limit);
    let lines = source.length();
    let finding =
        || Finding::of(source.path, format!("{lines} lines without tests, and at most {limit} may be: divide it"));
    if lines <= limit { Vec::new() } else { vec![finding()] }
}

/// `unsafe` stands in the listed files only, and what each block or `impl` relies on right above it.
fn proofs(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        let Some(at) = find_words(&line.code, "unsafe").next() else { continue };
        if !is_listed(source.path, UNSAFE_FILES) {
            findings.push(Finding::at(source.path, index + 1, "`unsafe` in a file that `UNSAFE_FILES` does not list"));
        }
        let what = line.code[at + "unsafe".len()..].trim_start();
        let is_promise = ["fn", "trait", "extern"].iter().any(|word| find_words(what, word).next() == Some(0));
        if !is_promise && !states_a_fact(&source.lines[..index]) {
            findings.push(Finding::at(source.path, index + 1, "no `// SAFETY:` sentence right above"));
        }
    }
    findings
}

/// Whether the comment that ends these lines is a `// SAFETY:` with a sentence.
fn states_a_fact(above: &[Line<'_>]) -> bool {
    let comment: Vec<&str> =
        above.iter().rev().map(|line| line.text.trim()).take_while(|text| text.starts_with("//")).collect();
    let Some(first) = comment.iter().rposition(|text| text.starts_with("// SAFETY:")) else { return false };
    let words: usize = comment[..=first].iter().map(|text| text.split_whitespace().skip(1).count()).sum();
    words > MIN_SAFETY_WORDS
}

/// Nothing is left over from a work in progress.
fn unfinished(source: &Source<'_>) -> Vec<Finding> {
    let message = |word: &str| format!("`{word}`: finish it, or leave it out");
    let in_code = find_in_code(source, UNFINISHED_CODE, |_| true, message);
    let anywhere = source.lines.iter().enumerate().flat_map(|(index, line)| {
        let found = UNFINISHED.iter().filter(|word| {
            find_words(&line.code, word).next().is_some() || find_words(&line.comment, word).next().is_some()
        });
        found.map(move |word| Finding::at(source.path, index + 1, message(word)))
    });
    in_code.into_iter().chain(anywhere).collect()
}

/// A library reports by what it returns; only the program prints, exits and reads the environment.
fn library(source: &Source<'_>) -> Vec<Finding> {
    if !LIBRARIES.iter().any(|folder| source.path.starts_with(folder)) {
        return Vec::new();
    }
    let message =
        |word: &str| format!("`{word}` in a library: return a value or an error, and leave the rest to the program");
    find_in_code(source, NOT_IN_LIBRARIES, |line| !line.is_test, message)
}

/// Only the listed files know that CUDA can be left out.
fn cuda(source: &Source<'_>) -> Vec<Finding> {
    if is_listed(source.path, CUDA_CFG_FILES) {
        return Vec::new();
    }
    let asks = |line: &Line<'_>| {
        line.text.contains("feature = \"cuda\"")
            && ["cfg", "cfg_attr"].iter().any(|cfg| find_words(&line.code, cfg).next().is_some())
    };
    let lines = source.lines.iter().enumerate().filter(|(_, line)| asks(line));
    let message = "asks for the feature `cuda` in a file that `CUDA_CFG_FILES` does not list";
    lines.map(|(index, _)| Finding::at(source.path, index + 1, message)).collect()
}

/// An exception that is no longer needed must go.
pub(super) fn check_exceptions(sources: &[Source<'_>], exceptions: &[(&str, usize, &str)]) -> Vec<Finding> {
    let is_needed = |path: &str| sources.iter().any(|source| source.path == path && source.length() > MAX_LINES);
    let stale = exceptions.iter().filter(|(path, ..)| !is_needed(path));
    stale.map(|(path, ..)| Finding::of(path, "listed in `LONG_FILES`, and is not longer than others may be")).collect()
}

/// How long the files are, in words.
pub(super) fn lengths(sources: &[Source<'_>]) -> String {
    let total: usize = sources.iter().map(Source::length).sum();
    let longest = sources.iter().max_by_key(|source| source.length());
    let longest =
        longest.map_or(String::new(), |source| format!(", the longest `{}` with {}", source.path, source.length()));
    format!("{} of them Rust with {total} lines without tests{longest}", sources.len())
}

/// A finding for each line that passes `filter` and has one of `words` in its code.
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

/// The places in `text` where `word` stands by itself and not inside a longer word.
pub(super) fn find_words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let ends =
        |at: usize| text[at + word.len()..].chars().next().is_none_or(|next| word.ends_with('!') || !is_word(next));
    let starts = |at: usize| text[..at].chars().next_back().is_none_or(|previous| !is_word(previous));
    text.match_indices(word).map(|(at, _)| at).filter(move |at| starts(*at) && ends(*at))
}

#[cfg(test)]
mod tests {
    use super::super::files::TextFile;
    use super::*;

    /// What `rule` says of a file with this text.
    fn findings(rule: fn(&Source<'_>) -> Vec<Finding>, path: &str, text: &str) -> Vec<Option<usize>> {
        let file = TextFile { path: path.to_owned(), text: text.to_owned() };
        rule(&Source::new(&file)).into_iter().map(|finding| finding.line).collect()
    }

    const LIBRARY: &str = "crates/rnnlm-vocab/src/a.rs";
    const WITH_UNSAFE: &str = "crates/rnnlm-tensor/src/cpu/isa.rs";

    #[test]
    fn a_file_without_an_opening_fails() {
        assert_eq!(findings(opening, LIBRARY, "//! What it is.\n\nuse a;\n"), []);
        for text in ["use a;\n", "\n//! What it is.\n", "// What it is.\n", "//!\n", ""] {
            assert_eq!(findings(opening, LIBRARY, text), [Some(1)], "{text:?}");
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
    fn unsafe_in_another_file_fails() {
        let text = "// SAFETY: the slice has eight elements.\nunsafe { a() }\n";
        assert_eq!(findings(proofs, WITH_UNSAFE, text), []);
        assert_eq!(findings(proofs, LIBRARY, text), [Some(2)]);
        assert_eq!(findings(proofs, LIBRARY, "// unsafe\nlet a = \"unsafe\";\n#![deny(unsafe_code)]\n"), []);
    }

    #[test]
    fn unsafe_without_a_fact_fails() {
        let comment = "// SAFETY: the slice has\n// eight elements.\n";
        for text in ["let a = unsafe { b() };", "unsafe impl Send for A {}", "unsafe {"] {
            assert_eq!(findings(proofs, WITH_UNSAFE, &format!("{comment}{text}")), [], "{text}");
            assert_eq!(findings(proofs, WITH_UNSAFE, text), [Some(1)], "{text}");
            assert_eq!(findings(proofs, WITH_UNSAFE, &format!("{comment}\n{text}")), [Some(4)], "{text}");
            assert_eq!(findings(proofs, WITH_UNSAFE, &format!("// SAFETY: ffi.\n{text}")), [Some(2)], "{text}");
        }
        assert_eq!(
            findings(proofs, WITH_UNSAFE, "pub unsafe fn a() {}\nunsafe trait B {}\nunsafe extern \"C\" {}"),
            []
        );
    }

    #[test]
    fn what_is_unfinished_fails() {
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
    fn cuda_in_another_file_fails() {
        let text = "//! With `feature = \"cuda\"`.\n#[cfg(feature = \"cuda\")]\nmod cuda;\n";
        assert_eq!(findings(cuda, "crates/rnnlm-tensor/src/lib.rs", text), []);
        assert_eq!(findings(cuda, "crates/rnnlm-model/src/lib.rs", text), [Some(2)]);
        assert_eq!(findings(cuda, "crates/rnnlm-model/src/lib.rs", "if cfg!(feature = \"cuda\") {}"), [Some(1)]);
    }
}
