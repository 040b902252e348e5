//! A learned embedding against one-hot input. A one-hot model with `W_ih′ = W_ih·Eᵀ` computes the same function as a model
//! with the embedding `E`, so it has the same loss. By the chain rule, `∂W_ih = ∂W_ih′·E` and `∂E = ∂W_ih′ᵀ·W_ih`. The test
//! computes these products in double precision.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use rnnlm_model::{Cell, Cpu, ExecutionPath, Init, LanguageModel, Minibatch, ModelConfig, ParameterSet};

const V: usize = 11;
const E: usize = 5;
const H: usize = 7;
const NUM_STEPS: usize = 3;
const BATCH_SIZE: usize = 4;

/// Loss and named gradients of a model with these parameters.
fn step(cpu: &Cpu, config: &ModelConfig, values: &[f32], path: ExecutionPath) -> (f32, Vec<(String, Vec<f32>)>) {
    let mut model = LanguageModel::new(cpu, config, path).unwrap();
    model.parameters_mut().write(cpu, values).unwrap();
    let mut minibatch = Minibatch::new(BATCH_SIZE, NUM_STEPS);
    // some ids occur several times, so that gradients of a row are summed, and id 10 does not occur
    minibatch.inputs = (0..12).map(|i| i * i % 10).collect();
    minibatch.targets = (0..12).map(|i| (i * 7 + 1) % 11).collect();
    let mut workspace = model.workspace(NUM_STEPS, BATCH_SIZE).unwrap();
    workspace.load(cpu, &minibatch).unwrap();
    let mut gradients = ParameterSet::zeros(cpu, model.parameters().layout()).unwrap();
    let mut loss = 0.0;
    // twice in the same workspace: the first step must not affect the second
    for _ in 0..2 {
        model.forward(&mut workspace, &mut model.zero_state(BATCH_SIZE).unwrap()).unwrap();
        loss = model.loss(&mut workspace, &mut gradients).unwrap();
        model.backward(&mut workspace, &mut gradients).unwrap();
    }
    let flat = gradients.to_vec(cpu).unwrap();
    let specs = gradients.layout().specs();
    (loss, specs.iter().map(|spec| (spec.name.clone(), flat[spec.range()].to_vec())).collect())
}

/// Initial values of all parameters, in the order of the layout.
fn initial(cpu: &Cpu, config: &ModelConfig) -> Vec<f32> {
    let mut model = LanguageModel::new(cpu, config, ExecutionPath::Reference).unwrap();
    model.initialize(Init::Uniform, 3).unwrap();
    model.parameters().to_vec(cpu).unwrap()
}

#[test]
fn an_embedding_equals_one_hot_input_with_the_product_of_both_weights() {
    let cpu = Cpu::new(2).unwrap();
    for cell in Cell::ALL {
        let gates = cell.num_gates();
        for path in [ExecutionPath::Reference, ExecutionPath::Auto] {
            let one_hot = ModelConfig { cell, hidden_size: H, num_layers: 2, ..ModelConfig::book(V) };
            let embedded = ModelConfig { embedding_size: E, ..one_hot.clone() };
            let values = initial(&cpu, &embedded);
            assert_eq!(values.len() as u128, embedded.num_parameters());
            // the layout starts with the embedding [V, E] and W_ih [G·H, E]
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
fn config_json_omits_the_embedding_of_one_hot_models() {
    let config = ModelConfig::book(28);
    let text = serde_json::to_string(&config).unwrap();
    assert!(!text.contains("embedding_size"), "{text}");
    assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), config);
    let embedded = ModelConfig { embedding_size: 16, ..config };
    let text = serde_json::to_string(&embedded).unwrap();
    assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), embedded);
}
