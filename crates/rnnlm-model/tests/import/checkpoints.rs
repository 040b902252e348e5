//! The golden checkpoints of `tests/fixtures/import`: the logits equal PyTorch's.

use std::fs;
use std::path::Path;

use rnnlm_model::{
    AdaptiveSoftmax, Cell, Checkpoint, Cpu, Error, ExecutionPath, ImportOptions, LanguageModel, Minibatch, ModelConfig,
    Nonlinearity, Run, RunWriter,
};
use safetensors::tensor::Dtype;
use serde::Deserialize;

use crate::support::{Tensors, fixture, fixtures, metadata, read, vocab};

/// The metadata that `tests/fixtures/generate.py` writes to a checkpoint.
#[derive(Deserialize)]
struct Case {
    cell: String,
    num_steps: usize,
    batch_size: usize,
    vocab_size: usize,
    hidden_size: usize,
    #[serde(default = "one")]
    num_layers: usize,
    #[serde(default)]
    bidirectional: bool,
    #[serde(default)]
    embedding_size: usize,
    #[serde(default)]
    adaptive_softmax: Option<AdaptiveSoftmax>,
    inputs: Vec<u32>,
    logits: Vec<f64>,
}

fn one() -> usize {
    1
}

impl Case {
    fn read(path: &Path) -> Self {
        serde_json::from_str(&metadata(path)["case"]).unwrap()
    }

    /// The expected settings.
    fn model(&self) -> ModelConfig {
        ModelConfig {
            cell: Cell::ALL.into_iter().find(|cell| cell.name() == self.cell).unwrap(),
            hidden_size: self.hidden_size,
            num_layers: self.num_layers,
            bidirectional: self.bidirectional,
            embedding_size: self.embedding_size,
            adaptive_softmax: self.adaptive_softmax.clone(),
            ..ModelConfig::book(self.vocab_size)
        }
    }

    fn options(&self) -> ImportOptions {
        let nonlinearity = (self.cell == "rnn relu").then_some(Nonlinearity::Relu);
        ImportOptions { nonlinearity, ..ImportOptions::default() }
    }
}

fn logits(model: &LanguageModel<Cpu>, case: &Case) -> Vec<f32> {
    let (num_steps, batch_size) = (case.num_steps, case.batch_size);
    let mut workspace = model.workspace(num_steps, batch_size).unwrap();
    let inputs = case.inputs.clone();
    workspace.load(model.backend(), &Minibatch { targets: inputs.clone(), inputs, num_steps, batch_size }).unwrap();
    model.forward(&mut workspace, &mut model.zero_state(batch_size).unwrap()).unwrap();
    model.logits(&mut workspace, 0..num_steps * batch_size).unwrap().to_vec(model.backend()).unwrap()
}

#[test]
fn imported_models_compute_the_logits_of_pytorch() {
    let cpu = Cpu::new(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (index, path) in fixtures("import").iter().enumerate() {
        let case = Case::read(path);
        let checkpoint = Checkpoint::read(path, &case.options()).unwrap();
        assert_eq!(checkpoint.model(), &case.model(), "{}", path.display());
        let run_path = folder.path().join(index.to_string());
        checkpoint.with_vocab(vocab(case.vocab_size).into()).unwrap().save(&run_path, false).unwrap();
        let run = Run::open(&run_path).unwrap();
        assert_eq!(run.model(), &case.model());
        for execution_path in [ExecutionPath::Fused, ExecutionPath::Reference] {
            let found = logits(&run.load(&cpu, execution_path).unwrap(), &case);
            let largest = case.logits.iter().fold(0.0_f64, |largest, logit| largest.max(logit.abs()));
            for (found, expected) in found.iter().zip(&case.logits) {
                // about five sums of about twenty products in float32, each the input of the next: 2⁻²⁴ · 20 · 5
                let error = (f64::from(*found) - expected).abs() / largest;
                assert!(error < 6e-6, "{} {execution_path:?}: {found}, expected {expected}", path.display());
            }
        }
    }
    assert!(fixtures("import").len() >= 10);
}

#[test]
fn an_imported_run_cannot_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let imported = read(&fixture("gru-2-layers")).unwrap().with_vocab(vocab(7).into()).unwrap();
    imported.save(&path, false).unwrap();
    assert!(matches!(RunWriter::resume(&path), Err(Error::NeverTrained { .. })));
    assert!(matches!(Run::open(&path).unwrap().config(), Err(Error::NeverTrained { .. })));
    assert!(matches!(imported.save(&path, false), Err(Error::Exists { .. })));
    imported.save(&path, true).unwrap();
    let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".rnnlm.lock", "config.json", "model.safetensors", "tokenizer.json", "vocab.json"]);
}

#[test]
fn options_of_the_cell_come_from_the_metadata_of_our_own_files() {
    let folder = tempfile::tempdir().unwrap();
    let cell = Cell::Gru { reset_after: false };
    let model = ModelConfig { cell, hidden_size: 6, ..ModelConfig::book(7) };
    // the tensors do not determine `reset_after`, the metadata does
    let tensors = Tensors::read("gru-float64");
    let metadata = format!("{{\"model\": {}}}", serde_json::to_string(&model).unwrap());
    let path = folder.path().join("model.safetensors");
    tensors.write(&path, Some(("rnnlm", &metadata)));
    assert_eq!(read(&path).unwrap().model(), &model);
    // metadata for other shapes is ignored
    let metadata = metadata.replace("\"hidden_size\":6", "\"hidden_size\":5");
    tensors.write(&path, Some(("rnnlm", &metadata)));
    assert_eq!(read(&path).unwrap().model().cell, Cell::Gru { reset_after: true });
}

#[test]
fn bfloat16_becomes_the_upper_half_of_float32() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut tensors = Tensors::read("rnn-tanh");
    let whole = tensors.0["linear.bias"].2.clone();
    for (dtype, _, bytes) in tensors.0.values_mut() {
        *dtype = Dtype::BF16;
        *bytes = bytes.chunks_exact(4).flat_map(|word| [word[2], word[3]]).collect();
    }
    tensors.write(&path, None);
    let checkpoint = read(&path).unwrap();
    let last = &checkpoint.values()[checkpoint.values().len() - 7..];
    for (found, word) in last.iter().zip(whole.chunks_exact(4)) {
        assert_eq!(found.to_le_bytes(), [0, 0, word[2], word[3]]);
    }
}

#[test]
fn damaged_files_give_a_model_or_an_error_but_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let good = fs::read(fixture("lstm-embedding-float16")).unwrap();
    // the header and the first values
    for at in 0..1200 {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        let _ = read(&path);
        fs::write(&path, &good[..at]).unwrap();
        assert!(matches!(read(&path), Err(Error::Import { .. })), "{at} bytes");
    }
}

#[test]
fn an_embedding_equal_to_the_output_weight_is_tied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut tensors = Tensors::read("rnn-tanh");
    // an embedding as wide as the hidden state
    tensors.0.insert("embedding.weight".to_owned(), tensors.0["linear.weight"].clone());
    tensors.zeros("rnn.weight_ih_l0", &[6, 6]);
    tensors.write(&path, None);
    let tied = read(&path).unwrap();
    assert!(tied.model().tie_weights);
    assert_eq!(tied.values().len() as u128, tied.model().num_parameters());
    let tied = tied.with_vocab(vocab(7).into()).unwrap();
    tied.save(&folder.path().join("run"), false).unwrap();
    let run = Run::open(&folder.path().join("run")).unwrap();
    let model = run.load(&Cpu::new(1).unwrap(), ExecutionPath::Auto).unwrap();
    assert_eq!(model.parameters().to_vec(model.backend()).unwrap(), tied.values());
    tensors.0.get_mut("embedding.weight").unwrap().2[0] ^= 1;
    tensors.write(&path, None);
    assert!(!read(&path).unwrap().model().tie_weights);
}
