//! The memory that `train` announces before it allocates, compared with what the process used at most.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Outcome, TestDir};

/// The most resident memory of a process so far, in bytes, as Linux reports it.
fn high_water_mark(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?)
}

/// Trains, and returns the announced and the measured memory.
#[track_caller]
fn train(dir: &TestDir, flags: &str) -> (f64, f64) {
    let common = ["train", "--out", "run", "--force", "--format", "json", "--quiet", "--device", "cpu"];
    let args: Vec<&str> = common.into_iter().chain(flags.split(' ')).collect();
    let mut command = dir.command(&args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command");
    let mut seen = 0;
    while child.try_wait().expect("a child").is_none() {
        seen = seen.max(high_water_mark(child.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    let result = Outcome::of(child.wait_with_output().expect("it ends")).succeeded().json();
    let number = |name: &str| result[name].as_f64().expect("a number");
    let (estimate, peak) = (number("memory_estimate"), number("peak_memory"));
    // the process reports its own peak, which another process cannot have seen exceeded before
    assert!(seen as f64 <= peak + 1e6 && seen > 0, "{flags}: {seen} was seen, {peak} reported");
    (estimate, peak)
}

#[test]
fn the_announced_memory_is_what_training_uses() {
    let dir = TestDir::new();
    let words: Vec<String> = (0..60_000).map(|index| format!("w{}", index * 7919 % 20_011)).collect();
    dir.write("words.txt", words.chunks(10).map(|line| line.join(" ") + "\n").collect::<String>());
    dir.write("long.txt", "the quick brown fox jumps over the lazy dog\n".repeat(300_000));
    let one_step = "--batch-size 1 --num-steps 1 --max-tokens 12 --epochs 1";
    let words = "--corpus words.txt --token word --batch-size 8 --num-steps 20 --max-tokens 2000";
    let long = "--corpus long.txt --hidden-size 8 --batch-size 1000 --num-steps 100";
    let cases = [
        "--hidden-size 4 --epochs 2".to_owned(),
        format!("{one_step} --hidden-size 1200"),
        format!("{one_step} --hidden-size 1200 --optimizer adam --threads 1"),
        format!("{one_step} --hidden-size 1 --num-layers 2000"),
        "--cell lstm --hidden-size 512 --batch-size 64 --max-tokens 3000 --epochs 2 --sample-every 1".to_owned(),
        "--cell gru --hidden-size 512 --max-tokens 3000 --epochs 2 --optimizer rmsprop --val-fraction 0.2".to_owned(),
        "--cell lstm --hidden-size 256 --num-layers 3 --bidirectional --dropout 0.3 --max-tokens 3000 --epochs 1"
            .to_owned(),
        "--hidden-size 64 --path reference --batch-size 500 --max-tokens 0 --epochs 1".to_owned(),
        format!("{words} --hidden-size 128 --epochs 2 --sample-every 1"),
        format!("{words} --hidden-size 64 --embedding-size 64 --tie-weights --optimizer adamw --epochs 1"),
        format!("{words} --hidden-size 64 --embedding-size 32 --val-fraction 0.2 --epochs 1 --threads 4"),
        format!(
            "{words} --hidden-size 128 --embedding-size 64 --adaptive-softmax 500,4000 --epochs 1 --sample-every 1"
        ),
        format!("{long} --epochs 1 --val-fraction 0.1"),
        format!("{long} --epochs 1 --sampling random"),
    ];
    let mut wrong = Vec::new();
    for flags in &cases {
        let (estimate, peak) = train(&dir, flags);
        if (estimate - peak).abs() > (0.15 * peak).max(8e6) {
            wrong.push(format!("{flags}: {:.1} MB announced, {:.1} MB used", estimate / 1e6, peak / 1e6));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
