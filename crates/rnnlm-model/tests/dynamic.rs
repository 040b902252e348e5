//! Dynamic evaluation against a PyTorch script, and what it leaves alone.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use rnnlm_model::{
    Cell, Cpu, DynamicConfig, DynamicEvaluator, DynamicRule, Error, ExecutionPath, Init, LanguageModel, ModelConfig,
    Nonlinearity, Scorer,
};
use safetensors::SafeTensors;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    cell: String,
    num_steps: usize,
    vocab_size: usize,
    hidden_size: usize,
    rule: String,
    lr: f32,
    decay: f32,
    eps: f32,
    lengths: Vec<usize>,
}

fn words<T>(file: &SafeTensors<'_>, name: &str, from: impl Fn([u8; 4]) -> T) -> Vec<T> {
    file.tensor(name).unwrap().data().as_chunks().0.iter().map(|&bytes| from(bytes)).collect()
}

fn parameters(model: &LanguageModel<Cpu>) -> Vec<f32> {
    model.parameters().to_vec(model.backend()).unwrap()
}

/// A golden file on one path: the largest errors of the log-probabilities and of the final parameters.
fn compare_with_pytorch(name: &str, path: ExecutionPath) {
    let file = format!("{}/../../tests/fixtures/dynamic/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let content = std::fs::read(file).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&content).unwrap();
    let case: Case = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["case"]).unwrap();
    let file = SafeTensors::deserialize(&content).unwrap();
    let cell = Cell::ALL.into_iter().find(|cell| cell.name() == case.cell).unwrap();
    let config = ModelConfig { cell, hidden_size: case.hidden_size, ..ModelConfig::book(case.vocab_size) };
    let mut model = LanguageModel::new(&Cpu::new(2).unwrap(), &config, path).unwrap();
    let layout = model.parameters().layout().clone();
    let all = |prefix: &str| -> Vec<f32> {
        let specs = layout.specs().iter();
        specs.flat_map(|spec| words(&file, &format!("{prefix}{}", spec.name), f32::from_le_bytes)).collect()
    };
    let cpu = model.backend().clone();
    model.parameters_mut().write(&cpu, &all("")).unwrap();
    let rule = if case.rule == "sgd" { DynamicRule::Sgd } else { DynamicRule::Rms { eps: case.eps } };
    let config = DynamicConfig { rule, num_steps: case.num_steps, lr: case.lr, decay: case.decay };
    let mut evaluator = DynamicEvaluator::new(model, config).unwrap();
    evaluator.collect(&words(&file, "training", u32::from_le_bytes)).unwrap();
    let text = words(&file, "text", u32::from_le_bytes);
    let (context, documents) = match case.lengths.is_empty() {
        true => (text[0], vec![&text[1..]]),
        false => {
            let mut rest = &text[..];
            let documents = case.lengths.iter().map(|&length| {
                let document;
                (document, rest) = rest.split_at(length);
                document
            });
            (0, documents.collect())
        }
    };
    // twice: the second time starts from the trained parameters again
    for _ in 0..2 {
        evaluator.reset().unwrap();
        let mut scores = Vec::new();
        evaluator.score(context, &documents, &mut |document, score| scores.push((document, score))).unwrap();
        let expected = words(&file, "expected.log_probabilities", f32::from_le_bytes);
        assert_eq!(scores.len(), expected.len());
        for (index, ((_, score), expected)) in scores.iter().zip(&expected).enumerate() {
            let error = (score.log_probability - expected).abs();
            assert!(error < 2e-5, "{name}, {path:?}, token {index}: {} {expected}", score.log_probability);
        }
        let order: Vec<usize> = scores.iter().map(|(document, _)| *document).collect();
        let lengths = documents.iter().enumerate();
        let expected: Vec<usize> = lengths.flat_map(|(document, ids)| vec![document; ids.len()]).collect();
        assert_eq!(order, expected);
        for (index, (found, expected)) in parameters(evaluator.model()).iter().zip(all("expected.")).enumerate() {
            assert!((found - expected).abs() < 2e-5, "{name}, {path:?}, parameter {index}: {found} {expected}");
        }
    }
}

#[test]
fn scores_and_parameters_are_those_of_pytorch() {
    for name in ["gru-sgd", "lstm-rms", "rnn-tanh-rms-documents"] {
        for path in [ExecutionPath::Auto, ExecutionPath::Reference] {
            compare_with_pytorch(name, path);
        }
    }
}

fn model(bidirectional: bool) -> LanguageModel<Cpu> {
    let cell = Cell::Rnn(Nonlinearity::Tanh);
    let config = ModelConfig { cell, hidden_size: 6, bidirectional, ..ModelConfig::book(7) };
    let mut model = LanguageModel::new(&Cpu::new(1).unwrap(), &config, ExecutionPath::Auto).unwrap();
    model.initialize(Init::Uniform, 3).unwrap();
    model
}

fn config(rule: DynamicRule) -> DynamicConfig {
    DynamicConfig { rule, num_steps: 5, lr: 0.1, decay: 0.1 }
}

#[test]
fn without_a_learning_rate_the_scores_are_those_of_the_fixed_model() {
    let documents: [&[u32]; 4] = [&[1, 2, 3, 0], &[], &[5, 5, 5, 5, 5, 5, 5, 0], &[0]];
    let model = model(false);
    let mut expected = vec![Vec::new(); 4];
    Scorer::new(&model).unwrap().score(0, &documents, &mut |document, score| expected[document].push(score)).unwrap();
    let before = parameters(&model);
    let mut evaluator = DynamicEvaluator::new(model, DynamicConfig { lr: 0.0, ..config(DynamicRule::Sgd) }).unwrap();
    let mut scores = vec![Vec::new(); 4];
    evaluator.score(0, &documents, &mut |document, score| scores[document].push(score)).unwrap();
    assert_eq!((scores, parameters(evaluator.model())), (expected, before));
}

#[test]
fn settings_and_models_without_a_meaning_are_refused() {
    let error = DynamicEvaluator::new(model(true), config(DynamicRule::Sgd)).unwrap_err();
    assert!(matches!(error, Error::BidirectionalScoring), "{error}");
    let mut evaluator = DynamicEvaluator::new(model(false), config(DynamicRule::Rms { eps: 1e-3 })).unwrap();
    let error = evaluator.score(0, &[&[1]], &mut |_, _| ()).unwrap_err();
    assert!(matches!(error, Error::NoGradientStatistics), "{error}");
    let refused = [
        (DynamicConfig { num_steps: 0, ..config(DynamicRule::Sgd) }, "`num_steps` is 0"),
        (DynamicConfig { decay: 1.5, ..config(DynamicRule::Sgd) }, "`decay` is 1.5"),
        (DynamicConfig { lr: f32::NAN, ..config(DynamicRule::Sgd) }, "`lr` is NaN"),
        (config(DynamicRule::Rms { eps: 0.0 }), "`eps` is 0"),
    ];
    for (config, message) in refused {
        let error = DynamicEvaluator::new(model(false), config).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
