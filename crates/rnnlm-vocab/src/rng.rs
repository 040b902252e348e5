//! Stage 3, randomness: the SplitMix64 generator that decides the order of minibatches.
//!
//! The generator is implemented here, and tested against published values, because the same seed must give the same
//! minibatches on every machine and in every later version. A crate may change its stream between versions.

/// SplitMix64: a 64-bit counter with an odd increment, each value mixed by an invertible function.
///
/// Source: G. L. Steele Jr., D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014,
/// Figure 16. The mixing constants are variant 13 of D. Stafford's `mix64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The generator with initial state `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The generator number `index` of `seed`. The initial state is a hash of both, so that neighboring seeds and
    /// neighboring indices give unrelated streams.
    pub(crate) fn with_index(seed: u64, index: u64) -> Self {
        let offset = Self::new(index).next_u64();
        Self::new(Self::new(seed ^ offset).next_u64())
    }

    /// The next 64 random bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A uniformly distributed number in `0..bound`. Values that would bias the remainder are rejected.
    ///
    /// # Panics
    ///
    /// If `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "`bound` is 0, must be at least 1");
        let surplus = bound.wrapping_neg() % bound; // 2^64 mod bound
        loop {
            let bits = self.next_u64();
            if bits >= surplus {
                return bits % bound;
            }
        }
    }

    /// Shuffles `items` into a uniformly distributed order (Fisher–Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_matches_published_values() {
        let mut rng = SplitMix64::new(1_234_567);
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(published.map(|_| rng.next_u64()), published);
    }

    #[test]
    fn below_rejects_values_that_would_bias_the_result() {
        // 2^64 mod (2^63 + 1) = 2^63 - 1, so only the third and the fifth published value are accepted.
        let bound = (1_u64 << 63) + 1;
        let mut rng = SplitMix64::new(1_234_567);
        assert_eq!(rng.below(bound), 9_817_491_932_198_370_423 - bound);
        assert_eq!(rng.below(bound), 16_408_922_859_458_223_821 - bound);
    }

    #[test]
    fn below_is_uniform_and_below_one_is_zero() {
        let mut rng = SplitMix64::new(7);
        let mut seen = [0_u32; 6];
        (0..6_000).for_each(|_| seen[rng.below(6) as usize] += 1);
        // Expected 1000 each with standard deviation 29; the limit is five standard deviations.
        assert!(seen.iter().all(|&count| count.abs_diff(1_000) < 145), "{seen:?}");
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn shuffle_gives_every_order_equally_often() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..6_000 {
            let mut items = [0, 1, 2];
            SplitMix64::new(seed).shuffle(&mut items);
            *counts.entry(items).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| count.abs_diff(1_000) < 145), "{counts:?}");
    }

    #[test]
    fn seed_and_index_are_not_interchangeable() {
        let first = |seed, index| SplitMix64::with_index(seed, index).next_u64();
        assert_ne!(first(0, 1), first(1, 0));
        assert_ne!(first(0, 0), first(0, 1));
        assert_eq!(first(3, 4), first(3, 4));
    }
}
