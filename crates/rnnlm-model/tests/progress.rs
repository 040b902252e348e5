//! The progress within an epoch, and the lines of `metrics.jsonl` that it gives.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use rnnlm_model::{
    Corpus, CorpusOptions, CorpusRecord, Cpu, EpochProgress, ExecutionPath, LOG_MINIBATCHES, Metrics, ModelConfig, Run,
    RunConfig, RunWriter, TrainConfig, Trainer,
};

fn corpus() -> Corpus {
    Corpus::from_bytes("the tide comes in and the tide goes out ".repeat(65).as_bytes(), &CorpusOptions::default())
        .unwrap()
}

/// Epochs of about 2500 minibatches.
fn config(corpus: &Corpus) -> RunConfig {
    let model = ModelConfig { hidden_size: 3, ..ModelConfig::book(corpus.vocab.len()) };
    let train = TrainConfig { epochs: 2, batch_size: 1, num_steps: 1, lr: 0.1, ..TrainConfig::book() };
    RunConfig::new(CorpusRecord::new("tide", &CorpusOptions::default(), corpus), model, train)
}

fn trainer(config: &RunConfig) -> Trainer<Cpu> {
    Trainer::new(&Cpu::new(1).unwrap(), &config.model, &config.train, ExecutionPath::Auto).unwrap()
}

/// Trains to the end of the last epoch, or until `stop`, and logs as the command does.
fn train(
    writer: &mut RunWriter,
    trainer: &mut Trainer<Cpu>,
    ids: &[u32],
    stop: impl Fn(&EpochProgress) -> bool + Sync,
) {
    while trainer.position().epoch < trainer.config().epochs {
        let report = trainer.epoch_with_progress(ids, &mut |progress| {
            if progress.is_log_due {
                writer.log_progress(progress);
            }
            stop(progress)
        });
        match report.unwrap() {
            Some(report) => writer.log(&report),
            None => break,
        }
    }
    writer.save(trainer).unwrap();
}

fn timeless(run: &Path) -> Vec<Metrics> {
    let lines = Run::open(run).unwrap().all_metrics().unwrap();
    lines.into_iter().map(|line| Metrics { tokens_per_second: 0.0, seconds: 0.0, ..line }).collect()
}

#[test]
fn a_resumed_epoch_has_the_same_lines() {
    let (folder, corpus) = (tempfile::tempdir().unwrap(), corpus());
    let config = config(&corpus);
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let create = |path: &Path| RunWriter::create(path, false, config.clone(), corpus.vocab.clone()).unwrap();
    train(&mut create(&whole), &mut trainer(&config), &corpus.ids, |_| false);
    let expected = timeless(&whole);
    let position = |line: &Metrics| (line.epoch, line.minibatch);
    let lines = [1, 2].map(|epoch| [Some(1000), Some(2000), None].map(|minibatch| (epoch, minibatch))).concat();
    assert_eq!(expected.iter().map(position).collect::<Vec<_>>(), lines);

    let mut writer = create(&parts);
    let mut stopped = trainer(&config);
    train(&mut writer, &mut stopped, &corpus.ids, |progress| progress.minibatch == 1500);
    // these lines are after the last save, and are truncated
    stopped
        .epoch_with_progress(&corpus.ids, &mut |progress| {
            if progress.is_log_due {
                writer.log_progress(progress);
            }
            progress.minibatch == 2100
        })
        .unwrap();
    assert_eq!(timeless(&parts).len(), 2);
    drop(writer);
    let mut writer = RunWriter::resume(&parts).unwrap();
    let mut resumed = trainer(&config);
    assert!(writer.restore(&mut resumed).unwrap());
    assert_eq!(timeless(&parts).len(), 1);
    train(&mut writer, &mut resumed, &corpus.ids, |_| false);
    assert_eq!(timeless(&parts), expected);
    assert_eq!(Run::open(&parts).unwrap().metrics().unwrap().len(), 2);
}

#[test]
fn the_progress_counts_minibatches_and_averages_losses() {
    let corpus = corpus();
    let config = config(&corpus);
    let mut trainer = trainer(&config);
    assert!(trainer.progress().is_none());
    let mut calls = 0;
    let report = trainer.epoch_with_progress(&corpus.ids, &mut |progress| {
        calls += 1;
        assert_eq!((progress.epoch, progress.minibatch, progress.tokens), (1, calls, calls as u64));
        assert!(progress.perplexity.is_some_and(|perplexity| perplexity > 1.0) && progress.num_minibatches > 2500);
        calls == 40
    });
    assert!(report.unwrap().is_none());
    let progress = trainer.progress().unwrap();
    assert_eq!((progress.minibatch, progress.is_log_due), (40, false));
    let mean = trainer.position().loss_sum / 40.0;
    assert!((progress.perplexity.unwrap() - mean.exp()).abs() < 1e-12 * mean.exp());
    let mut last = None;
    let report = trainer.epoch_with_progress(&corpus.ids, &mut |progress| {
        last = Some(*progress);
        false
    });
    let (report, last) = (report.unwrap().unwrap(), last.unwrap());
    assert_eq!((last.minibatch, last.perplexity), (last.num_minibatches, Some(report.perplexity)));
    assert_eq!(report.tokens, last.num_minibatches as u64);
    assert!(trainer.progress().is_none());
}

#[test]
fn lines_are_due_after_the_same_minibatches_however_far_a_device_runs_ahead() {
    let corpus = corpus();
    let config = config(&corpus);
    for max_queued_steps in [1, 7, 1 << 20] {
        let mut trainer = trainer(&config).with_max_queued_steps(max_queued_steps);
        let mut due = Vec::new();
        let report = trainer.epoch_with_progress(&corpus.ids, &mut |progress| {
            due.extend(progress.is_log_due.then_some(progress.minibatch));
            false
        });
        assert!(report.unwrap().is_some());
        assert_eq!(due, [LOG_MINIBATCHES, 2 * LOG_MINIBATCHES], "{max_queued_steps}");
    }
}
