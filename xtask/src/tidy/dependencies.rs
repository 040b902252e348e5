//! The rule for dependencies between the workspace's packages: only those in the table `DEPENDENCIES` are allowed.

use super::finding::Finding;
use super::text_file::TextFile;

/// The packages that each package may depend on.
type Allowed<'a> = &'a [(&'a str, &'a [&'a str])];

/// Compares every manifest among `files` with the table: dependencies that it does not list, packages that have no row,
/// and rows that have no package.
pub(super) fn check(files: &[TextFile], allowed: Allowed<'_>) -> Vec<Finding> {
    let manifests = files.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    let packages: Vec<(&str, &TextFile)> = manifests.filter_map(|file| Some((name(&file.text)?, file))).collect();
    let mut findings = Vec::new();
    for (package, file) in &packages {
        let Some((_, targets)) = allowed.iter().find(|(row, _)| row == package) else {
            findings.push(Finding::in_file(&file.path, format!("package `{package}` has no row in `DEPENDENCIES`")));
            continue;
        };
        for (line, target) in dependencies(&file.text, |word| packages.iter().any(|(name, _)| name == &word)) {
            if target != *package && !targets.contains(&target) {
                let message = format!("`{package}` depends on `{target}`, which `DEPENDENCIES` does not list");
                findings.push(Finding::at(&file.path, line, message));
            }
        }
    }
    let stale = allowed.iter().filter(|(row, _)| !packages.iter().any(|(package, _)| package == row));
    findings.extend(stale.map(|(row, _)| {
        let message = format!("`DEPENDENCIES` has a row for `{row}`, which is not a package");
        Finding::in_file("Cargo.toml", message)
    }));
    findings
}

/// The name of the package; none for the workspace's own manifest.
fn name(manifest: &str) -> Option<&str> {
    let package = manifest.lines().skip_while(|line| line.trim() != "[package]").skip(1);
    let mut keys = package.take_while(|line| !line.starts_with('['));
    let name = keys.find_map(|line| line.strip_prefix("name")?.trim_start().strip_prefix('='))?;
    name.split('"').nth(1)
}

/// The workspace's packages among the dependencies of a manifest (normal, dev, build, for any target), with their lines.
fn dependencies(manifest: &str, is_package: impl Fn(&str) -> bool) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    for (index, line) in manifest.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        }
        if in_dependencies {
            let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_'));
            found.extend(words.find(|word| is_package(word)).map(|package| (index + 1, package)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Allowed<'_> = &[("low", &[]), ("high", &["low"])];

    fn findings(low: &str, high: &str) -> Vec<(String, Option<usize>)> {
        let package = |name: &str, rest: &str| TextFile {
            path: format!("{name}/Cargo.toml"),
            text: format!("[package]\nname = \"{name}\"\n\n{rest}"),
        };
        let root = "[workspace]\n[workspace.dependencies]\nlow = { path = \"low\" }\n";
        let root = TextFile { path: "Cargo.toml".to_owned(), text: root.to_owned() };
        let found = check(&[root, package("low", low), package("high", high)], ALLOWED);
        found.into_iter().map(|finding| (finding.path, finding.line)).collect()
    }

    #[test]
    fn a_dependency_that_is_not_listed_fails() {
        assert_eq!(findings("[dependencies]\nserde = \"1\"\n", "[dependencies]\nlow.workspace = true\n"), []);
        let unlisted = [
            "[dependencies]\nhigh.workspace = true",
            "[dev-dependencies]\nhigh = { path = \"../high\" }",
            "[build-dependencies]\nother = { package = \"high\", path = \"../high\" }",
            "[target.'cfg(unix)'.dependencies]\nhigh = \"1\"",
        ];
        for dependency in unlisted {
            assert_eq!(findings(dependency, ""), [("low/Cargo.toml".to_owned(), Some(5))], "{dependency}");
        }
        assert_eq!(findings("[dependencies.high]\nversion = \"1\"", ""), [("low/Cargo.toml".to_owned(), Some(4))]);
        assert_eq!(findings("[features]\na = [\"high/b\"]\n[dependencies]\n# high = \"1\"\nhigher = \"1\"", ""), []);
    }

    #[test]
    fn a_package_without_a_row_and_a_row_without_a_package_fail() {
        let new = TextFile { path: "new/Cargo.toml".to_owned(), text: "[package]\nname = \"new\"\n".to_owned() };
        let found: Vec<String> = check(&[new], ALLOWED).into_iter().map(|finding| finding.message).collect();
        assert_eq!(found.len(), 3);
        assert!(found[0].contains("`new` has no row"), "{}", found[0]);
        assert!(found[1].contains("`low`, which is not") && found[2].contains("`high`, which is not"), "{found:?}");
    }
}
