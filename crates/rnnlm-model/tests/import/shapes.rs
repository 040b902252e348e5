//! The golden checkpoints of `tests/fixtures/import-shapes`: names, missing biases and vocabularies as PyTorch models have
//! them. The probabilities equal PyTorch's.

use std::fs;
use std::path::Path;

use rnnlm_model::{
    Checkpoint, Cpu, ExecutionPath, ImportOptions, LanguageModel, Minibatch, Nonlinearity, Normalization, Rename, Run,
    TokenKind, Vocab, read_vocab,
};
use serde::Deserialize;
use serde_json::{Map, json};

use crate::support::{fixtures, metadata};

/// The metadata that `tests/fixtures/generate_import.py` writes to a checkpoint.
#[derive(Deserialize)]
struct Case {
    cell: String,
    tokens: Vec<String>,
    kind: String,
    text: String,
    renames: Vec<(String, String)>,
    nats_per_token: f64,
    /// `[T, V]`, in the order of `tokens`.
    log_probs: Vec<f64>,
}

impl Case {
    fn read(path: &Path) -> Self {
        serde_json::from_str(&metadata(path)["case"]).unwrap()
    }

    fn options(&self) -> ImportOptions {
        let renames = self.renames.iter().map(|(from, to)| Rename { from: from.clone(), to: to.clone() });
        let nonlinearity = (self.cell == "rnn relu").then_some(Nonlinearity::Relu);
        ImportOptions { nonlinearity, renames: renames.collect() }
    }

    fn kind(&self) -> TokenKind {
        TokenKind::ALL.into_iter().find(|kind| kind.as_str() == self.kind).unwrap()
    }

    /// The vocabulary in every form of a file, with the file's name.
    fn vocab_files(&self) -> [(&'static str, String); 4] {
        let ids: Map<_, _> = self
            .tokens
            .iter()
            .rev()
            .zip(0..)
            .map(|(token, back)| (token.clone(), json!(self.tokens.len() - 1 - back)))
            .collect();
        let by_id: Map<_, _> = self.tokens.iter().zip(0..).map(|(token, id)| (format!("{id}"), json!(token))).collect();
        [
            ("list.json", json!(self.tokens).to_string()),
            ("ids.json", json!(ids).to_string()),
            ("by_id.json", json!(by_id).to_string()),
            ("lines.txt", self.tokens.join("\n") + "\n"),
        ]
    }

    /// The id in `vocab` of a token of the model, whose unknown token may have another spelling.
    fn id(&self, vocab: &Vocab, token: &str) -> usize {
        vocab.id(token).unwrap_or(0) as usize
    }

    fn has_unknown(&self) -> bool {
        self.tokens.iter().any(|token| ["<unk>", "[UNK]"].contains(&token.as_str()))
    }
}

/// The log probabilities of all tokens after each of `ids`, `[T, V]`.
fn log_probs(model: &LanguageModel<Cpu>, ids: &[u32]) -> Vec<Vec<f64>> {
    let (num_steps, vocab_size) = (ids.len(), model.config().vocab_size);
    let mut workspace = model.workspace(num_steps, 1).unwrap();
    let minibatch = Minibatch { inputs: ids.to_vec(), targets: ids.to_vec(), num_steps, batch_size: 1 };
    workspace.load(model.backend(), &minibatch).unwrap();
    model.forward(&mut workspace, &mut model.zero_state(1).unwrap()).unwrap();
    let logits = model.logits(&mut workspace, 0..num_steps).unwrap().to_vec(model.backend()).unwrap();
    let log_softmax = |row: &[f32]| {
        let sum = row.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>();
        row.iter().map(|&logit| f64::from(logit) - sum.ln()).collect()
    };
    logits.chunks_exact(vocab_size).map(log_softmax).collect()
}

#[test]
fn imported_models_have_the_probabilities_of_pytorch_in_every_form_of_the_vocabulary() {
    let cpu = Cpu::new(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for path in fixtures("import-shapes") {
        let case = Case::read(&path);
        for (name, content) in case.vocab_files() {
            let vocab_path = folder.path().join(name);
            fs::write(&vocab_path, content).unwrap();
            let vocab = read_vocab(&vocab_path, Some(case.kind()), Some(Normalization::None)).unwrap();
            let imported = Checkpoint::read(&path, &case.options()).unwrap().with_vocab(vocab).unwrap();
            imported.save(&folder.path().join("run"), true).unwrap();
            let run = Run::open(&folder.path().join("run")).unwrap();
            assert_eq!(run.model().vocab_size, case.tokens.len() + usize::from(!case.has_unknown()));
            for execution_path in [ExecutionPath::Fused, ExecutionPath::Reference] {
                let message = format!("{} {name} {execution_path:?}", path.display());
                check(&case, run.vocab(), &run.load(&cpu, execution_path).unwrap(), &message);
            }
        }
    }
    assert_eq!(fixtures("import-shapes").len(), 5);
}

fn check(case: &Case, vocab: &Vocab, model: &LanguageModel<Cpu>, message: &str) {
    let ids = vocab.encode(&case.text).ids;
    let nats = model.evaluate(&ids).unwrap().nats_per_token();
    let error = (nats / case.nats_per_token - 1.0).abs();
    assert!(error < 1e-6, "{message}: {nats} nats, expected {}", case.nats_per_token);
    let found = log_probs(model, &ids[..ids.len() - 1]);
    assert_eq!(found.len() * case.tokens.len(), case.log_probs.len());
    let largest = case.log_probs.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(case.log_probs.chunks_exact(case.tokens.len())) {
        for (token, expected) in case.tokens.iter().zip(expected) {
            let found = found[case.id(vocab, token)];
            // the bound of `imported_models_compute_the_logits_of_pytorch`
            assert!((found - expected).abs() < 6e-6 * largest, "{message} {token:?}: {found}, expected {expected}");
        }
        if !case.has_unknown() {
            // the bound of the inequality, and rounding
            assert!(found[0] < -20.0 - (case.tokens.len() as f64).ln() + 1e-5, "{message}: {}", found[0]);
        }
    }
}

#[test]
fn the_weights_of_an_added_unknown_token_are_means() {
    let path =
        fixtures("import-shapes").into_iter().find(|path| path.ends_with("one-hot-without-unk.safetensors")).unwrap();
    let case = Case::read(&path);
    let folder = tempfile::tempdir().unwrap();
    let vocab_path = folder.path().join("v.json");
    fs::write(&vocab_path, json!(case.tokens).to_string()).unwrap();
    let vocab = read_vocab(&vocab_path, Some(TokenKind::Char), Some(Normalization::None)).unwrap();
    let checkpoint = Checkpoint::read(&path, &ImportOptions::default()).unwrap();
    let before = checkpoint.values().to_vec();
    let imported = checkpoint.with_vocab(vocab).unwrap();
    let after = imported.values();
    // [3·8, 11] becomes [3·8, 12]: `<unk>`, then `<pad>`, which had the id 2, then the others
    let (old, new) = (&before[..24 * 11], &after[..24 * 12]);
    for (old, new) in old.chunks_exact(11).zip(new.chunks_exact(12)) {
        let mean = old.iter().map(|&value| f64::from(value)).sum::<f64>() / 11.0;
        assert_eq!((new[0], new[1]), (mean as f32, old[2]));
        assert_eq!((&new[2..4], &new[4..]), (&old[..2], &old[3..]));
    }
    // the last 11 and 12 values are the output biases
    let (old, new) = (&before[before.len() - 11..], &after[after.len() - 12..]);
    let mean = old.iter().map(|&value| f64::from(value)).sum::<f64>() / 11.0;
    assert_eq!((new[0], new[1]), ((mean - 20.0) as f32, old[2]));
    // [11, 8] before the biases becomes [12, 8]
    let old = &before[before.len() - 11 - 88..before.len() - 11];
    let new = &after[after.len() - 12 - 96..after.len() - 12];
    let mean = old.iter().step_by(8).map(|&value| f64::from(value)).sum::<f64>() / 11.0;
    assert_eq!(new[0], mean as f32);
    assert_eq!((&new[8..16], &new[16..32], &new[32..]), (&old[16..24], &old[..16], &old[24..]));
}
