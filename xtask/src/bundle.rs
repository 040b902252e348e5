//! `cargo xtask gpu-bundle FOLDER`: a folder with everything that `gpu/run.sh` needs on a machine with a GPU and
//! without a Rust toolchain.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Files of the repository and their names in the folder.
const FILES: [(&str, &str); 4] = [
    ("xtask/gpu/run.sh", "run.sh"),
    ("xtask/gpu/summary.py", "summary.py"),
    ("xtask/bench/torch_lm.py", "torch_lm.py"),
    ("data/sample.txt", "sample.txt"),
];
/// The programs, in release builds: package and name.
const PROGRAMS: [(&str, &str); 2] = [("rnnlm-cli", "rnnlm"), ("rnnlm-tests", "verify")];
const FIXTURES: &str = "tests/fixtures";

/// Builds the programs and fills the folder, which is created if necessary.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let [folder] = arguments else { return crate::process::usage_error("`gpu-bundle` takes one argument, a folder") };
    for (package, program) in PROGRAMS {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let build = ["build", "--release", "--package", package, "--bin", program];
        if !Command::new(cargo)
            .args(build)
            .current_dir(crate::process::root())
            .status()
            .is_ok_and(|status| status.success())
        {
            return ExitCode::FAILURE;
        }
    }
    match fill(Path::new(folder)) {
        Ok(()) => {
            println!("{folder} is complete. On a machine with a GPU, run {folder}/run.sh OUTPUT [TEXT]");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: `{folder}` cannot be filled: {error}");
            ExitCode::FAILURE
        }
    }
}

fn fill(folder: &Path) -> io::Result<()> {
    let root = crate::process::root();
    fs::create_dir_all(folder.join("fixtures"))?;
    for (file, name) in FILES {
        fs::copy(root.join(file), folder.join(name))?;
    }
    for (_, program) in PROGRAMS {
        fs::copy(release_folder().join(program), folder.join(program))?;
    }
    for entry in fs::read_dir(root.join(FIXTURES))? {
        let path = entry?.path();
        if let (Some(name), true) =
            (path.file_name(), path.extension().is_some_and(|extension| extension == "safetensors"))
        {
            fs::copy(&path, folder.join("fixtures").join(name))?;
        }
    }
    Ok(())
}

/// Cargo's folder of release builds.
fn release_folder() -> std::path::PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::process::root().join("target"), Into::into);
    target.join("release")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_file_is_in_the_repository() {
        for (file, _) in FILES {
            assert!(crate::process::root().join(file).is_file(), "{file}");
        }
        assert!(crate::process::root().join(FIXTURES).is_dir());
    }
}
