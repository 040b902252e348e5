//! Random values for checks: a function of a seed and the order of calls.

/// A stream of random values.
#[derive(Clone, Debug)]
pub struct Draw {
    state: u64,
}

impl Draw {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// `len` values from `U(−bound, bound)`.
    pub fn uniform(&mut self, len: usize, bound: f32) -> Vec<f32> {
        (0..len).map(|_| ((self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0) * bound).collect()
    }

    /// `len` ids below `bound`.
    pub fn ids(&mut self, len: usize, bound: usize) -> Vec<u32> {
        (0..len).map(|_| (self.next() % bound as u64) as u32).collect()
    }

    /// SplitMix64: G. L. Steele Jr., D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
