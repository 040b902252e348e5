//! Token caches: the same runs as from the text in memory, and every mismatch and every damage is an error.

use std::fs;
use std::io::Write;
use std::process::Command;

use crate::result_of;
use crate::support::{Outcome, TestDir};

const FLAGS: [&str; 15] = [
    "train",
    "--quiet",
    "--hidden-size",
    "8",
    "--batch-size",
    "4",
    "--num-steps",
    "10",
    "--threads",
    "1",
    "--sample-every",
    "0",
    "--device",
    "cpu",
    "--force",
];

/// A text of records whose contents differ.
fn text() -> String {
    (0..400).map(|n| format!("record {n} of Öl, {}\n", ["tea", "coffee and milk", "x"][n % 3])).collect()
}

fn train(dir: &TestDir, out: &str, more: &[&str]) -> Outcome {
    dir.run(&[&FLAGS[..], &["--epochs", "2", "--out", out], more].concat())
}

fn config(dir: &TestDir, run: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(dir.path(run).join("config.json")).unwrap()).unwrap()
}

#[test]
fn a_run_from_a_cache_has_the_bytes_of_a_run_from_the_text() {
    let dir = TestDir::new();
    dir.write("text.txt", text());
    let cases: [(&[&str], &[&str]); 6] = [
        (&[], &["--val-fraction", "0.1"]),
        (&[], &["--sampling", "random"]),
        (&[], &["--max-tokens", "3000"]),
        (&["--token", "word", "--max-vocab", "50"], &[]),
        (&["--token", "word-punct", "--documents", "lines"], &["--val-fraction", "0.2"]),
        (&["--documents", "lines", "--normalize", "lower"], &["--no-shuffle"]),
    ];
    for (number, (reading, training)) in cases.into_iter().enumerate() {
        let [cache, of_cache, of_text] = ["cache", "of-cache", "of-text"].map(|name| format!("{name}-{number}"));
        dir.run(&[&["corpus", "build", "text.txt", "--out", &cache], reading].concat()).succeeded();
        train(&dir, &of_cache, &[&["--corpus", &cache], training].concat()).succeeded();
        train(&dir, &of_text, &[&["--corpus", "text.txt"], reading, training].concat()).succeeded();
        assert!(result_of(&dir.path(&of_cache)) == result_of(&dir.path(&of_text)), "{reading:?} {training:?}");
        let (one, other) = (config(&dir, &of_cache), config(&dir, &of_text));
        assert_eq!(one["corpus"]["ids_sha256"], other["corpus"]["ids_sha256"]);
        assert_eq!((&one["corpus"]["options"], &one["train"]), (&other["corpus"]["options"], &other["train"]));
        // each can be resumed with the text of the other
        dir.run(&["train", "--quiet", "--resume", &of_cache, "--epochs", "3", "--corpus", "text.txt"]).succeeded();
        dir.run(&["train", "--quiet", "--resume", &of_text, "--epochs", "3", "--corpus", &cache]).succeeded();
        assert!(result_of(&dir.path(&of_cache)) == result_of(&dir.path(&of_text)));
        dir.run(&["eval", &of_cache, "--corpus", &cache]).succeeded();
    }
}

#[test]
fn a_cache_that_does_not_fit_is_refused() {
    let dir = TestDir::new();
    dir.write("text.txt", text());
    dir.write("other.txt", "another text, with other characters: %!\n".repeat(50));
    let build = ["corpus", "build", "text.txt", "--out", "cache"];
    let announced = dir.run(&build).succeeded();
    assert!(announced.stderr.contains("the token cache `cache` takes "), "{}", announced.stderr);
    assert!(announced.stdout.contains("distinct tokens, cache cache"), "{}", announced.stdout);
    dir.run(&build).succeeded();
    train(&dir, "other", &["--corpus", "other.txt"]).succeeded();
    train(&dir, "same", &["--corpus", "text.txt"]).succeeded();
    let refuses = |args: &[&str], code: i32, words: &[&str]| dir.refuses_in_place(args, code, words);
    let fresh = |more: &[&str]| -> Vec<String> {
        [&FLAGS[..], &["--epochs", "2", "--out", "new", "--corpus", "cache"], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let refuses_training = |more: &[&str], code: i32, words: &[&str]| {
        let args = fresh(more);
        refuses(&args.iter().map(String::as_str).collect::<Vec<_>>(), code, words);
    };
    refuses_training(&["--token", "word"], 4, &["the settings of `cache` differ", "`kind`"]);
    refuses_training(&["--normalize", "lower"], 4, &["`normalization`"]);
    refuses_training(&["--vocab", "other"], 4, &["token cache `cache` does not fit", "vocabulary is another one"]);
    refuses_training(&["--init-from", "other"], 4, &["does not fit", "vocabulary"]);
    refuses_training(&["--init-from", "same", "--extend-vocab"], 2, &["cannot be extended"]);
    refuses(&["train", "--quiet", "--resume", "other", "--epochs", "3", "--corpus", "cache"], 4, &["vocabulary"]);
    refuses(&["eval", "other", "--corpus", "cache"], 4, &["vocabulary"]);
    refuses(
        &["corpus", "build", "text.txt", "--out", "cache", "--token", "word"],
        4,
        &["it was built with", "--force"],
    );
    refuses(&["corpus", "build", "text.txt", "--out", "same"], 1, &["`same` exists, and is no token cache"]);
    refuses(&["corpus", "build", "text.txt", "--out", "same", "--force"], 1, &["is no token cache"]);
    refuses(&["corpus", "build", "-", "--out", "new"], 2, &["built from files"]);
    refuses(&["corpus", "build", "missing.txt", "--out", "new"], 1, &["`missing.txt` does not exist"]);

    fs::OpenOptions::new().append(true).open(dir.path("text.txt")).unwrap().write_all(b"more\n").unwrap();
    refuses_training(&[], 4, &["the text has changed", "text.txt"]);
    dir.run(&["corpus", "build", "text.txt", "--out", "cache", "--force"]).succeeded();
    train(&dir, "new", &["--corpus", "cache"]).succeeded();
}

#[test]
fn a_damaged_cache_is_exit_code_4_with_the_block() {
    let dir = TestDir::new();
    dir.write("text.txt", text());
    dir.run(&["corpus", "build", "text.txt", "--out", "cache"]).succeeded();
    let shard = dir.path("cache/tokens-00001.safetensors");
    let bytes = fs::read(&shard).unwrap();
    let args = [&FLAGS[..], &["--epochs", "2", "--out", "new", "--corpus", "cache"]].concat();
    let mut changed = bytes.clone();
    changed[9000] ^= 1;
    for (content, words) in [
        (&changed[..], ["tokens-00001.safetensors` is damaged: block 1 of 1 has digest", "rnnlm corpus build --force"]),
        (&bytes[..bytes.len() - 1], ["block 1 of 1 is damaged", "corpus build"]),
        (&bytes[..100], ["it ends within its header", "corpus build"]),
    ] {
        fs::write(&shard, content).unwrap();
        dir.run(&args).failed(4, &words);
    }
    fs::write(&shard, &bytes).unwrap();
    dir.run(&args).succeeded();
}

#[test]
fn a_disk_that_fills_while_a_cache_is_built_leaves_nothing() {
    let dir = TestDir::new();
    dir.write("text.txt", text().repeat(10));
    // 40 blocks of 512 bytes, 1024 in some shells; a larger write is an error
    let script = "ulimit -f 40; exec \"$rnnlm\" corpus build text.txt --out cache";
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(dir.path(".")).env("rnnlm", env!("CARGO_BIN_EXE_rnnlm"));
    let before = dir.snapshot();
    Outcome::of(command.output().unwrap())
        .failed(1, &["tokens-00001.safetensors` could not be written", "File too large"]);
    assert_eq!(dir.snapshot(), before, "files changed");
    dir.run(&["corpus", "build", "text.txt", "--out", "cache"]).succeeded();
}

#[test]
fn several_files_folders_and_patterns_are_one_text() {
    let dir = TestDir::new();
    fs::create_dir(dir.path("texts")).unwrap();
    let (first, second) = (text(), "the end of the second file".repeat(20));
    dir.write("texts/1.txt", &first);
    dir.write("texts/2.txt", &second);
    dir.write("texts/.hidden", "hidden");
    dir.write("whole.txt", format!("{first}{second}"));
    train(&dir, "whole", &["--corpus", "whole.txt"]).succeeded();
    let expected = result_of(&dir.path("whole"));
    for (number, corpus) in [&["texts"][..], &["texts/*.txt"], &["texts/1.txt", "texts/2.txt"]].into_iter().enumerate()
    {
        let run = format!("run-{number}");
        let flags: Vec<&str> = corpus.iter().flat_map(|name| ["--corpus", name]).collect();
        train(&dir, &run, &flags).succeeded();
        assert!(result_of(&dir.path(&run)) == expected, "{corpus:?}");
        dir.run(&["train", "--quiet", "--resume", &run, "--epochs", "3"]).succeeded();
    }
    dir.run(&["corpus", "build", "texts/*.txt", "--out", "cache"]).succeeded();
    train(&dir, "of-cache", &["--corpus", "cache"]).succeeded();
    assert!(result_of(&dir.path("of-cache")) == expected);
    let refuses = |corpus: &[&str], words: &[&str]| {
        let flags: Vec<&str> = corpus.iter().flat_map(|name| ["--corpus", name]).collect();
        let outcome = train(&dir, "refused", &flags);
        let code = outcome.code.unwrap();
        outcome.failed(code, words);
        assert!(!dir.path("refused").exists());
    };
    refuses(&["none/*.txt"], &["`none/*.txt` is a pattern without files"]);
    refuses(&["texts/1.txt", "-"], &["`-` cannot be combined"]);
    dir.write("texts/3.txt", b"caf\xE9");
    refuses(&["texts"], &["3.txt` is not UTF-8"]);
}

#[test]
fn ids_of_other_programs_are_read_with_a_vocabulary() {
    let dir = TestDir::new();
    dir.write("text.txt", "abcab".repeat(200));
    let ids: Vec<u8> = [0_u16, 1, 2, 0, 1].repeat(200).into_iter().flat_map(u16::to_le_bytes).collect();
    let mut header: Vec<u8> = [20_240_520_u32, 1, 1000].into_iter().flat_map(u32::to_le_bytes).collect();
    header.resize(1024, 0);
    dir.write("nano.bin", &ids);
    dir.write("llm.bin", [header, ids].concat());
    dir.write("tokens.json", r#"["a", "b", "c"]"#);
    let with = |out: &str, corpus: &str| train(&dir, out, &["--corpus", corpus, "--vocab", "tokens.json"]);
    with("of-text", "text.txt").succeeded();
    for file in ["nano.bin", "llm.bin"] {
        with("of-ids", file).succeeded();
        assert!(result_of(&dir.path("of-ids")) == result_of(&dir.path("of-text")), "{file}");
        dir.run(&["train", "--quiet", "--resume", "of-ids", "--epochs", "3"]).succeeded();
    }
    dir.write("short.json", r#"["a", "b"]"#);
    train(&dir, "refused", &["--corpus", "nano.bin", "--vocab", "short.json"])
        .failed(1, &["token id 3 is out of range"]);
    dir.write("odd.bin", [1, 0, 2]);
    with("refused", "odd.bin").failed(1, &["its ids have 3 bytes"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_text_that_is_large_for_the_memory_is_trained_on_from_a_cache() {
    let dir = TestDir::new();
    dir.write("text.txt", text().repeat(800)); // 8 MB, whose ids take 32 MB
    let flags = ["--corpus", "text.txt", "--epochs", "1", "--num-steps", "200", "--batch-size", "128"];
    let args = [&FLAGS[..4], &FLAGS[8..], &flags, &["--out"]].concat();
    let in_memory_of = |kilobytes: u32, out: &str| {
        let command = dir.command(&[&args[..], &[out]].concat());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"")]).arg(command.get_program());
        shell.args(command.get_args()).current_dir(dir.path("."));
        command.get_envs().for_each(|(name, value)| match value {
            Some(value) => drop(shell.env(name, value)),
            None => drop(shell.env_remove(name)),
        });
        Outcome::of(shell.output().unwrap())
    };
    in_memory_of(150_000, "of-cache").succeeded();
    let caches = || fs::read_dir(dir.path("cache/rnnlm/tokens")).unwrap().count();
    assert_eq!(caches(), 1);
    dir.run(&[&args[..], &["of-text"]].concat()).succeeded();
    assert!(result_of(&dir.path("of-cache")) == result_of(&dir.path("of-text")));
    // the cache of a text that has changed is built again
    fs::OpenOptions::new().append(true).open(dir.path("text.txt")).unwrap().write_all(b"more\n").unwrap();
    in_memory_of(150_000, "again").succeeded();
    assert_eq!(caches(), 1);
}
