//! Damaged files: exit code 4, the name of the file and a hint. The tests of `rnnlm-model` damage every byte.

use std::fs;

use crate::support::Place;
use crate::training;

#[test]
fn a_damaged_file_is_named_with_exit_code_4() {
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
            // lines after the last saved epoch are cut off when a run is resumed
            if (name, damage) == ("metrics.jsonl", "longer") {
                continue;
            }
            fs::write(&file, &bytes).unwrap();
            let words = [name, "hint:"];
            place.run(&["train", "--quiet", "--resume", "run", "--epochs", "9"]).failed(4, &words);
            assert!(fs::read(&file).unwrap() == bytes, "{damage} {name} was changed by an error");
            if !matches!(name, "trainer.safetensors" | "metrics.jsonl") {
                place.run(&["generate", "run", "--num-tokens", "3"]).failed(4, &words);
                place.run(&["eval", "run", "--corpus", "sample"]).failed(4, &words);
                place.run(&training(&["--init-from", "run", "--out", "new"])).failed(4, &words);
            }
        }
        fs::write(&file, whole).unwrap();
    }
    // the restored run can be resumed
    place.run(&["train", "--quiet", "--resume", "run", "--epochs", "4"]).succeeded();
    assert!(!place.path("new").exists());
}
