//! Damage as a user meets it: exit code 4, the file's name, what to do; every byte is tried in the tests of `rnnlm-model`.

use std::fs;

use crate::support::Place;
use crate::training;

#[test]
fn a_damaged_file_is_exit_code_4_and_named() {
    let place = Place::new();
    place.run(&training(&["--out", "run"])).succeeded();
    for name in ["config.json", "vocab.json", "model.safetensors", "trainer.safetensors", "metrics.jsonl"] {
        let file = place.path("run").join(name);
        let whole = fs::read(&file).unwrap();
        let middle = whole.len() / 2;
        let mut flipped = whole.clone();
        flipped[middle] ^= 4;
        let longer = [&whole[..], b"\n"].concat();
        let shorter = whole[..middle].to_vec();
        for (damage, bytes) in [("flipped", flipped), ("longer", longer), ("shorter", shorter), ("empty", Vec::new())] {
            // what comes after the last saved epoch in the metrics is cut off, and no damage
            if (name, damage) == ("metrics.jsonl", "longer") {
                continue;
            }
            fs::write(&file, &bytes).unwrap();
            let words = [name, "hint:"];
            place.run(&["train", "--quiet", "--resume", "run", "--epochs", "9"]).failed(4, &words);
            assert!(fs::read(&file).unwrap() == bytes, "{damage} {name} was changed by a refusal");
            if !matches!(name, "trainer.safetensors" | "metrics.jsonl") {
                place.run(&["generate", "run", "--num-tokens", "3"]).failed(4, &words);
                place.run(&["eval", "run", "--corpus", "sample"]).failed(4, &words);
                place.run(&training(&["--init-from", "run", "--out", "new"])).failed(4, &words);
            }
        }
        fs::write(&file, whole).unwrap();
    }
    // the run as it was goes on
    place.run(&["train", "--quiet", "--resume", "run", "--epochs", "4"]).succeeded();
    assert!(!place.path("new").exists());
}
