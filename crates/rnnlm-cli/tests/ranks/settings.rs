//! Ranks that do not fit together are refused before anything is written.

use std::process::Output;

use crate::launchers::Mpi;
use crate::support::{Folder, SMALL, text};

fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SMALL[..], &["--epochs", "1", "--out", "run"], more].concat()
}

#[track_caller]
fn refused(folder: &Folder, output: &Output, words: &[&str]) {
    let printed = text(output);
    assert!(!output.status.success(), "{printed}");
    for word in words {
        assert!(printed.contains(word), "`{word}` is missing: {printed}");
    }
    assert!(!folder.path("run").exists(), "a folder of a run was left");
}

#[test]
fn ranks_that_differ_are_refused_with_both_values() {
    for mpi in Mpi::all() {
        let folder = Folder::new();
        let output = mpi.run_two(&folder, &args(&[]), &args(&["--lr", "0.5"]));
        refused(&folder, &output, &["rank 1 has 0.5 as `train.lr`, and rank 0 has 1.0"]);
        std::fs::write(folder.path("other.txt"), "the tide comes in\nthe tide goes out\n".repeat(40)).unwrap();
        let other: Vec<&str> =
            args(&[]).into_iter().map(|arg| if arg == "tide.txt" { "other.txt" } else { arg }).collect();
        refused(&folder, &mpi.run_two(&folder, &args(&[]), &other), &["rank 1 has ", "and rank 0 has "]);
    }
}

#[test]
fn shards_and_standard_input_that_do_not_fit_the_ranks_are_refused() {
    for mpi in Mpi::all() {
        let folder = Folder::new();
        let output = mpi.run(&folder, 3, &args(&["--shards", "2"]));
        refused(&folder, &output, &["`shards` is 2 with 3 ranks"]);
        // the default for three ranks is four shards
        let uneven: Vec<&str> = args(&[]).into_iter().map(|arg| if arg == "8" { "6" } else { arg }).collect();
        refused(&folder, &mpi.run(&folder, 3, &uneven), &["`batch_size` is 6 with `shards` 4"]);
        let pipe: Vec<&str> = args(&[]).into_iter().map(|arg| if arg == "tide.txt" { "-" } else { arg }).collect();
        refused(&folder, &mpi.run(&folder, 2, &pipe), &["--corpus - cannot be used with 2 processes"]);
    }
}

#[test]
fn a_launcher_of_another_mpi_is_refused() {
    let all = Mpi::all();
    let hydra = all.iter().find(|mpi| !mpi.is_open_mpi());
    let library = all.iter().filter(|mpi| mpi.is_open_mpi()).find_map(Mpi::library);
    let (Some(hydra), Some(library)) = (hydra, library) else { return };
    let folder = Folder::new();
    let library = library.display().to_string();
    let output = hydra.run(&folder, 2, &args(&["--mpi-library", &library]));
    refused(&folder, &output, &["started 2 processes", "reports 1"]);
}

#[test]
fn a_launcher_without_its_library_is_refused() {
    let folder = Folder::new();
    let mut command = folder.command(std::path::Path::new(env!("CARGO_BIN_EXE_rnnlm")));
    command.args(args(&["--mpi-library", "missing.so"])).env("PMI_SIZE", "2").env("PMI_RANK", "0");
    refused(&folder, &command.output().unwrap(), &["`missing.so` cannot be opened"]);
    let mut command = folder.command(std::path::Path::new(env!("CARGO_BIN_EXE_rnnlm")));
    command.args(args(&[])).env("TORCHELASTIC_RUN_ID", "1").env("WORLD_SIZE", "2");
    refused(&folder, &command.output().unwrap(), &["torchrun", "mpirun or srun"]);
}

#[test]
fn without_shards_a_new_run_takes_the_smallest_power_of_two() {
    for mpi in Mpi::all() {
        let folder = Folder::new();
        let output = mpi.run(&folder, 3, &args(&[]));
        assert!(output.status.success(), "{}", text(&output));
        let config = std::fs::read_to_string(folder.path("run").join("config.json")).unwrap();
        assert!(config.contains("\"shards\": 4"), "{config}");
    }
}
