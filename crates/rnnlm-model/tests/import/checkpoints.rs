//! Import of checkpoints that PyTorch wrote: the logits equal PyTorch's, and errors name the tensor that does not fit.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rnnlm_model::{
    Cell, Checkpoint, Cpu, Error, ExecutionPath, ImportError, LanguageModel, Minibatch, ModelConfig, Nonlinearity,
    Normalization, Run, RunWriter, TokenKind, Vocab, read_vocab,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;

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
    inputs: Vec<u32>,
    logits: Vec<f64>,
}

fn one() -> usize {
    1
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/import");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn fixture(name: &str) -> PathBuf {
    fixtures().into_iter().find(|path| path.ends_with(format!("{name}.safetensors"))).unwrap()
}

impl Case {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        serde_json::from_str(&header.metadata().as_ref().unwrap()["case"]).unwrap()
    }

    /// The expected settings.
    fn model(&self) -> ModelConfig {
        ModelConfig {
            cell: Cell::ALL.into_iter().find(|cell| cell.name() == self.cell).unwrap(),
            hidden_size: self.hidden_size,
            num_layers: self.num_layers,
            bidirectional: self.bidirectional,
            embedding_size: self.embedding_size,
            ..ModelConfig::book(self.vocab_size)
        }
    }

    fn nonlinearity(&self) -> Option<Nonlinearity> {
        (self.cell == "rnn relu").then_some(Nonlinearity::Relu)
    }
}

fn vocab(len: usize) -> Vocab {
    let letters = ('a'..='z').take(len - 1).map(|letter| letter.to_string().into_boxed_str());
    let tokens = std::iter::once("<unk>".into()).chain(letters).collect();
    Vocab::from_tokens(TokenKind::Char, Normalization::Book, tokens).unwrap()
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
    for (index, path) in fixtures().iter().enumerate() {
        let case = Case::read(path);
        let checkpoint = Checkpoint::read(path, case.nonlinearity()).unwrap();
        assert_eq!(checkpoint.model(), &case.model(), "{}", path.display());
        let run_path = folder.path().join(index.to_string());
        checkpoint.save(&run_path, false, vocab(case.vocab_size)).unwrap();
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
    assert!(fixtures().len() >= 7);
}

#[test]
fn an_imported_run_cannot_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let checkpoint = Checkpoint::read(&fixture("gru-2-layers"), None).unwrap();
    checkpoint.save(&path, false, vocab(7)).unwrap();
    assert!(matches!(RunWriter::resume(&path), Err(Error::NeverTrained { .. })));
    assert!(matches!(Run::open(&path).unwrap().config(), Err(Error::NeverTrained { .. })));
    assert!(matches!(checkpoint.save(&path, false, vocab(7)), Err(Error::Exists { .. })));
    checkpoint.save(&path, true, vocab(7)).unwrap();
    let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".rnnlm.lock", "config.json", "model.safetensors", "vocab.json"]);
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
    assert_eq!(Checkpoint::read(&path, None).unwrap().model(), &model);
    // metadata for other shapes is ignored
    let metadata = metadata.replace("\"hidden_size\":6", "\"hidden_size\":5");
    tensors.write(&path, Some(("rnnlm", &metadata)));
    assert_eq!(Checkpoint::read(&path, None).unwrap().model().cell, Cell::Gru { reset_after: true });
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
    let checkpoint = Checkpoint::read(&path, None).unwrap();
    let last = &checkpoint.values()[checkpoint.values().len() - 7..];
    for (found, word) in last.iter().zip(whole.chunks_exact(4)) {
        assert_eq!(found.to_le_bytes(), [0, 0, word[2], word[3]]);
    }
}

/// The tensors of a file, which a test can change: type, shape, bytes.
struct Tensors(BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    fn read(name: &str) -> Self {
        let bytes = fs::read(fixture(name)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |(name, view): (&str, TensorView<'_>)| {
            (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        };
        Self(file.iter().map(tensor).collect())
    }

    fn zeros(&mut self, name: &str, shape: &[usize]) {
        let len = 4 * shape.iter().product::<usize>();
        self.0.insert(name.to_owned(), (Dtype::F32, shape.to_vec(), vec![0; len]));
    }

    fn write(&self, path: &Path, metadata: Option<(&str, &str)>) {
        let view = |(name, (dtype, shape, bytes)): (&String, &(Dtype, Vec<usize>, Vec<u8>))| {
            (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap().data().to_vec())
        };
        let owned: Vec<_> = self.0.iter().map(view).collect();
        let views = owned.iter().map(|(name, bytes)| {
            let (dtype, shape, _) = &self.0[name];
            (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        let metadata = metadata.map(|(key, value)| [(key.to_owned(), value.to_owned())].into());
        fs::write(path, safetensors::serialize(views, metadata).unwrap()).unwrap();
    }
}

/// The error for a checkpoint after `change`.
fn import_error(name: &str, change: impl Fn(&mut Tensors)) -> ImportError {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut tensors = Tensors::read(name);
    change(&mut tensors);
    tensors.write(&path, None);
    match Checkpoint::read(&path, None) {
        Err(Error::Import { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_name_the_tensor_and_both_values() {
    let message = |name: &str, change: &dyn Fn(&mut Tensors)| import_error(name, change).to_string();
    let without = |name: &'static str| move |tensors: &mut Tensors| drop(tensors.0.remove(name));
    let shaped = |name: &'static str, shape: &'static [usize]| move |tensors: &mut Tensors| tensors.zeros(name, shape);
    let gru = "gru-2-layers";
    assert_eq!(
        message("rnn-tanh", &without("rnn.bias_hh_l0")),
        "it has no tensor `rnn.bias_hh_l0`, only `linear.bias`, `linear.weight`, `rnn.bias_ih_l0`, `rnn.weight_hh_l0`, \
         `rnn.weight_ih_l0`"
    );
    assert!(message(gru, &without("rnn.weight_hh_l0")).starts_with("it has no tensor `rnn.weight_hh_l0`, only"));
    assert!(message(gru, &without("linear.weight")).starts_with("it has no tensor `linear.weight`"));
    assert!(message(gru, &|tensors| tensors.0.clear()).ends_with("only an empty file"));
    // layer 3 does not count as a layer, because layer 2 is missing
    assert!(
        message(gru, &shaped("rnn.weight_hh_l3", &[18, 6])).starts_with(
            "tensor `rnn.weight_hh_l3` [18, 6] is not a parameter of the model: a gru of 2 × 6 hidden units"
        )
    );
    assert!(message(gru, &shaped("rnn.weight_hr_l0", &[3, 6])).contains("`rnn.weight_hr_l0` [3, 6]"));
    assert_eq!(
        message(gru, &shaped("rnn.weight_ih_l1", &[18, 5])),
        "tensor `rnn.weight_ih_l1` is [18, 5], by the others it must be [18, 6]"
    );
    assert_eq!(
        message(gru, &shaped("linear.weight", &[9, 6])),
        "tensor `rnn.weight_ih_l0` is [18, 7], by the others it must be [18, 9]"
    );
    for shape in [&[12, 6], &[6, 0], &[0, 6], &[0, 0]] {
        let found = import_error(gru, |tensors| tensors.zeros("rnn.weight_hh_l0", shape));
        assert_eq!(found, ImportError::Gates { tensor: "rnn.weight_hh_l0".to_owned(), found: shape.to_vec() });
    }
    assert_eq!(
        message(gru, &shaped("rnn.weight_hh_l0", &[6])),
        "tensor `rnn.weight_hh_l0` is [6], it must have two dimensions"
    );
    let wide = message(gru, &shaped("linear.weight", &[usize::MAX / 8, 0]));
    assert!(wide.contains("linear.weight") || wide.contains("rnn.weight_ih_l0"), "{wide}");
}

#[test]
fn values_and_types_that_are_not_finite_floats_are_refused() {
    let put = |bytes: [u8; 4]| {
        move |tensors: &mut Tensors| tensors.0.get_mut("linear.bias").unwrap().2[8..12].copy_from_slice(&bytes)
    };
    let not_finite = import_error("rnn-tanh", put(f32::INFINITY.to_le_bytes())).to_string();
    assert_eq!(not_finite, "tensor `linear.bias` holds inf at index 2, it must be finite as float32");
    // larger than the largest float32
    let large = |tensors: &mut Tensors| {
        tensors.0.get_mut("linear.bias").unwrap().2[..8].copy_from_slice(&1e39_f64.to_le_bytes());
    };
    assert!(matches!(import_error("gru-float64", large), ImportError::NotFinite { index: 0, .. }));
    let integers = |tensors: &mut Tensors| tensors.0.get_mut("linear.bias").unwrap().0 = Dtype::I32;
    assert_eq!(
        import_error("rnn-tanh", integers).to_string(),
        "tensor `linear.bias` holds I32, it must hold F32, F64, F16 or BF16"
    );
}

#[test]
fn a_requested_nonlinearity_is_refused_for_other_cells_than_an_rnn() {
    let relu = Some(Nonlinearity::Relu);
    let rnn = Checkpoint::read(&fixture("rnn-relu"), relu).unwrap();
    assert_eq!(rnn.model().cell, Cell::Rnn(Nonlinearity::Relu));
    let refused = Checkpoint::read(&fixture("gru-2-layers"), relu).unwrap_err().to_string();
    assert!(refused.ends_with("`nonlinearity` is relu, and the file holds `gru`"), "{refused}");
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
        let _ = Checkpoint::read(&path, None);
        fs::write(&path, &good[..at]).unwrap();
        assert!(matches!(Checkpoint::read(&path, None), Err(Error::Import { .. })), "{at} bytes");
    }
}

#[test]
fn a_vocabulary_is_read_from_a_run_or_a_list_of_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vocab.json");
    let read = |content: &str, kind, normalization| {
        fs::write(&path, content).unwrap();
        read_vocab(&path, kind, normalization)
    };
    let list = r#"["<unk>", "b", "A"]"#;
    let listed = read(list, None, None).unwrap();
    assert_eq!(
        (listed.kind(), listed.normalization(), listed.id("A")),
        (TokenKind::Char, Normalization::Book, Some(2))
    );
    let words = read(list, Some(TokenKind::Word), Some(Normalization::None)).unwrap();
    assert_eq!((words.kind(), words.encode("A\nx b").ids), (TokenKind::Word, vec![2, 0, 1]));
    let own = words.to_json().unwrap();
    assert_eq!(read(&own, None, None).unwrap(), words);
    assert_eq!(read(&own, Some(TokenKind::Word), Some(Normalization::None)).unwrap(), words);
    let other = read(&own, Some(TokenKind::Byte), None).unwrap_err().to_string();
    assert_eq!(other, "`token` is byte, the vocabulary has word");
    let other = read(&own, None, Some(Normalization::Book)).unwrap_err().to_string();
    assert_eq!(other, "`normalize` is book, the vocabulary has none");
    let run = folder.path().join("run");
    Checkpoint::read(&fixture("gru-2-layers"), None).unwrap().save(&run, false, vocab(7)).unwrap();
    assert_eq!(read_vocab(&run.join("vocab.json"), None, None).unwrap(), vocab(7));
    let damaged = fs::read_to_string(run.join("vocab.json")).unwrap().replace("\"c\"", "\"x\"");
    assert!(matches!(read(&damaged, None, None), Err(Error::Damaged { .. })));
    for (bad, expected) in [
        (r#"["a", "<unk>"]"#, "`tokens`[0] is `a`, it must be `<unk>`"),
        (r#"["<unk>", "a", "a"]"#, "`tokens`[2] repeats `tokens`[1], which is `a`"),
        (r#"["<unk>", "ab"]"#, "`tokens`[1], `ab`, is not one character"),
        ("[]", "`tokens` is empty"),
        ("[1]", "not in the expected form"),
        ("{", "not in the expected form"),
    ] {
        let message = read(bad, None, None).unwrap_err().to_string();
        assert!(message.contains(expected), "{bad}: {message}");
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
    let tied = Checkpoint::read(&path, None).unwrap();
    assert!(tied.model().tie_weights);
    assert_eq!(tied.values().len() as u128, tied.model().num_parameters());
    tied.save(&folder.path().join("run"), false, vocab(7)).unwrap();
    let run = Run::open(&folder.path().join("run")).unwrap();
    let model = run.load(&Cpu::new(1).unwrap(), ExecutionPath::Auto).unwrap();
    assert_eq!(model.parameters().to_vec(model.backend()).unwrap(), tied.values());
    tensors.0.get_mut("embedding.weight").unwrap().2[0] ^= 1;
    tensors.write(&path, None);
    assert!(!Checkpoint::read(&path, None).unwrap().model().tie_weights);
}
