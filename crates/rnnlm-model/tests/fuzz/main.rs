//! Every reader of files on arbitrary bytes and on edited files of a run, with and without a valid digest. There are ten
//! thousand cases per reader. No case may panic or allocate much memory.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../trust/digest.rs"]
mod digest;
mod input;
mod memory;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use input::{Input, inputs};
use proptest::prelude::*;
use rnnlm_model::{
    Cell, Corpus, CorpusOptions, CorpusRecord, Cpu, Disk, ExecutionPath, ModelConfig, Normalization, Run, RunConfig,
    RunWriter, TokenKind, TrainConfig, Trainer, Vocab,
};

/// Cases per reader.
const CASES: u32 = 10_000;

/// The file system without syncs, which take most of the time.
#[derive(Debug)]
struct NoSync;

impl Disk for NoSync {
    fn sync(&self, _: &fs::File) -> std::io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> std::io::Result<()> {
        Ok(())
    }
}

/// A run of which every case replaces one file.
struct Subject {
    folder: tempfile::TempDir,
    trainer: Trainer<Cpu>,
    name: &'static str,
    valid: Vec<u8>,
}

impl Subject {
    /// A run in the current format, or the fixture in format 1.
    fn new(name: &'static str, format: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let trainer = if format == 1 { copy_of_format_1(&path) } else { new_run(&path) };
        let valid = fs::read(path.join(name)).unwrap();
        Self { folder, trainer, name, valid }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Replaces the file with the input.
    fn write(&self, input: &Input) {
        replace(&self.path().join(self.name), &input.bytes(&self.valid));
    }

    /// Loads the model.
    fn load(&self) -> rnnlm_model::Result<()> {
        Run::open(&self.path())?.load(self.trainer.model().backend(), ExecutionPath::Auto).map(drop)
    }

    /// Resumes the run.
    fn restore(&mut self) -> rnnlm_model::Result<()> {
        RunWriter::resume_on(Arc::new(NoSync), &self.path())?.restore(&mut self.trainer).map(drop)
    }
}

/// Removes a file and writes it again. Overwriting it would be slow, because ext4 then writes to the disk on close.
fn replace(path: &Path, bytes: &[u8]) {
    // the file may not exist
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
}

fn new_run(path: &Path) -> Trainer<Cpu> {
    let options = CorpusOptions::default();
    let corpus = Corpus::from_bytes("the tide and the time, the tide and the time".as_bytes(), &options).unwrap();
    let size = corpus.vocab.len();
    let model = ModelConfig { cell: Cell::Lstm, hidden_size: 3, ..ModelConfig::book(size) };
    let train = TrainConfig { epochs: 2, batch_size: 2, num_steps: 5, ..TrainConfig::book() };
    let config = RunConfig::new(CorpusRecord::new("text", &options, &corpus), model, train);
    let mut trainer = Trainer::new(&Cpu::new(1).unwrap(), &config.model, &config.train, ExecutionPath::Auto).unwrap();
    let mut writer = RunWriter::create(path, false, config, corpus.vocab).unwrap();
    writer.log(&trainer.epoch(&corpus.ids, &|| false).unwrap().unwrap());
    writer.save(&trainer).unwrap();
    trainer
}

fn copy_of_format_1(path: &Path) -> Trainer<Cpu> {
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/run-format-1");
    fs::create_dir(path).unwrap();
    for entry in fs::read_dir(fixture).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, path.join(from.file_name().unwrap())).unwrap();
    }
    let run = Run::open(path).unwrap();
    Trainer::new(&Cpu::new(1).unwrap(), run.model(), &run.config().unwrap().train, ExecutionPath::Auto).unwrap()
}

/// Runs `body` on [`CASES`] inputs made from `valid`.
fn fuzz(valid: &[u8], mut body: impl FnMut(&Input)) {
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let body = std::cell::RefCell::new(&mut body);
    proptest::test_runner::TestRunner::new(config)
        .run(&inputs(valid.len()), |input| {
            (body.borrow_mut())(&input);
            memory::check();
            Ok(())
        })
        .unwrap();
}

#[test]
fn fuzz_config() {
    let mut subject = Subject::new("config.json", 2);
    let valid = subject.valid.clone();
    fuzz(&valid, |input| {
        subject.write(input);
        let _ = subject.load();
        let _ = subject.restore();
    });
}

/// Sizes that are the same in all files of the run, but without the values for them.
#[test]
fn fuzz_sizes() {
    let mut subject = Subject::new("config.json", 2);
    let files = ["config.json", "model.safetensors", "trainer.safetensors"].map(|name| subject.path().join(name));
    let valid = files.clone().map(|file| fs::read(file).unwrap());
    fuzz(&[0; 16], |input| {
        let bytes = input.bytes(&[0; 16]);
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes.get(at + i).copied().unwrap_or(1)));
        let field = ["hidden_size", "num_layers", "batch_size", "num_steps"][(number(8) % 4) as usize];
        let value = number(0) >> ((number(8) >> 2) % 64);
        for (file, valid) in files.iter().zip(&valid) {
            replace(file, &input::with_number(valid, field, value));
        }
        let _ = subject.load();
        let _ = subject.restore();
    });
}

#[test]
fn fuzz_vocabulary() {
    let subject = Subject::new("vocab.json", 2);
    fuzz(&subject.valid, |input| {
        let _ = Vocab::from_json(&input.bytes(&subject.valid));
        subject.write(input);
        let _ = subject.load();
    });
}

#[test]
fn fuzz_model() {
    let subject = Subject::new("model.safetensors", 2);
    fuzz(&subject.valid, |input| {
        subject.write(input);
        let _ = subject.load();
    });
}

#[test]
fn fuzz_trainer() {
    let mut subject = Subject::new("trainer.safetensors", 2);
    let valid = subject.valid.clone();
    fuzz(&valid, |input| {
        subject.write(input);
        let _ = subject.restore();
        let _ = subject.load();
    });
}

#[test]
fn fuzz_metrics() {
    for (format, reads_all) in [(1, true), (2, false)] {
        let mut subject = Subject::new("metrics.jsonl", format);
        let valid = subject.valid.clone();
        fuzz(&valid, |input| {
            subject.write(input);
            if reads_all {
                let _ = Run::open(&subject.path()).unwrap().metrics();
            }
            let _ = subject.restore();
        });
    }
}

/// Sparse files larger than memory, whose headers state that length.
#[test]
fn files_larger_than_memory_are_refused_without_reading() {
    for name in ["config.json", "vocab.json", "model.safetensors", "trainer.safetensors", "metrics.jsonl"] {
        let mut subject = Subject::new(name, 2);
        for header in [0, 1 << 29, 1 << 39, u64::MAX] {
            let mut file = fs::File::create(subject.path().join(name)).unwrap();
            std::io::Write::write_all(&mut file, &u64::to_le_bytes(header)).unwrap();
            file.set_len(1 << 40).unwrap();
            assert!(subject.restore().is_err(), "{name}");
            if name != "metrics.jsonl" {
                assert!(subject.load().is_err(), "{name}");
            }
            memory::check();
        }
    }
}

#[test]
fn fuzz_text() {
    let text = "The tide, it is said,\r\nand the time: <unk> é\u{301} 1895\n".as_bytes();
    let vocab = Corpus::from_bytes(text, &CorpusOptions::default()).unwrap().vocab;
    let mut case = 0;
    fuzz(text, |input| {
        let bytes = input.bytes(text);
        case += 1;
        let kind = TokenKind::ALL[case % TokenKind::ALL.len()];
        let normalization = Normalization::ALL[case / 3 % Normalization::ALL.len()];
        let options = CorpusOptions { kind, normalization, min_freq: case as u64 % 3, ..CorpusOptions::default() };
        let _ = Corpus::from_reader(&*bytes, "text", &options);
        let _ = Corpus::encode_reader(&*bytes, "text", vocab.clone(), case % 7);
    });
}
