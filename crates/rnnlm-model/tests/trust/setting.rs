//! A training that takes milliseconds, and what is compared of two of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rnnlm_model::{
    CorpusRecord, EpochReport, Metrics, ModelConfig, Result, RunConfig, RunWriter, TrainConfig, Trainer,
};
use rnnlm_rnn::ExecutionPath;
use rnnlm_tensor::Cpu;
use rnnlm_vocab::{Corpus, CorpusOptions};

const TEXT: &str = "a traveller in time is a traveller still and has to be fed at the usual hours of the day";

/// A text and what is done with it.
pub(crate) struct Setting {
    pub(crate) corpus: Corpus,
    pub(crate) config: RunConfig,
    /// Whether every epoch is scored, on the text's beginning.
    pub(crate) held_out: bool,
}

impl Setting {
    /// Three epochs of eight minibatches, or nine, as the offset has it.
    pub(crate) fn new(change: impl FnOnce(&mut ModelConfig, &mut TrainConfig)) -> Self {
        let options = CorpusOptions::default();
        let corpus = Corpus::from_bytes(TEXT.repeat(3).as_bytes(), &options).unwrap();
        let mut model = ModelConfig { hidden_size: 5, num_layers: 2, ..ModelConfig::book(corpus.vocab.len()) };
        let mut train = TrainConfig { epochs: 3, batch_size: 3, num_steps: 10, ..TrainConfig::book() };
        change(&mut model, &mut train);
        let config = RunConfig::new(CorpusRecord::new("text", &options, &corpus), model, train);
        Self { corpus, config, held_out: false }
    }

    pub(crate) fn trainer(&self) -> Trainer<Cpu> {
        Trainer::new(&Cpu::new(1).unwrap(), &self.config.model, &self.config.train, ExecutionPath::Auto).unwrap()
    }

    /// A new run in `path`, saved untrained.
    pub(crate) fn begin(&self, path: &Path) -> (RunWriter, Trainer<Cpu>) {
        let mut writer = RunWriter::create(path, false, self.config.clone(), self.corpus.vocab.clone()).unwrap();
        let trainer = self.trainer();
        writer.save(&trainer).unwrap();
        (writer, trainer)
    }

    /// The run in `path`, taken up where it was saved.
    pub(crate) fn resume(&self, path: &Path) -> (RunWriter, Trainer<Cpu>) {
        let mut writer = RunWriter::resume(path).unwrap();
        let mut trainer = self.trainer();
        writer.restore(&mut trainer).unwrap();
        (writer, trainer)
    }

    /// At most so many minibatches more, with a line of metrics for each epoch that ends.
    pub(crate) fn steps(&self, writer: &mut RunWriter, trainer: &mut Trainer<Cpu>, steps: usize) {
        self.steps_saving(writer, trainer, steps, Result::unwrap);
    }

    /// The same, where it is for `saved` to say how saving the best model may end.
    pub(crate) fn steps_saving(
        &self,
        writer: &mut RunWriter,
        trainer: &mut Trainer<Cpu>,
        steps: usize,
        saved: impl Fn(Result<()>),
    ) {
        let left = AtomicUsize::new(steps);
        while left.load(Ordering::Relaxed) > 0 && trainer.position().epoch < self.config.train.epochs {
            let stop = || left.fetch_sub(1, Ordering::Relaxed) == 1;
            if let Some(mut report) = self.epoch(trainer, &stop) {
                if trainer.validate(self.held_out.then_some(&self.corpus.ids[..50]), &mut report).unwrap() {
                    saved(writer.save_best(trainer));
                }
                writer.log(&report);
            }
        }
    }

    fn epoch(&self, trainer: &mut Trainer<Cpu>, stop: &(dyn Fn() -> bool + Sync)) -> Option<EpochReport> {
        trainer.epoch(&self.corpus.ids, stop).unwrap()
    }

    /// Trains to the end, saves, and gives what is in the folder then.
    pub(crate) fn finish(&self, (mut writer, mut trainer): (RunWriter, Trainer<Cpu>)) -> Ending {
        self.steps(&mut writer, &mut trainer, usize::MAX);
        writer.save(&trainer).unwrap();
        Ending::of(writer.run().path())
    }

    /// What a run that nothing happened to ends with.
    pub(crate) fn uninterrupted(&self) -> Ending {
        let folder = tempfile::tempdir().unwrap();
        self.finish(self.begin(&folder.path().join("run")))
    }
}

/// What must be the same of two runs: the model byte for byte, and of every epoch all but its time.
#[derive(Debug, PartialEq)]
pub(crate) struct Ending {
    model: Vec<u8>,
    best: Option<Vec<u8>>,
    metrics: Vec<Metrics>,
}

impl Ending {
    pub(crate) fn of(run: &Path) -> Self {
        let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let timeless = |line| Metrics { tokens_per_second: 0.0, seconds: 0.0, ..serde_json::from_str(line).unwrap() };
        let (model, best) =
            (fs::read(run.join("model.safetensors")).unwrap(), fs::read(run.join("best.safetensors")).ok());
        Self { model, best, metrics: text.lines().map(timeless).collect() }
    }
}

/// A file or folder of the workspace.
pub(crate) fn workspace(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A copy of a run, without folders in it.
pub(crate) fn copy(run: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(run).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// What is in a folder that should not be once nobody works on it.
pub(crate) fn litter(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.') && name != ".rnnlm.lock").collect()
}
