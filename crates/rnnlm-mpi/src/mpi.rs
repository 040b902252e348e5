//! [`Mpi`]: the ranks of an MPI program.

use std::ffi::c_int;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rnnlm_model::{Collective, CollectiveError};

use crate::ffi::{Api, exit_now};
use crate::{Error, Launcher, Result, library};

/// Polls without a pause at the start of an exchange. Most exchanges between ranks of one machine end meanwhile.
const SPINS: u32 = 2000;
/// How long the other ranks have to answer after a time-out, so that the silent ones can be named.
const PROBE: Duration = Duration::from_secs(2);
/// How much longer than the time-out the library may take to return from a call before the process ends.
const GRACE: Duration = Duration::from_secs(5);
/// How long the launcher has to end this process after `MPI_Abort`.
const ABORT_TIME: Duration = Duration::from_secs(2);
/// The bytes of an exchange whose offsets fit an `int`.
const MAX_BYTES: usize = c_int::MAX as usize;
/// The value of [`Watch::started`] between exchanges.
const IDLE: u64 = u64::MAX;

/// How MPI is started and when an exchange is given up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The library; `None` searches for that of the launcher.
    pub library: Option<PathBuf>,
    /// The longest time that an exchange takes. Then the process ends, and the launcher ends the others.
    pub timeout: Duration,
    /// Prints the message of a failed exchange, before the process ends.
    pub report: fn(&str),
    /// The most bytes that are exchanged in one call; for tests.
    pub max_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { library: None, timeout: Duration::from_secs(300), report: |_| (), max_bytes: MAX_BYTES }
    }
}

/// What the watchdog observes.
#[derive(Debug)]
struct Watch {
    rank: usize,
    options: Options,
    origin: Instant,
    /// Milliseconds after `origin` at which the current exchange started.
    started: AtomicU64,
    /// The current training step; 0 before the first.
    step: AtomicU64,
}

/// This process as a rank of an MPI program.
///
/// A failed exchange ends the process, because the library may still use the memory of the exchange. Whatever was saved
/// before remains.
#[derive(Debug)]
pub struct Mpi {
    api: Arc<Api>,
    path: PathBuf,
    version: String,
    rank: usize,
    size: usize,
    watch: Arc<Watch>,
    /// Held during a call, because the library allows one at a time. True after the end of MPI.
    is_finished: Mutex<bool>,
}

impl Mpi {
    /// Opens the library of the launcher and starts MPI. `variable` reads the environment.
    ///
    /// # Errors
    /// If there is no library, it is not that of the launcher, or it does not support threads.
    pub fn start(launcher: &Launcher, options: Options, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let (path, api) = open(launcher, &options, variable)?;
        let [found, needed] = api.init()?;
        let version = api.version();
        let [rank, size] = api.rank_and_size()?;
        let name = launcher.family.name();
        if size != launcher.size {
            // each process would be a world of its own, and each would write the run
            let (started, found) = (launcher.size, size);
            return Err(Error::OtherLauncher { launcher: name, started, found, path, version });
        }
        if found < needed {
            return Err(Error::Threads { path, found, needed });
        }
        let watch = Arc::new(Watch {
            rank,
            options,
            origin: Instant::now(),
            started: AtomicU64::new(IDLE),
            step: AtomicU64::new(0),
        });
        watch.clone().spawn();
        Ok(Self { api: Arc::new(api), path, version, rank, size, watch, is_finished: Mutex::new(false) })
    }

    /// The library and its version.
    pub fn describe(&self) -> String {
        format!("{} ({})", self.version, self.path.display())
    }

    /// Ends MPI. All ranks call this together.
    ///
    /// # Errors
    /// If the library fails.
    pub fn finish(&self) -> Result<()> {
        let mut is_finished = self.lock();
        if !std::mem::replace(&mut *is_finished, true) {
            let _running = self.watch.running();
            self.api.finalize()?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of the library, with offsets that fit an `int`.
    fn exchange(&self, send: &[u8], all: &mut [u8], lens: &[usize]) {
        let counts: Vec<c_int> = lens.iter().map(|&len| len as c_int).collect();
        let mut end = 0;
        let offsets: Vec<c_int> = counts.iter().map(|count| (end, end += count).0).collect();
        let (start, timeout) = (Instant::now(), self.watch.options.timeout);
        let mut polls = 0_u32;
        let mut wait = || {
            polls = polls.saturating_add(1);
            if polls < SPINS {
                return std::hint::spin_loop();
            }
            // other ranks may need this core
            thread::yield_now();
            if polls.is_multiple_of(SPINS) && start.elapsed() > timeout {
                self.give_up();
            }
        };
        let running = self.watch.running();
        let gathered = self.api.gather(send, all, [&counts, &offsets], &mut wait);
        drop(running);
        if let Err(error) = gathered {
            self.fail(&format!("{error}{}", self.watch.place()));
        }
    }

    /// Ends the process after a time-out, with the ranks that do not answer.
    fn give_up(&self) -> ! {
        let start = Instant::now();
        let mut wait = || {
            thread::sleep(Duration::from_millis(1));
            start.elapsed() < PROBE
        };
        let silent = self.api.silent_ranks(self.rank, self.size, &mut wait);
        let names: Vec<String> = silent.iter().map(ToString::to_string).collect();
        let who = match &names[..] {
            [] => "the other ranks".to_owned(),
            [name] => format!("rank {name}"),
            names => format!("ranks {}", names.join(", ")),
        };
        let seconds = self.watch.options.timeout.as_secs_f64();
        self.fail(&format!("no answer from {who} within {seconds} s{}", self.watch.place()))
    }

    fn fail(&self, message: &str) -> ! {
        (self.watch.options.report)(message);
        self.end(1)
    }

    /// Ends all ranks, or at least this one.
    fn end(&self, code: i32) -> ! {
        // MPI_Abort can hang where a link is down
        let api = self.api.clone();
        thread::spawn(move || api.abort(code));
        thread::sleep(ABORT_TIME);
        exit_now(code)
    }
}

/// Opens the library that the options name, or the first of the launcher's that is one.
fn open(launcher: &Launcher, options: &Options, variable: &dyn Fn(&str) -> Option<String>) -> Result<(PathBuf, Api)> {
    if let Some(path) = &options.library {
        return Ok((path.clone(), Api::open(path)?));
    }
    let candidates = library::candidates(launcher.family, variable);
    let mut failure = None;
    for path in candidates {
        match Api::open(&path) {
            Ok(api) => return Ok((path, api)),
            // a file that exists and cannot be opened has a reason of its own
            Err(error) if path.is_absolute() => failure = failure.or(Some(error)),
            Err(_) => {}
        }
    }
    let tried = library::names(launcher.family).iter().map(ToString::to_string).collect();
    let (launcher, size) = (launcher.family.name(), launcher.size);
    Err(failure.unwrap_or(Error::NotFound { launcher, size, tried }))
}

impl Watch {
    /// Marks an exchange as running until the returned value is dropped.
    fn running(&self) -> Running<'_> {
        self.started.store(self.origin.elapsed().as_millis() as u64, Ordering::Relaxed);
        Running(self)
    }

    /// ` at step 12`, or nothing before the first step.
    fn place(&self) -> String {
        match self.step.load(Ordering::Relaxed) {
            0 => " before the first step".to_owned(),
            step => format!(" at step {step}"),
        }
    }

    /// Ends the process if a call of the library does not return in time.
    fn spawn(self: Arc<Self>) {
        let limit = self.options.timeout + PROBE + GRACE;
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(500));
                let started = self.started.load(Ordering::Relaxed);
                let elapsed = (self.origin.elapsed().as_millis() as u64).checked_sub(started);
                if elapsed.is_some_and(|elapsed| u128::from(elapsed) > limit.as_millis()) {
                    let (rank, seconds, place) = (self.rank, limit.as_secs_f64(), self.place());
                    (self.options.report)(&format!("rank {rank} has waited for MPI for {seconds} s{place}"));
                    exit_now(1);
                }
            }
        });
    }
}

/// An exchange in progress.
struct Running<'a>(&'a Watch);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.started.store(IDLE, Ordering::Relaxed);
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn gather(&self, bytes: &[u8], lens: &[usize], all: &mut [u8]) -> Result<(), CollectiveError> {
        let is_finished = self.lock();
        let is_valid = lens.len() == self.size && lens.iter().sum::<usize>() == all.len();
        if *is_finished || !is_valid || bytes.len() != lens[self.rank] {
            return Err(CollectiveError::new(format!("{} bytes for {lens:?} and {}", bytes.len(), all.len())));
        }
        let limit = self.watch.options.max_bytes;
        if all.len() <= limit {
            self.exchange(bytes, all, lens);
            return Ok(());
        }
        // as many bytes of each rank at a time as fit together
        let piece = (limit / self.size).max(1);
        let longest = lens.iter().copied().max().unwrap_or_default();
        let mut received = Vec::new();
        for first in (0..longest).step_by(piece) {
            let part = |len: usize| first.min(len)..(first + piece).min(len);
            let parts: Vec<usize> = lens.iter().map(|&len| part(len).len()).collect();
            received.resize(parts.iter().sum(), 0);
            self.exchange(&bytes[part(bytes.len())], &mut received, &parts);
            let (mut from, mut offset) = (&received[..], 0);
            for &len in lens {
                let part = part(len);
                let (own, rest) = from.split_at(part.len());
                all[offset + part.start..offset + part.end].copy_from_slice(own);
                (from, offset) = (rest, offset + len);
            }
        }
        Ok(())
    }

    fn abort(&self, code: i32) {
        self.end(code)
    }

    fn begin_step(&self, step: u64) {
        self.watch.step.store(step, Ordering::Relaxed);
    }
}
