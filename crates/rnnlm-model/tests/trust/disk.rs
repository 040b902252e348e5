//! A file system whose N-th operation fails, for every operation of a training run. Afterwards the run loads, its files are
//! from one save, the next start removes temporary files, and the resumed run ends with the bits of an uninterrupted one.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rnnlm_model::{Cpu, Disk, Error, ExecutionPath, Result, Run, RunWriter, System, Trainer};

use crate::setting::{Outcome, Setting, copy_all, files, unfinished_files};

/// The kind of failure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// One operation fails.
    Once,
    /// One write stores half of its bytes and fails.
    ShortWrite,
    /// The disk is full from then on: writing and creating fail, renaming and removing do not.
    Full,
    /// All operations fail from then on, as if the process had been killed before the first of them.
    Killed,
}

/// A file system that fails from operation `at` on.
#[derive(Debug)]
struct Failing {
    fault: Fault,
    at: u64,
    count: AtomicU64,
}

impl Failing {
    fn new(fault: Fault, at: u64) -> Arc<Self> {
        Arc::new(Self { fault, at, count: AtomicU64::new(0) })
    }

    /// Counts an operation, and fails if it is the one to fail. `grows` states whether the operation needs disk space.
    fn count(&self, grows: bool) -> io::Result<()> {
        let index = self.count.fetch_add(1, Ordering::Relaxed);
        let fails = match self.fault {
            Fault::Once | Fault::ShortWrite => index == self.at,
            Fault::Full => index >= self.at && grows,
            Fault::Killed => index >= self.at,
        };
        if fails { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    /// Whether the operation that fails was reached.
    fn has_failed(&self) -> bool {
        self.count.load(Ordering::Relaxed) > self.at
    }
}

impl Disk for Failing {
    fn create_folder(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.count(true)?;
        System.create_folder(path, mode)
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        self.count(true)?;
        System.create(path, mode)
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        self.count(false)?;
        System.set_mode(file, mode)
    }

    fn append(&self, path: &Path) -> io::Result<File> {
        self.count(false)?;
        System.append(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.count(true).or_else(|error| {
            if self.fault == Fault::ShortWrite {
                file.write_all(&bytes[..bytes.len() / 2])?;
            }
            Err(error)
        })?;
        System.write(file, bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.count(false)?;
        System.sync(file)
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        self.count(false)?;
        System.truncate(file, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.count(false)?;
        System.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.count(true)?;
        System.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.count(false)?;
        System.remove(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.count(false)?;
        System.sync_folder(path)
    }
}

/// A complete training run that is saved every five steps. A save that fails is a warning, as in the command.
fn train(setting: &Setting, disk: &Arc<Failing>, path: &Path) -> Result<(RunWriter, Trainer<Cpu>)> {
    let vocab = setting.corpus.vocab.clone();
    let mut writer =
        RunWriter::create_on(disk.clone(), path, false, setting.config.clone(), vocab)?.keep_checkpoints(1);
    let mut trainer = setting.trainer();
    writer.save(&trainer)?;
    while trainer.position().epoch < setting.config.train.epochs {
        setting.steps_with(&mut writer, &mut trainer, 5, ignore_io);
        ignore_io(writer.save(&trainer));
    }
    Ok((writer, trainer))
}

/// I/O errors of a save do not end training.
fn ignore_io(outcome: Result<()>) {
    match outcome {
        Err(Error::Io { .. }) | Ok(()) => {}
        Err(other) => panic!("{other}"),
    }
}

/// Step and parameters of every save of an uninterrupted run.
fn saves(setting: &Setting) -> Vec<(u64, Vec<f32>)> {
    let mut trainer = setting.trainer();
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = setting.begin(&folder.path().join("run"));
    let mut found = vec![(0, trainer.snapshot().unwrap().parameters)];
    while trainer.position().epoch < setting.config.train.epochs {
        setting.steps(&mut writer, &mut trainer, 5);
        found.push((trainer.position().step, trainer.snapshot().unwrap().parameters));
    }
    found
}

/// A new run replaces the one in `path`. It is trained to the end and saved every five steps, as in [`train`].
fn train_replacement(setting: &Setting, disk: &Arc<Failing>, path: &Path) -> Result<(RunWriter, Trainer<Cpu>)> {
    let vocab = setting.corpus.vocab.clone();
    let mut writer = RunWriter::create_on(disk.clone(), path, true, setting.config.clone(), vocab)?;
    let mut trainer = setting.trainer();
    // the first save follows an epoch, so that all files are new
    setting.steps_with(&mut writer, &mut trainer, 10, ignore_io);
    let (mut writer, trainer) = train_five_by_five(setting, writer, trainer);
    writer.save(&trainer)?;
    Ok((writer, trainer))
}

/// Trains to the end, and saves every five steps.
fn train_five_by_five(
    setting: &Setting,
    mut writer: RunWriter,
    mut trainer: Trainer<Cpu>,
) -> (RunWriter, Trainer<Cpu>) {
    while trainer.position().epoch < setting.config.train.epochs {
        ignore_io(writer.save(&trainer));
        setting.steps_with(&mut writer, &mut trainer, 5, ignore_io);
    }
    (writer, trainer)
}

/// A run that replaces another one: until its first save is complete, the other one is whole.
fn every_operation_of_a_replacement_can_fail(fault: Fault) {
    let old = Setting { validates: true, ..Setting::new(|_, train| (train.epochs, train.seed) = (2, 9)) };
    let new = Setting { validates: true, ..Setting::new(|_, train| train.epochs = 2) };
    let (of_old, of_new, saves) = (old.uninterrupted(), new.uninterrupted(), saves(&new));
    let template = tempfile::tempdir().unwrap();
    let (writer, trainer) = old.begin(&template.path().join("run"));
    assert_eq!(old.finish(train_five_by_five(&old, writer.keep_checkpoints(2), trainer)), of_old);
    let (mut kept_old, mut kept_new) = (0, 0);
    for at in 0.. {
        let what = format!("{fault:?} at operation {at} of a replacement");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        copy_all(template.path(), folder.path());
        let disk = Failing::new(fault, at);
        let outcome = train_replacement(&new, &disk, &path);
        if !disk.has_failed() {
            outcome.unwrap();
            assert_eq!(Outcome::read(&path), of_new);
            assert!(kept_old > 10 && kept_new > 10, "{kept_old} {kept_new}");
            return;
        }
        drop(outcome);
        let before = files(&path);
        let run = Run::open(&path).expect(&what);
        let cpu = Cpu::new(1).unwrap();
        let model = run.load(&cpu, ExecutionPath::Auto).expect(&what).parameters().to_vec(&cpu).unwrap();
        assert!(files(&path) == before, "{what}: a reader changed a file");
        if run.config().unwrap().train.seed == 9 {
            kept_old += 1;
            assert_eq!(old.finish(old.resume(&path)), of_old, "{what}");
            assert!(path.join("checkpoints").read_dir().unwrap().count() > 0, "{what}");
        } else {
            kept_new += 1;
            assert!(saves.iter().any(|(_, saved)| *saved == model), "{what}");
            assert!(run.metrics().expect(&what).len() as u64 <= new.config.train.epochs, "{what}");
            assert_eq!(new.finish(new.resume(&path)), of_new, "{what}");
        }
        assert_eq!(unfinished_files(&path), [""; 0], "{what}");
    }
}

#[test]
fn a_run_stays_whole_until_the_first_save_of_its_replacement_is_complete() {
    for fault in [Fault::Once, Fault::Full, Fault::Killed] {
        every_operation_of_a_replacement_can_fail(fault);
    }
}

/// Resumes the run in `path` after a failure, and trains it to the end.
fn recover(setting: &Setting, path: &Path, saves: &[(u64, Vec<f32>)], what: &str) -> Outcome {
    if !path.exists() || Run::is_unfinished(path) {
        // there is no save, and the same command starts the run again
        let mut writer =
            RunWriter::create(path, false, setting.config.clone(), setting.corpus.vocab.clone()).expect(what);
        let trainer = setting.trainer();
        writer.save(&trainer).expect(what);
        return setting.finish((writer, trainer));
    }
    // a reader comes first, and gets the model of one save
    let run = Run::open(path).expect(what);
    let cpu = Cpu::new(1).unwrap();
    let model = run.load(&cpu, ExecutionPath::Auto).expect(what).parameters().to_vec(&cpu).unwrap();
    let (mut writer, mut trainer) = (RunWriter::resume(path).expect(what), setting.trainer());
    assert!(writer.restore(&mut trainer).expect(what), "{what}: it was saved");
    let (step, parameters) = (trainer.position().step, trainer.snapshot().unwrap().parameters);
    assert!(model == parameters, "{what}: the model belongs to the trainer");
    let save = saves.iter().find(|(saved, _)| *saved == step);
    assert!(save.is_some_and(|(_, saved)| *saved == parameters), "{what}: all files are from one save");
    assert_eq!(unfinished_files(path), [""; 0], "{what}: the next start removes temporary files");
    setting.finish((writer, trainer))
}

fn every_operation_can_fail(fault: Fault) {
    let setting = Setting { validates: true, ..Setting::new(|_, train| train.epochs = 2) };
    let (uninterrupted, saves) = (setting.uninterrupted(), saves(&setting));
    for at in 0.. {
        let what = format!("{fault:?} at operation {at}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let disk = Failing::new(fault, at);
        let outcome = train(&setting, &disk, &path);
        if !disk.has_failed() {
            assert!(at > 50, "{what}: a run has more operations");
            outcome.unwrap();
            assert_eq!(Outcome::read(&path), uninterrupted);
            return;
        }
        if let Ok((mut writer, trainer)) = outcome {
            // after a single failure, the next save succeeds
            if matches!(fault, Fault::Once | Fault::ShortWrite) {
                writer.save(&trainer).expect(&what);
                assert_eq!(Outcome::read(&path), uninterrupted, "{what}");
            }
        }
        assert_eq!(recover(&setting, &path, &saves, &what), uninterrupted, "{what}");
    }
}

#[test]
fn one_failed_operation_costs_at_most_one_save() {
    every_operation_can_fail(Fault::Once);
}

#[test]
fn a_short_write_leaves_no_partial_file() {
    every_operation_can_fail(Fault::ShortWrite);
}

#[test]
fn a_full_disk_keeps_the_last_save() {
    every_operation_can_fail(Fault::Full);
}

#[test]
fn a_process_killed_between_operations_leaves_a_run_that_loads() {
    every_operation_can_fail(Fault::Killed);
}
