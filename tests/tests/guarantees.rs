//! Every test that `GUARANTEES.md` names exists, and it names every test of a run's files.

use std::fs;
use std::path::{Path, PathBuf};

fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of the functions with `#[test]` or `#[tokio::test(…)]` in a file.
fn tests_in(text: &str) -> Vec<&str> {
    let after = ["#[test]", "#[tokio::test"].into_iter().flat_map(|attribute| text.split(attribute).skip(1));
    after.filter_map(|rest| rest.split_once("fn ")?.1.split_once('(').map(|(name, _)| name)).collect()
}

#[test]
fn guarantees_and_tests_match() {
    let guarantees = read(&workspace("tests/GUARANTEES.md"));
    let named: Vec<(&str, &str)> = guarantees.split('`').filter_map(|word| word.split_once(".rs::")).collect();
    assert!(named.len() > 20, "{named:?}");
    for (file, test) in &named {
        let text = read(&workspace(&format!("{file}.rs")));
        assert!(tests_in(&text).contains(test), "`{file}.rs` has no test `{test}`");
    }
    for folder in ["crates/rnnlm-model/tests/trust", "crates/rnnlm-model/tests/fuzz", "crates/rnnlm-cli/tests/trust"] {
        for entry in fs::read_dir(workspace(folder)).expect("the folder of the tests exists") {
            for test in tests_in(&read(&entry.expect("the entry can be read").path())) {
                let is_named = named.iter().any(|(file, name)| file.starts_with(folder) && *name == test);
                assert!(is_named, "GUARANTEES.md does not name `{test}` in {folder}");
            }
        }
    }
}
