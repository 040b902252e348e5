//! The step `vocab-alone` of `cargo xtask ci`: `rnnlm-vocab` is usable without the other crates. A program outside the
//! workspace depends on `rnnlm-vocab` only and divides a text into minibatches; no tensor library is among its dependencies.

use std::fs;
use std::path::PathBuf;

use super::outcome::{Outcome, finish};
use crate::process::{cargo, root};

/// Crates that must not be among the dependencies of `rnnlm-vocab`.
const TENSORS: &[&str] = &["ndarray", "rnnlm-tensor", "rnnlm-rnn", "rnnlm-model", "rayon", "safetensors"];

/// The program: minibatches from a text, with the crate's public API.
const PROGRAM: &str = r#"//! Minibatches from a text, with `rnnlm-vocab` alone.
use rnnlm_vocab::{Batches, Corpus, CorpusOptions};

fn main() -> rnnlm_vocab::Result<()> {
    let text = b"The Time Traveller (for so it will be convenient to speak of him)\nwas expounding a matter to us.";
    let corpus = Corpus::from_bytes(text, &CorpusOptions::default())?;
    let (batch_size, num_steps) = (2, 5);
    let sequential = Batches::sequential(&corpus.ids, batch_size, num_steps, 0, 0)?;
    let random = Batches::random(&corpus.ids, batch_size, num_steps, 0, 0)?;
    let mut count = 0;
    for minibatch in sequential.into_iter().chain(random) {
        assert_eq!(minibatch.inputs.len(), batch_size * num_steps);
        assert_eq!(minibatch.inputs[batch_size..], minibatch.targets[..batch_size * (num_steps - 1)]);
        count += 1;
    }
    assert!(count > 0, "no minibatch");
    println!("{count} minibatches of a vocabulary of {}", corpus.vocab.len());
    Ok(())
}
"#;

pub(super) fn run() -> Outcome {
    match Package::write().and_then(|package| package.check()) {
        Ok(()) => Outcome::Passed,
        Err(message) => Outcome::Failed(message),
    }
}

/// The program's folder, removed after the check.
struct Package(PathBuf);

impl Drop for Package {
    fn drop(&mut self) {
        // A folder that cannot be removed is left to the system, which cleans its temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Package {
    /// Writes the program into a new folder outside the workspace, with the workspace's lock file.
    fn write() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("rnnlm-vocab-alone-{}", std::process::id()));
        let package = Self(folder);
        let vocab = root().join("crates/rnnlm-vocab");
        let manifest = format!(
            "[package]\nname = \"vocab-alone\"\nedition = \"2024\"\n\n[dependencies]\nrnnlm-vocab.path = {:?}\n\n\
             [workspace]\n",
            vocab.display().to_string()
        );
        let io = |error: std::io::Error| format!("`{}` cannot be written: {error}", package.0.display());
        fs::create_dir_all(package.0.join("src")).map_err(io)?;
        fs::write(package.0.join("Cargo.toml"), manifest).map_err(io)?;
        fs::write(package.0.join("src/main.rs"), PROGRAM).map_err(io)?;
        fs::copy(root().join("Cargo.lock"), package.0.join("Cargo.lock")).map_err(io)?;
        Ok(package)
    }

    fn check(&self) -> Result<(), String> {
        println!("$ cargo run    (a program that depends on crates/rnnlm-vocab only)");
        // The workspace's target folder, so that nothing is compiled twice.
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let target = root().join(target);
        let mut program = cargo();
        program.current_dir(&self.0).env("CARGO_TARGET_DIR", target).arg("run");
        if let Outcome::Failed(how) = finish(&mut program) {
            return Err(how);
        }
        println!("$ cargo tree");
        let output = cargo().current_dir(&self.0).args(["tree", "--prefix", "none"]).output();
        let output = output.map_err(|error| format!("cargo tree cannot be run: {error}"))?;
        let tree = String::from_utf8_lossy(&output.stdout);
        let packages = names(&tree);
        if !output.status.success() || !packages.contains(&"rnnlm-vocab") {
            return Err(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        println!("{}", packages.join(" "));
        match packages.iter().find(|package| TENSORS.contains(package)) {
            None => Ok(()),
            Some(package) => Err(format!("`rnnlm-vocab` depends on `{package}`")),
        }
    }
}

/// The names of the packages in the output of `cargo tree --prefix none`, sorted, without duplicates.
fn names(tree: &str) -> Vec<&str> {
    let mut names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    names.sort_unstable();
    names.dedup();
    names
}
