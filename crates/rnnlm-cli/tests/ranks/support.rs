//! Runs the program in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A text of documents.
const TEXT: &str = "the tide comes in\nand the tide goes out\nno one waits\nfor the tide\n";

/// A run of a few seconds at most.
pub(crate) const SMALL: [&str; 15] = [
    "train",
    "--quiet",
    "--corpus",
    "tide.txt",
    "--hidden-size",
    "12",
    "--num-layers",
    "2",
    "--batch-size",
    "8",
    "--num-steps",
    "6",
    "--sample-every",
    "0",
    "--checkpoint-every=3s",
];

/// A temporary folder with the text.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tide.txt"), TEXT.repeat(30)).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A command in this folder.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RNNLM_")) {
            command.env_remove(name);
        }
        command.env("HOME", self.0.path()).env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    /// The program without a launcher.
    pub(crate) fn alone(&self, args: &[&str]) -> Output {
        self.command(Path::new(env!("CARGO_BIN_EXE_rnnlm"))).args(args).output().unwrap()
    }

    pub(crate) fn model(&self, run: &str) -> Vec<u8> {
        fs::read(self.path(run).join("model.safetensors")).unwrap_or_default()
    }

    /// The checkpoint without its metadata, which has the settings and times of the run.
    pub(crate) fn tensors(&self, run: &str) -> Vec<u8> {
        let bytes = fs::read(self.path(run).join("trainer.safetensors")).unwrap();
        let header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    }
}

/// An output as text, for messages.
pub(crate) fn text(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
