//! Runs that are moved, read-only, or behind a symbolic link.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

use crate::support::{Outcome, Place};
use crate::{result_of, training};

#[test]
fn a_moved_run_can_be_resumed() {
    let place = Place::new();
    place.run(&training(&["--out", "whole", "--epochs", "6"])).succeeded();
    place.run(&training(&["--out", "run"])).succeeded();
    fs::create_dir(place.path("elsewhere")).unwrap();
    fs::rename(place.path("run"), place.path("elsewhere/other")).unwrap();
    let mut command = place.command(&["train", "--quiet", "--resume", "other", "--epochs", "6"]);
    Outcome::of(command.current_dir(place.path("elsewhere")).output().unwrap()).succeeded();
    assert!(result_of(&place.path("elsewhere/other")) == result_of(&place.path("whole")));
}

#[test]
fn a_moved_text_can_be_named_again() {
    let place = Place::new();
    let text = "a text of some length, which is somewhere else tomorrow. ".repeat(20);
    place.write("text.txt", &text);
    place.run(&training(&["--out", "run", "--corpus", "text.txt"])).succeeded();
    fs::rename(place.path("text.txt"), place.path("moved.txt")).unwrap();
    let resume = ["train", "--quiet", "--resume", "run"];
    place.run(&resume).failed(1, &["`text.txt` does not exist", "--corpus"]);
    place.run(&[&resume[..], &["--epochs", "4", "--corpus", "moved.txt"]].concat()).succeeded();
    place.write("changed.txt", text.replacen("tomorrow", "yesterday", 1));
    let outcome = place.run(&[&resume[..], &["--epochs", "5", "--corpus", "changed.txt"]].concat());
    outcome.failed(4, &["`changed.txt` is not the text of the run", "`tokens` is 1140 and not 1141", "ids_sha256"]);
}

/// Runs the command as a user without special permissions; `root` can write anywhere.
fn as_nobody(place: &Place, args: &[&str]) -> Outcome {
    let mut command = place.command(args);
    if place.path(".").metadata().unwrap().uid() == 0 {
        let program = place.path("rnnlm");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_rnnlm"), &program).unwrap();
        }
        let mut other = std::process::Command::new(program);
        other.args(args).current_dir(place.path(".")).env("HOME", place.path(".")).uid(65534).gid(65534);
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
    let place = Place::new();
    permit(&place.path("."), 0o755);
    place.run(&training(&["--out", "run"])).succeeded();
    let run = place.path("run");
    for entry in fs::read_dir(&run).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o644, "{} has ordinary permissions", path.display());
        permit(&path, 0o444);
    }
    permit(&run, 0o555);
    let before = result_of(&run);
    as_nobody(&place, &["generate", "run", "--num-tokens", "3"]).succeeded();
    let cannot = ["error: `run/.rnnlm.lock` cannot be locked", "Permission denied"];
    as_nobody(&place, &["train", "--quiet", "--resume", "run", "--epochs", "9"]).failed(1, &cannot);
    as_nobody(&place, &training(&["--out", "run/inner"])).failed(1, &["cannot be created"]);
    // also if a crash left no model file
    permit(&run, 0o755);
    fs::remove_file(run.join("model.safetensors")).unwrap();
    permit(&run, 0o555);
    as_nobody(&place, &["generate", "run", "--num-tokens", "3"]).succeeded();
    assert!(!run.join("model.safetensors").exists());
    permit(&run, 0o755);
    permit(&run.join(".rnnlm.lock"), 0o644);
    place.run(&["generate", "run", "--num-tokens", "3"]).succeeded();
    assert!(result_of(&run) == before, "a writable run gets its model file again");
}

#[test]
fn losing_the_folder_during_training_is_an_error() {
    let place = Place::new();
    place.run(&training(&["--out", "whole", "--epochs", "40", "--hidden-size", "64"])).succeeded();
    // the folder disappears after the first epochs, like an unmounted disk
    let args = training(&["--out", "run", "--epochs", "40", "--hidden-size", "64", "--checkpoint-every", "1"]);
    let (nothing, pipe) = (std::process::Stdio::null(), std::process::Stdio::piped());
    let mut child = place.command(&args).stdout(nothing).stderr(pipe).spawn().unwrap();
    while !place.path("run/metrics.jsonl").exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
    }
    fs::rename(place.path("run"), place.path("moved")).unwrap();
    let outcome = Outcome::of(child.wait_with_output().unwrap());
    outcome.failed(
        1,
        &["retries at the next checkpoint", "the end of the training run was not saved", "No such file or directory"],
    );
    assert!(!place.path("run").exists(), "the folder is not created again");
    place.run(&["train", "--quiet", "--resume", "moved"]).succeeded();
    assert!(result_of(&place.path("moved")) == result_of(&place.path("whole")));
}

#[test]
fn a_symbolic_link_to_a_run_is_followed_and_kept() {
    let place = Place::new();
    place.run(&training(&["--out", "target"])).succeeded();
    let is_link = |name: &str| place.path(name).symlink_metadata().unwrap().is_symlink();
    symlink("target", place.path("link")).unwrap();
    place.run(&training(&["--out", "link"])).failed(1, &["`link` exists already"]);
    place.run(&training(&["--out", "link", "--force", "--seed", "9"])).succeeded();
    assert!(is_link("link"));
    place.run(&training(&["--out", "other", "--seed", "9"])).succeeded();
    assert!(
        result_of(&place.path("target")) == result_of(&place.path("other")),
        "the run behind the link was replaced"
    );
    place.run(&["train", "--quiet", "--resume", "link", "--epochs", "4"]).succeeded();

    // a link to an empty folder is followed; a link to nothing or to a file is refused, and the file is kept
    fs::create_dir(place.path("empty")).unwrap();
    symlink("empty", place.path("to-empty")).unwrap();
    place.run(&training(&["--out", "to-empty"])).succeeded();
    assert!(place.path("empty/model.safetensors").exists() && is_link("to-empty"));
    place.write("file", "mine");
    for (name, target) in [("to-nothing", "nothing"), ("to-file", "file")] {
        symlink(target, place.path(name)).unwrap();
        place.run(&training(&["--out", name])).failed(1, &["exists already"]);
        place.run(&training(&["--out", name, "--force"])).failed(4, &["is not a run"]);
    }
    assert_eq!(fs::read_to_string(place.path("file")).unwrap(), "mine");
    assert!(!place.path("nothing").exists());
}

#[test]
fn a_link_inside_a_run_is_replaced_and_its_target_is_kept() {
    let place = Place::new();
    place.run(&training(&["--out", "run"])).succeeded();
    let model = place.path("run/model.safetensors");
    fs::rename(&model, place.path("mine")).unwrap();
    symlink(place.path("mine"), &model).unwrap();
    let before = fs::read(place.path("mine")).unwrap();
    place.run(&["train", "--quiet", "--resume", "run", "--epochs", "5"]).succeeded();
    assert!(fs::read(place.path("mine")).unwrap() == before && fs::read(&model).unwrap() != before);
}
