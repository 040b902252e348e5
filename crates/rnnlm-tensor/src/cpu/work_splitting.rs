//! Work splitting: chunks of independent rows go through several steps, and a thread that has finished its rows takes half of
//! another thread's. On a shared machine, or one whose cores differ, equal chunks do not take equal times.

use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// Chunks with fewer rows are not split: half a tile reads as much memory for less arithmetic.
pub const MIN_SPLIT_ROWS: usize = 16;
/// Chunks with fewer floating-point operations left are not split: waking a thread takes some 30 µs.
const MIN_SPLIT_FLOPS: usize = 1 << 23;

/// How often an idle thread looks for work before it leaves that to rayon, whose threads search for some 15 µs, then sleep,
/// and take 30 µs to wake: about half a millisecond.
const MAX_IDLE_SPINS: usize = 1000;

/// Cores that this process may use: with more threads than cores, a thread without work leaves no core idle.
static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(usize::MAX, usize::from));

/// Rows that a thread works on.
pub trait Chunk: Send + Sized {
    /// The number of rows.
    fn len(&self) -> usize;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows before `middle`, and the others.
    fn split(self, middle: usize) -> [Self; 2];
}

impl Chunk for Range<usize> {
    fn len(&self) -> usize {
        ExactSizeIterator::len(self)
    }

    fn split(self, middle: usize) -> [Self; 2] {
        let middle = self.start + middle;
        [self.start..middle, middle..self.end]
    }
}

/// Takes chunks of at most `rows` rows through `num_steps` steps of `flops_per_row` floating-point operations a row. `step`
/// is called with the index of a step and the rows, in the order of the steps for every row.
///
/// Between two steps, a thread leaves half of its rows to a thread without work. Where a row's arithmetic does not depend on
/// the other rows of its chunk, neither the number of threads nor their pace affects results. Chunks that are too small to
/// be split are not tracked.
pub fn run_steps<C: Chunk>(
    chunks: impl IndexedParallelIterator<Item = C>,
    rows: usize,
    num_steps: usize,
    flops_per_row: usize,
    step: impl Fn(usize, &mut C) + Sync,
) {
    if rows * num_steps * flops_per_row < MIN_SPLIT_FLOPS {
        return chunks.with_max_len(1).for_each(|mut chunk| (0..num_steps).for_each(|index| step(index, &mut chunk)));
    }
    let unfinished = CacheAligned(AtomicUsize::new(chunks.len()));
    let max_parallel = rayon::current_num_threads().min(*CORES);
    Steps { num_steps, flops_per_row, max_parallel, unfinished, step }.run_all(chunks);
}

/// A counter in cache lines of its own, so that writes to neighbouring data do not invalidate it.
#[repr(align(128))]
struct CacheAligned(AtomicUsize);

/// Chunks in progress.
struct Steps<F> {
    num_steps: usize,
    flops_per_row: usize,
    /// How many chunks can be worked on at the same time.
    max_parallel: usize,
    /// Chunks that have not finished: with fewer than `max_parallel`, a thread is idle.
    unfinished: CacheAligned,
    step: F,
}

impl<F> Steps<F> {
    /// All steps of all chunks.
    fn run_all<C: Chunk>(&self, chunks: impl IndexedParallelIterator<Item = C>)
    where
        F: Fn(usize, &mut C) + Sync,
    {
        chunks.with_max_len(1).for_each(|chunk| self.run_from(0, chunk));
    }

    /// The steps from `first` to the last.
    fn run_from<C: Chunk>(&self, first: usize, mut chunk: C)
    where
        F: Fn(usize, &mut C) + Sync,
    {
        for index in first..self.num_steps {
            if self.should_split(&chunk, self.num_steps - index) {
                let middle = chunk.len() / 2;
                let [one, other] = chunk.split(middle);
                self.unfinished.0.fetch_add(1, Ordering::Relaxed);
                rayon::join(|| self.run_from(index, one), || self.run_from(index, other));
                return;
            }
            (self.step)(index, &mut chunk);
        }
        self.unfinished.0.fetch_sub(1, Ordering::Relaxed);
        self.wait_for_work();
    }

    /// Runs what other threads split off while any of them is unfinished.
    fn wait_for_work(&self) {
        for _ in 0..MAX_IDLE_SPINS {
            if !(1..self.max_parallel).contains(&self.unfinished.0.load(Ordering::Relaxed)) {
                return;
            }
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::thread::yield_now();
            }
        }
    }

    fn should_split(&self, chunk: &impl Chunk, steps_left: usize) -> bool {
        let rows = chunk.len();
        rows >= MIN_SPLIT_ROWS
            && rows * steps_left * self.flops_per_row >= MIN_SPLIT_FLOPS
            // an outdated count costs or saves a split and has no other effect
            && self.unfinished.0.load(Ordering::Relaxed) < self.max_parallel
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_row_takes_every_step_in_order_and_an_idle_thread_gets_half_of_a_slow_chunk() {
        const STEPS: usize = 50;
        let steps_of: Vec<AtomicUsize> = (0..64).map(|_| AtomicUsize::new(0)).collect();
        let fast_is_done = AtomicBool::new(false);
        let most_in_last_step = AtomicUsize::new(0);
        let step = |index: usize, rows: &mut Range<usize>| {
            for row in rows.clone() {
                assert_eq!(steps_of[row].fetch_add(1, Ordering::Relaxed), index, "row {row}");
            }
            if rows.start >= 32 {
                fast_is_done.store(index + 1 == STEPS, Ordering::Relaxed);
                return;
            }
            while !fast_is_done.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(1));
            if index + 1 == STEPS {
                most_in_last_step.fetch_max(rows.len(), Ordering::Relaxed);
            }
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        // two threads may work in parallel, whatever this machine has
        let unfinished = CacheAligned(AtomicUsize::new(2));
        let steps = Steps { num_steps: STEPS, flops_per_row: MIN_SPLIT_FLOPS, max_parallel: 2, unfinished, step };
        pool.install(|| steps.run_all((0..2_usize).into_par_iter().map(|index| 32 * index..32 * (index + 1))));
        assert!(steps_of.iter().all(|steps| steps.load(Ordering::Relaxed) == STEPS));
        let most = most_in_last_step.into_inner();
        assert!((1..=16).contains(&most), "{most} rows at a time in the last step of 32 slow rows");
    }
}
