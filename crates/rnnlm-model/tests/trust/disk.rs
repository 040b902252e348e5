//! A disk on which the N-th operation fails, for every N that a training makes: the run loads, nothing in it is mixed, what
//! is left lying about goes at the next start, and the training ends with the bits of one that nothing happened to.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rnnlm_model::{Disk, Error, Result, Run, RunWriter, System, Trainer};
use rnnlm_rnn::ExecutionPath;
use rnnlm_tensor::Cpu;

use crate::setting::{Ending, Setting, litter};

/// What happens at the operation that fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It fails, the others do not.
    Once,
    /// Half of a write goes through, and then it fails.
    ShortWrite,
    /// The disk is full from there on: nothing more is written or made; names can be changed and removed.
    Full,
    /// The process is gone: no operation does anything any more, as if it had been killed between two of them.
    Gone,
}

/// A file system that fails at one operation.
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

    /// Counts an operation and fails it if it is its turn; `grows` if it takes room.
    fn pass(&self, grows: bool) -> io::Result<()> {
        let now = self.count.fetch_add(1, Ordering::Relaxed);
        let fails = match self.fault {
            Fault::Once | Fault::ShortWrite => now == self.at,
            Fault::Full => now >= self.at && grows,
            Fault::Gone => now >= self.at,
        };
        if fails { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    /// Whether the operation has come.
    fn has_failed(&self) -> bool {
        self.count.load(Ordering::Relaxed) > self.at
    }
}

impl Disk for Failing {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.pass(true)?;
        System.create_folder(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.pass(true)?;
        System.create(path)
    }

    fn append(&self, path: &Path) -> io::Result<File> {
        self.pass(!path.exists())?;
        System.append(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.pass(true).or_else(|error| {
            if self.fault == Fault::ShortWrite {
                file.write_all(&bytes[..bytes.len() / 2])?;
            }
            Err(error)
        })?;
        System.write(file, bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.pass(false)?;
        System.sync(file)
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        self.pass(false)?;
        System.truncate(file, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(false)?;
        System.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(true)?;
        System.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass(false)?;
        System.remove(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.pass(false)?;
        System.sync_folder(path)
    }
}

/// A whole training that is saved every five steps; a save that fails is a warning, as in the command.
fn train(setting: &Setting, disk: &Arc<Failing>, path: &Path) -> Result<(RunWriter, Trainer<Cpu>)> {
    let vocab = setting.corpus.vocab.clone();
    let mut writer = RunWriter::create_on(disk.clone(), path, false, setting.config.clone(), vocab)?.keeping(1);
    let mut trainer = setting.trainer();
    writer.save(&trainer)?;
    while trainer.position().epoch < setting.config.train.epochs {
        setting.steps_saving(&mut writer, &mut trainer, 5, warn);
        warn(writer.save(&trainer));
    }
    Ok((writer, trainer))
}

/// A disk that cannot take what is saved is nothing to end a training for.
fn warn(outcome: Result<()>) {
    match outcome {
        Err(Error::Io { .. }) | Ok(()) => {}
        Err(other) => panic!("{other}"),
    }
}

/// Step and parameters of every generation that a training commits.
fn generations(setting: &Setting) -> Vec<(u64, Vec<f32>)> {
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

/// Takes up what is in `path`, whatever happened there, and trains it to its end.
fn recover(setting: &Setting, path: &Path, generations: &[(u64, Vec<f32>)], what: &str) -> Ending {
    if !path.exists() || Run::is_unfinished(path) {
        // it had not begun: the same command begins it
        let mut writer =
            RunWriter::create(path, false, setting.config.clone(), setting.corpus.vocab.clone()).expect(what);
        let trainer = setting.trainer();
        writer.save(&trainer).expect(what);
        return setting.finish((writer, trainer));
    }
    // a reader first: the model is a whole generation's
    let run = Run::open(path).expect(what);
    let cpu = Cpu::new(1).unwrap();
    let model = run.load(&cpu, ExecutionPath::Auto).expect(what).parameters().to_vec(&cpu).unwrap();
    let (mut writer, mut trainer) = (RunWriter::resume(path).expect(what), setting.trainer());
    assert!(writer.restore(&mut trainer).expect(what), "{what}: it was saved");
    let (step, parameters) = (trainer.position().step, trainer.snapshot().unwrap().parameters);
    assert!(model == parameters, "{what}: the model is that of the trainer");
    let generation = generations.iter().find(|(committed, _)| *committed == step);
    assert!(generation.is_some_and(|(_, committed)| *committed == parameters), "{what}: nothing is mixed");
    assert_eq!(litter(path), [""; 0], "{what}: the next start leaves no litter");
    setting.finish((writer, trainer))
}

fn every_operation_can_fail(fault: Fault) {
    let setting = Setting { held_out: true, ..Setting::new(|_, train| train.epochs = 2) };
    let (uninterrupted, generations) = (setting.uninterrupted(), generations(&setting));
    for at in 0.. {
        let what = format!("{fault:?} at operation {at}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let disk = Failing::new(fault, at);
        let outcome = train(&setting, &disk, &path);
        if !disk.has_failed() {
            assert!(at > 50, "{what}: a training has more operations than that");
            outcome.unwrap();
            assert_eq!(Ending::of(&path), uninterrupted);
            return;
        }
        if let Ok((mut writer, trainer)) = outcome {
            // a disk that fails once is well again, and the next save is as good as any
            if matches!(fault, Fault::Once | Fault::ShortWrite) {
                writer.save(&trainer).expect(&what);
                assert_eq!(Ending::of(&path), uninterrupted, "{what}");
            }
        }
        assert_eq!(recover(&setting, &path, &generations, &what), uninterrupted, "{what}");
    }
}

#[test]
fn an_operation_that_fails_once_costs_one_save() {
    every_operation_can_fail(Fault::Once);
}

#[test]
fn a_write_that_stops_halfway_leaves_no_half_file() {
    every_operation_can_fail(Fault::ShortWrite);
}

#[test]
fn a_disk_that_fills_up_keeps_the_last_good_save() {
    every_operation_can_fail(Fault::Full);
}

#[test]
fn a_process_that_ends_between_any_two_operations_leaves_a_run() {
    every_operation_can_fail(Fault::Gone);
}
