//! Runs that are moved, read-only, or behind a symbolic link.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

use crate::support::{Outcome, TestDir};
use crate::{result_of, train_args};

#[test]
fn a_moved_run_can_be_resumed() {
    let dir = TestDir::new();
    dir.run(&train_args(&["--out", "whole", "--epochs", "6"])).succeeded();
    dir.run(&train_args(&["--out", "run"])).succeeded();
    fs::create_dir(dir.path("elsewhere")).unwrap();
    fs::rename(dir.path("run"), dir.path("elsewhere/other")).unwrap();
    let mut command = dir.command(&["train", "--quiet", "--resume", "other", "--epochs", "6"]);
    Outcome::of(command.current_dir(dir.path("elsewhere")).output().unwrap()).succeeded();
    assert!(result_of(&dir.path("elsewhere/other")) == result_of(&dir.path("whole")));
}

#[test]
fn a_moved_text_can_be_named_again() {
    let dir = TestDir::new();
    let text = "a text of some length, which is somewhere else tomorrow. ".repeat(20);
    dir.write("text.txt", &text);
    dir.run(&train_args(&["--out", "run", "--corpus", "text.txt"])).succeeded();
    fs::rename(dir.path("text.txt"), dir.path("moved.txt")).unwrap();
    let resume = ["train", "--quiet", "--resume", "run"];
    dir.run(&resume).failed(1, &["`text.txt` does not exist", "--corpus"]);
    dir.run(&[&resume[..], &["--epochs", "4", "--corpus", "moved.txt"]].concat()).succeeded();
    dir.write("changed.txt", text.replacen("tomorrow", "yesterday", 1));
    let outcome = dir.run(&[&resume[..], &["--epochs", "5", "--corpus", "changed.txt"]].concat());
    outcome.failed(4, &["`changed.txt` is not the text of the run", "`tokens` is 1140 and not 1141", "ids_sha256"]);
}

/// Runs the command as a user without special permissions; `root` can write anywhere.
fn as_nobody(dir: &TestDir, args: &[&str]) -> Outcome {
    let mut command = dir.command(args);
    if dir.path(".").metadata().unwrap().uid() == 0 {
        let program = dir.path("rnnlm");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_rnnlm"), &program).unwrap();
        }
        let mut other = std::process::Command::new(program);
        other.args(args).current_dir(dir.path(".")).env("HOME", dir.path(".")).uid(65534).gid(65534);
        command = other;
    }
    // a process that another test starts at the same time can still have the copy open for writing
    let mut attempts = 0..100;
    let output = loop {
        match command.output() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && attempts.next().is_some() => {
                std::thread::sleep(Duration::from_millis(10));
            }
            output => break output,
        }
    };
    Outcome::of(output.unwrap())
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_read_only_run_can_be_used_but_not_trained() {
    let dir = TestDir::new();
    permit(&dir.path("."), 0o755);
    dir.run(&train_args(&["--out", "run"])).succeeded();
    let run = dir.path("run");
    for entry in fs::read_dir(&run).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o644, "{} has ordinary permissions", path.display());
        permit(&path, 0o444);
    }
    permit(&run, 0o555);
    let before = result_of(&run);
    as_nobody(&dir, &["generate", "run", "--num-tokens", "3"]).succeeded();
    let cannot = ["error: `run/.rnnlm.lock` cannot be locked", "Permission denied"];
    as_nobody(&dir, &["train", "--quiet", "--resume", "run", "--epochs", "9"]).failed(1, &cannot);
    as_nobody(&dir, &train_args(&["--out", "run/inner"])).failed(1, &["cannot be created"]);
    // also if a crash left no model file
    permit(&run, 0o755);
    fs::remove_file(run.join("model.safetensors")).unwrap();
    permit(&run, 0o555);
    as_nobody(&dir, &["generate", "run", "--num-tokens", "3"]).succeeded();
    assert!(!run.join("model.safetensors").exists());
    // a reader writes nothing to a writable run, either; the next resumption writes the model again
    permit(&run, 0o755);
    permit(&run.join(".rnnlm.lock"), 0o644);
    dir.run(&["generate", "run", "--num-tokens", "3"]).succeeded();
    assert!(!run.join("model.safetensors").exists());
    dir.run(&["train", "--quiet", "--resume", "run"]).succeeded();
    assert!(result_of(&run) == before);
}

#[test]
fn losing_the_folder_during_training_is_an_error() {
    let dir = TestDir::new();
    dir.run(&train_args(&["--out", "whole", "--epochs", "40", "--hidden-size", "64"])).succeeded();
    // the folder disappears after the first epochs, like an unmounted disk
    let args = train_args(&["--out", "run", "--epochs", "40", "--hidden-size", "64", "--checkpoint-every", "1"]);
    let (nothing, pipe) = (std::process::Stdio::null(), std::process::Stdio::piped());
    let mut child = dir.command(&args).stdout(nothing).stderr(pipe).spawn().unwrap();
    while !dir.path("run/metrics.jsonl").exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
    }
    fs::rename(dir.path("run"), dir.path("moved")).unwrap();
    let outcome = Outcome::of(child.wait_with_output().unwrap());
    outcome.failed(
        1,
        &["retries at each checkpoint", "the end of the training run was not saved", "No such file or directory"],
    );
    assert!(!dir.path("run").exists(), "the folder is not created again");
    dir.run(&["train", "--quiet", "--resume", "moved"]).succeeded();
    assert!(result_of(&dir.path("moved")) == result_of(&dir.path("whole")));
}

#[test]
fn a_symbolic_link_to_a_run_is_followed_and_kept() {
    let dir = TestDir::new();
    dir.run(&train_args(&["--out", "target"])).succeeded();
    let is_link = |name: &str| dir.path(name).symlink_metadata().unwrap().is_symlink();
    symlink("target", dir.path("link")).unwrap();
    dir.run(&train_args(&["--out", "link"])).failed(1, &["`link` exists already"]);
    dir.run(&train_args(&["--out", "link", "--force", "--seed", "9"])).succeeded();
    assert!(is_link("link"));
    dir.run(&train_args(&["--out", "other", "--seed", "9"])).succeeded();
    assert!(result_of(&dir.path("target")) == result_of(&dir.path("other")), "the run behind the link was replaced");
    dir.run(&["train", "--quiet", "--resume", "link", "--epochs", "4"]).succeeded();

    // a link to an empty folder is followed; a link to nothing or to a file is refused, and the file is kept
    fs::create_dir(dir.path("empty")).unwrap();
    symlink("empty", dir.path("to-empty")).unwrap();
    dir.run(&train_args(&["--out", "to-empty"])).succeeded();
    assert!(dir.path("empty/model.safetensors").exists() && is_link("to-empty"));
    dir.write("file", "mine");
    for (name, target) in [("to-nothing", "nothing"), ("to-file", "file")] {
        symlink(target, dir.path(name)).unwrap();
        dir.run(&train_args(&["--out", name])).failed(1, &["exists already"]);
        dir.run(&train_args(&["--out", name, "--force"])).failed(4, &["is not a run"]);
    }
    assert_eq!(fs::read_to_string(dir.path("file")).unwrap(), "mine");
    assert!(!dir.path("nothing").exists());
}

#[test]
fn a_link_inside_a_run_is_replaced_and_its_target_is_kept() {
    let dir = TestDir::new();
    dir.run(&train_args(&["--out", "run"])).succeeded();
    let model = dir.path("run/model.safetensors");
    fs::rename(&model, dir.path("mine")).unwrap();
    symlink(dir.path("mine"), &model).unwrap();
    let before = fs::read(dir.path("mine")).unwrap();
    dir.run(&["train", "--quiet", "--resume", "run", "--epochs", "5"]).succeeded();
    assert!(fs::read(dir.path("mine")).unwrap() == before && fs::read(&model).unwrap() != before);
}
