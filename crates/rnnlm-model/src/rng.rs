//! The random generator for sampling tokens: SplitMix64.
//!
//! The generator is implemented here, and tested against published values, because the same seed must give the same text
//! in every later version. A crate may change its stream between versions.

/// SplitMix64: a 64-bit counter with an odd increment, each value mixed by an invertible function.
///
/// Source: G. L. Steele Jr., D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014,
/// Figure 16. The mixing constants are variant 13 of D. Stafford's `mix64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The generator with initial state `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The generator of sample `sample` of prefix `prefix`. Sample 0 of prefix 0 has the generator [`SplitMix64::new`]. The
    /// initial state of all others is a hash of the three numbers, so that neighboring numbers give unrelated streams.
    pub fn of_sample(seed: u64, prefix: u64, sample: u64) -> Self {
        if (prefix, sample) == (0, 0) {
            return Self::new(seed);
        }
        let hash = |number: u64| Self::new(number).next_u64();
        Self::new(hash(hash(seed ^ hash(prefix)) ^ hash(sample)))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
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
    fn every_sample_of_every_prefix_has_its_own_stream() {
        let mut first: Vec<u64> = Vec::new();
        for seed in 0..8 {
            for prefix in 0..8 {
                first.extend((0..8).map(|sample| SplitMix64::of_sample(seed, prefix, sample).next_u64()));
            }
        }
        let count = first.len();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), count);
        assert_eq!(SplitMix64::of_sample(5, 0, 0), SplitMix64::new(5));
        assert_ne!(SplitMix64::of_sample(5, 0, 1), SplitMix64::of_sample(5, 1, 0));
    }
}
