//! A run that is stopped, starved or damaged loses nothing: what the library promises of its files. `tests/PROMISES.md` has
//! the list; what takes a process of its own is in the tests of the command.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod damage;
mod disk;
mod formats;
mod resume;
mod seal;
mod setting;
