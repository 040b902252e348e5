//! Damaged files: exit code 4, the name of the file and a hint. The tests of `rnnlm-model` damage every byte.

use std::fs;

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
