//! Averages of the parameters, gradient accumulation and weight decay without biases, against arithmetic on the host.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use rnnlm_model::{
    Average, Batches, Cpu, ExecutionPath, Minibatch, ModelConfig, OptimizerConfig, Sampling, TrainConfig, Trainer,
};

const V: usize = 9;

fn model() -> ModelConfig {
    ModelConfig { hidden_size: 6, ..ModelConfig::book(V) }
}

fn trainer(train: &TrainConfig) -> Trainer<Cpu> {
    Trainer::new(&Cpu::new(1).unwrap(), &model(), train, ExecutionPath::Auto).unwrap()
}

fn parameters(trainer: &Trainer<Cpu>) -> Vec<f32> {
    trainer.model().parameters().to_vec(trainer.model().backend()).unwrap()
}

fn ids(len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (i * i + i / 3) % V as u32).collect()
}

/// Minibatches of `batch_size` rows of 4 steps.
fn minibatches(batch_size: usize) -> Vec<Minibatch> {
    let ids = ids(200);
    Batches::new(Sampling::Sequential, &ids, batch_size, 4, 0, 0).unwrap().into_iter().collect()
}

fn assert_close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "parameter {index}: {found} {expected}");
    }
}

#[test]
fn the_exponential_moving_average_starts_with_the_first_update() {
    let average = Average::Ema { decay: 0.75 };
    let mut trainer = trainer(&TrainConfig { batch_size: 2, num_steps: 4, average, ..TrainConfig::book() });
    let mut expected: Vec<f64> = Vec::new();
    for minibatch in minibatches(2).iter().take(6) {
        trainer.step(minibatch).unwrap();
        let current = parameters(&trainer).into_iter().map(f64::from);
        expected = match expected.is_empty() {
            true => current.collect(),
            false => expected.iter().zip(current).map(|(average, w)| 0.75 * average + 0.25 * w).collect(),
        };
    }
    let found = trainer.evaluated_model().parameters().to_vec(trainer.model().backend()).unwrap();
    assert_close(&found, &expected);
    assert_ne!(found, parameters(&trainer));
}

#[test]
fn nt_asgd_averages_from_the_epoch_without_improvement_on() {
    let text = ids(120);
    // the learning rate grows until the perplexity on the validation set increases
    let average = Average::NtAsgd;
    let train = TrainConfig { epochs: 12, batch_size: 2, num_steps: 10, average, lr: 3.0, ..TrainConfig::book() };
    let mut trainer = trainer(&train);
    let (mut perplexities, mut iterates): (Vec<f64>, Vec<Vec<f32>>) = (Vec::new(), Vec::new());
    for epoch in 1..=train.epochs {
        let begun = trainer.position().average_start.is_some();
        let batches = train.batches(&text, epoch - 1).unwrap();
        trainer.reset_state().unwrap();
        for minibatch in batches {
            trainer.step(&minibatch).unwrap();
            iterates.extend(begun.then(|| parameters(&trainer)));
        }
        // of an unrelated text, so that training makes it worse
        let other: Vec<u32> = (0..60).map(|i| (i * 7 + 3) % V as u32).collect();
        let perplexity = trainer.evaluated_model().evaluate(&other).unwrap().perplexity();
        let older = perplexities.iter().take(perplexities.len().saturating_sub(5));
        let begins = older.fold(f64::INFINITY, |best, &p| best.min(p)) < perplexity;
        let mut report = rnnlm_model::EpochReport {
            epoch,
            perplexity: 1.0,
            val_perplexity: None,
            tokens: 0,
            gradient_norm: 0.0,
            lr: 1.0,
            duration: std::time::Duration::ZERO,
        };
        trainer.validate(Some(&other), &mut report).unwrap();
        assert_eq!(report.val_perplexity, Some(perplexity), "the evaluated model is validated");
        assert_eq!(trainer.position().average_start.is_some(), begun || begins, "epoch {epoch}");
        perplexities.push(perplexity);
    }
    assert!(iterates.len() > 6, "averaging began: {perplexities:?}");
    // as in torch.optim.ASGD, the mean of all iterates but the first, which the second replaces
    let (found, count) = (trainer.evaluated_model().parameters(), iterates.len() - 1);
    let mean = |i: usize| iterates[1..].iter().map(|values| f64::from(values[i])).sum::<f64>() / count as f64;
    let expected: Vec<f64> = (0..iterates[0].len()).map(mean).collect();
    assert_close(&found.to_vec(trainer.model().backend()).unwrap(), &expected);
}

#[test]
fn accumulated_gradients_are_those_of_a_larger_minibatch() {
    // without the carried state, rows are independent of the minibatch that they are in
    let train = TrainConfig { batch_size: 6, num_steps: 4, reset_state: true, ..TrainConfig::book() };
    let (mut large, mut small) =
        (trainer(&train), trainer(&TrainConfig { batch_size: 2, accumulate: 3, ..train.clone() }));
    for minibatch in minibatches(6).iter().take(4) {
        large.step(minibatch).unwrap();
        for part in 0..3 {
            let rows = |ids: &[u32]| ids.chunks(6).flat_map(|step| step[2 * part..][..2].to_vec()).collect();
            let [inputs, targets] = [&minibatch.inputs, &minibatch.targets].map(|ids| rows(ids));
            small.step(&Minibatch { inputs, targets, num_steps: 4, batch_size: 2 }).unwrap();
        }
        let expected: Vec<f64> = parameters(&large).into_iter().map(f64::from).collect();
        assert_close(&parameters(&small), &expected);
    }
    assert_eq!((small.position().step, small.position().updates), (12, 4));
}

#[test]
fn the_last_group_of_an_epoch_has_the_remaining_minibatches() {
    let text = ids(100);
    let train = TrainConfig { batch_size: 2, num_steps: 5, accumulate: 4, ..TrainConfig::book() };
    let mut trainer = trainer(&train);
    let minibatches = train.batches(&text, 0).unwrap().num_minibatches();
    assert!(!minibatches.is_multiple_of(4), "{minibatches} minibatches");
    trainer.epoch(&text, &|| false).unwrap();
    assert_eq!(trainer.position().updates, minibatches.div_ceil(4) as u64);
}

#[test]
fn biases_without_weight_decay_decay_nowhere() {
    let optimizer = OptimizerConfig::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.5 };
    let train = TrainConfig { batch_size: 2, num_steps: 4, clip: 0.0, optimizer, lr: 0.25, ..TrainConfig::book() };
    let mut trainer = trainer(&TrainConfig { no_bias_decay: true, ..train });
    let before = parameters(&trainer);
    trainer.step(&minibatches(2)[0]).unwrap();
    let gradients = trainer.gradients().to_vec(trainer.model().backend()).unwrap();
    let after = parameters(&trainer);
    for spec in trainer.model().parameters().layout().specs() {
        let decay = if spec.shape.len() == 1 { 0.0 } else { 0.5 };
        for i in spec.range() {
            let expected = before[i] - 0.25 * (gradients[i] + decay * before[i]);
            assert!((after[i] - expected).abs() < 1e-6, "{} {i}: {} {expected}", spec.name, after[i]);
        }
    }
}
