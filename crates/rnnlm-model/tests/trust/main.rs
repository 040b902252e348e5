//! The guarantees for the files of a run: stops, full disks and damage lose nothing that was saved. `tests/GUARANTEES.md` lists
//! them. Tests that need a process of their own are in `rnnlm-cli`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod average;
mod bounds;
mod damage;
mod digest;
mod disk;
mod formats;
mod links;
mod readers;
mod resume;
mod setting;
