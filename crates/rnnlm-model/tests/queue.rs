//! Steps that are handed over together give what the same steps give one by one: whatever is drawn, wherever somebody stops,
//! and when one of them is not finite.

use std::sync::atomic::{AtomicUsize, Ordering};

use rnnlm_model::{CellKind, Error, ModelConfig, OptimizerConfig, Snapshot, TrainConfig, Trainer};
use rnnlm_rnn::ExecutionPath;
use rnnlm_tensor::Cpu;
use rnnlm_vocab::Sampling;

type Check = Result<(), Box<dyn std::error::Error>>;

/// Twelve minibatches of 2 × 5, or one more.
fn corpus() -> Vec<u32> {
    (0..132).map(|i| i * i % 11).collect()
}

fn train(sampling: Sampling) -> TrainConfig {
    let optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.01 };
    TrainConfig { batch_size: 2, num_steps: 5, lr: 0.1, optimizer, sampling, dropout: 0.3, ..TrainConfig::book() }
}

fn trainer(train: &TrainConfig, max_queued_steps: usize) -> Result<Trainer<Cpu>, Error> {
    let model = ModelConfig { cell: CellKind::Lstm, hidden_size: 6, num_layers: 2, ..ModelConfig::book(11) };
    Ok(Trainer::new(&Cpu::new(1)?, &model, train, ExecutionPath::Auto)?.with_max_queued_steps(max_queued_steps))
}

/// What is left after two epochs, the first of which somebody stops after each `pause` steps.
fn trained(train: &TrainConfig, max_queued_steps: usize, pause: usize) -> Result<(Snapshot, Vec<f64>), Error> {
    let (mut trainer, corpus) = (trainer(train, max_queued_steps)?, corpus());
    let asked = AtomicUsize::new(0);
    let stop = || (asked.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(pause);
    let mut perplexities = Vec::new();
    while perplexities.len() < 2 {
        let before = trainer.position();
        match trainer.epoch(&corpus, &stop)? {
            Some(report) => perplexities.extend([report.perplexity, report.gradient_norm]),
            None => assert_eq!(trainer.position().step, before.step + pause as u64 - before.step % pause as u64),
        }
    }
    perplexities.extend(trainer.epoch(&corpus, &|| false)?.map(|report| report.perplexity));
    Ok((trainer.snapshot()?, perplexities))
}

#[test]
fn no_bit_depends_on_how_many_steps_are_handed_over_or_where_somebody_stops() -> Check {
    for sampling in [Sampling::Sequential, Sampling::Random] {
        let train = train(sampling);
        let one_by_one = trained(&train, 1, 1000)?;
        for (max_queued_steps, pause) in [(5, 1000), (1000, 1000), (1000, 3), (4, 5), (1, 3)] {
            assert_eq!(
                trained(&train, max_queued_steps, pause)?,
                one_by_one,
                "{max_queued_steps} ahead, stopped after {pause}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_step_that_is_not_finite_keeps_what_came_before_it_and_training_can_go_on() -> Check {
    let corpus = corpus();
    // weights so large after the first step that no later loss has a finite exponential
    let train = TrainConfig { lr: 1e6, clip: 0.0, dropout: 0.0, ..train(Sampling::Sequential) };
    let mut stopped = trainer(&train, 1)?;
    assert!(stopped.epoch(&corpus, &|| true)?.is_none());
    let expected = stopped.snapshot()?;
    for max_queued_steps in [1, 5, 1000] {
        let mut trainer = trainer(&train, max_queued_steps)?;
        let error = trainer.epoch(&corpus, &|| false).unwrap_err();
        assert!(matches!(error, Error::Diverged { epoch: 1, step: 2, .. }), "{error}");
        let found = trainer.snapshot()?;
        assert_eq!(found.parameters, expected.parameters, "{max_queued_steps} ahead");
        assert_eq!((found.optimizer, found.position), (expected.optimizer.clone(), expected.position));
        // nothing is held back any more
        let healthy = self::trainer(&TrainConfig { lr: 0.1, ..train.clone() }, 1)?.snapshot()?;
        trainer.restore(&healthy)?;
        assert!(trainer.epoch(&corpus, &|| true)?.is_none());
        assert_ne!(trainer.snapshot()?.parameters, healthy.parameters);
    }
    Ok(())
}
