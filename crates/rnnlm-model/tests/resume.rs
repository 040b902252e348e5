//! A training that is stopped anywhere, saved and restored goes on to the same bits as one that was not.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::atomic::{AtomicUsize, Ordering};

use rnnlm_model::{CorpusRecord, Error, ModelConfig, RunConfig, RunWriter, TrainConfig, Trainer};
use rnnlm_rnn::Path;
use rnnlm_tensor::Cpu;
use rnnlm_vocab::{Corpus, CorpusOptions, Sampling};

const TEXT: &str = "a traveller in time is a traveller still and has to be fed at the usual hours of the day";

struct Setting {
    corpus: Corpus,
    config: RunConfig,
}

fn setting(sampling: Sampling) -> Setting {
    let options = CorpusOptions::default();
    let corpus = Corpus::from_bytes(TEXT.repeat(3).as_bytes(), &options).unwrap();
    let model = ModelConfig { hidden_size: 9, num_layers: 2, ..ModelConfig::book(corpus.vocab.len()) };
    let train = TrainConfig { epochs: 3, batch_size: 3, num_steps: 10, sampling, ..TrainConfig::book() };
    let config = RunConfig::new(CorpusRecord::new("text", &options, &corpus), model, train);
    Setting { corpus, config }
}

impl Setting {
    fn trainer(&self) -> Trainer<Cpu> {
        Trainer::new(&Cpu::new(1).unwrap(), &self.config.model, &self.config.train, Path::Auto).unwrap()
    }

    /// Trains to the end; what is left of the first epoch counts too.
    fn finish(&self, trainer: &mut Trainer<Cpu>) -> (Vec<f32>, Vec<f64>) {
        let mut perplexities = Vec::new();
        while trainer.position().epoch < self.config.train.epochs {
            perplexities.push(trainer.epoch(&self.corpus.ids, &|| false).unwrap().unwrap().perplexity);
        }
        (trainer.model().parameters().to_vec(trainer.model().backend()).unwrap(), perplexities)
    }
}

#[test]
fn every_step_can_be_the_last_before_a_restart() {
    for sampling in [Sampling::Sequential, Sampling::Random] {
        let setting = setting(sampling);
        let uninterrupted = setting.finish(&mut setting.trainer());
        for steps in 1..12 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("run");
            let mut run =
                RunWriter::create(&path, false, setting.config.clone(), setting.corpus.vocab.clone()).unwrap();
            let mut first = setting.trainer();
            let (left, mut perplexities) = (AtomicUsize::new(steps), Vec::new());
            let stop = || left.fetch_sub(1, Ordering::Relaxed) == 1;
            while left.load(Ordering::Relaxed) > 0 && left.load(Ordering::Relaxed) <= steps {
                perplexities.extend(first.epoch(&setting.corpus.ids, &stop).unwrap().map(|report| report.perplexity));
            }
            run.save(&first).unwrap();
            assert_eq!(first.position().step, steps as u64, "it stopped where it was told to");
            drop((run, first));

            let mut second = setting.trainer();
            RunWriter::resume(&path).unwrap().restore(&mut second).unwrap();
            let (parameters, rest) = setting.finish(&mut second);
            perplexities.extend(rest);
            assert_eq!(parameters, uninterrupted.0, "{sampling:?} after {steps} steps");
            assert_eq!(perplexities, uninterrupted.1, "{sampling:?} after {steps} steps");
        }
    }
}

#[test]
fn a_saved_trainer_fits_only_its_own_model() {
    let setting = setting(Sampling::Sequential);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut run = RunWriter::create(&path, false, setting.config.clone(), setting.corpus.vocab.clone()).unwrap();
    run.save(&setting.trainer()).unwrap();
    let larger = ModelConfig { hidden_size: 10, ..setting.config.model };
    let mut other = Trainer::new(&Cpu::new(1).unwrap(), &larger, &setting.config.train, Path::Auto).unwrap();
    let error = run.restore(&mut other).unwrap_err();
    assert!(matches!(&error, Error::Mismatch { reason, .. } if reason.contains("10")), "{error}");
}
