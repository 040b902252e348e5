//! Logits that are worked through some rows at a time: loss and gradients are those of all rows at once, but for the roundings
//! of sums in another order, and the memory is what was promised.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use rnnlm_model::{Init, LanguageModel, ModelConfig};
use rnnlm_rnn::{ExecutionPath, ParameterSet};
use rnnlm_tensor::Cpu;
use rnnlm_vocab::Minibatch;

const V: usize = 19;
const ROWS: [usize; 2] = [5, 4];

fn minibatch() -> Minibatch {
    let mut minibatch = Minibatch::new(ROWS[1], ROWS[0]);
    minibatch.inputs = (0..20).map(|i| i * i % 19).collect();
    minibatch.targets = (0..20).map(|i| (i * 7 + 1) % 19).collect();
    minibatch
}

/// The rows held at a time, the score, the loss and all gradients with room for `rows` rows of logits.
fn with_room_for(rows: usize) -> (usize, f32, f32, Vec<f32>) {
    let cpu = Cpu::new(2).unwrap();
    let config = ModelConfig { hidden_size: 8, ..ModelConfig::book(V) };
    let mut model = LanguageModel::new(&cpu, &config, ExecutionPath::Auto).unwrap().with_logits_bytes(4 * V * rows);
    model.initialize(Init::Uniform, 3).unwrap();
    let mut workspace = model.workspace(ROWS[0], ROWS[1]).unwrap();
    workspace.load(&cpu, &minibatch()).unwrap();
    let mut gradients = ParameterSet::zeros(&cpu, model.parameters().layout()).unwrap();
    model.forward(&mut workspace, &mut model.zero_state(ROWS[1]).unwrap()).unwrap();
    let score = model.score(&mut workspace).unwrap();
    let mut loss = 0.0;
    // twice in the same memory: nothing of the first may be left in the second
    for _ in 0..2 {
        loss = model.loss(&mut workspace, &mut gradients).unwrap();
        model.backward(&mut workspace, &mut gradients).unwrap();
    }
    (workspace.logits().shape()[0], score, loss, gradients.to_vec(&cpu).unwrap())
}

#[test]
fn the_rows_at_a_time_change_nothing_but_roundings() {
    let (held, score, loss, expected) = with_room_for(1000);
    assert_eq!((held, score), (20, loss));
    // 7 leaves a last part of 6 rows; 0 still holds one row
    for (rows, at_a_time) in [(19, 19), (7, 7), (1, 1), (0, 1)] {
        let (held, score, part_loss, found) = with_room_for(rows);
        assert_eq!(
            (held, score, part_loss),
            (at_a_time, loss, loss),
            "losses are summed in one go, in double precision"
        );
        let largest = expected.iter().fold(0.0_f32, |largest, g| largest.max(g.abs()));
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // 20 terms in another order: a few units in the last place of the largest
            assert!((found - expected).abs() <= 1e-6 * largest, "{rows} rows, gradient {index}: {found} {expected}");
        }
    }
}
