//! A learned embedding against one-hot input: with `W_ih′ = W_ih·Eᵀ` the second model is the first, so the same loss, and by
//! the chain rule `∂W_ih = ∂W_ih′·E` and `∂E = ∂W_ih′ᵀ·W_ih`. The products are taken here, in double precision.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use rnnlm_model::{CellKind, Init, LanguageModel, ModelConfig};
use rnnlm_rnn::{ExecutionPath, ParameterSet};
use rnnlm_tensor::Cpu;
use rnnlm_vocab::Minibatch;

const V: usize = 11;
const E: usize = 5;
const H: usize = 7;
const ROWS: [usize; 2] = [3, 4];

/// Loss, and the gradient under each name, of a model with these values.
fn step(cpu: &Cpu, config: &ModelConfig, values: &[f32], path: ExecutionPath) -> (f32, Vec<(String, Vec<f32>)>) {
    let mut model = LanguageModel::new(cpu, config, path).unwrap();
    model.parameters_mut().write(cpu, values).unwrap();
    let mut minibatch = Minibatch::new(ROWS[1], ROWS[0]);
    // ids that come back, so that rows of the table are added to more than once, and id 10, which never comes
    minibatch.inputs = (0..12).map(|i| i * i % 10).collect();
    minibatch.targets = (0..12).map(|i| (i * 7 + 1) % 11).collect();
    let mut workspace = model.workspace(ROWS[0], ROWS[1]).unwrap();
    workspace.load(cpu, &minibatch).unwrap();
    let mut gradients = ParameterSet::zeros(cpu, model.parameters().layout()).unwrap();
    let mut loss = 0.0;
    // twice in the same memory: nothing of the first step may be left in the second
    for _ in 0..2 {
        model.forward(&mut workspace, &mut model.zero_state(ROWS[1]).unwrap()).unwrap();
        loss = model.loss(&mut workspace, &mut gradients).unwrap();
        model.backward(&mut workspace, &mut gradients).unwrap();
    }
    let flat = gradients.to_vec(cpu).unwrap();
    let specs = gradients.layout().specs();
    (loss, specs.iter().map(|spec| (spec.name.clone(), flat[spec.range()].to_vec())).collect())
}

/// Values for every parameter, in the order of the layout.
fn drawn(cpu: &Cpu, config: &ModelConfig) -> Vec<f32> {
    let mut model = LanguageModel::new(cpu, config, ExecutionPath::Reference).unwrap();
    model.initialize(Init::Uniform, 3).unwrap();
    model.parameters().to_vec(cpu).unwrap()
}

#[test]
fn an_embedded_model_is_the_one_hot_model_of_the_product() {
    let cpu = Cpu::new(2).unwrap();
    for (cell, gates) in [(CellKind::Rnn, 1), (CellKind::Gru, 3), (CellKind::Lstm, 4)] {
        for path in [ExecutionPath::Reference, ExecutionPath::Auto] {
            let one_hot = ModelConfig { cell, hidden_size: H, num_layers: 2, ..ModelConfig::book(V) };
            let embedded = ModelConfig { embedding_size: E, ..one_hot.clone() };
            let values = drawn(&cpu, &embedded);
            assert_eq!(values.len() as u128, embedded.num_parameters());
            // the layout begins with the table [V, E] and W_ih [G·H, E]
            let (table, rest) = values.split_at(V * E);
            let (weight, rest) = rest.split_at(gates * H * E);
            let mut product = vec![0.0; gates * H * V];
            for (i, out) in product.iter_mut().enumerate() {
                let (row, id) = (i / V, i % V);
                *out =
                    (0..E).map(|e| f64::from(weight[row * E + e]) * f64::from(table[id * E + e])).sum::<f64>() as f32;
            }
            product.extend_from_slice(rest);
            let (loss, found) = step(&cpu, &embedded, &values, path);
            let (expected_loss, expected) = step(&cpu, &one_hot, &product, ExecutionPath::Reference);
            assert!((loss - expected_loss).abs() < 1e-5, "{loss} {expected_loss}");

            let grad = &expected[0].1;
            let grad_table = (0..V * E).map(|i| {
                (0..gates * H).map(|row| f64::from(grad[row * V + i / E]) * f64::from(weight[row * E + i % E])).sum()
            });
            let grad_weight = (0..gates * H * E)
                .map(|i| (0..V).map(|id| f64::from(grad[i / E * V + id]) * f64::from(table[id * E + i % E])).sum());
            close(&found[0], "embedding.weight", grad_table);
            close(&found[1], "rnn.weight_ih_l0", grad_weight);
            for (found, (name, expected)) in found[2..].iter().zip(&expected[1..]) {
                close(found, name, expected.iter().map(|&value| f64::from(value)));
            }
        }
    }
}

fn close((name, found): &(String, Vec<f32>), expected_name: &str, expected: impl Iterator<Item = f64>) {
    assert_eq!(name, expected_name);
    for (index, (&found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(found) - expected).abs() < 1e-5, "{name}[{index}]: {found}, expected {expected}");
    }
}

#[test]
fn one_hot_models_keep_the_configuration_file_they_had() {
    let config = ModelConfig::book(28);
    let text = serde_json::to_string(&config).unwrap();
    assert!(!text.contains("embedding_size"), "{text}");
    assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), config);
    let embedded = ModelConfig { embedding_size: 16, ..config };
    let text = serde_json::to_string(&embedded).unwrap();
    assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), embedded);
}
