//! Errors of checkpoints name the tensor that does not fit, and both values.

use rnnlm_model::{Cell, Checkpoint, Error, ImportError, ImportOptions, Nonlinearity};
use safetensors::tensor::Dtype;

use crate::support::{Tensors, fixture, renames, vocab};

/// The error for a checkpoint after `change`.
fn import_error(name: &str, change: impl Fn(&mut Tensors)) -> ImportError {
    import_error_with(name, &ImportOptions::default(), change)
}

fn import_error_with(name: &str, options: &ImportOptions, change: impl Fn(&mut Tensors)) -> ImportError {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut tensors = Tensors::read(name);
    change(&mut tensors);
    tensors.write(&path, None);
    match Checkpoint::read(&path, options) {
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
    // four gates are an LSTM's, which needs recurrent weights
    let not_recurrent = |tensors: &mut Tensors| tensors.0.retain(|name, _| !name.contains("_hh_"));
    assert!(message("lstm-bidirectional", &not_recurrent).starts_with("it has no tensor `rnn.weight_hh_l0`, only"));
    let no_bias = message("minlstm-bidirectional", &without("rnn.bias_ih_l0"));
    assert!(no_bias.starts_with("it has no tensor `rnn.bias_ih_l0`, only"), "{no_bias}");
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
    let relu = &ImportOptions { nonlinearity: Some(Nonlinearity::Relu), ..ImportOptions::default() };
    let rnn = Checkpoint::read(&fixture("rnn-relu"), relu).unwrap();
    assert_eq!(rnn.model().cell, Cell::Rnn(Nonlinearity::Relu));
    let refused = Checkpoint::read(&fixture("gru-2-layers"), relu).unwrap_err().to_string();
    assert!(refused.ends_with("`nonlinearity` is relu, and the file holds `gru`"), "{refused}");
}

#[test]
fn an_ambiguous_or_unknown_name_lists_the_candidates() {
    let embedded = "lstm-embedding-float16";
    let message = |change: &dyn Fn(&mut Tensors)| import_error(embedded, change).to_string();
    assert_eq!(
        message(&|tensors| tensors.copy("linear.weight", "model.fc.weight")),
        "the output layer could be `linear`, `model.fc`"
    );
    assert_eq!(
        message(&|tensors| tensors.copy("embedding.weight", "encoder.weight")),
        "the embedding could be `embedding`, `encoder`"
    );
    assert_eq!(
        message(&|tensors| tensors.copy("rnn.weight_hh_l0", "second.weight_hh_l0")),
        "the recurrent layers could be `rnn`, `second`"
    );
    let unrecognized = "the names of these modules are neither an embedding's nor an output layer's: ";
    assert_eq!(message(&|tensors| tensors.rename("linear", "h2v")), format!("{unrecognized}`h2v` [7, 6]"));
    assert_eq!(
        message(&|tensors| {
            tensors.rename("linear", "h2v");
            tensors.rename("embedding", "0");
        }),
        format!("{unrecognized}`0` [7, 4], `h2v` [7, 6]")
    );
    // all modules are known, so another one is no candidate
    assert_eq!(
        message(&|tensors| tensors.zeros("attention.weight", &[6, 6])),
        "tensor `attention.weight` [6, 6] is not a parameter of the model: a lstm of 1 × 6 hidden units"
    );
    // the weight of a normalization layer has one dimension
    assert_eq!(
        message(&|tensors| tensors.zeros("out_norm.weight", &[6])),
        "tensor `out_norm.weight` [6] is not a parameter of the model: a lstm of 1 × 6 hidden units"
    );
    assert_eq!(
        message(&|tensors| {
            tensors.rename("linear", "out");
            tensors.zeros("linear.weight", &[6]);
        }),
        "`linear.weight` and `out.weight` would both be `linear.weight`"
    );
    assert!(message(&|tensors| tensors.rename("linear.weight", "linear.other")).starts_with("it has no tensor"));
}

#[test]
fn errors_name_tensors_as_the_file_does() {
    let rename = |tensors: &mut Tensors| {
        tensors.rename("embedding", "model.encoder");
        tensors.rename("rnn", "model.lstm");
        tensors.rename("linear", "model.fc");
    };
    let message = |change: &dyn Fn(&mut Tensors)| {
        let both = |tensors: &mut Tensors| {
            rename(tensors);
            change(tensors);
        };
        import_error("lstm-embedding-float16", both).to_string()
    };
    let without = |name: &'static str| move |tensors: &mut Tensors| drop(tensors.0.remove(name));
    let shaped = |name: &'static str, shape: &'static [usize]| move |tensors: &mut Tensors| tensors.zeros(name, shape);
    assert!(
        message(&without("model.lstm.bias_hh_l0"))
            .starts_with("it has no tensor `model.lstm.bias_hh_l0`, only `model.")
    );
    assert!(message(&without("model.lstm.weight_hh_l0")).starts_with("it has no tensor `model.lstm.weight_hh_l0`"));
    assert_eq!(
        message(&shaped("model.lstm.weight_hh_l0", &[5, 4])),
        "tensor `model.lstm.weight_hh_l0` is [5, 4], which fits no cell: its rows must be 1, 3 or 4 times its columns"
    );
    assert_eq!(
        message(&shaped("model.encoder.weight", &[7, 5])),
        "tensor `model.lstm.weight_ih_l0` is [24, 4], by the others it must be [24, 5]"
    );
    assert_eq!(
        message(&shaped("model.encoder.bias", &[4])),
        "tensor `model.encoder.bias` [4] is not a parameter of the model: a lstm of 1 × 6 hidden units"
    );
    assert!(message(&shaped("model.lstm.weight_hr_l0", &[3, 6])).contains("`model.lstm.weight_hr_l0` [3, 6]"));
    assert_eq!(
        message(&|tensors| tensors.0.get_mut("model.fc.bias").unwrap().0 = Dtype::I16),
        "tensor `model.fc.bias` holds I16, it must hold F32, F64, F16 or BF16"
    );
}

#[test]
fn some_but_not_all_biases_of_a_module_are_refused() {
    for missing in ["rnn.bias_ih_l0", "rnn.bias_hh_l0", "rnn.bias_ih_l1", "rnn.bias_hh_l1"] {
        let one = import_error("gru-2-layers", |tensors| drop(tensors.0.remove(missing)));
        assert!(one.to_string().starts_with(&format!("it has no tensor `{missing}`, only")), "{one}");
    }
    let layer = import_error("gru-2-layers", |tensors| {
        tensors.0.retain(|name, _| !(name.starts_with("rnn.bias") && name.ends_with("l0")));
    });
    assert!(layer.to_string().starts_with("it has no tensor `rnn.bias_ih_l0`, only"), "{layer}");
}

#[test]
fn renames_that_cannot_be_applied_are_refused() {
    let message = |pairs: &[(&str, &str)]| import_error_with("rnn-tanh", &renames(pairs), |_| {}).to_string();
    assert_eq!(
        // not a whole attribute
        message(&[("rnn", "x"), ("lin", "y")]),
        "no tensor is `lin` or begins with `lin.`, the file has `linear.bias`, `linear.weight`, `rnn.bias_hh_l0`, \
         `rnn.bias_ih_l0`, `rnn.weight_hh_l0`, `rnn.weight_ih_l0`"
    );
    assert_eq!(message(&[("rnn", "x"), ("rnn", "y")]), "`rnn` is renamed to both `x` and `y`");
    assert_eq!(
        message(&[("rnn.bias_hh_l0", "linear.bias")]),
        "`linear.bias` and `rnn.bias_hh_l0` would both be `linear.bias`"
    );
    assert!(message(&[("", "x")]).starts_with("no tensor is ``"));
}

#[test]
fn a_vocabulary_of_another_size_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut tensors = Tensors::read("rnn-tanh");
    tensors.rename("linear", "fc");
    tensors.write(&path, None);
    for len in [6, 8] {
        let checkpoint = Checkpoint::read(&path, &ImportOptions::default()).unwrap();
        let error = checkpoint.with_vocab(vocab(len).into()).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("tensor `fc.weight` has 7 rows, the vocabulary has {len} entries")),
            "{error}"
        );
    }
}

#[test]
fn equal_weights_that_are_too_wide_are_not_tied() {
    let error = import_error("rnn-tanh", |tensors| {
        tensors.zeros("linear.weight", &[7, 5]);
        tensors.zeros("embedding.weight", &[7, 5]);
        tensors.zeros("rnn.weight_ih_l0", &[6, 5]);
    });
    assert_eq!(error.to_string(), "tensor `linear.weight` is [7, 5], by the others it must be [7, 6]");
}
