//! Logits that are computed in chunks of rows: loss and gradients equal those of all rows together, except for the rounding
//! of sums in another order, and the workspace has the requested size.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use rnnlm_model::{Cpu, ExecutionPath, Init, LanguageModel, Minibatch, ModelConfig, ParameterSet};

const V: usize = 19;
const NUM_STEPS: usize = 5;
const BATCH_SIZE: usize = 4;

fn minibatch() -> Minibatch {
    let mut minibatch = Minibatch::new(BATCH_SIZE, NUM_STEPS);
    minibatch.inputs = (0..20).map(|i| i * i % 19).collect();
    minibatch.targets = (0..20).map(|i| (i * 7 + 1) % 19).collect();
    minibatch
}

/// Rows per chunk, score, loss and all gradients of a model with memory for `rows` rows of logits.
fn with_memory_for(rows: usize) -> (usize, f32, f32, Vec<f32>) {
    let cpu = Cpu::new(2).unwrap();
    let config = ModelConfig { hidden_size: 8, ..ModelConfig::book(V) };
    let mut model = LanguageModel::new(&cpu, &config, ExecutionPath::Auto).unwrap().with_logits_bytes(4 * V * rows);
    model.initialize(Init::Uniform, 3).unwrap();
    let mut workspace = model.workspace(NUM_STEPS, BATCH_SIZE).unwrap();
    workspace.load(&cpu, &minibatch()).unwrap();
    let mut gradients = ParameterSet::zeros(&cpu, model.parameters().layout()).unwrap();
    model.forward(&mut workspace, &mut model.zero_state(BATCH_SIZE).unwrap()).unwrap();
    let score = model.score(&mut workspace).unwrap();
    let mut loss = 0.0;
    // twice in the same workspace: the first step must not affect the second
    for _ in 0..2 {
        loss = model.loss(&mut workspace, &mut gradients).unwrap();
        model.backward(&mut workspace, &mut gradients).unwrap();
    }
    (workspace.logits().shape()[0], score, loss, gradients.to_vec(&cpu).unwrap())
}

#[test]
fn the_chunk_size_affects_only_the_rounding() {
    let (chunk, score, loss, expected) = with_memory_for(1000);
    assert_eq!((chunk, score), (20, loss));
    // chunks of 7 rows have a last one of 6 rows; without memory for a row, a chunk still has one
    for (rows, expected_chunk) in [(19, 19), (7, 7), (1, 1), (0, 1)] {
        let (chunk, score, chunked_loss, found) = with_memory_for(rows);
        // the losses of all chunks are summed together, in double precision
        assert_eq!((chunk, score, chunked_loss), (expected_chunk, loss, loss));
        let largest = expected.iter().fold(0.0_f32, |largest, g| largest.max(g.abs()));
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // 20 terms in another order: a few ulps of the largest gradient
            assert!((found - expected).abs() <= 1e-6 * largest, "{rows} rows, gradient {index}: {found} {expected}");
        }
    }
}
