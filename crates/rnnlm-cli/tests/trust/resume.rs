//! `--resume`, `--init-from` and divergence.

use std::fs;

use crate::support::{SMALL, TestDir};
use crate::{result_of, train_args};

#[test]
fn a_run_resumed_with_more_epochs_ends_like_an_uninterrupted_run() {
    let dir = TestDir::new();
    for sampling in ["sequential", "random"] {
        let (whole, part) = (format!("whole-{sampling}"), format!("part-{sampling}"));
        dir.run(&train_args(&["--sampling", sampling, "--out", &whole, "--epochs", "7"])).succeeded();
        dir.run(&train_args(&["--sampling", sampling, "--out", &part])).succeeded();
        let outcome = dir.run(&["train", "--resume", &part, "--epochs", "7", "--format", "json"]).succeeded();
        assert!(outcome.stderr.contains("resume  part-") && outcome.stderr.contains("after epoch 3"), "{outcome:?}");
        assert_eq!(outcome.json()["epochs"], 7);
        assert!(result_of(&dir.path(&part)) == result_of(&dir.path(&whole)), "{sampling}");
        let trainer = |run: &str| fs::read(dir.path(run).join("trainer.safetensors")).unwrap().len();
        assert_eq!(trainer(&part), trainer(&whole));
    }
    // resuming a finished run does nothing
    let again = dir.run(&["train", "--resume", "part-random", "--format", "json"]).succeeded().json();
    assert_eq!(again["epochs"], 7);
    assert!(again["perplexity"].as_f64().is_some_and(|perplexity| perplexity > 1.0), "{again}");
}

#[test]
fn a_run_is_not_resumed_with_other_settings() {
    let dir = TestDir::new();
    dir.run(&train_args(&["--out", "run"])).succeeded();
    dir.write("other.txt", "quite another text. ".repeat(200));
    let before = dir.snapshot();
    let cases: [(&[&str], i32, &[&str]); 10] = [
        (&["--lr", "0.5"], 4, &["the settings of `run` differ", "`lr` is 1.0 and not 0.5", "--init-from"]),
        // the default of the flag, but not the value of the run
        (&["--hidden-size", "256"], 4, &["`hidden_size` is 16 and not 256"]),
        (&["--cell", "gru"], 4, &["`cell` is \"rnn\" and not \"gru\""]),
        (&["--token", "word"], 4, &["`kind` is \"char\" and not \"word\""]),
        (&["--sampling", "random", "--seed", "3"], 4, &["sampling", "`seed` is 0 and not 3"]),
        (&["--corpus", "other.txt"], 4, &["`other.txt` is not the text of the run", "ids_sha256"]),
        (&["--epochs", "2"], 2, &["2 epochs are fewer than the 3 of the run"]),
        (&["--out", "else"], 2, &["--out"]),
        (&["--init-from", "run"], 2, &["--init-from"]),
        (&["--checkpoint-every", "0s"], 2, &["at least 1"]),
    ];
    for (more, code, words) in cases {
        dir.run(&[&["train", "--quiet", "--resume", "run"], more].concat()).failed(code, words);
        assert_eq!(dir.snapshot(), before, "{more:?} changed files");
    }
    dir.run(&["train", "--resume", "nowhere"]).failed(4, &["`nowhere` is not a run"]);
    // flags with the values of the run are accepted
    dir.run(&[&["train", "--quiet", "--resume", "run"], &SMALL[..]].concat()).succeeded();
}

#[test]
fn saving_by_time_changes_no_bits() {
    let dir = TestDir::new();
    let args = |out, interval| train_args(&["--epochs", "30", "--out", out, "--checkpoint-every", interval]);
    dir.run(&args("rarely", "1h")).succeeded();
    // less than a millisecond, so that most saves are within an epoch
    dir.run(&[&args("often", "0.00001min")[..], &["--keep", "1000"]].concat()).succeeded();
    assert!(fs::read_dir(dir.path("often/checkpoints")).unwrap().count() > 3);
    assert!(result_of(&dir.path("often")) == result_of(&dir.path("rarely")));
    dir.run(&args("seconds", "90sec")).failed(2, &["`90sec` is not an interval", "s is not seconds", "5min"]);
}

#[test]
fn a_new_run_can_start_with_the_weights_of_another() {
    let dir = TestDir::new();
    dir.run(&train_args(&["--out", "run"])).succeeded();
    dir.write("other.txt", "there is more in the world than a tide, they said again and again. ".repeat(30));
    let flags = ["--epochs", "2", "--batch-size", "4", "--num-steps", "10", "--lr", "0.5", "--normalize", "book"];
    let new = ["train", "--out", "new", "--init-from", "run", "--corpus", "other.txt"];
    let outcome = dir.run(&[&new[..], &flags].concat()).succeeded();
    let words = "init    weights, sizes and vocabulary of run\n";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    let config = fs::read_to_string(dir.path("new/config.json")).unwrap();
    assert!(config.contains("\"init_from\": \"run\"") && config.contains("\"hidden_size\": 16"), "{config}");
    assert_eq!(fs::read_to_string(dir.path("new/metrics.jsonl")).unwrap().lines().count(), 2);
    let vocabs = ["run/vocab.json", "new/vocab.json"].map(|file| fs::read(dir.path(file)).unwrap());
    assert_eq!(vocabs[0], vocabs[1]);
    // a run of zero epochs has the model of the other run, and can be resumed
    dir.run(&["train", "--quiet", "--out", "same", "--init-from", "run", "--epochs", "0"]).succeeded();
    let models = ["run/model.safetensors", "same/model.safetensors"].map(|file| fs::read(dir.path(file)).unwrap());
    assert_eq!(models[0], models[1]);
    let whole = ["train", "--quiet", "--out", "whole", "--init-from", "run", "--corpus", "other.txt"];
    dir.run(&[&whole[..], &["--epochs", "5"], &flags[2..]].concat()).succeeded();
    dir.run(&["train", "--quiet", "--resume", "new", "--epochs", "5"]).succeeded();
    assert!(result_of(&dir.path("new")) == result_of(&dir.path("whole")));
    let sizes = ["--hidden-size", "32", "--out", "larger"];
    dir.run(&[&["train", "--init-from", "run"], &sizes[..]].concat()).failed(4, &["`hidden_size` is 16 and not 32"]);
    let tokens = ["--token", "word", "--out", "words"];
    dir.run(&[&["train", "--init-from", "run"], &tokens[..]].concat())
        .failed(4, &["`kind` is \"char\" and not \"word\""]);
}

#[test]
fn a_divergence_keeps_the_last_good_model_and_gives_hints() {
    let dir = TestDir::new();
    let wild = ["--nonlinearity", "relu", "--lr", "1e9", "--clip", "0", "--checkpoint-every", "1s", "--out", "wild"];
    let outcome =
        dir.run(&train_args(&wild)).failed(3, &["diverged at step", "--lr 1e8", "--clip 1", "is kept in wild"]);
    assert!(!outcome.stderr.contains("NaN perplexity"), "{}", outcome.stderr);
    // what is set already is not suggested
    let clipped = ["--nonlinearity", "relu", "--lr", "1e30", "--clip", "1", "--out", "clipped"];
    let outcome =
        dir.run(&train_args(&clipped)).failed(3, &["hint: reduce --clip (now 1), or reduce --num-steps (now 10)"]);
    assert!(!outcome.stderr.contains("--clip 1 (0 disables it)"), "{}", outcome.stderr);
    dir.run(&["generate", "wild", "--num-tokens", "3"]).succeeded();
}

#[test]
fn a_divergence_in_the_last_update_is_found_before_saving() {
    let dir = TestDir::new();
    // With a single minibatch, the only loss is that of the untrained model. No later one shows that the update
    // diverged.
    let wild =
        ["train", "--max-tokens", "1200", "--epochs", "1", "--nonlinearity", "relu", "--lr", "1e30", "--clip", "0"];
    let args: Vec<&str> = wild.into_iter().chain(["--sample-every", "0", "--out", "wild"]).collect();
    let outcome =
        dir.run(&args).failed(3, &["diverged at step 1: the updated model", "the untrained model is kept in wild"]);
    assert!(!outcome.stdout.contains("perplexity"), "{}", outcome.stdout);
    dir.run(&["generate", "wild", "--num-tokens", "3"]).succeeded();
}
