//! Runs in older formats load. `tests/fixtures` has one of each format.

use rnnlm_model::{Cell, Corpus, Cpu, ExecutionPath, Run, RunWriter, Trainer};

use crate::setting::{copy, workspace};

/// Format 1, written by the first `rnnlm train`: an LSTM that was stopped in its third epoch, after 24 + 24 + 7 minibatches.
#[test]
fn a_run_of_format_1_loads_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    copy(&workspace("tests/fixtures/run-format-1"), folder.path());
    let run = Run::open(folder.path()).unwrap();
    let config = run.config().unwrap();
    assert_eq!((config.format_version, config.model.cell, config.model.hidden_size), (1, Cell::Lstm, 4));
    assert_eq!((config.corpus.name.as_str(), config.train.epochs, config.train.seed), ("sample", 4, 7));
    let metrics = run.metrics().unwrap();
    assert_eq!(metrics.iter().map(|line| line.epoch).collect::<Vec<_>>(), [1, 2]);
    // the perplexity of the first epoch in the file
    assert_eq!(metrics[0].perplexity, 21.810495779899465);

    let cpu = Cpu::new(1).unwrap();
    let mut trainer = Trainer::new(&cpu, &config.model, &config.train, ExecutionPath::Auto).unwrap();
    RunWriter::resume(folder.path()).unwrap().restore(&mut trainer).unwrap();
    let position = trainer.position();
    assert_eq!((position.epoch, position.minibatch, position.step), (2, 7, 55));
    let model = run.load(&cpu, ExecutionPath::Auto).unwrap();
    assert_eq!(model.parameters().to_vec(&cpu).unwrap(), trainer.snapshot().unwrap().parameters);

    // the resumed run ends with the parameters of an uninterrupted one, up to the rounding of another CPU
    let corpus = Corpus::encode_path(workspace("data/sample.txt"), run.vocab().clone(), 1000).unwrap();
    let mut uninterrupted = Trainer::new(&cpu, &config.model, &config.train, ExecutionPath::Auto).unwrap();
    for trainer in [&mut trainer, &mut uninterrupted] {
        while trainer.position().epoch < config.train.epochs {
            trainer.epoch(&corpus.ids, &|| false).unwrap();
        }
    }
    let (resumed, uninterrupted) = (trainer.snapshot().unwrap(), uninterrupted.snapshot().unwrap());
    assert_eq!(resumed.position.step, uninterrupted.position.step);
    for (a, b) in resumed.parameters.iter().zip(&uninterrupted.parameters) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}
