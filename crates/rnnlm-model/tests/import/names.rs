//! Names of modules: which are recognized, and how they are renamed.

use rnnlm_model::{Checkpoint, ImportOptions, ModuleKind, Result};

use crate::support::{Tensors, fixture, read, renames};

const EMBEDDED: &str = "lstm-embedding-float16";

/// Reads a golden checkpoint after `change`.
fn read_changed(name: &str, options: &ImportOptions, change: impl Fn(&mut Tensors)) -> Result<Checkpoint> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut tensors = Tensors::read(name);
    change(&mut tensors);
    tensors.write(&path, None);
    Checkpoint::read(&path, options)
}

#[test]
fn usual_names_and_any_prefix_are_recognized() {
    let expected = read(&fixture(EMBEDDED)).unwrap();
    for [embedding, rnn, linear] in [
        ["encoder", "rnn", "decoder"],
        ["embedding", "lstm", "fc"],
        ["embed", "gru", "out"],
        ["emb", "layers", "head"],
        ["embeddings", "LSTM", "output"],
        ["word_embeddings", "lstm_layer", "linear1"],
        ["tok_emb", "cell", "lm_head"],
        ["Embedding_layer", "recurrent", "Dense"],
        ["wte", "core", "proj"],
        ["char_embed", "rnn", "out_proj"],
        ["lookup", "rnn", "fc_out"],
        ["input_embedding", "rnn", "output_layer"],
        ["word_vectors", "encoder", "classifier"],
        ["encoder", "rnn_decoder", "generator"],
        ["model.embedding", "model.rnn", "model.linear"],
        ["module.emb", "module.lstm", "module.fc"],
        ["_orig_mod.module.encoder.embed", "_orig_mod.module.encoder.lstm", "_orig_mod.module.decoder.fc"],
        ["encoder.0", "rnn.0", "decoder.1.2"],
        ["rnn.emb", "rnn", "rnn.out"],
    ] {
        let found = read_changed(EMBEDDED, &ImportOptions::default(), |tensors| {
            // both, so that a new name is not renamed again
            tensors.rename("embedding", "-1");
            tensors.rename("linear", "-2");
            tensors.rename("rnn", rnn);
            tensors.rename("-1", embedding);
            tensors.rename("-2", linear);
        });
        let found = found.unwrap();
        assert_eq!((found.model(), found.values()), (expected.model(), expected.values()), "{embedding} {linear}");
        let paths: Vec<_> = found.modules().iter().map(|module| (module.kind, module.path.as_str())).collect();
        let kinds = [ModuleKind::Embedding, ModuleKind::Recurrent, ModuleKind::Output];
        assert_eq!(paths, Vec::from_iter(kinds.into_iter().zip([embedding, rnn, linear])));
    }
}

#[test]
fn any_name_can_be_renamed() {
    let expected = read(&fixture(EMBEDDED)).unwrap();
    let hide = |tensors: &mut Tensors| {
        tensors.rename("embedding", "a.b");
        tensors.rename("linear", "a.c");
        tensors.rename("rnn", "a.fc");
    };
    for pairs in [
        &[("a.b", "embedding"), ("a.c", "linear")][..],
        // a tensor's name is a path, too
        &[("a.b.weight", "x.emb.weight"), ("a.c.weight", "x.fc.weight"), ("a.c.bias", "x.fc.bias")],
        // the longest applies, in any order
        &[("a", "z"), ("a.b", "embedding"), ("a.c", "linear")],
        &[("a.c", "linear"), ("a.b", "embedding"), ("a", "z")],
        // no tensor is renamed twice
        &[("a.b", "embedding"), ("a.c", "a.out"), ("a.fc", "a.c")],
    ] {
        let found = read_changed(EMBEDDED, &renames(pairs), hide).unwrap();
        assert_eq!((found.model(), found.values()), (expected.model(), expected.values()), "{pairs:?}");
    }
}

#[test]
fn layers_in_separate_modules_can_be_renamed_to_one() {
    let expected = read(&fixture("gru-2-layers")).unwrap();
    let split = |tensors: &mut Tensors| {
        for parameter in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"] {
            tensors.rename(&format!("rnn.{parameter}_l0"), &format!("rnns.0.{parameter}_l0"));
            tensors.rename(&format!("rnn.{parameter}_l1"), &format!("rnns.1.{parameter}_l0"));
        }
    };
    let pairs = [
        ("rnns.0", "rnn"),
        ("rnns.1.weight_ih_l0", "rnn.weight_ih_l1"),
        ("rnns.1.weight_hh_l0", "rnn.weight_hh_l1"),
        ("rnns.1.bias_ih_l0", "rnn.bias_ih_l1"),
        ("rnns.1.bias_hh_l0", "rnn.bias_hh_l1"),
    ];
    let found = read_changed("gru-2-layers", &renames(&pairs), split).unwrap();
    assert_eq!((found.model(), found.values()), (expected.model(), expected.values()));
}

#[test]
fn modules_without_biases_have_zeros() {
    let remove =
        |start: &'static str| move |tensors: &mut Tensors| tensors.0.retain(|name, _| !name.starts_with(start));
    let zero = |start: &'static str| {
        move |tensors: &mut Tensors| {
            let biases = tensors.0.iter_mut().filter(|(name, _)| name.starts_with(start));
            biases.for_each(|(_, (_, _, bytes))| bytes.fill(0));
        }
    };
    for name in ["gru-2-layers", "lstm-2-layers-bidirectional-embedding", EMBEDDED] {
        for (module, start) in [(ModuleKind::Recurrent, "rnn.bias"), (ModuleKind::Output, "linear.bias")] {
            let found = read_changed(name, &ImportOptions::default(), remove(start)).unwrap();
            let expected = read_changed(name, &ImportOptions::default(), zero(start)).unwrap();
            assert_eq!((found.model(), found.values()), (expected.model(), expected.values()), "{name} {start}");
            let without = found.modules().iter().filter(|other| !other.has_biases).map(|other| other.kind);
            let expected = [ModuleKind::Embedding, module];
            assert!(without.eq(expected.into_iter().filter(|&kind| found.modules().iter().any(|m| m.kind == kind))));
        }
    }
}
