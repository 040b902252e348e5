//! Damaged files: exit code 4, the name of the file and a hint. The tests of `rnnlm-model` damage every byte.

use std::fs;

use sha2::{Digest, Sha256};

use crate::support::TestDir;
use crate::train_args;

#[test]
fn a_damaged_file_is_named_with_exit_code_4() {
    let dir = TestDir::new();
    dir.run(&train_args(&["--out", "run"])).succeeded();
    for name in ["config.json", "vocab.json", "model.safetensors", "trainer.safetensors", "metrics.jsonl"] {
        let file = dir.path("run").join(name);
        let whole = fs::read(&file).unwrap();
        let middle = whole.len() / 2;
        let mut flipped = whole.clone();
        flipped[middle] ^= 4;
        let longer = [&whole[..], b"\n"].concat();
        let shorter = whole[..middle].to_vec();
        for (damage, bytes) in [("flipped", flipped), ("longer", longer), ("shorter", shorter), ("empty", Vec::new())] {
            // lines after the last saved epoch are cut off when a run is resumed
            if (name, damage) == ("metrics.jsonl", "longer") {
                continue;
            }
            fs::write(&file, &bytes).unwrap();
            let words = [name, "hint:"];
            dir.run(&["train", "--quiet", "--resume", "run", "--epochs", "9"]).failed(4, &words);
            assert!(fs::read(&file).unwrap() == bytes, "{damage} {name} was changed by an error");
            if !matches!(name, "trainer.safetensors" | "metrics.jsonl") {
                dir.run(&["generate", "run", "--num-tokens", "3"]).failed(4, &words);
                dir.run(&["eval", "run", "--corpus", "sample"]).failed(4, &words);
                dir.run(&train_args(&["--init-from", "run", "--out", "new"])).failed(4, &words);
            }
        }
        fs::write(&file, whole).unwrap();
    }
    // the restored run can be resumed
    dir.run(&["train", "--quiet", "--resume", "run", "--epochs", "4"]).succeeded();
    assert!(!dir.path("new").exists());
}

/// Replaces a text in a file of the run, and updates the digest.
fn edit(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let find = |bytes: &[u8], text: &str| bytes.windows(text.len()).position(|window| window == text.as_bytes());
    let at = find(file, from).unwrap_or_else(|| panic!("no {from}"));
    let mut edited = [&file[..at], to.as_bytes(), &file[at + from.len()..]].concat();
    let key = find(&edited, "sha256").unwrap() + "sha256".len();
    let start = key + edited[key..].iter().position(u8::is_ascii_hexdigit).unwrap();
    edited[start..start + 64].fill(b'0');
    let digest: String = Sha256::digest(&edited).iter().map(|byte| format!("{byte:02x}")).collect();
    edited[start..start + 64].copy_from_slice(digest.as_bytes());
    edited
}

/// A received run can have any numbers, with valid digests.
#[test]
fn a_number_that_no_run_has_is_damage() {
    let dir = TestDir::new();
    // two minibatches per epoch
    let sizes = ["--max-tokens", "200", "--val-fraction", "0.1", "--checkpoint-every", "1"];
    dir.run(&train_args(&[&sizes[..], &["--out", "run"]].concat())).succeeded();
    let edits = [
        ("config.json", "\"fraction\": 0.1", "\"fraction\": 2.0", "`validation.fraction` is 2"),
        ("config.json", "\"fraction\": 0.1", "\"fraction\": -1e300", "`validation.fraction` is -1"),
        ("config.json", "\"hidden_size\": 16", "\"hidden_size\": 0", "`hidden_size` is 0"),
        ("config.json", "\"num_layers\": 1", "\"num_layers\": 9999999999999", "`num_layers` is 9999999999999"),
        ("config.json", "\"lr\": 1.0", "\"lr\": -1.0", "`lr` is -1"),
        ("config.json", "\"lr\": 1.0", "\"lr\": 1e39", "`lr` is inf"),
        ("config.json", "\"batch_size\": 8", "\"batch_size\": 18446744073709551615", "`batch_size` is 1844"),
        (
            "config.json",
            "\"checkpoint_every\": \"1\"",
            "\"checkpoint_every\": \"0\"",
            "`options.checkpoint_every` is `0`",
        ),
        ("trainer.safetensors", "\\\"minibatch\\\":0", "\\\"minibatch\\\":3", "it is at minibatch 3 of an epoch of 2"),
        ("trainer.safetensors", "\\\"epoch\\\":3", "\\\"epoch\\\":9", "it is at step 6, minibatch 0 of epoch 9"),
    ];
    for (name, from, to, words) in edits {
        let file = dir.path("run").join(name);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, edit(&whole, from, to)).unwrap();
        dir.run(&["train", "--quiet", "--resume", "run", "--epochs", "9"]).failed(4, &[name, words, "hint:"]);
        fs::write(&file, whole).unwrap();
    }
    dir.run(&["train", "--quiet", "--resume", "run", "--epochs", "4"]).succeeded();
}
