//! The number of queued steps does not affect results: with dropout, with stops at any step, and when a step is not finite.

use std::sync::atomic::{AtomicUsize, Ordering};

use rnnlm_model::{
    Cell, Cpu, Error, ExecutionPath, ModelConfig, OptimizerConfig, Sampling, Snapshot, TrainConfig, Trainer,
};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// Twelve minibatches of 2 × 5 tokens, or 13 if the offset is small.
fn corpus() -> Vec<u32> {
    (0..132).map(|i| i * i % 11).collect()
}

fn train(sampling: Sampling) -> TrainConfig {
    let optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.01 };
    TrainConfig { batch_size: 2, num_steps: 5, lr: 0.1, optimizer, sampling, dropout: 0.3, ..TrainConfig::book() }
}

fn trainer(train: &TrainConfig, max_queued_steps: usize) -> Result<Trainer<Cpu>, Error> {
    let model = ModelConfig { cell: Cell::Lstm, hidden_size: 6, num_layers: 2, ..ModelConfig::book(11) };
    Ok(Trainer::new(&Cpu::new(1)?, &model, train, ExecutionPath::Auto)?.with_max_queued_steps(max_queued_steps))
}

/// State and results after two epochs. The first one is stopped after every `pause` steps and continued.
fn trained(train: &TrainConfig, max_queued_steps: usize, pause: usize) -> Result<(Snapshot, Vec<f64>), Error> {
    let (mut trainer, corpus) = (trainer(train, max_queued_steps)?, corpus());
    let calls = AtomicUsize::new(0);
    let stop = || (calls.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(pause);
    let mut results = Vec::new();
    while results.is_empty() {
        let before = trainer.position();
        match trainer.epoch(&corpus, &stop)? {
            Some(report) => results.extend([report.perplexity, report.gradient_norm]),
            None => assert_eq!(trainer.position().step, before.step + pause as u64 - before.step % pause as u64),
        }
    }
    results.extend(trainer.epoch(&corpus, &|| false)?.map(|report| report.perplexity));
    Ok((trainer.snapshot()?, results))
}

#[test]
fn queued_steps_and_stops_do_not_change_a_bit() -> TestResult {
    for sampling in [Sampling::Sequential, Sampling::Random] {
        let train = train(sampling);
        let expected = trained(&train, 1, 1000)?;
        for (max_queued_steps, pause) in [(5, 1000), (1000, 1000), (1000, 3), (4, 5), (1, 3)] {
            let found = trained(&train, max_queued_steps, pause)?;
            assert_eq!(found, expected, "{max_queued_steps} queued steps, stopped after {pause}");
        }
    }
    Ok(())
}

#[test]
fn a_non_finite_step_keeps_the_state_before_it_and_training_can_continue() -> TestResult {
    let corpus = corpus();
    // the first step makes the weights so large that the perplexity of the second overflows
    let train = TrainConfig { lr: 1e6, clip: 0.0, dropout: 0.0, ..train(Sampling::Sequential) };
    let mut stopped = trainer(&train, 1)?;
    assert!(stopped.epoch(&corpus, &|| true)?.is_none());
    let expected = stopped.snapshot()?;
    for max_queued_steps in [1, 5, 1000] {
        let mut trainer = trainer(&train, max_queued_steps)?;
        let error = trainer.epoch(&corpus, &|| false).unwrap_err();
        assert!(matches!(error, Error::Diverged { epoch: 1, step: 2, .. }), "{error}");
        let found = trainer.snapshot()?;
        assert_eq!(found.parameters, expected.parameters, "{max_queued_steps} queued steps");
        assert_eq!((found.optimizer, found.position), (expected.optimizer.clone(), expected.position));
        // later updates are not skipped
        let healthy = self::trainer(&TrainConfig { lr: 0.1, ..train.clone() }, 1)?.snapshot()?;
        trainer.restore(&healthy)?;
        assert!(trainer.epoch(&corpus, &|| true)?.is_none());
        assert_ne!(trainer.snapshot()?.parameters, healthy.parameters);
    }
    Ok(())
}
