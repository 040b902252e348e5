//! Sparse updates of the embedding: the bits of dense ones with plain SGD, and only the minibatch's rows with `sparse-adam`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use rnnlm_model::{
    Cell, Cpu, ExecutionPath, LanguageModel, Minibatch, ModelConfig, Optimizer, OptimizerConfig, ParameterSet,
    SplitMix64, TrainConfig, Trainer,
};

/// Many rows, so that sums of squares have several blocks, most of which no minibatch touches.
const VOCAB_SIZE: usize = 5_000;
const EMBEDDING_SIZE: usize = 21;

fn config() -> ModelConfig {
    let sizes = ModelConfig { embedding_size: EMBEDDING_SIZE, hidden_size: 12, ..ModelConfig::book(VOCAB_SIZE) };
    ModelConfig { cell: Cell::Lstm, ..sizes }
}

fn train(optimizer: OptimizerConfig) -> TrainConfig {
    TrainConfig { batch_size: 3, num_steps: 4, optimizer, ..TrainConfig::book() }
}

/// Minibatches of ids of which some are repeated, some are neighbours, and the first and the last one occur.
fn minibatches() -> Vec<Minibatch> {
    let mut random = SplitMix64::new(7);
    let mut minibatch = || {
        let mut minibatch = Minibatch::new(3, 4);
        for id in minibatch.inputs.iter_mut().chain(&mut minibatch.targets) {
            *id = (random.next_u64() % VOCAB_SIZE as u64) as u32;
        }
        minibatch.inputs[2] = minibatch.inputs[5];
        minibatch.inputs[7] = (minibatch.inputs[5] + 1) % VOCAB_SIZE as u32;
        (minibatch.inputs[0], minibatch.inputs[11]) = (0, VOCAB_SIZE as u32 - 1);
        minibatch
    };
    (0..6).map(|_| minibatch()).collect()
}

/// Gradient norms and final parameters of a training run whose gradients are all dense: cleared, summed and applied as a whole.
fn dense(cpu: &Cpu, train: &TrainConfig) -> (Vec<f32>, Vec<f32>) {
    let mut model = LanguageModel::new(cpu, &config(), ExecutionPath::Auto).unwrap();
    model.initialize(train.init, train.seed).unwrap();
    let mut workspace = model.workspace(4, 3).unwrap();
    let mut state = model.zero_state(3).unwrap();
    let mut gradients = ParameterSet::zeros(cpu, model.parameters().layout()).unwrap();
    let mut optimizer = Optimizer::new(cpu, train, model.parameters().layout()).unwrap();
    let mut norms = Vec::new();
    for (minibatch, t) in minibatches().iter().zip(1..) {
        workspace.load(cpu, minibatch).unwrap();
        model.forward(&mut workspace, &mut state).unwrap();
        model.loss(&mut workspace, &mut gradients).unwrap();
        model.backward(&mut workspace, &mut gradients).unwrap();
        norms.push(optimizer.gradient_norm(cpu, &gradients).unwrap());
        optimizer.update(cpu, train.lr, t, &mut gradients, model.parameters_mut()).unwrap();
    }
    (norms, model.parameters().to_vec(cpu).unwrap())
}

#[test]
fn sgd_with_sparse_updates_has_the_bits_of_dense_updates() {
    for threads in [1, 2] {
        let cpu = Cpu::new(threads).unwrap();
        for (clip, clip_value) in [(0.0, 0.0), (0.05, 0.0), (0.0, 1e-3)] {
            let train = TrainConfig { clip, clip_value, ..train(OptimizerConfig::SGD) };
            let mut trainer = Trainer::new(&cpu, &config(), &train, ExecutionPath::Auto).unwrap();
            let steps = minibatches().iter().map(|minibatch| trainer.step(minibatch).unwrap().gradient_norm).collect();
            let found: (Vec<f32>, Vec<f32>) = (steps, trainer.model().parameters().to_vec(&cpu).unwrap());
            let bits = |(norms, parameters): (Vec<f32>, Vec<f32>)| {
                norms.into_iter().chain(parameters).map(f32::to_bits).collect::<Vec<_>>()
            };
            assert!(bits(found) == bits(dense(&cpu, &train)), "clip {clip}, clip value {clip_value}");
        }
    }
}

#[test]
fn sparse_adam_changes_only_the_rows_of_the_minibatch_and_their_means() {
    let cpu = Cpu::new(2).unwrap();
    let train = TrainConfig { lr: 0.01, ..train(OptimizerConfig::SPARSE_ADAM) };
    let mut trainer = Trainer::new(&cpu, &config(), &train, ExecutionPath::Auto).unwrap();
    let minibatches = minibatches();
    // the means of the first minibatch's rows are not zero
    trainer.step(&minibatches[0]).unwrap();
    let before = trainer.snapshot().unwrap();
    trainer.step(&minibatches[1]).unwrap();
    let after = trainer.snapshot().unwrap();
    let values = |snapshot: &rnnlm_model::Snapshot, id: usize| {
        let row = id * EMBEDDING_SIZE..(id + 1) * EMBEDDING_SIZE;
        let buffers = snapshot.optimizer.iter().map(|(_, buffer)| buffer[row.clone()].to_vec());
        [snapshot.parameters[row.clone()].to_vec()].into_iter().chain(buffers).collect::<Vec<_>>()
    };
    for id in 0..VOCAB_SIZE {
        let is_read = minibatches[1].inputs.contains(&(id as u32));
        let is_changed = values(&before, id).iter().zip(values(&after, id)).any(|(before, after)| *before != after);
        assert_eq!(is_changed, is_read, "{id}");
    }
    // all other parameters are dense
    let first = VOCAB_SIZE * EMBEDDING_SIZE;
    let changed = before.parameters[first..].iter().zip(&after.parameters[first..]).filter(|(a, b)| a != b).count();
    assert!(changed * 10 > 9 * (before.parameters.len() - first), "{changed}");
}

#[test]
fn sparse_adam_needs_an_embedding_of_its_own() {
    let cpu = Cpu::new(1).unwrap();
    let train = train(OptimizerConfig::SPARSE_ADAM);
    for (embedding_size, tie_weights, value) in [(0, false, "`embedding_size` 0"), (12, true, "`tie_weights` true")] {
        let model = ModelConfig { embedding_size, tie_weights, ..config() };
        let error = Trainer::new(&cpu, &model, &train, ExecutionPath::Auto).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`optimizer` is sparse-adam with {value}, it must be")), "{error}");
    }
}
