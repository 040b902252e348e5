//! Settings from flags, environment variables, a file and a preset: their order, their errors, `--print-config`, and
//! the configuration of the run.

use std::fs;

use serde_json::Value;

use crate::support::{Outcome, SMALL, TestDir};

/// Runs `train --print-config` with these variables and flags.
fn print(dir: &TestDir, variables: &[(&str, &str)], flags: &[&str]) -> Outcome {
    let mut command = dir.command(&[&["train", "--print-config"], flags].concat());
    Outcome::of(command.envs(variables.iter().copied()).output().expect("the command starts"))
}

/// The line of a setting with its origin.
#[track_caller]
fn line<'a>(printed: &'a Outcome, name: &str) -> &'a str {
    let start = format!("{name} = ");
    let line = printed.stdout.lines().find(|line| line.starts_with(&start));
    line.unwrap_or_else(|| panic!("`{name}` is missing in {printed:?}"))
}

#[test]
fn flags_override_variables_override_the_file_overrides_the_preset() {
    let dir = TestDir::new();
    dir.write("run.toml", "# mine\n\nhidden_size = 64\n");
    let variables = [("RNNLM_HIDDEN_SIZE", "96")];
    let flags = ["--preset", "rnn-scratch", "--config", "run.toml", "--hidden-size", "128"];
    // the number of variables and of flags that are given
    for (variable, flag, expected) in [
        (0, 0, "hidden_size = 256"),
        (0, 2, "hidden_size = 512  # --preset rnn-scratch"),
        (0, 4, "hidden_size = 64  # run.toml:3"),
        (1, 4, "hidden_size = 96  # RNNLM_HIDDEN_SIZE"),
        (1, 6, "hidden_size = 128  # --hidden-size"),
    ] {
        let printed = print(&dir, &variables[..variable], &flags[..flag]).succeeded();
        assert_eq!(line(&printed, "hidden_size"), expected);
    }
    assert_eq!(dir.snapshot().len(), 1, "--print-config writes no file");
}

#[test]
fn variables_can_choose_the_file_and_the_preset() {
    let dir = TestDir::new();
    dir.write("run.toml", "preset = \"deep-lstm\"\nlr = 0.5\n");
    let printed = print(&dir, &[("RNNLM_CONFIG", "run.toml")], &[]).succeeded();
    assert_eq!(line(&printed, "num_layers"), "num_layers = 2  # --preset deep-lstm");
    assert_eq!(line(&printed, "lr"), "lr = 0.5  # run.toml:2");
    let printed = print(&dir, &[("RNNLM_PRESET", "gru")], &["--config", "run.toml"]).succeeded();
    assert_eq!(line(&printed, "cell"), "cell = \"gru\"  # --preset gru");
    let printed = print(&dir, &[("RNNLM_PRESET", "gru")], &["--config", "run.toml", "--preset", "rnn"]).succeeded();
    assert_eq!(line(&printed, "cell"), "cell = \"rnn\"  # --preset rnn");
}

#[test]
fn a_switch_can_be_turned_off_again() {
    let dir = TestDir::new();
    let printed = print(&dir, &[], &["--preset", "bi-lstm", "--bidirectional=false"]).succeeded();
    assert_eq!(line(&printed, "bidirectional"), "bidirectional = false  # --bidirectional");
    let printed = print(&dir, &[("RNNLM_BIDIRECTIONAL", "false")], &["--preset", "bi-lstm"]).succeeded();
    assert_eq!(line(&printed, "bidirectional"), "bidirectional = false  # RNNLM_BIDIRECTIONAL");
    let printed = print(&dir, &[], &["--bidirectional"]).succeeded();
    assert_eq!(line(&printed, "bidirectional"), "bidirectional = true  # --bidirectional");
}

#[test]
fn presets_have_the_settings_of_the_book() {
    let dir = TestDir::new();
    // cell, hidden size, layers, bidirectional, learning rate, initialization
    let sections = [
        ("rnn-scratch", "rnn", 512, 1, false, "1.0", "normal"),
        ("rnn", "rnn", 256, 1, false, "1.0", "uniform"),
        ("gru", "gru", 256, 1, false, "1.0", "uniform"),
        ("lstm", "lstm", 256, 1, false, "1.0", "uniform"),
        ("deep-lstm", "lstm", 256, 2, false, "2.0", "uniform"),
        ("bi-lstm", "lstm", 256, 2, true, "1.0", "uniform"),
    ];
    let help = dir.run(&["train", "--help"]).succeeded().stdout;
    for (name, cell, hidden_size, num_layers, bidirectional, lr, init) in sections {
        let printed = print(&dir, &[], &["--preset", name]).succeeded();
        for (setting, value) in [
            ("cell", format!("{cell:?}")),
            ("hidden_size", hidden_size.to_string()),
            ("num_layers", num_layers.to_string()),
            ("bidirectional", bidirectional.to_string()),
            ("lr", lr.to_owned()),
            ("init", format!("{init:?}")),
            ("epochs", "500".to_owned()),
            ("batch_size", "32".to_owned()),
            ("num_steps", "35".to_owned()),
            ("clip", "1.0".to_owned()),
        ] {
            let found = line(&printed, setting).split("  #").next().unwrap_or_default();
            assert_eq!(found, format!("{setting} = {value}"), "{name}");
        }
        assert!(help.contains(&format!("\n  {name} ")), "{name} is not in the help");
    }
    dir.run(&["train", "--preset", "transformer"]).failed(2, &["rnn-scratch", "deep-lstm"]);
}

#[test]
fn recipes_are_defaults_that_flags_override() {
    let dir = TestDir::new();
    let help = dir.run(&["train", "--help"]).succeeded().stdout;
    for name in ["shakespeare-fast", "shakespeare", "names", "logs", "words-small"] {
        print(&dir, &[], &["--preset", name]).succeeded();
        assert!(help.contains(&format!("\n  {name} ")), "{name} is not in the help");
    }
    let printed = print(&dir, &[], &["--preset", "shakespeare-fast", "--epochs", "2"]).succeeded();
    for (name, expected) in [
        ("cell", "cell = \"gru\"  # --preset shakespeare-fast"),
        ("epochs", "epochs = 2  # --epochs"),
        ("val_fraction", "val_fraction = 0.1  # --preset shakespeare-fast"),
    ] {
        assert_eq!(line(&printed, name), expected);
    }
    // what belongs to a setting that was replaced does not apply
    let flags = ["--preset", "words-small", "--val-corpus", "sample", "--schedule", "cosine", "--optimizer", "adam"];
    let printed = print(&dir, &[], &flags).succeeded();
    assert_eq!(line(&printed, "val_fraction"), "val_fraction = 0.0");
    assert_eq!(line(&printed, "lr"), "lr = 0.001");
    assert!(printed.stdout.contains("# gamma has no value") && printed.stdout.contains("# decay_after has no value"));
    // the settings that are stored are the resolved ones
    dir.write("text.txt", "the tide comes in and ".repeat(60));
    let flags = ["--preset", "shakespeare-fast", "--corpus", "text.txt", "--hidden-size", "8", "--epochs", "1"];
    dir.run(&[&["train", "--quiet", "--out", "run", "--batch-size", "4", "--num-steps", "16"], &flags[..]].concat())
        .succeeded();
    let text = std::fs::read_to_string(dir.path("run/config.json")).expect("a file");
    let config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&config["model"]["hidden_size"], &config["train"]["optimizer"]["name"]), (&8.into(), &"adamw".into()));
    assert_eq!((&config["train"]["schedule"]["name"], &config["train"]["num_steps"]), (&"cosine".into(), &16.into()));
}

#[test]
fn an_optimizer_has_pytorchs_defaults_and_replaces_the_learning_rate_of_a_preset() {
    let dir = TestDir::new();
    let adamw = print(&dir, &[], &["--preset", "deep-lstm", "--optimizer", "adamw", "--beta1", "0.8"]).succeeded();
    for expected in ["lr = 0.001", "weight_decay = 0.01", "beta1 = 0.8  # --beta1", "beta2 = 0.999", "eps = 0.00000001"]
    {
        let (name, value) = expected.split_once(" = ").expect("a setting");
        let found = line(&adamw, name).split_once(" = ").expect("a value").1;
        let number = |text: &str| text.split(' ').next().and_then(|number| number.parse::<f64>().ok());
        assert_eq!(number(found), number(value), "{expected}");
    }
    assert!(adamw.stdout.contains("# momentum has no value"), "{adamw:?}");
    let cosine = print(&dir, &[("RNNLM_OPTIMIZER", "rmsprop")], &["--schedule", "plateau"]).succeeded();
    assert_eq!(line(&cosine, "lr"), "lr = 0.01");
    assert_eq!(line(&cosine, "plateau_patience"), "plateau_patience = 10");
}

#[test]
fn contradicting_settings_are_refused_before_training() {
    let dir = TestDir::new();
    let refused = |flags: &[&str], words: &[&str]| {
        dir.run(&[&["train"], flags].concat()).failed(2, words);
    };
    refused(&["--beta1", "0.9"], &["--optimizer sgd has no --beta1"]);
    refused(&["--optimizer", "adam", "--momentum", "0.9"], &["--optimizer adam has no --momentum"]);
    refused(&["--optimizer", "lion"], &["sgd, adam, adamw, sparse-adam, rmsprop"]);
    refused(&["--schedule", "step"], &["--schedule step needs --step-size"]);
    refused(&["--schedule", "cosine", "--gamma", "0.5"], &["--schedule cosine has no --gamma"]);
    refused(&["--clip", "1", "--clip-value", "1"], &["--clip 1 and --clip-value 1 cannot be used together"]);
    refused(&["--patience", "3"], &["--patience 3", "hint: add --val-fraction"]);
    refused(&["--val-fraction", "1"], &["below 1"]);
    refused(&["--val-fraction", "0.1", "--val-corpus", "sample"], &["--val-corpus"]);
    refused(&["--dropout", "1"], &["below 1"]);
    refused(&["--weight-drop", "-0.1"], &["below 1"]);
    refused(&["--dropout-input", "0.4"], &["`dropout_input` is 0.4 with `embedding_size` 0"]);
    refused(&["--dropout-hidden", "0.4"], &["`dropout_hidden` is 0.4 with `num_layers` 1"]);
    let both = ["--num-layers", "2", "--dropout-hidden", "0.4", "--dropout", "0.3"];
    refused(&both, &["`dropout_hidden` is 0.4 with `dropout` 0.3"]);
    refused(&["--warmup", "2", "--schedule-by-step"], &["`warmup` is 2 with a schedule by step"]);
    refused(&["--warmup", "2", "--warmup-steps", "9"], &["`warmup_steps` is 9 with `warmup` 2"]);
    refused(&["--schedule", "one-cycle", "--warmup-steps", "9"], &["`warmup_steps` is 9 with `schedule` one-cycle"]);
    refused(&["--schedule", "plateau", "--schedule-by-step"], &["`schedule_by_step` is true with `schedule` plateau"]);
    refused(&["--schedule", "cosine", "--div-factor", "9"], &["--schedule cosine has no --div-factor"]);
    refused(&["--average", "nt-asgd"], &["--average nt-asgd needs a validation set", "hint: add --val-fraction"]);
    refused(&["--average", "none", "--ema-decay", "0.9"], &["--average none has no --ema-decay"]);
    refused(&["--average", "mean"], &["none, nt-asgd, ema"]);
    refused(&["--accumulate", "0"], &["--accumulate"]);
    refused(&["--variable-bptt", "--sampling", "random"], &["`variable_bptt` is true with `sampling` random"]);
    refused(&["--schedule", "cosine", "--decay-after", "3"], &["--schedule cosine has no --decay-after"]);
    refused(&["--residual"], &["`residual` is true with `num_layers` 1"]);
    dir.run(&["train", "--nesterov"]).failed(2, &["`momentum` is 0", "Nesterov"]);
    let tied = ["train", "--tie-weights", "--embedding-size", "64"];
    dir.run(&tied).failed(2, &["tied weights", "64 and 256"]);
    assert_eq!(dir.snapshot().len(), 0, "nothing was trained");
}

#[test]
fn the_output_of_print_config_can_be_read_again() {
    let dir = TestDir::new();
    let flags = ["--preset", "deep-lstm", "--lr", "0.1", "--seed", "18446744073709551615", "--clip", "1e-10"];
    let more = ["--prefix", "a \"quoted\" one\n#", "--prefix", "1.0", "--out", "some where/é", "--quiet"];
    let first = print(&dir, &[("RNNLM_EPOCHS", "7")], &[&flags[..], &more].concat()).succeeded();
    dir.write("printed.toml", &first.stdout);
    let second = print(&dir, &[], &["--config", "printed.toml"]).succeeded();
    let values = |text: &str| toml::from_str::<toml::Table>(text).expect("it is TOML");
    assert_eq!(values(&first.stdout), values(&second.stdout));
    assert_eq!(line(&second, "epochs").split_once("  # printed.toml:").map(|(value, _)| value), Some("epochs = 7"));
    assert_eq!(values(&first.stdout)["prefix"][0].as_str(), Some("a \"quoted\" one\n#"));
}

#[test]
fn an_error_names_the_origin_of_the_value() {
    let dir = TestDir::new();
    let refused = |content: &str, words: &[&str]| {
        dir.write("run.toml", content);
        dir.run(&["train", "--config", "run.toml"]).failed(2, words);
    };
    refused("seed = 1\n\nhiden-size = 3\n", &["run.toml:3", "unknown setting `hiden-size`", "hint: ", "`hidden_size`"]);
    refused("# lr\nlr = -1\n", &["run.toml:2: ", "above 0"]);
    refused("lr = [1, 2]\n", &["run.toml:1: "]);
    refused("lr = { sgd = 1 }\n", &["run.toml:1: `lr` must be a string"]);
    refused("[train]\nlr = 1\n", &["run.toml:1: unknown setting `train`"]);
    refused("seed = 1\nlr = = 1\n", &["run.toml:2: "]);
    refused("seed = 1\nseed = 2\n", &["run.toml:2: ", "duplicate"]);
    refused("cell = \"elman\"\n", &["run.toml:1: ", "rnn, gru, lstm, mingru, minlstm"]);
    refused("force = true\n", &["run.toml:1: unknown setting `force`"]);
    dir.run(&["train", "--config", "missing.toml"]).failed(2, &["`missing.toml` cannot be read"]);
    let variable = |name: &str, value: &str| {
        Outcome::of(dir.command(&["train"]).env(name, value).output().expect("the command starts"))
    };
    variable("RNNLM_LR", "fast").failed(2, &["RNNLM_LR: ", "'fast'", "--lr"]);
    variable("RNNLM_CONFIG", "missing.toml").failed(2, &["`missing.toml`"]);
    assert_eq!(dir.snapshot().len(), 1, "nothing was trained");
}

#[test]
fn no_detach_is_refused_with_the_reason() {
    let dir = TestDir::new();
    dir.run(&["train", "--no-detach"])
        .failed(2, &["more memory and time", "after 35 steps", "hint: raise --num-steps"]);
    assert_eq!(dir.snapshot().len(), 0, "nothing was trained");
}

#[test]
fn print_config_has_the_order_of_the_help() {
    let dir = TestDir::new();
    let printed = print(&dir, &[("RNNLM_SEED", "1")], &["--preset", "lstm", "--epochs", "3"]).succeeded();
    let headings: Vec<_> =
        printed.stdout.lines().filter(|line| line.starts_with("# ") && !line.contains(" has ")).collect();
    let middle = ["# Training", "# Regularization", "# Optimizer", "# Schedule", "# Validation"];
    let expected = [&["# Text", "# Model"][..], &middle, &["# Saving", "# Output", "# Computation"]].concat();
    assert_eq!(headings, expected);
}

#[test]
fn an_unknown_variable_is_a_warning() {
    let dir = TestDir::new();
    let printed = print(&dir, &[("RNNLM_HIDEN_SIZE", "64"), ("RNNLM_DATA_DIR", "texts")], &[]).succeeded();
    assert_eq!(printed.stderr.lines().count(), 1, "{printed:?}");
    assert!(printed.stderr.contains("RNNLM_HIDEN_SIZE") && printed.stderr.contains("did you mean RNNLM_HIDDEN_SIZE?"));
}

#[test]
fn the_help_lists_every_setting_with_its_flag_and_variable() {
    let dir = TestDir::new();
    let help = dir.run(&["train", "--help"]).succeeded().stdout;
    let printed = print(&dir, &[], &["--out", "run", "--init-from", "run"]).succeeded();
    let table: toml::Table = toml::from_str(&printed.stdout).expect("it is TOML");
    assert!(table.len() > 25, "{printed:?}");
    for name in table.keys() {
        assert!(help.contains(&format!("--{}", name.replace('_', "-"))), "--{name}");
        assert!(help.contains(&format!("[env: RNNLM_{}]", name.to_uppercase())), "{name}");
    }
}

#[test]
fn a_run_has_the_resolved_settings() {
    let dir = TestDir::new();
    dir.write("run.toml", "cell = \"gru\"\nlr = 0.5\nout = \"run\"\nquiet = true\n");
    let mut command = dir.command(&[&["train", "--config", "run.toml"], &SMALL[..]].concat());
    Outcome::of(command.env("RNNLM_SEED", "5").output().expect("the command starts")).succeeded();
    let config = fs::read_to_string(dir.path("run/config.json")).expect("a configuration");
    let config: Value = serde_json::from_str(&config).expect("it is JSON");
    assert_eq!(config["model"]["cell"], "gru");
    assert_eq!((&config["train"]["lr"], &config["train"]["seed"]), (&0.5.into(), &5.into()));
    assert_eq!(config["model"]["hidden_size"], 16);
}
