//! Runs that are opened from bytes behave like the same runs in folders.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use rnnlm_model::{
    Corpus, CorpusOptions, CorpusRecord, Cpu, Error, ExecutionPath, Generator, LanguageModel, ModelConfig, Run,
    RunConfig, RunWriter, Sampler, TrainConfig, Trainer,
};

const FILES: [&str; 3] = ["config.json", "vocab.json", "model.safetensors"];

/// A run in a folder, and the contents of its files.
struct Saved {
    folder: tempfile::TempDir,
    contents: [Vec<u8>; 3],
}

impl Saved {
    fn new() -> Self {
        let options = CorpusOptions::default();
        let corpus = Corpus::from_bytes("the tide and the time ".repeat(20).as_bytes(), &options).unwrap();
        let model = ModelConfig { hidden_size: 8, ..ModelConfig::book(corpus.vocab.len()) };
        let train = TrainConfig { epochs: 3, batch_size: 2, num_steps: 10, ..TrainConfig::book() };
        let mut trainer = Trainer::new(&Cpu::new(1).unwrap(), &model, &train, ExecutionPath::Auto).unwrap();
        for _ in 0..3 {
            trainer.epoch(&corpus.ids, &|| false).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let config = RunConfig::new(CorpusRecord::new("tide", &options, &corpus), model, train);
        let path = folder.path().join("run");
        RunWriter::create(&path, false, config, corpus.vocab).unwrap().save(&trainer).unwrap();
        let contents = FILES.map(|name| fs::read(path.join(name)).unwrap());
        Self { folder, contents }
    }

    fn in_folder(&self) -> Run {
        Run::open(&self.folder.path().join("run")).unwrap()
    }
}

fn open([config, vocab, model]: &[Vec<u8>; 3]) -> Result<Run, Error> {
    Run::from_bytes(config, vocab, model.clone())
}

fn load(run: &Run) -> Result<LanguageModel<Cpu>, Error> {
    run.load(&Cpu::new(1)?, ExecutionPath::Auto)
}

/// The logits after each token of a prefix, and generated tokens.
fn decode(run: &Run) -> (Vec<f32>, Vec<u32>) {
    let model = load(run).unwrap();
    let prefix = run.vocab().encode_prefix("the ti").ids;
    let mut generator = Generator::new(&model).unwrap();
    let logits = prefix.iter().flat_map(|&id| generator.read(id).unwrap().to_vec()).collect();
    let mut ids = Vec::new();
    let mut sampler = Sampler::new(0.8, 5).unwrap();
    let mut emit = |id| {
        ids.push(id);
        true
    };
    Generator::new(&model).unwrap().generate(&prefix, 30, &mut sampler, &mut emit).unwrap();
    (logits, ids)
}

#[test]
fn a_run_from_bytes_equals_the_run_in_the_folder() {
    let saved = Saved::new();
    let (folder, bytes) = (saved.in_folder(), open(&saved.contents).unwrap());
    assert_eq!(bytes.config().unwrap(), folder.config().unwrap());
    assert_eq!((bytes.model(), bytes.vocab()), (folder.model(), folder.vocab()));
    assert_eq!(decode(&bytes), decode(&folder));
}

#[test]
fn a_run_from_bytes_reads_no_files() {
    let saved = Saved::new();
    let run = open(&saved.contents).unwrap();
    drop(saved.folder);
    assert_eq!(run.path().as_os_str(), "");
    load(&run).unwrap();
    assert!(matches!(run.metrics(), Err(Error::Io { .. })));
    let best = run.load_best(&Cpu::new(1).unwrap(), ExecutionPath::Auto);
    assert!(matches!(best, Err(Error::NoBestModel { .. })));
}

#[test]
fn every_changed_byte_is_refused() {
    let saved = Saved::new();
    for (index, name) in FILES.iter().enumerate() {
        let refused = |content: Vec<u8>, what: &str| {
            let mut contents = saved.contents.clone();
            contents[index] = content;
            let error = open(&contents).and_then(|run| load(&run).map(drop)).expect_err(what);
            let names_file = matches!(
                &error,
                Error::Damaged { path, .. } | Error::Mismatch { path, .. } | Error::NewerFormat { path, .. }
                    if path.as_os_str() == *name
            );
            assert!(names_file, "{what}: {error}");
        };
        let valid = &saved.contents[index];
        for at in 0..valid.len() {
            let mut flipped = valid.clone();
            flipped[at] ^= 1 << (at % 8);
            refused(flipped, &format!("{name}: byte {at} flipped"));
        }
        for length in (0..valid.len()).step_by(11) {
            refused(valid[..length].to_vec(), &format!("{name}: truncated to {length} bytes"));
        }
        refused([valid, &b"\0"[..]].concat(), &format!("{name}: an additional byte"));
    }
}

#[test]
fn the_model_of_another_run_is_refused() {
    let saved = Saved::new();
    let text = "another text with other characters";
    let corpus = Corpus::from_bytes(text.as_bytes(), &CorpusOptions::default()).unwrap();
    let other = tempfile::tempdir().unwrap();
    let model = ModelConfig { hidden_size: 8, ..ModelConfig::book(corpus.vocab.len()) };
    let train = TrainConfig { batch_size: 1, num_steps: 4, ..TrainConfig::book() };
    let trainer = Trainer::new(&Cpu::new(1).unwrap(), &model, &train, ExecutionPath::Auto).unwrap();
    let record = CorpusRecord::new("other", &CorpusOptions::default(), &corpus);
    let path = other.path().join("run");
    let config = RunConfig::new(record, model, train);
    RunWriter::create(&path, false, config, corpus.vocab).unwrap().save(&trainer).unwrap();
    let [config, vocab, _] = saved.contents;
    let run = open(&[config, vocab, fs::read(path.join("model.safetensors")).unwrap()]).unwrap();
    assert!(matches!(load(&run), Err(Error::Mismatch { .. })));
}
