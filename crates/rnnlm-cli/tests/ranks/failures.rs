//! Ranks that end, stop or are interrupted.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::launchers::{Mpi, processes, signal};
use crate::support::{Folder, SMALL, text};

/// A run that is interrupted long before its end.
fn endless(run: &'static str) -> Vec<&'static str> {
    [&SMALL[..], &["--cell", "lstm", "--shards", "4", "--epochs", "1000000", "--out", run]].concat()
}

/// Waits until three ranks train and the first epoch is done. `child` is their launcher.
fn wait_for_training(folder: &Folder, child: &mut Child) -> Vec<u32> {
    let start = Instant::now();
    loop {
        let found = processes(folder.path(".").as_path());
        let metrics = folder.path("run").join("metrics.jsonl");
        if found.len() == 3 && metrics.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            return found;
        }
        assert!(child.try_wait().unwrap().is_none(), "the run ended before the test");
        assert!(start.elapsed() < Duration::from_secs(120), "three ranks start: {found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_signal_to_any_rank_saves_once_and_ends_all() {
    for mpi in Mpi::all() {
        for rank in [0, 2] {
            let folder = Folder::new();
            let mut child = mpi.start(&folder, 3, &endless("run"));
            let ranks = wait_for_training(&folder, &mut child);
            signal(ranks[rank], "TERM");
            let output = child.wait_with_output().unwrap();
            let printed = text(&output);
            assert_eq!(printed.matches("the model is saved in run").count(), 1, "{mpi:?}: {printed}");
            let generated = folder.alone(&["generate", "run"]);
            assert!(generated.status.success(), "{}", text(&generated));
        }
    }
}

#[test]
fn a_stopped_rank_ends_the_run_within_the_time_out_and_is_named() {
    for mpi in Mpi::all() {
        let folder = Folder::new();
        let args = [endless("run"), vec!["--exchange-timeout", "2"]].concat();
        let mut child = mpi.start(&folder, 3, &args);
        let ranks = wait_for_training(&folder, &mut child);
        signal(ranks[1], "STOP");
        let start = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert!(start.elapsed() < Duration::from_secs(30), "{mpi:?}");
        let printed = text(&output);
        assert!(!output.status.success() && printed.contains("no answer from rank"), "{mpi:?}: {printed}");
        assert!(printed.contains("within 2 s at step "), "{mpi:?}: {printed}");
        ranks.into_iter().for_each(|rank| signal(rank, "KILL"));
    }
}

/// Kills a rank after a while, `kills` times, and resumes the run each time. The last time it is trained to its end.
fn kill_and_resume(mpi: &Mpi, kills: usize) {
    let folder = Folder::new();
    let epochs = ["--cell", "lstm", "--shards", "4", "--epochs", "100"];
    assert!(folder.alone(&[&SMALL[..], &epochs, &["--out", "alone"]].concat()).status.success());
    for kill in 0..kills {
        let _ = std::fs::remove_dir_all(folder.path("run"));
        let mut child = mpi.start(&folder, 3, &[&SMALL[..], &epochs, &["--out", "run"]].concat());
        let ranks = wait_for_training(&folder, &mut child);
        // up to a few epochs
        std::thread::sleep(Duration::from_millis((kill * 37 % 50) as u64));
        signal(ranks[kill % 3], "KILL");
        let killed = child.wait_with_output().unwrap();
        let size = kill % 4 + 1;
        let resumed = mpi.run(&folder, size, &["train", "--quiet", "--resume", "run"]);
        assert!(resumed.status.success(), "kill {kill}: {}\n{}", text(&killed), text(&resumed));
        assert!(folder.model("run") == folder.model("alone"), "kill {kill}");
    }
}

#[test]
fn a_killed_rank_ends_the_run_which_resumes_to_the_same_bytes() {
    Mpi::all().iter().for_each(|mpi| kill_and_resume(mpi, 2));
}

#[test]
#[ignore = "takes minutes; the number of kills is in RNNLM_TEST_KILLS"]
fn many_kills() {
    let kills = std::env::var("RNNLM_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(100);
    Mpi::all().first().into_iter().for_each(|mpi| kill_and_resume(mpi, kills));
}
