//! Rows that go through several steps, each row on its own: shared out to the pool once, and again whenever a thread has
//! come to the end of its rows before the others. On a machine that others share, or whose cores are not alike, halves of
//! the work do not take the same time.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// Fewer rows than this are not halved: half a tile reads as much for less arithmetic.
const LEAST_ROWS: usize = 16;
/// Multiplications that have to be left for halving them to be worth its while: waking a thread takes some 30 µs.
const LEAST_WORK: usize = 1 << 22;

/// How often a thread without rows looks for some before it leaves that to rayon, whose threads look for some 15 µs, then sleep,
/// and wake 30 µs after they are called: about half a millisecond.
const LONGEST_WAIT: usize = 1000;

/// Rows that a thread works on.
pub trait Share: Send + Sized {
    /// How many.
    fn count(&self) -> usize;

    /// Those before the row `middle` of them, and the others.
    fn split(self, middle: usize) -> [Self; 2];
}

impl Share for Range<usize> {
    fn count(&self) -> usize {
        self.len()
    }

    fn split(self, middle: usize) -> [Self; 2] {
        let middle = self.start + middle;
        [self.start..middle, middle..self.end]
    }
}

/// Takes shares of rows through `num_steps` steps of some `work` (multiplications) a row each: `step` is called with the
/// number of a step and the rows, for every share in the order of the steps. Between two steps, a thread that sees another
/// without work leaves it half of its rows, an even number. Where the arithmetic of a row depends on no other, neither the
/// number of threads nor their pace moves a bit.
pub fn walk<S: Share>(
    shares: impl IndexedParallelIterator<Item = S>,
    num_steps: usize,
    work: usize,
    step: impl Fn(usize, &mut S) + Sync,
) {
    let on_the_way = AtomicUsize::new(shares.len());
    let walk = Walk { num_steps, work, threads: rayon::current_num_threads(), on_the_way, step };
    shares.with_max_len(1).for_each(|share| walk.go_on(0, share));
}

struct Walk<F> {
    num_steps: usize,
    work: usize,
    threads: usize,
    /// Shares that have not come to their end: where they are fewer than threads, one of these has nothing to do.
    on_the_way: AtomicUsize,
    step: F,
}

impl<F> Walk<F> {
    /// The steps from `first` on.
    fn go_on<S: Share>(&self, first: usize, mut share: S)
    where
        F: Fn(usize, &mut S) + Sync,
    {
        for index in first..self.num_steps {
            if self.is_worth_halving(share.count(), self.num_steps - index) {
                let middle = (share.count() / 2).next_multiple_of(2);
                let [one, other] = share.split(middle);
                self.on_the_way.fetch_add(1, Ordering::Relaxed);
                rayon::join(|| self.go_on(index, one), || self.go_on(index, other));
                return;
            }
            (self.step)(index, &mut share);
        }
        self.on_the_way.fetch_sub(1, Ordering::Relaxed);
        self.stay_awake();
    }

    /// Waits for what others still work on, and for halves of it.
    fn stay_awake(&self) {
        for _ in 0..LONGEST_WAIT {
            if !(1..self.threads).contains(&self.on_the_way.load(Ordering::Relaxed)) {
                return;
            }
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::thread::yield_now();
            }
        }
    }

    fn is_worth_halving(&self, rows: usize, steps: usize) -> bool {
        rows >= LEAST_ROWS
            && rows * steps * self.work >= LEAST_WORK
            // a number that is late costs or saves a halving, and changes nothing else
            && self.on_the_way.load(Ordering::Relaxed) < self.threads
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_row_takes_every_step_in_order_and_half_of_a_slow_share_is_left_to_who_has_none() {
        const STEPS: usize = 50;
        let steps_of: Vec<AtomicUsize> = (0..64).map(|_| AtomicUsize::new(0)).collect();
        let (quick_is_done, most_at_the_end) = (AtomicBool::new(false), AtomicUsize::new(0));
        let step = |index: usize, rows: &mut Range<usize>| {
            for row in rows.clone() {
                assert_eq!(steps_of[row].fetch_add(1, Ordering::Relaxed), index, "row {row}");
            }
            if rows.start >= 32 {
                quick_is_done.store(index + 1 == STEPS, Ordering::Relaxed);
                return;
            }
            while !quick_is_done.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(1));
            if index + 1 == STEPS {
                most_at_the_end.fetch_max(rows.len(), Ordering::Relaxed);
            }
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        pool.install(|| {
            walk((0..2_usize).into_par_iter().map(|index| 32 * index..32 * (index + 1)), STEPS, LEAST_WORK, step);
        });
        assert!(steps_of.iter().all(|steps| steps.load(Ordering::Relaxed) == STEPS));
        let most = most_at_the_end.into_inner();
        assert!((1..=16).contains(&most), "{most} rows at a time in the last step of 32 that are slow");
    }
}
