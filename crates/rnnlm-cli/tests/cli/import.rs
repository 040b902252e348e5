//! `rnnlm import`: an imported run works like a trained one, and an invalid file is refused before anything is written.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{SMALL, TestDir};

fn fixture(name: &str) -> PathBuf {
    fixture_in("import", name)
}

fn fixture_in(folder: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(folder).join(format!("{name}.safetensors"))
}

/// A folder with a fixture as `model.safetensors` and a vocabulary of its size.
fn dir(name: &str) -> TestDir {
    let dir = TestDir::new();
    dir.write("model.safetensors", fs::read(fixture(name)).expect("a fixture"));
    dir.write("tokens.json", r#"["<unk>", " ", "e", "t", "a", "i", "m"]"#);
    dir
}

const IMPORT: [&str; 4] = ["import", "model.safetensors", "--vocab", "tokens.json"];

#[test]
fn an_imported_run_generates_scores_and_initializes_a_run() {
    let dir = dir("gru-2-layers");
    let outcome = dir.run(&IMPORT).succeeded();
    assert_eq!(outcome.stdout, "run runs/model-gru-1\n");
    // 3·6·(7 + 6 + 2) + 3·6·(6 + 6 + 2) + 7·6 + 7
    let words = "gru, 2 layers, 6 hidden units, one-hot input, 571 parameters";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("7 char tokens, normalization book\n"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("modules rnn (recurrent layers), linear (output layer)\n"), "{}", outcome.stderr);
    let run = "runs/model-gru-1";
    let text = dir.run(&["generate", run, "--prefix", "a tim", "--num-tokens", "8"]).succeeded().stdout;
    assert!(text.starts_with("a tim"), "{text}");
    dir.write("text.txt", "I am at a time, a tea, a team. ".repeat(40));
    let score = dir.run(&["eval", run, "--corpus", "text.txt", "--format", "json"]).succeeded().json();
    // an untrained model of seven tokens
    assert!(score["perplexity"].as_f64().is_some_and(|found| (5.0..9.0).contains(&found)), "{score}");
    let train = ["train", "--quiet", "--init-from", run, "--corpus", "text.txt", "--out", "more", "--epochs", "2"];
    dir.run(&[&train[..], &["--batch-size", "4", "--num-steps", "8", "--format", "json"]].concat()).succeeded();
    let config = fs::read_to_string(dir.path("more/config.json")).expect("a configuration");
    assert!(config.contains("\"init_from\": \"runs/model-gru-1\""), "{config}");
    let before = dir.snapshot();
    dir.run(&["train", "--resume", run])
        .failed(4, &["`runs/model-gru-1` was imported: it has no training state to resume", "hint: use --init-from"]);
    assert_eq!(dir.snapshot(), before);
}

#[test]
fn the_nonlinearity_of_an_rnn_and_the_folder_are_flags() {
    let dir = dir("rnn-relu");
    let tanh = dir.run(&[&IMPORT[..], &["--out", "tanh"]].concat()).succeeded();
    assert!(tanh.stderr.contains("rnn tanh") && tanh.stderr.contains("--nonlinearity"), "{}", tanh.stderr);
    let flags = ["--nonlinearity", "relu", "--out", "relu", "--format", "json"];
    let relu = dir.run(&[&IMPORT[..], &flags[..]].concat()).succeeded();
    assert_eq!(relu.stderr, "");
    let report = relu.json();
    assert_eq!((&report["run_dir"], &report["model"]["nonlinearity"]), (&"relu".into(), &"relu".into()));
    dir.refuses(&[&IMPORT[..], &["--out", "relu"]].concat(), 1, &["`relu` exists already", "--force"]);
    dir.run(&[&IMPORT[..], &["--out", "relu", "--force"]].concat()).succeeded();
    let config = fs::read_to_string(dir.path("relu/config.json")).expect("a configuration");
    assert!(config.contains("\"tanh\"") && config.contains("\"imported_from\": \"model.safetensors\""), "{config}");
}

#[test]
fn the_model_and_the_vocabulary_of_a_run_can_be_imported_again() {
    let dir = TestDir::new();
    dir.train(&["--cell", "gru", "--reset-before"]).succeeded();
    dir.run(&["import", "run/model.safetensors", "--vocab", "run/vocab.json", "--out", "back"]).succeeded();
    let [first, second] = ["run", "back"].map(|run| dir.run(&["eval", run, "--corpus", "sample"]).succeeded().stdout);
    assert_eq!(first, second);
    let config = fs::read_to_string(dir.path("back/config.json")).expect("a configuration");
    assert!(config.contains("\"reset_before\": true"), "the metadata of the file was not read: {config}");
    dir.run(&[&["train", "--quiet", "--out", "run", "--force"], &SMALL[..]].concat()).succeeded();
}

#[test]
fn invalid_files_are_refused_before_anything_is_written() {
    let dir = dir("gru-2-layers");
    dir.write("six.json", r#"["<unk>", " ", "e", "t", "a", "i"]"#);
    dir.write("model.pt", b"PK\x03\x04 and so on");
    dir.write("text.txt", "not a model");
    fs::create_dir(dir.path("folder")).expect("a folder");
    let with = |file: &'static str, vocab: &'static str| ["import", file, "--vocab", vocab];
    let missing = with("missing.safetensors", "tokens.json");
    dir.refuses(&missing, 1, &["`missing.safetensors` cannot be read"]);
    dir.refuses(&with("folder", "tokens.json"), 4, &["`folder`", "not a file"]);
    dir.refuses(
        &with("model.pt", "tokens.json"),
        4,
        &["`torch.save`", "hint: write the file with safetensors.torch.save_file"],
    );
    dir.refuses(&with("text.txt", "tokens.json"), 4, &["`text.txt` cannot be imported: it is not safetensors"]);
    let words = ["`linear.weight` has 7 rows, the vocabulary has 6 entries", "hint: pass the vocabulary"];
    dir.refuses(&with("model.safetensors", "six.json"), 4, &words);
    dir.refuses(&with("model.safetensors", "missing.json"), 1, &["`missing.json` cannot be read"]);
    dir.write("text.json", "not a vocabulary");
    dir.refuses(&with("model.safetensors", "text.json"), 1, &["the vocabulary is not in the expected form"]);
    let words = ["`tokens`[0], `not a model`, is not one character", "hint: --token word reads a vocabulary of words"];
    dir.refuses(&with("model.safetensors", "text.txt"), 1, &words);
    dir.refuses(&[&IMPORT[..], &["--nonlinearity", "relu"]].concat(), 4, &["`nonlinearity` is relu", "`gru`"]);
    dir.refuses(&[&IMPORT[..], &["--nonlinearity", "sine"]].concat(), 2, &["tanh, relu"]);
    dir.refuses(&[&IMPORT[..], &["--token", "byte"]].concat(), 1, &["is not a byte written like"]);
    dir.refuses(&[&IMPORT[..], &["--out", "folder/../text.txt/run"]].concat(), 1, &["cannot be created"]);
    dir.refuses(&["import", "model.safetensors"], 2, &["--vocab"]);
}

/// The case in the metadata of a golden checkpoint of `import-shapes`.
fn case(name: &str) -> Value {
    let bytes = fs::read(fixture_in("import-shapes", name)).expect("a fixture");
    // the length of the header, then the header as JSON
    let (length, rest) = bytes.split_first_chunk().expect("a length");
    let header: Value = serde_json::from_slice(&rest[..u64::from_le_bytes(*length) as usize]).expect("a header");
    serde_json::from_str(header["__metadata__"]["case"].as_str().expect("metadata")).expect("a case")
}

/// The tokens of a case, one per line.
fn lines(case: &Value) -> String {
    let tokens: Vec<&str> = case["tokens"].as_array().expect("a list").iter().flat_map(Value::as_str).collect();
    tokens.join("\n") + "\n"
}

#[test]
fn usual_shapes_of_pytorch_models_have_the_perplexity_of_pytorch() {
    let flags: [(&str, &[&str]); 5] = [
        ("word-language-model", &["--token", "word"]),
        ("one-hot-without-unk", &["--token", "char"]),
        ("no-biases-bidirectional", &["--nonlinearity", "relu"]),
        ("renamed", &["--token", "word", "--rename", "core.tok=embedding", "--rename", "core.h2v=linear"]),
        ("tied-save-model", &["--token", "word"]),
    ];
    for (name, flags) in flags {
        let dir = TestDir::new();
        let case = case(name);
        dir.write("model.safetensors", fs::read(fixture_in("import-shapes", name)).expect("a fixture"));
        dir.write("tokens.txt", lines(&case));
        dir.write("text.txt", case["text"].as_str().expect("a text"));
        let import = ["import", "model.safetensors", "--vocab", "tokens.txt", "--normalize", "none", "--out", "run"];
        dir.run(&[&import[..], flags].concat()).succeeded();
        let found = dir.run(&["eval", "run", "--corpus", "text.txt", "--format", "json"]).succeeded().json();
        let [found, expected] =
            [&found["perplexity"], &case["nats_per_token"]].map(|value| value.as_f64().expect("a number"));
        assert!((found / expected.exp() - 1.0).abs() < 1e-6, "{name}: {found}, expected {}", expected.exp());
    }
}

#[test]
fn an_import_prints_what_the_files_contain() {
    let import = |name: &str, flags: &[&str]| {
        let dir = TestDir::new();
        dir.write("model.safetensors", fs::read(fixture_in("import-shapes", name)).expect("a fixture"));
        dir.write("tokens.txt", lines(&case(name)));
        dir.run(&[&["import", "model.safetensors", "--vocab", "tokens.txt"], flags].concat()).succeeded().stderr
    };
    let words = import("word-language-model", &["--token", "word"]);
    // 4·8·(6 + 8 + 2) + 4·8·(8 + 8 + 2) + 12·6 + 12·8 + 12
    assert_eq!(
        words,
        "model   lstm, 2 layers, 8 hidden units, embedding size 6, 1,268 parameters\n\
         modules encoder (embedding), rnn (recurrent layers), decoder (output layer)\n\
         vocab   12 word tokens, normalization book, `<unk>` has id 3 in the file\n\
         warning: normalization book removes 1 token of the vocabulary, such as \"<eos>\", from every text; --normalize \
         none keeps a text as it is\n"
    );
    let characters = import("one-hot-without-unk", &["--normalize", "none"]);
    // 12 tokens with `<unk>`: 3·8·(12 + 8 + 2) + 12·8 + 12
    assert_eq!(
        characters,
        "model   gru, 8 hidden units, one-hot input, 636 parameters\n\
         modules module.model.gru (recurrent layers), module.model.fc (output layer)\n\
         vocab   12 char tokens, normalization none, `<unk>` added\n"
    );
    let flags = ["--normalize", "none", "--nonlinearity", "relu"];
    let relu = import("no-biases-bidirectional", &flags);
    let modules = "modules net.rnn (recurrent layers, no biases), net.head.1 (output layer, no biases)\n";
    assert!(relu.contains(modules), "{relu}");
    assert!(relu.ends_with("vocab   12 char tokens, normalization none, `<unk>` is `[UNK]` with id 11\n"), "{relu}");
}

#[test]
fn an_unknown_token_costs_a_model_without_unk_a_finite_number_of_nats() {
    let dir = dir("gru-2-layers");
    dir.write("tokens.json", r#"[".", " ", "e", "t", "a", "i", "m"]"#);
    dir.run(&[&IMPORT[..], &["--out", "run", "--normalize", "none"]].concat()).succeeded();
    dir.write("known.txt", "a tea.");
    dir.write("unknown.txt", "a teZ.");
    let [known, unknown] = ["known.txt", "unknown.txt"]
        .map(|text| dir.run(&["eval", "run", "--corpus", text, "--format", "json"]).succeeded().json());
    assert_eq!((&known["unknown_tokens"], &unknown["unknown_tokens"]), (&0.into(), &1.into()));
    // five predictions: one of them costs at least 20 + ln 7 nats
    let nats = |score: &Value| score["nats_per_token"].as_f64().expect("a number");
    assert!(nats(&known) < 3.0, "{known}");
    assert!((4.0 + 7_f64.ln() / 5.0..10.0).contains(&nats(&unknown)), "{unknown}");
    // greedy and sampled text has no `<unk>`
    let args = ["generate", "run", "--prefix", "a", "--num-tokens", "300", "--temperature", "2"];
    let text = dir.run(&args).succeeded().stdout;
    assert!(!text.contains("<unk>"), "{text}");
}

#[test]
fn names_that_do_not_determine_a_model_are_refused_with_a_way_out() {
    let dir = TestDir::new();
    let copy =
        |name: &str| dir.write("model.safetensors", fs::read(fixture_in("import-shapes", name)).expect("a fixture"));
    copy("renamed");
    let tokens = case("renamed")["tokens"].clone();
    dir.write("tokens.json", tokens.to_string());
    let import = [&IMPORT[..], &["--token", "word"]].concat();
    let words = [
        "neither an embedding's nor an output layer's: `core.h2v` [11, 16], `core.tok` [11, 5]",
        "hint: add --rename core.h2v=embedding or --rename core.h2v=linear; linear is the output layer",
    ];
    dir.refuses(&import, 4, &words);
    let rename = |rename: &[&'static str]| {
        [&import[..], &rename.iter().flat_map(|pair| ["--rename", *pair]).collect::<Vec<_>>()].concat()
    };
    let words = ["names of these modules", "`core.tok` [11, 5]", "hint: add --rename core.tok=embedding"];
    dir.refuses(&rename(&["core.h2v=linear"]), 4, &words);
    let words = ["the output layer could be `fc`, `linear`", "hint: save the state_dict() of one model only"];
    dir.refuses(&rename(&["core.tok=fc", "core.h2v=linear"]), 4, &words);
    // the embedding and the output layer exchanged
    let words =
        ["`core.cell.weight_ih_l0` is [32, 5], by the others it must be [32, 16]", "hint: the model is a torch.nn"];
    dir.refuses(&rename(&["core.tok=linear", "core.h2v=embedding"]), 4, &words);
    dir.refuses(
        &rename(&["tok=embedding"]),
        4,
        &["no tensor is `tok` or begins with `tok.`, the file has `core.cell.bias_hh_l0`", "hint: FROM of --rename"],
    );
    dir.refuses(
        &rename(&["core.tok=a", "core.tok=b"]),
        4,
        &["`core.tok` is renamed to both `a` and `b`", "hint: change"],
    );
    let clash = ["core.tok.weight=x.weight", "core.h2v.weight=x.weight"];
    dir.refuses(
        &rename(&clash),
        4,
        &["`core.h2v.weight` and `core.tok.weight` would both be `x.weight`", "hint: change"],
    );
    for invalid in ["core.tok", "=embedding", "core.tok=", "core.=x", "a..b=x", "", "="] {
        dir.refuses(&[&import[..], &["--rename", invalid]].concat(), 2, &["expected FROM=TO", "encoder=embedding"]);
    }
    dir.write("tokens.json", r#"{"the": 0, "cat": 2}"#);
    let words = ["the id of `cat` is 2, the ids of 2 tokens must be 0 to 1"];
    dir.refuses(&rename(&["core.tok=embedding", "core.h2v=linear"]), 1, &words);
    dir.write("tokens.json", r#"["the", "cat"]"#);
    let words = ["tensor `core.h2v.weight` has 11 rows, the vocabulary has 2 entries", "hint: pass the vocabulary"];
    dir.refuses(&rename(&["core.tok=embedding", "core.h2v=linear"]), 4, &words);
}

#[test]
fn the_help_of_import_breaks_no_word_at_80_columns() {
    let dir = TestDir::new();
    for flag in ["-h", "--help"] {
        let [narrow, wide] = ["80", "1000"].map(|columns| {
            let output = dir.command(&["import", flag]).env("COLUMNS", columns).output().expect("the command starts");
            String::from_utf8(output.stdout).expect("UTF-8")
        });
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        assert!(narrow.lines().count() > wide.lines().count(), "COLUMNS was not read");
        assert!(narrow.split_whitespace().eq(wide.split_whitespace()), "{narrow}");
    }
}
