//! The rule for Markdown: a relative link leads to a file or folder of the repository.

use super::finding::Finding;
use super::text_file::TextFile;

/// Compares every relative link of a Markdown file with `paths`, the files of the repository.
pub(super) fn check(file: &TextFile, paths: &[String]) -> Vec<Finding> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut in_fence = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        for target in targets(line) {
            let exists = resolve(&file.path, target).is_some_and(|path| exists(&path, paths));
            if !exists {
                findings.push(Finding::at(
                    &file.path,
                    index + 1,
                    format!("the target of the link `{target}` does not exist"),
                ));
            }
        }
    }
    findings
}

/// The targets of a line's relative links, without `#heading`.
fn targets(line: &str) -> Vec<&str> {
    let prose = line.split('`').step_by(2);
    let inline = prose.flat_map(|text| text.split("](").skip(1)).filter_map(|rest| rest.split([')', ' ']).next());
    let definition = line.starts_with('[').then(|| line.split_once("]: ")).flatten();
    let definition = definition.and_then(|(_, rest)| rest.split_whitespace().next());
    let html = ["src=\"", "href=\""].into_iter().flat_map(|key| line.split(key).skip(1));
    let html = html.filter_map(|rest| rest.split('"').next());
    let all = inline.chain(definition).chain(html);
    let is_external = |target: &str| target.contains("://") || target.starts_with("mailto:");
    let relative = all.filter(|target| !is_external(target)).filter_map(|target| target.split('#').next());
    relative.filter(|target| !target.is_empty()).collect()
}

/// The path of `target`, a link in `file`, relative to the repository's root; `None` if it is outside the repository.
fn resolve(file: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether `path` is a file or a folder in the repository.
fn exists(path: &str, paths: &[String]) -> bool {
    let matches =
        |known: &String| known.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    path.is_empty() || paths.iter().any(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<Option<usize>> {
        let paths = ["README.md", "docs/a.md", "docs/img/b.svg", "crates/c/src/lib.rs"].map(str::to_owned);
        let file = TextFile { path: path.to_owned(), text: text.to_owned() };
        check(&file, &paths).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_broken_link_fails() {
        let links = [
            "[a](docs/b.md)",
            "![a](docs/a.svg)",
            "[a](../README.md)",
            "[a](docs/a.m)",
            "[a]: docs/b.md",
            "<img src=\"b.svg\">",
            "[a](docs/b.md#c \"title\")",
        ];
        for link in links {
            assert_eq!(broken("README.md", &format!("a\nb {link}").replace("b [a]:", "[a]:")), [Some(2)], "{link}");
        }
    }

    #[test]
    fn a_link_to_a_file_a_folder_or_a_url_passes() {
        let text = "[a](docs/a.md) [b](docs/a.md#c) [c](crates/c) [d](crates/c/src/) [e](#f) [g](https://h.org/i)\n\
                    `[j](k)` ![l](docs/img/b.svg \"title\")\n```rust\nm[n](o)\n```\n[p]: docs/a.md\n";
        assert_eq!(broken("README.md", text), []);
        assert_eq!(broken("docs/a.md", "[a](../README.md) [b](img/b.svg) [c](./a.md)"), []);
        assert_eq!(broken("docs/a.rs", "[a](nowhere)"), []);
    }
}
