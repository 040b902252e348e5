//! Rows that go through several steps, each row on its own: shared out to the pool once, and again whenever a thread has
//! come to the end of its rows before the others. On a machine that others share, or whose cores are not alike, halves of
//! the work do not take the same time.

use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// Fewer rows than this are not halved: half a tile reads as much for less arithmetic.
const LEAST_ROWS: usize = 16;
/// Multiplications that have to be left for halving them to be worth its while: waking a thread takes some 30 µs.
const LEAST_WORK: usize = 1 << 22;

/// How often a thread without rows looks for some before it leaves that to rayon, whose threads look for some 15 µs, then
/// sleep, and wake 30 µs after they are called: about half a millisecond.
const LONGEST_WAIT: usize = 1000;

/// Cores that this process may use: of more threads, those without work keep no core idle.
static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(usize::MAX, usize::from));

/// Rows that a thread works on.
pub trait Share: Send + Sized {
    /// How many.
    fn count(&self) -> usize;

    /// How many of them are not to be split, of a share that has a multiple of these.
    fn together(&self) -> usize {
        2
    }

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

/// Takes shares of at the most so many `rows` through `num_steps` steps of some `work` (multiplications) a row each: `step`
/// is called with the number of a step and the rows, for every share in the order of the steps. Between two steps, a thread
/// that sees another without work leaves it half of its rows. Where the arithmetic of rows depends on none that they are not
/// together with, neither the number of threads nor their pace moves a bit. Shares too small to be halved go their way without
/// a count.
pub fn walk<S: Share>(
    shares: impl IndexedParallelIterator<Item = S>,
    rows: usize,
    num_steps: usize,
    work: usize,
    step: impl Fn(usize, &mut S) + Sync,
) {
    if rows * num_steps * work < LEAST_WORK {
        return shares.with_max_len(1).for_each(|mut share| (0..num_steps).for_each(|index| step(index, &mut share)));
    }
    let on_the_way = Apart(AtomicUsize::new(shares.len()));
    let at_a_time = rayon::current_num_threads().min(*CORES);
    Walk { num_steps, work, at_a_time, on_the_way, step }.all(shares);
}

/// A counter in cache lines of its own, which no core takes from another by writing what happens to stand beside it.
#[repr(align(128))]
struct Apart(AtomicUsize);

/// Shares on their way through the steps.
struct Walk<F> {
    num_steps: usize,
    work: usize,
    /// How many shares can be worked on at the same time.
    at_a_time: usize,
    /// Shares that have not come to their end: where they are fewer than that, a thread has nothing to do.
    on_the_way: Apart,
    step: F,
}

impl<F> Walk<F> {
    /// All steps of all shares, as many at a time as there are threads.
    fn all<S: Share>(&self, shares: impl IndexedParallelIterator<Item = S>)
    where
        F: Fn(usize, &mut S) + Sync,
    {
        shares.with_max_len(1).for_each(|share| self.go_on(0, share));
    }

    /// The steps from `first` on.
    fn go_on<S: Share>(&self, first: usize, mut share: S)
    where
        F: Fn(usize, &mut S) + Sync,
    {
        for index in first..self.num_steps {
            if self.is_worth_halving(&share, self.num_steps - index) {
                let middle = (share.count() / 2).next_multiple_of(share.together());
                let [one, other] = share.split(middle);
                self.on_the_way.0.fetch_add(1, Ordering::Relaxed);
                rayon::join(|| self.go_on(index, one), || self.go_on(index, other));
                return;
            }
            (self.step)(index, &mut share);
        }
        self.on_the_way.0.fetch_sub(1, Ordering::Relaxed);
        self.stay_awake();
    }

    /// Waits for what others still work on, and for halves of it.
    fn stay_awake(&self) {
        for _ in 0..LONGEST_WAIT {
            if !(1..self.at_a_time).contains(&self.on_the_way.0.load(Ordering::Relaxed)) {
                return;
            }
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::thread::yield_now();
            }
        }
    }

    fn is_worth_halving(&self, share: &impl Share, steps: usize) -> bool {
        let rows = share.count();
        rows >= LEAST_ROWS.max(2 * share.together())
            && rows * steps * self.work >= LEAST_WORK
            // a number that is late costs or saves a halving, and changes nothing else
            && self.on_the_way.0.load(Ordering::Relaxed) < self.at_a_time
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
        // as where there are two cores, whatever this machine has
        let on_the_way = Apart(AtomicUsize::new(2));
        let walk = Walk { num_steps: STEPS, work: LEAST_WORK, at_a_time: 2, on_the_way, step };
        pool.install(|| walk.all((0..2_usize).into_par_iter().map(|index| 32 * index..32 * (index + 1))));
        assert!(steps_of.iter().all(|steps| steps.load(Ordering::Relaxed) == STEPS));
        let most = most_at_the_end.into_inner();
        assert!((1..=16).contains(&most), "{most} rows at a time in the last step of 32 that are slow");
    }

    /// Rows that go by sixteens.
    struct Sixteens(Range<usize>);

    impl Share for Sixteens {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn together(&self) -> usize {
            16
        }

        fn split(self, middle: usize) -> [Self; 2] {
            self.0.split(middle).map(Self)
        }
    }

    #[test]
    fn rows_that_go_together_are_never_split() {
        let shares = std::sync::Mutex::new(Vec::new());
        let step = |_: usize, rows: &mut Sixteens| shares.lock().unwrap().push(rows.0.clone());
        // one on the way where two could be: every share is halved that can be
        let walk = Walk {
            num_steps: 1,
            work: LEAST_WORK,
            at_a_time: usize::MAX,
            on_the_way: Apart(AtomicUsize::new(1)),
            step,
        };
        walk.go_on(0, Sixteens(0..56));
        let mut shares = shares.into_inner().unwrap();
        shares.sort_by_key(|rows| rows.start);
        assert_eq!(shares, [0..16, 16..32, 32..56]);
    }
}
