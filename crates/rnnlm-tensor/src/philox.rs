//! The counter-based random number generator Philox4x32-10 and dropout masks.
//!
//! The random bits of an element are a function of a key and of the element's index, so they do not depend on the device or
//! on the order of computation (Salmon et al., *Parallel Random Numbers: As Easy as 1, 2, 3*, SC 2011).

/// The multipliers of a round.
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// Added to the key before each round except the first: the golden ratio and √3 − 1.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Applies the generator to `N` counters. Word `w` of counter `i` is `counters[w][i]`, so that loops over `i` vectorise.
#[inline(always)]
pub(crate) fn philox<const N: usize>(mut key: [u32; 2], mut counters: [[u32; N]; 4]) -> [[u32; N]; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let mut next = counters;
        for i in 0..N {
            let first = u64::from(MULTIPLIERS[0]) * u64::from(counters[0][i]);
            let second = u64::from(MULTIPLIERS[1]) * u64::from(counters[2][i]);
            next[0][i] = (second >> 32) as u32 ^ counters[1][i] ^ key[0];
            next[1][i] = second as u32;
            next[2][i] = (first >> 32) as u32 ^ counters[3][i] ^ key[1];
            next[3][i] = first as u32;
        }
        counters = next;
    }
    counters
}

/// A dropout mask (`torch.nn.Dropout`): each element is 0 with probability `p` and `1 / (1 − p)` otherwise.
///
/// Element `(r, c)` of a matrix with `cols` columns uses word `c mod 4` of the counter `[r·⌈cols/4⌉ + ⌊c/4⌋, layer, step]` under
/// the key `seed`. It is 0 if that word is below `p·2³²`. With a `period`, row `r` has the elements of row `r mod period`. With
/// `rows`, the matrix has some rows of each step of a minibatch, and `r` is the row in the whole minibatch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask {
    /// `p`, below 1.
    pub probability: f32,
    /// The key.
    pub seed: u64,
    /// The layer whose output is masked.
    pub layer: u32,
    /// The training step.
    pub step: u64,
    /// The number of rows after which the mask repeats, such as **N** for the same mask at every step of a sequence; 0 if it
    /// does not repeat.
    pub period: u32,
    /// The rows of a minibatch that the matrix has.
    pub rows: MaskRows,
}

/// The rows of each step of a minibatch that a matrix has: `len` of `batch_size` rows, from row `first` on. The default, with
/// `len` 0, is a matrix with all rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaskRows {
    /// The first row of each step.
    pub first: u32,
    /// The number of rows of each step; 0 for all of them.
    pub len: u32,
    /// **N**: the number of rows of each step in the whole minibatch.
    pub batch_size: u32,
}

impl MaskRows {
    /// The row in the whole minibatch of row `row` of the matrix.
    fn of_minibatch(self, row: usize) -> usize {
        let [first, len, batch_size] = [self.first, self.len, self.batch_size].map(|value| value as usize);
        row.checked_div(len).map_or(row, |step| step * batch_size + first + row % len)
    }
}

impl Mask {
    /// The factor of the elements that are kept, `1 / (1 − p)`.
    pub fn scale(self) -> f32 {
        1.0 / (1.0 - self.probability)
    }

    /// Elements whose word is below this value are dropped.
    pub fn threshold(self) -> u32 {
        // the largest `f32` below 1 times 2³² is still below 2³²
        (f64::from(self.probability) * 4_294_967_296.0) as u32
    }

    /// The row of the mask without a period whose elements row `row` has.
    pub(crate) fn row(self, row: usize) -> usize {
        let row = self.rows.of_minibatch(row);
        row.checked_rem(self.period as usize).unwrap_or(row)
    }

    /// The number of rows of the matrix after which the mask repeats; 0 if it does not repeat.
    pub(crate) fn matrix_period(self) -> usize {
        match self.rows.len {
            // a period of whole steps is one of whole steps for some of their rows
            len @ 1.. => self.period as usize / self.rows.batch_size.max(1) as usize * len as usize,
            0 => self.period as usize,
        }
    }

    /// The two words of the key, the low word first.
    pub fn key(self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }

    /// The second to fourth words of the counter.
    pub fn stream(self) -> [u32; 3] {
        [self.layer, self.step as u32, (self.step >> 32) as u32]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_reproduces_the_known_answers_of_random123() {
        // Random123, `kat_vectors`: philox4x32, 10 rounds
        let known = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in known {
            assert_eq!(philox(key, counter.map(|word: u32| [word])).map(|[word]| word), expected);
        }
    }

    #[test]
    fn mask_computes_scale_threshold_key_and_stream() {
        let mask = Mask {
            probability: 0.25,
            seed: 1 << 32 | 7,
            layer: 3,
            step: 5 << 32 | 9,
            period: 0,
            rows: MaskRows::default(),
        };
        assert_eq!((mask.scale(), mask.threshold()), (4.0 / 3.0, 1 << 30));
        assert_eq!((mask.key(), mask.stream()), ([7, 1], [3, 9, 5]));
        assert_eq!(Mask { probability: 0.0, ..mask }.threshold(), 0, "probability 0 drops nothing");
        assert_eq!([0, 2, 3, 7].map(|row| mask.row(row)), [0, 2, 3, 7]);
        assert_eq!([0, 2, 3, 7].map(|row| Mask { period: 3, ..mask }.row(row)), [0, 2, 0, 1]);
        // the last two of three rows of each step
        let some = Mask { rows: MaskRows { first: 1, len: 2, batch_size: 3 }, ..mask };
        assert_eq!([0, 1, 2, 5].map(|row| some.row(row)), [1, 2, 4, 8]);
        let locked = Mask { period: 3, ..some };
        assert_eq!([0, 1, 2, 5].map(|row| locked.row(row)), [1, 2, 1, 2]);
        assert_eq!([some, locked].map(Mask::matrix_period), [0, 2]);
    }
}
