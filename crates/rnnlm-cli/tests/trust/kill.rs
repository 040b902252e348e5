//! A training run that saves at every step and is killed repeatedly at random moments.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rnnlm_model::Run;
use rnnlm_rnn::ExecutionPath;
use rnnlm_tensor::Cpu;

use crate::support::TestDir;
use crate::{leftovers, result_of};

/// Number of kills of a running process; the environment variable `RNNLM_KILLS` changes it.
const KILLS: usize = 200;

/// A training run of a few hundred steps, each of which takes less time than its checkpoint.
const TRAIN_FLAGS: [&str; 20] = [
    "--cell",
    "lstm",
    "--hidden-size",
    "6",
    "--epochs",
    "12",
    "--batch-size",
    "4",
    "--num-steps",
    "10",
    "--max-tokens",
    "900",
    "--threads",
    "1",
    "--sample-every",
    "0",
    "--checkpoint-every",
    "1s",
    "--keep",
    "2",
];

/// Pseudo-random pauses from a linear congruential generator.
struct Pauses(u64);

impl Pauses {
    fn next(&mut self, below: u64) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros((self.0 >> 33) % below)
    }
}

/// Starts the run `name`, or resumes it if it has a checkpoint.
fn start(dir: &TestDir, name: &str, seed: &str) -> Child {
    let run = dir.path(name);
    let has_checkpoint = run.join("trainer.safetensors").exists();
    let folder = if has_checkpoint { ["--resume", name] } else { ["--out", name] };
    let mut command = dir.command(&[&["train", "--quiet"], &folder[..], &TRAIN_FLAGS, &["--seed", seed]].concat());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_run_killed_at_any_moment_ends_with_the_same_bits() {
    let kills = std::env::var("RNNLM_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let (dir, cpu) = (TestDir::new(), Cpu::new(1).unwrap());
    let mut pauses = Pauses(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    let (mut killed, mut during_a_save, mut run) = (0, 0, 0);
    while killed < kills {
        run += 1;
        let (name, whole, seed) = (format!("run-{run}"), format!("whole-{run}"), run.to_string());
        let plain = [&["train", "--quiet", "--out", &whole], &TRAIN_FLAGS[..16], &["--seed", &seed]].concat();
        let start_of_plain = Instant::now();
        dir.run(&plain).succeeded();
        // checkpoints make the run several times as slow, so it is killed several times
        let longest = 2 * start_of_plain.elapsed().as_micros() as u64;
        loop {
            let mut child = start(&dir, &name, &seed);
            std::thread::sleep(pauses.next(longest));
            let over = child.try_wait().unwrap().is_some();
            let _ = child.kill();
            let outcome = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&outcome.stderr).into_owned();
            if over {
                assert!(outcome.status.success(), "after {killed} kills: {stderr}");
                break;
            }
            killed += 1;
            assert_eq!(stderr, "", "after {killed} kills");
            if dir.path(&name).exists() {
                during_a_save += usize::from(!leftovers(&dir.path(&name)).is_empty());
            }
            if dir.path(&name).join("trainer.safetensors").exists() {
                let run = Run::open(&dir.path(&name)).unwrap();
                run.load(&cpu, ExecutionPath::Auto).unwrap();
            }
        }
        assert!(result_of(&dir.path(&name)) == result_of(&dir.path(&whole)), "{name} differs after {killed} kills");
        assert_eq!(leftovers(&dir.path(&name)), [""; 0]);
        assert_eq!(fs::read_dir(dir.path(&name).join("checkpoints")).unwrap().count(), 2);
    }
    println!("{killed} kills in {run} runs, {during_a_save} of them while a file was being written");
    assert!(during_a_save > 0, "no kill interrupted the writing of a file");
}

/// The default training run, killed five times. It takes a minute, so only `cargo xtask trust` runs it.
#[test]
#[ignore = "takes a minute"]
fn five_hundred_epochs_killed_five_times_end_with_the_same_bits() {
    let dir = TestDir::new();
    let start_of_whole = Instant::now();
    dir.run(&["train", "--quiet", "--out", "whole"]).succeeded();
    let sixth = start_of_whole.elapsed() / 6;
    let args = |kills| match kills {
        0 => ["train", "--quiet", "--out", "run"],
        _ => ["train", "--quiet", "--resume", "run"],
    };
    for kills in 0..5 {
        let mut child = dir.command(&args(kills)).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(sixth);
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        child.kill().unwrap();
        child.wait().unwrap();
        println!(
            "killed with {} lines of metrics",
            fs::read_to_string(dir.path("run/metrics.jsonl")).unwrap().lines().count()
        );
    }
    dir.run(&args(5)).succeeded();
    let (run, whole) = (result_of(&dir.path("run")), result_of(&dir.path("whole")));
    assert_eq!(run.1.len(), 500);
    assert!(run == whole);
}

#[test]
fn a_model_that_was_killed_before_its_first_checkpoint_is_used_with_a_warning() {
    let dir = TestDir::new();
    let args = ["train", "--quiet", "--out", "run", "--epochs", "100000000", "--checkpoint-every", "100000000"];
    let mut child = dir.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !dir.path("run/model.safetensors").exists() {
        std::thread::sleep(Duration::from_millis(1));
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let warning = "warning: the model of `run` is untrained";
    let used: [&[&str]; 3] = [
        &["generate", "run", "--num-tokens", "3"],
        &["eval", "run", "--corpus", "sample"],
        &["train", "--init-from", "run", "--epochs", "1"],
    ];
    for args in used {
        let outcome = dir.run(args).succeeded();
        assert!(outcome.stderr.contains(warning), "{outcome:?}");
    }
    // one step is enough
    let args = ["train", "--quiet", "--out", "trained", "--epochs", "1", "--sample-every", "0"];
    dir.run(&args).succeeded();
    let outcome = dir.run(&["generate", "trained", "--num-tokens", "3"]).succeeded();
    assert!(!outcome.stderr.contains("warning"), "{outcome:?}");
}
