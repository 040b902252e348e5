//! A training run of a few milliseconds, and the results of two runs that tests compare.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rnnlm_model::{
    Corpus, CorpusOptions, CorpusRecord, Cpu, Documents, EpochReport, ExecutionPath, Metrics, ModelConfig, Result,
    RunConfig, RunWriter, TextIds, TrainConfig, Trainer,
};

const TEXT: &str = "a traveller in time is a traveller still and has to be fed at the usual hours of the day";

/// A corpus and the settings of a run.
pub(crate) struct Setting {
    pub(crate) corpus: Corpus,
    pub(crate) config: RunConfig,
    /// Whether the start of the text is scored after every epoch.
    pub(crate) validates: bool,
}

impl Setting {
    /// Three epochs of eight or nine minibatches, depending on the offset.
    pub(crate) fn new(change: impl FnOnce(&mut ModelConfig, &mut TrainConfig)) -> Self {
        Self::of_text(&TEXT.repeat(3), CorpusOptions::default(), change)
    }

    /// Like [`Setting::new`], where the words of the text are documents.
    pub(crate) fn documents(change: impl FnOnce(&mut ModelConfig, &mut TrainConfig)) -> Self {
        let options = CorpusOptions { documents: Documents::Lines, ..CorpusOptions::default() };
        Self::of_text(&TEXT.repeat(3).replace(' ', "\n"), options, change)
    }

    fn of_text(text: &str, options: CorpusOptions, change: impl FnOnce(&mut ModelConfig, &mut TrainConfig)) -> Self {
        let corpus = Corpus::from_bytes(text.as_bytes(), &options).unwrap();
        let mut model = ModelConfig { hidden_size: 5, num_layers: 2, ..ModelConfig::book(corpus.vocab.len()) };
        let mut train = TrainConfig { epochs: 3, batch_size: 3, num_steps: 10, ..TrainConfig::book() };
        change(&mut model, &mut train);
        let config = RunConfig::new(CorpusRecord::new("text", &options, &corpus), model, train);
        Self { corpus, config, validates: false }
    }

    pub(crate) fn trainer(&self) -> Trainer<Cpu> {
        Trainer::new(&Cpu::new(1).unwrap(), &self.config.model, &self.config.train, ExecutionPath::Auto).unwrap()
    }

    /// A new run in `path`, saved before the first step.
    pub(crate) fn begin(&self, path: &Path) -> (RunWriter, Trainer<Cpu>) {
        let mut writer = RunWriter::create(path, false, self.config.clone(), self.corpus.vocab.clone()).unwrap();
        let trainer = self.trainer();
        writer.save(&trainer).unwrap();
        (writer, trainer)
    }

    /// The run in `path`, resumed from its last save.
    pub(crate) fn resume(&self, path: &Path) -> (RunWriter, Trainer<Cpu>) {
        let mut writer = RunWriter::resume(path).unwrap();
        let mut trainer = self.trainer();
        writer.restore(&mut trainer).unwrap();
        (writer, trainer)
    }

    /// Trains at most `steps` more steps, and logs each completed epoch.
    pub(crate) fn steps(&self, writer: &mut RunWriter, trainer: &mut Trainer<Cpu>, steps: usize) {
        self.steps_with(writer, trainer, steps, Result::unwrap);
    }

    /// Like [`Setting::steps`]; `on_save` checks the result of saving the best model.
    pub(crate) fn steps_with(
        &self,
        writer: &mut RunWriter,
        trainer: &mut Trainer<Cpu>,
        steps: usize,
        on_save: impl Fn(Result<()>),
    ) {
        let left = AtomicUsize::new(steps);
        while left.load(Ordering::Relaxed) > 0 && trainer.position().epoch < self.config.train.epochs {
            let stop = || left.fetch_sub(1, Ordering::Relaxed) == 1;
            if let Some(mut report) = self.epoch(trainer, &stop) {
                let validation = self.validates.then(|| match self.corpus.document_set(0..9) {
                    Some(documents) => TextIds::Documents(documents),
                    None => TextIds::from(&self.corpus.ids[..50]),
                });
                if trainer.validate(validation, &mut report).unwrap() {
                    on_save(writer.save_best(trainer));
                }
                writer.log(&report);
            }
        }
    }

    fn epoch(&self, trainer: &mut Trainer<Cpu>, stop: &(dyn Fn() -> bool + Sync)) -> Option<EpochReport> {
        trainer.epoch(&self.corpus, stop).unwrap()
    }

    /// Trains to the end, saves, and returns the result.
    pub(crate) fn finish(&self, (mut writer, mut trainer): (RunWriter, Trainer<Cpu>)) -> Outcome {
        self.steps(&mut writer, &mut trainer, usize::MAX);
        writer.save(&trainer).unwrap();
        Outcome::read(writer.run().path())
    }

    /// The result of an uninterrupted run.
    pub(crate) fn uninterrupted(&self) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        self.finish(self.begin(&folder.path().join("run")))
    }
}

/// The result of a run: the bytes of the models, and the metrics of every epoch without its time.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    model: Vec<u8>,
    best: Option<Vec<u8>>,
    metrics: Vec<Metrics>,
}

impl Outcome {
    pub(crate) fn read(run: &Path) -> Self {
        let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let without_time =
            |line| Metrics { tokens_per_second: 0.0, seconds: 0.0, ..serde_json::from_str(line).unwrap() };
        let (model, best) =
            (fs::read(run.join("model.safetensors")).unwrap(), fs::read(run.join("best.safetensors")).ok());
        Self { model, best, metrics: text.lines().map(without_time).collect() }
    }
}

/// A file or folder of the workspace.
pub(crate) fn workspace(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Copies the files of a run, without folders.
pub(crate) fn copy(run: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(run).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// The temporary files in a folder.
pub(crate) fn unfinished_files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.') && name != ".rnnlm.lock").collect()
}

/// Every file in a folder and in its subfolders, with its content.
pub(crate) fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Copies a folder with its subfolders.
pub(crate) fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy_all(&path, &to) } else { fs::copy(&path, &to).map(drop).unwrap() }
    }
}
