//! Runs the command in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A temporary folder, which is the command's working directory.
pub(crate) struct TestDir {
    folder: tempfile::TempDir,
}

/// Flags of a training run that takes milliseconds.
pub(crate) const SMALL: [&str; 12] = [
    "--hidden-size",
    "16",
    "--epochs",
    "3",
    "--batch-size",
    "8",
    "--num-steps",
    "10",
    "--max-tokens",
    "2000",
    "--threads",
    "1",
];

impl TestDir {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("a file in a temporary folder");
    }

    /// The command, without the environment variables of this machine that affect it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rnnlm"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RNNLM_")) {
            command.env_remove(name);
        }
        command.env("XDG_CACHE_HOME", self.path("cache")).env("HOME", self.folder.path());
        // a proxy that does not exist makes every download fail
        command.env("https_proxy", "http://127.0.0.1:1");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).output().expect("the command starts"))
    }

    /// Runs the command and requires an error that changes no file and leaves no run.
    #[track_caller]
    pub(crate) fn refuses(&self, args: &[&str], code: i32, words: &[&str]) {
        let before = self.snapshot();
        self.run(args).failed(code, words);
        assert_eq!(self.snapshot(), before, "files changed");
        assert!(!self.path("runs").exists(), "a folder of a run was left");
    }

    /// Runs the command and requires an error that changes no file.
    #[track_caller]
    pub(crate) fn refuses_in_place(&self, args: &[&str], code: i32, words: &[&str]) {
        let before = self.snapshot();
        self.run(args).failed(code, words);
        assert_eq!(self.snapshot(), before, "files changed");
    }

    /// A small training run in the folder `run`.
    pub(crate) fn train(&self, more: &[&str]) -> Outcome {
        self.run(&[&["train", "--quiet", "--out", "run"], &SMALL[..], more].concat())
    }

    /// Every file in the folder with its content.
    pub(crate) fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        collect(self.folder.path(), &mut files);
        files.sort();
        files
    }
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            let content = fs::read(&path).expect("a readable file");
            files.push((path, content));
        }
    }
}

/// The output and the exit code of the command.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Requires the exit code 0.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Requires the exit code `code` and all of `words` in standard error.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is missing in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Standard output as one JSON object.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}
