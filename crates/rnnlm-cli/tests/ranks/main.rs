//! Training by several processes, with every MPI that is found: in the folders of `RNNLM_MPI_DIRS`, separated by colons, and
//! Debian's. Without one, each test prints that it was skipped.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests may panic and print")]

mod failures;
mod launchers;
mod settings;
mod support;

use std::process::Output;

use launchers::Mpi;
use support::{Folder, SMALL, text};

#[test]
fn every_number_of_processes_and_every_mpi_give_the_same_model() {
    let cases: [&[&str]; 3] = [
        &["--cell", "rnn"],
        &["--cell", "gru", "--documents", "lines", "--dropout", "0.3"],
        &[
            "--cell",
            "lstm",
            "--documents",
            "lines",
            "--embedding-size",
            "6",
            "--dropout-hidden",
            "0.3",
            "--val-fraction",
            "0.2",
        ],
    ];
    for mpi in Mpi::all() {
        for case in cases {
            let folder = Folder::new();
            let args =
                |run: &'static str| [&SMALL[..], case, &["--shards", "4", "--epochs", "2", "--out", run]].concat();
            let alone = folder.alone(&args("alone"));
            assert!(alone.status.success(), "{}", text(&alone));
            for (size, run) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
                let output = mpi.run(&folder, size, &args(run));
                assert!(output.status.success(), "{mpi:?} {case:?} {size}: {}", text(&output));
                assert!(folder.model(run) == folder.model("alone"), "{mpi:?} {case:?} {size}");
                assert!(folder.tensors(run) == folder.tensors("alone"), "{mpi:?} {case:?} {size}");
                // one process prints
                let lines = |output: &Output| String::from_utf8_lossy(&output.stdout).matches("run ").count();
                assert_eq!(lines(&output), lines(&alone), "{}", text(&output));
            }
        }
    }
}

#[test]
fn a_run_can_be_resumed_by_another_number_of_processes() {
    for mpi in Mpi::all() {
        let folder = Folder::new();
        let args =
            |run, epochs| [&SMALL[..], &["--cell", "lstm", "--shards", "4", "--out", run, "--epochs", epochs]].concat();
        assert!(folder.alone(&args("alone", "3")).status.success());
        let resume = |epochs| ["train", "--quiet", "--resume", "run", "--epochs", epochs];
        let four = mpi.run(&folder, 4, &args("run", "1"));
        assert!(four.status.success(), "{}", text(&four));
        let one = folder.alone(&resume("2"));
        assert!(one.status.success(), "{}", text(&one));
        let two = mpi.run(&folder, 2, &resume("3"));
        assert!(two.status.success(), "{}", text(&two));
        assert!(folder.model("run") == folder.model("alone"), "{mpi:?}");
    }
}
