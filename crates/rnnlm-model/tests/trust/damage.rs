//! Changed, missing and additional bytes in the files of a run. Each is an error that names the file.

use std::fs;
use std::path::PathBuf;

use rnnlm_model::{Corpus, Cpu, Error, ExecutionPath, Run, RunConfig, RunWriter, Trainer, Vocab};

use crate::setting::{Setting, copy, files};

/// A run in its second epoch, and its expected content.
struct Subject {
    folder: tempfile::TempDir,
    trainer: Trainer<Cpu>,
    parameters: Vec<f32>,
    vocab: Vocab,
    config: RunConfig,
}

impl Subject {
    fn new() -> Self {
        let setting = Setting::new(|model, _| (model.hidden_size, model.num_layers) = (3, 1));
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, mut trainer) = setting.begin(&folder.path().join("run"));
        setting.steps(&mut writer, &mut trainer, 13);
        writer.save(&trainer).unwrap();
        let parameters = trainer.snapshot().unwrap().parameters;
        let (config, vocab) = (setting.config, setting.corpus.vocab);
        Self { folder, trainer, parameters, vocab, config }
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Loads the model, as `generate` and `eval` do. If it loads, it is the one that was saved.
    fn load(&self) -> Result<(), Error> {
        let run = Run::open(&self.run())?;
        let cpu = self.trainer.model().backend();
        let model = run.load(cpu, ExecutionPath::Auto)?;
        assert_eq!(model.parameters().to_vec(cpu).unwrap(), self.parameters, "another model was loaded silently");
        assert_eq!(
            (run.config().unwrap(), run.vocab()),
            (&self.config, &self.vocab),
            "another run was loaded silently"
        );
        Ok(())
    }

    /// Resumes the run, as `train --resume` does.
    fn restore(&mut self) -> Result<(), Error> {
        RunWriter::resume(&self.run())?.restore(&mut self.trainer)?;
        assert_eq!(self.trainer.position().step, 13, "another position was restored silently");
        assert_eq!(self.trainer.snapshot().unwrap().parameters, self.parameters, "another model was restored silently");
        Ok(())
    }
}

/// Damaged versions of a file, with descriptions.
fn damages(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for at in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        found.push((format!("byte {at} flipped"), flipped));
    }
    for length in (0..bytes.len()).step_by(11) {
        found.push((format!("truncated to {length} bytes"), bytes[..length].to_vec()));
    }
    for tail in [&b"\0"[..], b"\n", b" ", b"}", &[0; 4096], bytes] {
        found.push((format!("{} additional bytes", tail.len()), [bytes, tail].concat()));
    }
    found.push(("zeros".to_owned(), vec![0; bytes.len()]));
    found
}

/// Asserts an error for which the command has exit code 4.
#[track_caller]
fn assert_refused(outcome: Result<(), Error>, what: &str) {
    let error = outcome.expect_err(what);
    let bad_model = matches!(
        error,
        Error::Damaged { .. } | Error::Mismatch { .. } | Error::NewerFormat { .. } | Error::NotARun { .. }
    );
    assert!(bad_model, "{what}: {error}");
}

#[test]
fn every_changed_byte_is_an_error() {
    let mut subject = Subject::new();
    for (name, is_loaded) in
        [("config.json", true), ("vocab.json", true), ("model.safetensors", true), ("trainer.safetensors", false)]
    {
        let file = subject.run().join(name);
        let whole = fs::read(&file).unwrap();
        for (what, bytes) in damages(&whole) {
            let what = format!("{name}: {what}");
            fs::write(&file, bytes).unwrap();
            assert_refused(subject.restore(), &what);
            // loading the model may not read a damaged trainer; `load` asserts that the model is the saved one
            if is_loaded { assert_refused(subject.load(), &what) } else { drop(subject.load()) }
        }
        fs::write(&file, whole).unwrap();
        subject.load().unwrap();
        subject.restore().unwrap();
    }
}

#[test]
fn changed_metrics_are_an_error_and_later_lines_are_truncated() {
    let mut subject = Subject::new();
    let file = subject.run().join("metrics.jsonl");
    let whole = fs::read(&file).unwrap();
    assert_eq!(whole.iter().filter(|&&byte| byte == b'\n').count(), 1, "one epoch is complete");
    for (what, bytes) in damages(&whole) {
        fs::write(&file, &bytes).unwrap();
        if bytes.starts_with(&whole) {
            subject.restore().expect(&what);
            assert_eq!(fs::read(&file).unwrap(), whole, "{what}");
        } else {
            assert_refused(subject.restore(), &what);
            assert_eq!(fs::read(&file).unwrap(), bytes, "{what}: a refused file is not changed");
        }
    }
}

#[test]
fn an_error_names_the_missing_file() {
    let mut subject = Subject::new();
    for name in ["config.json", "vocab.json", "trainer.safetensors", "metrics.jsonl"] {
        let file = subject.run().join(name);
        let whole = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let error = subject.restore().expect_err(name);
        assert!(error.to_string().contains(name), "{error}");
        assert_refused(Err(error), name);
        // a folder with that name is an error too
        fs::create_dir(&file).unwrap();
        assert_refused(subject.restore(), name);
        fs::remove_dir(&file).unwrap();
        fs::write(&file, whole).unwrap();
        subject.restore().expect(name);
    }
}

/// A crash between the two renames of a save.
#[test]
fn a_model_older_than_the_trainer_is_recreated() {
    let mut subject = Subject::new();
    let (run, model) = (subject.run(), subject.run().join("model.safetensors"));
    let whole = fs::read(&model).unwrap();
    let earlier = tempfile::tempdir().unwrap();
    let setting = Setting::new(|model, _| (model.hidden_size, model.num_layers) = (3, 1));
    drop(setting.begin(&earlier.path().join("run")));
    let stale = fs::read(earlier.path().join("run/model.safetensors")).unwrap();
    assert!(stale != whole);
    for missing in [false, true] {
        if missing { fs::remove_file(&model) } else { fs::write(&model, &stale) }.unwrap();
        // a reader loads the model of the trainer and writes nothing, whether another process writes the run or not
        let before = files(&run);
        subject.load().unwrap();
        let writer = RunWriter::resume(&run).unwrap();
        subject.load().unwrap();
        drop(writer);
        assert!(files(&run) == before, "a reader changed a file");
        subject.restore().unwrap();
        assert!(fs::read(&model).unwrap() == whole, "the model belongs to the trainer");
    }
    // a reader does not need the trainer's file
    let alone = tempfile::tempdir().unwrap();
    copy(&run, alone.path());
    fs::write(alone.path().join("model.safetensors"), &whole).unwrap();
    fs::remove_file(alone.path().join("trainer.safetensors")).unwrap();
    assert!(Run::open(alone.path()).unwrap().load(&Cpu::new(1).unwrap(), ExecutionPath::Auto).is_ok());
}

#[test]
fn newer_formats_are_refused() {
    let mut subject = Subject::new();
    for name in ["config.json", "vocab.json", "model.safetensors", "trainer.safetensors"] {
        let file = subject.run().join(name);
        let whole = fs::read(&file).unwrap();
        let newer = with_text(&whole, |text| match name {
            "vocab.json" => text.replacen("\"format_version\": 1", "\"format_version\": 9", 1),
            "config.json" => text.replacen("\"format_version\": 2", "\"format_version\": 9, \"new\": {}", 1),
            // a header of the same length with an unknown field
            _ => text
                .replacen("format_version\\\":2", "format_version\\\":9", 1)
                .replacen("nonlinearity", "nonlinearities", 1)
                .replacen("reset_before", "reset_befo", 1),
        });
        fs::write(&file, newer).unwrap();
        let error = subject.restore().expect_err(name);
        assert!(matches!(&error, Error::NewerFormat { path, found: 9, .. } if *path == file), "{error}");
        fs::write(&file, whole).unwrap();
    }
    subject.restore().unwrap();
}

/// The file with changed text and a valid digest.
fn with_text(bytes: &[u8], change: impl Fn(String) -> String) -> Vec<u8> {
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    let mut changed: Vec<u8> = change(text).chars().map(|c| c as u8).collect();
    crate::digest::update(&mut changed);
    changed
}

/// Valid files that do not belong together.
#[test]
fn files_of_different_runs_are_refused() {
    let mut subject = Subject::new();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    let text = "quite another text, with the same number of kinds of characters in it: 0123";
    let vocab = Corpus::from_bytes(text.as_bytes(), &Default::default()).unwrap().vocab;
    let mut config = subject.config.clone();
    config.model.vocab_size = vocab.len();
    let mut writer = RunWriter::create(&other, false, config.clone(), vocab).unwrap();
    let trainer = Trainer::new(&Cpu::new(1).unwrap(), &config.model, &config.train, ExecutionPath::Auto).unwrap();
    writer.save(&trainer).unwrap();
    drop(writer);
    for name in ["config.json", "vocab.json", "model.safetensors", "trainer.safetensors"] {
        let (file, whole) = (subject.run().join(name), fs::read(subject.run().join(name)).unwrap());
        fs::copy(other.join(name), &file).unwrap();
        assert_refused(subject.restore(), name);
        if name != "trainer.safetensors" {
            assert_refused(subject.load(), name);
        }
        fs::write(&file, whole).unwrap();
    }
}
