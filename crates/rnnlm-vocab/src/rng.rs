//! The generator behind every order of minibatches (stage 3 of the walk): SplitMix64.
//!
//! A seed must mean the same minibatches on every machine and in every later version, so the generator is written
//! out here and tested against published values instead of being borrowed from a crate that may change its stream.

/// SplitMix64: a 64-bit counter in steps of an odd constant, each value passed through an invertible mixing function.
///
/// Source: G. L. Steele Jr., D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014; the
/// mixing constants are those of its Figure 16 (variant 13 of D. Stafford's `mix64`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The generator whose counter starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The generator of place `index` under `seed`: its state is a hash of both, so that neighbouring seeds and
    /// neighbouring indices share nothing.
    pub fn with_index(seed: u64, index: u64) -> Self {
        let offset = Self::new(index).next_u64();
        Self::new(Self::new(seed ^ offset).next_u64())
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, every one equally likely: draws that would favour the low remainders are rejected.
    ///
    /// # Panics
    ///
    /// When `bound` is 0, because then there is no such number.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a number below 0 was asked for");
        let surplus = bound.wrapping_neg() % bound; // 2^64 mod bound
        loop {
            let bits = self.next_u64();
            if bits >= surplus {
                return bits % bound;
            }
        }
    }

    /// Puts `items` into an order drawn uniformly from all orders (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
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
    fn below_rejects_what_would_bias_it() {
        // 2^64 mod (2^63 + 1) = 2^63 - 1, so of the published values only the third and the fifth may be used.
        let bound = (1_u64 << 63) + 1;
        let mut rng = SplitMix64::new(1_234_567);
        assert_eq!(rng.below(bound), 9_817_491_932_198_370_423 - bound);
        assert_eq!(rng.below(bound), 16_408_922_859_458_223_821 - bound);
    }

    #[test]
    fn below_reaches_every_number_and_one_is_always_zero() {
        let mut rng = SplitMix64::new(7);
        let mut seen = [0_u32; 6];
        (0..6_000).for_each(|_| seen[rng.below(6) as usize] += 1);
        // 1000 expected each, standard deviation 29: five of them leave room for any seed worth keeping.
        assert!(seen.iter().all(|&count| count.abs_diff(1_000) < 145), "{seen:?}");
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn shuffle_reaches_every_order_about_equally_often() {
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
