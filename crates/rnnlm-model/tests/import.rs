//! Checkpoints that PyTorch wrote, imported: the logits are PyTorch's, and what does not fit is refused with its tensor.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rnnlm_model::{
    CellKind, Checkpoint, Error, LanguageModel, ModelConfig, NonlinearityKind, Run, RunWriter, Unfit, read_vocab,
};
use rnnlm_rnn::ExecutionPath;
use rnnlm_tensor::Cpu;
use rnnlm_vocab::{Minibatch, Normalization, TokenKind, Vocab};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;

/// What `tests/fixtures/generate.py` says of a checkpoint.
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
    fn of(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        serde_json::from_str(&header.metadata().as_ref().unwrap()["case"]).unwrap()
    }

    /// By the settings that PyTorch was given.
    fn model(&self) -> ModelConfig {
        let (cell, nonlinearity) = match self.cell.as_str() {
            "rnn tanh" => (CellKind::Rnn, NonlinearityKind::Tanh),
            "rnn relu" => (CellKind::Rnn, NonlinearityKind::Relu),
            "gru" => (CellKind::Gru, NonlinearityKind::Tanh),
            "lstm" => (CellKind::Lstm, NonlinearityKind::Tanh),
            other => panic!("{other}"),
        };
        ModelConfig {
            cell,
            nonlinearity,
            hidden_size: self.hidden_size,
            num_layers: self.num_layers,
            bidirectional: self.bidirectional,
            embedding_size: self.embedding_size,
            ..ModelConfig::book(self.vocab_size)
        }
    }

    fn nonlinearity(&self) -> Option<NonlinearityKind> {
        (self.cell == "rnn relu").then_some(NonlinearityKind::Relu)
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
fn an_imported_model_gives_pytorch_s_logits() {
    let cpu = Cpu::new(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (index, path) in fixtures().iter().enumerate() {
        let case = Case::of(path);
        let checkpoint = Checkpoint::read(path, case.nonlinearity()).unwrap();
        assert_eq!(checkpoint.model(), &case.model(), "{}", path.display());
        let place = folder.path().join(index.to_string());
        checkpoint.save(&place, false, vocab(case.vocab_size)).unwrap();
        let run = Run::open(&place).unwrap();
        assert_eq!(run.model(), &case.model());
        for way in [ExecutionPath::Fused, ExecutionPath::Reference] {
            let found = logits(&run.load(&cpu, way).unwrap(), &case);
            let largest = case.logits.iter().fold(0.0_f64, |largest, logit| largest.max(logit.abs()));
            for (found, expected) in found.iter().zip(&case.logits) {
                // a sum of some twenty products in float32, a handful of them behind each other: 2⁻²⁴ · 20 · 5
                let error = (f64::from(*found) - expected).abs() / largest;
                assert!(error < 6e-6, "{} {way:?}: {found} against {expected}", path.display());
            }
        }
    }
    assert!(fixtures().len() >= 7);
}

#[test]
fn an_imported_run_is_no_training_to_go_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("run");
    let checkpoint = Checkpoint::read(&fixture("gru-2-layers"), None).unwrap();
    checkpoint.save(&place, false, vocab(7)).unwrap();
    assert!(matches!(RunWriter::resume(&place), Err(Error::NeverTrained { .. })));
    assert!(matches!(Run::open(&place).unwrap().config(), Err(Error::NeverTrained { .. })));
    assert!(matches!(checkpoint.save(&place, false, vocab(7)), Err(Error::Exists { .. })));
    checkpoint.save(&place, true, vocab(7)).unwrap();
    let mut names: Vec<_> = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".rnnlm.lock", "config.json", "model.safetensors", "vocab.json"]);
}

#[test]
fn a_file_of_this_program_says_what_shapes_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let model = ModelConfig { cell: CellKind::Gru, reset_before: true, hidden_size: 6, ..ModelConfig::book(7) };
    // the tensors of a GRU of one layer, under the metadata of one that resets before
    let tensors = Tensors::read("gru-float64");
    let stated = format!("{{\"model\": {}}}", serde_json::to_string(&model).unwrap());
    let path = folder.path().join("model.safetensors");
    tensors.write(&path, Some(("rnnlm", &stated)));
    assert_eq!(Checkpoint::read(&path, None).unwrap().model(), &model);
    // said of other shapes, it is about another file
    let stated = stated.replace("\"hidden_size\":6", "\"hidden_size\":5");
    tensors.write(&path, Some(("rnnlm", &stated)));
    assert!(!Checkpoint::read(&path, None).unwrap().model().reset_before);
}

#[test]
fn bfloat16_is_the_upper_half_of_float32() {
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

/// Tensors of a file, to change: type, shape, bytes.
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

/// What is said of a checkpoint after `change`.
fn unfit(name: &str, change: impl Fn(&mut Tensors)) -> Unfit {
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
fn what_does_not_fit_is_refused_with_its_tensor_and_both_values() {
    let said = |name: &str, change: &dyn Fn(&mut Tensors)| unfit(name, change).to_string();
    let without = |name: &'static str| move |tensors: &mut Tensors| drop(tensors.0.remove(name));
    let shaped = |name: &'static str, shape: &'static [usize]| move |tensors: &mut Tensors| tensors.zeros(name, shape);
    let gru = "gru-2-layers";
    assert_eq!(
        said("rnn-tanh", &without("rnn.bias_hh_l0")),
        "it has no tensor `rnn.bias_hh_l0`, only `linear.bias`, `linear.weight`, `rnn.bias_ih_l0`, `rnn.weight_hh_l0`, \
         `rnn.weight_ih_l0`"
    );
    assert!(said(gru, &without("rnn.weight_hh_l0")).starts_with("it has no tensor `rnn.weight_hh_l0`, only"));
    assert!(said(gru, &without("linear.weight")).starts_with("it has no tensor `linear.weight`"));
    assert!(said(gru, &|tensors| tensors.0.clear()).ends_with("only an empty file"));
    // a layer that is not counted, because the one below it is not there
    assert!(
        said(gru, &shaped("rnn.weight_hh_l3", &[18, 6]))
            .starts_with("tensor `rnn.weight_hh_l3` [18, 6] has no place in the model: a gru of 2 × 6 hidden units")
    );
    assert!(said(gru, &shaped("rnn.weight_hr_l0", &[3, 6])).contains("`rnn.weight_hr_l0` [3, 6]"));
    assert_eq!(
        said(gru, &shaped("rnn.weight_ih_l1", &[18, 5])),
        "tensor `rnn.weight_ih_l1` is [18, 5], by the others it must be [18, 6]"
    );
    assert_eq!(
        said(gru, &shaped("linear.weight", &[9, 6])),
        "tensor `rnn.weight_ih_l0` is [18, 7], by the others it must be [18, 9]"
    );
    for shape in [&[12, 6], &[6, 0], &[0, 6], &[0, 0]] {
        let found = unfit(gru, |tensors| tensors.zeros("rnn.weight_hh_l0", shape));
        assert_eq!(found, Unfit::Gates { tensor: "rnn.weight_hh_l0".to_owned(), found: shape.to_vec() });
    }
    assert_eq!(
        said(gru, &shaped("rnn.weight_hh_l0", &[6])),
        "tensor `rnn.weight_hh_l0` is [6], it must have two dimensions"
    );
    let wide = said(gru, &shaped("linear.weight", &[usize::MAX / 8, 0]));
    assert!(wide.contains("linear.weight") || wide.contains("rnn.weight_ih_l0"), "{wide}");
}

#[test]
fn numbers_that_make_no_model_are_refused() {
    let put = |bytes: [u8; 4]| {
        move |tensors: &mut Tensors| tensors.0.get_mut("linear.bias").unwrap().2[8..12].copy_from_slice(&bytes)
    };
    let not_finite = unfit("rnn-tanh", put(f32::INFINITY.to_le_bytes())).to_string();
    assert_eq!(not_finite, "tensor `linear.bias` holds inf at index 2, it must be finite as float32");
    // beyond the largest float32
    let large = |tensors: &mut Tensors| {
        tensors.0.get_mut("linear.bias").unwrap().2[..8].copy_from_slice(&1e39_f64.to_le_bytes());
    };
    assert!(matches!(unfit("gru-float64", large), Unfit::NotFinite { index: 0, .. }));
    let integers = |tensors: &mut Tensors| tensors.0.get_mut("linear.bias").unwrap().0 = Dtype::I32;
    assert_eq!(
        unfit("rnn-tanh", integers).to_string(),
        "tensor `linear.bias` holds I32, it must hold F32, F64, F16 or BF16"
    );
}

#[test]
fn a_nonlinearity_is_asked_for_only_where_there_is_one() {
    let relu = Some(NonlinearityKind::Relu);
    assert_eq!(Checkpoint::read(&fixture("rnn-relu"), relu).unwrap().model().nonlinearity, NonlinearityKind::Relu);
    let refused = Checkpoint::read(&fixture("gru-2-layers"), relu).unwrap_err().to_string();
    assert!(refused.ends_with("`nonlinearity` is relu, and the file holds `gru`"), "{refused}");
}

#[test]
fn any_bytes_are_a_model_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let good = fs::read(fixture("lstm-embedding-float16")).unwrap();
    // the header and the first of the values
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
fn a_vocabulary_is_a_run_s_or_a_list_of_tokens() {
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
    assert_eq!(other, "`token` is byte, the vocabulary says word");
    let other = read(&own, None, Some(Normalization::Book)).unwrap_err().to_string();
    assert_eq!(other, "`normalize` is book, the vocabulary says none");
    let run = folder.path().join("run");
    Checkpoint::read(&fixture("gru-2-layers"), None).unwrap().save(&run, false, vocab(7)).unwrap();
    assert_eq!(read_vocab(&run.join("vocab.json"), None, None).unwrap(), vocab(7));
    let damaged = fs::read_to_string(run.join("vocab.json")).unwrap().replace("\"c\"", "\"x\"");
    assert!(matches!(read(&damaged, None, None), Err(Error::Damaged { .. })));
    for (bad, words) in [
        (r#"["a", "<unk>"]"#, "`tokens`[0] is `a`, it must be `<unk>`"),
        (r#"["<unk>", "a", "a"]"#, "`tokens`[2] repeats `tokens`[1], which is `a`"),
        (r#"["<unk>", "ab"]"#, "`tokens`[1], `ab`, is not one character"),
        ("[]", "`tokens` is empty"),
        ("[1]", "not in the expected form"),
        ("{", "not in the expected form"),
    ] {
        let said = read(bad, None, None).unwrap_err().to_string();
        assert!(said.contains(words), "{bad}: {said}");
    }
}

#[test]
fn an_embedding_with_the_bits_of_the_output_layer_is_tied_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut tensors = Tensors::read("rnn-tanh");
    // a table as wide as the hidden state, which is then the layer's input
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
