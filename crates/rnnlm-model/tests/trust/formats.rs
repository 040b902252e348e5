//! Runs of older formats are read for good: one of each lies in `tests/fixtures`.

use rnnlm_model::{CellKind, Run, RunWriter, Trainer};
use rnnlm_rnn::ExecutionPath;
use rnnlm_tensor::Cpu;
use rnnlm_vocab::Corpus;

use crate::setting::{copy, workspace};

/// Format 1, as the first `rnnlm train` wrote it: an LSTM stopped in its third epoch, after 24 + 24 + 7 minibatches.
#[test]
fn a_run_of_format_1_is_read_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    copy(&workspace("tests/fixtures/run-format-1"), folder.path());
    let run = Run::open(folder.path()).unwrap();
    let config = run.config().unwrap();
    assert_eq!((config.format_version, config.model.cell, config.model.hidden_size), (1, CellKind::Lstm, 4));
    assert_eq!((config.corpus.name.as_str(), config.train.epochs, config.train.seed), ("sample", 4, 7));
    let metrics = run.metrics().unwrap();
    assert_eq!(metrics.iter().map(|line| line.epoch).collect::<Vec<_>>(), [1, 2]);
    // the first epoch's perplexity as the file states it
    assert_eq!(metrics[0].perplexity, 21.810495779899465);

    let cpu = Cpu::new(1).unwrap();
    let mut trainer = Trainer::new(&cpu, &config.model, &config.train, ExecutionPath::Auto).unwrap();
    RunWriter::resume(folder.path()).unwrap().restore(&mut trainer).unwrap();
    let position = trainer.position();
    assert_eq!((position.epoch, position.minibatch, position.step), (2, 7, 55));
    let model = run.load(&cpu, ExecutionPath::Auto).unwrap();
    assert_eq!(model.parameters().to_vec(&cpu).unwrap(), trainer.snapshot().unwrap().parameters);

    // the rest of the training leads where one without a stop leads, to the accuracy that other processors have
    let corpus = Corpus::encode_path(workspace("data/sample.txt"), run.vocab().clone(), 1000).unwrap();
    let mut whole = Trainer::new(&cpu, &config.model, &config.train, ExecutionPath::Auto).unwrap();
    for trainer in [&mut trainer, &mut whole] {
        while trainer.position().epoch < config.train.epochs {
            trainer.epoch(&corpus.ids, &|| false).unwrap();
        }
    }
    let (resumed, whole) = (trainer.snapshot().unwrap(), whole.snapshot().unwrap());
    assert_eq!(resumed.position.step, whole.position.step);
    for (a, b) in resumed.parameters.iter().zip(&whole.parameters) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}
