//! Variable-length backpropagation through time: each minibatch has another number of steps, so that epochs cut the text
//! at different places.
//!
//! ```text
//! mean   = T with probability 0.95, else T/2
//! length = max(5, ⌊N(mean, 5²)⌋), at most T + 10
//! lr     = lr·length / T
//! ```
//!
//! Source: Merity, Keskar, Socher, *Regularizing and Optimizing LSTM Language Models* (2017), section 5, with the numbers of
//! the AWD-LSTM code. The upper limit, which bounds the memory, is in a comment there.

use ndarray_rand::rand::{Rng, SeedableRng};
use ndarray_rand::rand_distr::Distribution;
use rand_chacha::ChaCha8Rng;
use rnnlm_vocab::Sampling;

use crate::normal::Normal;

const STD_DEV: f32 = 5.0;
const MIN_LENGTH: usize = 5;
/// Steps beyond T.
const MAX_EXTRA: usize = 10;
/// Probability of the mean T.
const WHOLE: f64 = 0.95;

/// The largest length of a minibatch.
pub(super) fn max_length(num_steps: usize) -> usize {
    num_steps.saturating_add(MAX_EXTRA).max(MIN_LENGTH)
}

/// Name and value of every setting that variable lengths contradict, whether the value is valid, and the condition for it.
pub(super) fn checks(sampling: Sampling, accumulate: u64) -> [(&'static str, String, bool, &'static str); 2] {
    let is_sequential = sampling == Sampling::Sequential;
    let accumulation = format!("true with `accumulate` {accumulate}");
    let name = "variable_bptt";
    [
        (name, "true with `sampling` random".to_owned(), is_sequential, "false unless `sampling` is sequential"),
        (name, accumulation, accumulate == 1, "false unless `accumulate` is 1"),
    ]
}

/// The lengths of the minibatches of an epoch, in order. They depend on the seed and the epoch only.
pub(super) fn lengths(num_steps: usize, seed: u64, epoch: u64) -> impl FnMut() -> usize {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // stream 0 draws the initial parameters
    rng.set_stream(epoch.wrapping_add(1));
    move || {
        let whole = num_steps as f32;
        let mean = if rng.random::<f64>() < WHOLE { whole } else { whole / 2.0 };
        let deviation: f32 = Normal { std_dev: STD_DEV }.sample(&mut rng);
        // the conversion rounds towards zero, as Python's `int`, and a negative number becomes 0
        ((mean + deviation) as usize).clamp(MIN_LENGTH, max_length(num_steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_epoch(num_steps: usize, seed: u64, epoch: u64) -> Vec<usize> {
        let mut next = lengths(num_steps, seed, epoch);
        (0..20_000).map(|_| next()).collect()
    }

    #[test]
    fn lengths_have_the_distribution_of_the_awd_lstm_code() {
        let all = of_epoch(70, 0, 0);
        // the two means are 7 standard deviations apart
        let (short, whole): (Vec<usize>, Vec<usize>) = all.iter().partition(|&&length| length < 52);
        let mean = |values: &[usize]| values.iter().sum::<usize>() as f64 / values.len() as f64;
        // 5 % of 20,000 with standard deviation 31; the limit is five of them
        assert!(short.len().abs_diff(1_000) < 155, "{}", short.len());
        // rounding down subtracts a half; 5/√1,000 and 5/√19,000 are the deviations of the means
        assert!(
            (mean(&short) - 34.5).abs() < 0.8 && (mean(&whole) - 69.5).abs() < 0.2,
            "{} {}",
            mean(&short),
            mean(&whole)
        );
        assert_eq!((all.iter().max(), max_length(70)), (Some(&80), 80));
        assert_eq!(of_epoch(4, 0, 0).iter().min(), Some(&5));
    }

    #[test]
    fn lengths_depend_on_seed_and_epoch_only() {
        assert_eq!(of_epoch(35, 3, 4), of_epoch(35, 3, 4));
        assert_ne!(of_epoch(35, 3, 4), of_epoch(35, 3, 5));
        assert_ne!(of_epoch(35, 3, 4), of_epoch(35, 4, 4));
    }
}
