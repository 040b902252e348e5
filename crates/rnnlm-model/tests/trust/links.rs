//! Links, permissions and folders that users make: a run never writes through a link, and removes only its own files.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rnnlm_model::{Cpu, Error, ExecutionPath, Run, RunWriter, Trainer};

use crate::setting::{Outcome, Setting, files};

const FILES: [&str; 6] =
    ["config.json", "vocab.json", "model.safetensors", "trainer.safetensors", "best.safetensors", "metrics.jsonl"];

fn setting() -> Setting {
    Setting { validates: true, ..Setting::new(|_, train| train.epochs = 4) }
}

/// Trains 13 steps, which end in the second epoch, with a save every five steps.
fn train(setting: &Setting, writer: RunWriter, mut trainer: Trainer<Cpu>) -> (RunWriter, Trainer<Cpu>) {
    let mut writer = writer.keep_checkpoints(2);
    for steps in [5, 5, 3] {
        setting.steps(&mut writer, &mut trainer, steps);
        writer.save(&trainer).unwrap();
    }
    (writer, trainer)
}

/// A run in its second epoch.
fn begin(setting: &Setting, path: &Path) -> (RunWriter, Trainer<Cpu>) {
    let (writer, trainer) = setting.begin(path);
    train(setting, writer, trainer)
}

/// Resumes the run and trains it to the end.
fn finish(setting: &Setting, path: &Path) -> Outcome {
    let (writer, trainer) = setting.resume(path);
    setting.finish(train(setting, writer, trainer))
}

/// A copy as `cp -al` makes it: each file is a hard link.
fn copy_of_links(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() { copy_of_links(&from, &to) } else { fs::hard_link(&from, &to).unwrap() }
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_copy_of_hard_links_is_independent() {
    let setting = setting();
    let uninterrupted = setting.uninterrupted();
    let folder = tempfile::tempdir().unwrap();
    let (original, during, after) = (folder.path().join("run"), folder.path().join("a"), folder.path().join("b"));
    let (writer, trainer) = begin(&setting, &original);
    copy_of_links(&original, &during);
    // both are written at the same time, and a process that writes one of them blocks others there
    let (copied_writer, copied_trainer) = setting.resume(&during);
    let error = RunWriter::resume(&during).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert_eq!(setting.finish((writer, trainer)), uninterrupted);
    let of_original = files(&original);
    assert_eq!(setting.finish((copied_writer, copied_trainer)), uninterrupted);
    assert!(files(&original) == of_original, "the copy changed the original");

    copy_of_links(&original, &after);
    let longer = Setting { validates: true, ..Setting::new(|_, train| train.epochs = 6) };
    let (mut writer, mut trainer) = (RunWriter::resume(&after).unwrap(), longer.trainer());
    writer.raise_epochs(6).unwrap();
    writer.restore(&mut trainer).unwrap();
    assert_eq!(longer.finish((writer, trainer)), longer.uninterrupted());
    assert!(files(&original) == of_original, "the copy changed the original");
    // lines after the last save are truncated in the copy alone
    copy_of_links(&original, &folder.path().join("c"));
    let metrics = folder.path().join("c/metrics.jsonl");
    let with_more = [&fs::read(&metrics).unwrap()[..], b"{\n"].concat();
    fs::write(&metrics, &with_more).unwrap();
    setting.resume(&folder.path().join("c"));
    assert!(fs::read(&metrics).unwrap().len() < with_more.len());
    assert!(fs::read(original.join("metrics.jsonl")).unwrap() == with_more);
}

#[test]
fn links_in_a_run_are_replaced_and_what_they_lead_to_is_not() {
    let setting = setting();
    let folder = tempfile::tempdir().unwrap();
    let (run, elsewhere) = (folder.path().join("run"), folder.path().join("elsewhere"));
    drop(begin(&setting, &run));
    // every file and the folder of the checkpoints are somewhere else
    fs::rename(&run, &elsewhere).unwrap();
    fs::create_dir(&run).unwrap();
    for entry in fs::read_dir(&elsewhere).unwrap() {
        let name = entry.unwrap().file_name();
        symlink(Path::new("../elsewhere").join(&name), run.join(name)).unwrap();
    }
    let before = files(&elsewhere);
    assert_eq!(finish(&setting, &run), setting.uninterrupted());
    assert!(files(&elsewhere) == before, "a file was changed through a link");
    for name in FILES.iter().filter(|name| !["config.json", "vocab.json"].contains(name)) {
        assert!(!run.join(name).is_symlink(), "{name}");
    }
    let kept: Vec<_> = fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 2);
    assert!(!run.join("checkpoints").is_symlink() && kept.iter().all(|path| !path.is_symlink()), "{kept:?}");
}

#[test]
fn a_lock_that_is_a_link_is_replaced() {
    let setting = setting();
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    drop(begin(&setting, &run));
    let lock = run.join(".rnnlm.lock");
    fs::write(folder.path().join("other"), "mine").unwrap();
    for target in ["other", "nothing"] {
        fs::remove_file(&lock).unwrap();
        symlink(folder.path().join(target), &lock).unwrap();
        drop(RunWriter::resume(&run).unwrap());
        assert!(!lock.is_symlink());
    }
    assert_eq!(fs::read_to_string(folder.path().join("other")).unwrap(), "mine");
    assert!(!folder.path().join("nothing").exists(), "a file was created through a link");
}

#[test]
fn entries_of_other_programs_are_kept() {
    let setting = setting();
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    drop(begin(&setting, &run));
    let others = [".rnnlm-mine/a", ".rnnlm-new/notes", "checkpoints/notes", "checkpoints/step-7.txt"];
    for name in others {
        fs::create_dir_all(run.join(name).parent().unwrap()).unwrap();
        fs::write(run.join(name), "mine").unwrap();
    }
    // a temporary file of this program is removed
    fs::write(run.join(".rnnlm-model.safetensors"), "half").unwrap();
    fs::write(run.join("checkpoints/.rnnlm-step-3.safetensors"), "half").unwrap();
    finish(&setting, &run);
    for name in [".rnnlm-model.safetensors", "checkpoints/.rnnlm-step-3.safetensors"] {
        assert!(!run.join(name).exists(), "{name}");
    }
    fs::remove_dir_all(run.join(".rnnlm-new")).unwrap();
    let replace = || RunWriter::create(&run, true, setting.config.clone(), setting.corpus.vocab.clone());
    replace().unwrap().save(&setting.trainer()).unwrap();
    for name in others.iter().filter(|name| !name.starts_with(".rnnlm-new")) {
        assert_eq!(fs::read_to_string(run.join(name)).unwrap(), "mine", "{name}");
    }
    assert_eq!(fs::read_dir(run.join("checkpoints")).unwrap().count(), 2, "the checkpoints of the old run are removed");
    // a folder in the place of a temporary file is an error, and is kept
    fs::create_dir_all(run.join(".rnnlm-trainer.safetensors/mine")).unwrap();
    let (mut writer, mut trainer) = setting.resume(&run);
    setting.steps(&mut writer, &mut trainer, 2);
    let error = writer.save(&trainer).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("trainer.safetensors")), "{error}");
    assert!(run.join(".rnnlm-trainer.safetensors/mine").exists());
}

#[test]
fn permissions_of_the_user_are_kept() {
    let setting = setting();
    for restricted in [0o600, 0o640, 0o664] {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        drop(setting.begin(&run));
        for entry in fs::read_dir(&run).unwrap() {
            set_mode(&entry.unwrap().path(), restricted);
        }
        let check = |names: &[&str]| {
            for name in names {
                let found = mode(&run.join(name));
                let is_new = !["config.json", "vocab.json", "model.safetensors", "trainer.safetensors"].contains(name);
                // the umask of new files is that of the process
                assert!(found == restricted || is_new && found & !restricted == 0, "{restricted:o} {name}: {found:o}");
            }
        };
        finish(&setting, &run);
        check(&FILES);
        let kept = fs::read_dir(run.join("checkpoints")).unwrap().next().unwrap().unwrap().path();
        assert_eq!(mode(&kept), restricted);
        assert_eq!(mode(&run.join("checkpoints")) & 0o007, if restricted & 0o004 == 0 { 0 } else { 0o005 });
        // so does a run that replaces it
        let writer = RunWriter::create(&run, true, setting.config.clone(), setting.corpus.vocab.clone()).unwrap();
        assert_eq!(mode(&run.join(".rnnlm-new")) & 0o007, if restricted & 0o004 == 0 { 0 } else { 0o005 });
        setting.finish((writer, setting.trainer()));
        for name in FILES {
            assert_eq!(mode(&run.join(name)) & !restricted, 0, "{restricted:o} {name}");
        }
        Run::open(&run).unwrap().load(&Cpu::new(1).unwrap(), ExecutionPath::Auto).unwrap();
    }
}
