//! `tanh`, `sigmoid` and `exp` of slices, compiled for each instruction set, and the reductions that softmax needs.
//!
//! A result does not depend on the element's index in the slice: every element is computed by the same operations. Nor does
//! it depend on the number of vector lanes, so AVX2 and AVX-512 code give the same bits. NaN stays NaN. The error against
//! double precision is at most 3 units in the last place where the result is a normal number; the tests assert this over
//! the whole range.

use super::isa::{Isa, Kernel, Lanes};

/// `x = tanh x` for every element.
pub fn tanh(isa: Isa, values: &mut [f32]) {
    isa.run(Tanh(values));
}

/// `x = 1 / (1 + e^−x)` for every element.
pub fn sigmoid(isa: Isa, values: &mut [f32]) {
    isa.run(Sigmoid(values));
}

/// [`tanh`] for use in a kernel.
#[inline(always)]
pub fn tanh_each<L: Lanes>(values: &mut [f32]) {
    interleave::<L>(values, tanh_array::<L, 4>, tanh_array::<L, 1>);
}

/// [`sigmoid`] for use in a kernel.
#[inline(always)]
pub fn sigmoid_each<L: Lanes>(values: &mut [f32]) {
    interleave::<L>(values, sigmoid_array::<L, 4>, sigmoid_array::<L, 1>);
}

/// Applies a function to every element: to one element of each quarter of the slice at a time, then to the remaining elements
/// one by one.
///
/// The function is a chain of about twenty dependent operations. Four independent chains hide their latency, which the
/// out-of-order window of a CPU is too short to do for consecutive elements.
#[inline(always)]
fn interleave<L: Lanes>(values: &mut [f32], f4: impl Fn([f32; 4]) -> [f32; 4], f1: impl Fn([f32; 1]) -> [f32; 1]) {
    let quarter = values.len() / (4 * L::LANES) * L::LANES;
    let (a, values) = values.split_at_mut(quarter);
    let (b, values) = values.split_at_mut(quarter);
    let (c, values) = values.split_at_mut(quarter);
    let (d, rest) = values.split_at_mut(quarter);
    for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
        [*a, *b, *c, *d] = f4([*a, *b, *c, *d]);
    }
    rest.iter_mut().for_each(|x| [*x] = f1([*x]));
}

struct Tanh<'a>(&'a mut [f32]);

impl Kernel for Tanh<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        tanh_each::<L>(self.0);
    }
}

struct Sigmoid<'a>(&'a mut [f32]);

impl Kernel for Sigmoid<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        sigmoid_each::<L>(self.0);
    }
}

/// `x = e^x` for every element.
#[inline(always)]
pub(crate) fn exp_each<L: Lanes>(values: &mut [f32]) {
    interleave::<L>(values, exp_array::<L, 4>, exp_array::<L, 1>);
}

/// Partial sums and maxima, which hide the latency of an operation. Results depend on it, so it is the same for all
/// instruction sets.
const PARTIALS: usize = 16;

/// The maximum, ignoring NaN.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let larger = |max: f32, x: f32| if x > max { x } else { max };
    let Some(last) = values.last_chunk::<PARTIALS>() else {
        return values.iter().fold(f32::NEG_INFINITY, |max, &x| larger(max, x));
    };
    // the last block may overlap the previous one, which does not change a maximum
    let mut maxima = [f32::NEG_INFINITY; PARTIALS];
    for block in values.as_chunks::<PARTIALS>().0.iter().chain([last]) {
        maxima.iter_mut().zip(block).for_each(|(max, &x)| *max = larger(*max, x));
    }
    tree_reduce(&mut maxima, larger)
}

/// Reduces a power of two of values by a tree: each step combines the two halves, whose elements are independent.
#[inline(always)]
pub(crate) fn tree_reduce(values: &mut [f32], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = values.len() / 2;
    while width > 0 {
        for lane in 0..width {
            values[lane] = combine(values[lane], values[lane + width]);
        }
        width /= 2;
    }
    values[0]
}

/// The sum.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    let (blocks, rest) = values.as_chunks::<PARTIALS>();
    // the remainder becomes a block of its own: adding its elements to `sums` directly would stall on store forwarding
    let mut last = [0.0_f32; PARTIALS];
    last.iter_mut().zip(rest).for_each(|(last, x)| *last = *x);
    let mut sums = [0.0_f32; PARTIALS];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, x)| *sum += x);
    }
    sums.iter().zip(last).map(|(sum, last)| sum + last).sum()
}

/// Inputs are clamped to this magnitude: `1 / (1 + e^−x)` is then 1 or about the smallest normal number, and `e^87` is finite.
const SIGMOID_MAX_INPUT: f32 = 87.0;

/// `1 / (1 + e^−x)`.
#[inline(always)]
fn sigmoid_array<L: Lanes, const N: usize>(x: [f32; N]) -> [f32; N] {
    let clamped = map(x, |x| x.clamp(-SIGMOID_MAX_INPUT, SIGMOID_MAX_INPUT));
    let (fraction, exponent) = exp_parts::<L, N>(map(clamped, |x| -x));
    let sum = zip_map(exponent, fraction, |exponent, fraction| 1.0 + power_of_two(exponent) * (1.0 + fraction));
    map(sum, |sum| 1.0 / sum)
}

/// Magnitudes are clamped to this value: `1 − tanh(9.02) = 2.9e-8` is less than half a unit in the last place below 1.
const TANH_MAX_INPUT: f32 = 9.02;

/// `tanh x = y / (y + 2)` with `y = e^2x − 1 = 2^n·(e^r − 1) + (2^n − 1)`, which is accurate near zero.
#[inline(always)]
fn tanh_array<L: Lanes, const N: usize>(x: [f32; N]) -> [f32; N] {
    let magnitude = map(x, f32::abs);
    let clamped = map(magnitude, |x| if x > TANH_MAX_INPUT { TANH_MAX_INPUT } else { x });
    let (fraction, exponent) = exp_parts::<L, N>(map(clamped, |x| 2.0 * x));
    let power = map(exponent, power_of_two);
    let y = zip_map(power, fraction, |power, fraction| L::mul_add(power, fraction, power - 1.0));
    zip_map(map(y, |y| y / (y + 2.0)), x, f32::copysign)
}

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 as a sum of two values. The low 15 bits of the first are zero, so its products with exponents are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Below this input `e^x` is subnormal and becomes 0.
const EXP_MIN_INPUT: f32 = -87.336_54;
/// Above this input `e^x` is infinite.
const EXP_MAX_INPUT: f32 = 88.722_83;
/// 1.5·2²³. Adding it rounds to the nearest integer, which is then in the low bits; subtracting it gives the integer as a
/// float.
const ROUND: f32 = 12_582_912.0;

/// `e^x`; 0 where it would be subnormal.
#[inline(always)]
fn exp_array<L: Lanes, const N: usize>(x: [f32; N]) -> [f32; N] {
    let (min, max) = (EXP_MIN_INPUT, EXP_MAX_INPUT);
    let clamped = map(x, |x| {
        if x < min {
            min
        } else if x > max {
            max
        } else {
            x
        }
    });
    let (fraction, exponent) = exp_parts::<L, N>(clamped);
    let value = zip_map(fraction, exponent, |fraction, exponent| {
        // two factors, because 2^128 is not finite
        let half = exponent >> 1;
        (1.0 + fraction) * power_of_two(half) * power_of_two(exponent - half)
    });
    zip_map(x, value, |x, value| {
        if x < EXP_MIN_INPUT {
            0.0
        } else if x > EXP_MAX_INPUT {
            f32::INFINITY
        } else {
            value
        }
    })
}

/// Splits `e^x = 2^n · e^r`, with `n` the integer nearest to `x / ln 2` and `|r| ≤ ln 2 / 2`; returns `e^r − 1` and `n`. The
/// error of the Taylor polynomial of degree 7 is below 5e-9.
#[inline(always)]
fn exp_parts<L: Lanes, const N: usize>(x: [f32; N]) -> ([f32; N], [i32; N]) {
    let shifted = map(x, |x| L::mul_add(x, LOG2_E, ROUND));
    let n = map(shifted, |shifted| shifted - ROUND);
    let r = zip_map(n, x, |n, x| L::mul_add(-n, LN_2_HIGH, x));
    let r = zip_map(n, r, |n, r| L::mul_add(-n, LN_2_LOW, r));
    let mut polynomial = [1.0 / 5040.0; N];
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        polynomial = zip_map(polynomial, r, |polynomial, r| L::mul_add(polynomial, r, coefficient));
    }
    let fraction = zip_map(polynomial, r, |polynomial, r| L::mul_add(polynomial * r, r, r));
    (fraction, map(shifted, |shifted| (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)))
}

/// `[f(x₀), f(x₁), …]`.
#[inline(always)]
fn map<T: Copy, R, const N: usize>(x: [T; N], f: impl Fn(T) -> R) -> [R; N] {
    std::array::from_fn(|i| f(x[i]))
}

/// `[f(x₀, y₀), f(x₁, y₁), …]`.
#[inline(always)]
fn zip_map<T: Copy, U: Copy, R, const N: usize>(x: [T; N], y: [U; N], f: impl Fn(T, U) -> R) -> [R; N] {
    std::array::from_fn(|i| f(x[i], y[i]))
}

/// `2^n` for the exponent of a normal number.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 997th finite float of both signs: about two million of each.
    fn sweep() -> impl Iterator<Item = f32> {
        (0..=f32::INFINITY.to_bits()).step_by(997).map(f32::from_bits).flat_map(|x| [x, -x])
    }

    /// The error in units in the last place of the nearest float.
    fn ulps(found: f32, expected: f64) -> f64 {
        let nearest = (expected as f32).abs().max(f32::MIN_POSITIVE);
        let unit = f64::from(f32::from_bits(nearest.to_bits() + 1)) - f64::from(nearest);
        (f64::from(found) - expected).abs() / unit
    }

    fn worst(f: impl Fn(&mut [f32]), expected: impl Fn(f64) -> f64, error: impl Fn(f32, f64) -> f64) -> (f64, f32) {
        let points: Vec<f32> = sweep().collect();
        let mut found = points.clone();
        f(&mut found);
        let errors = points.iter().zip(&found).map(|(&x, &y)| (error(y, expected(f64::from(x))), x));
        errors.fold((0.0, 0.0), |worst, next| if next.0 <= worst.0 { worst } else { next })
    }

    #[test]
    fn tanh_is_within_three_ulps_and_at_most_one() {
        for isa in Isa::available() {
            let (error, at) = worst(|x| tanh(isa, x), f64::tanh, ulps);
            assert!(error <= 3.0, "{}: {error} ulp at {at:e}", isa.name());
            let mut special = [0.0, -0.0, 40.0, -40.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
            tanh(isa, &mut special);
            assert_eq!(special[..6], [0.0, 0.0, 1.0, -1.0, 1.0, -1.0]);
            assert!(special[6].is_nan());
            let (magnitude, at) = worst(|x| tanh(isa, x), |_| 0.0, |y, _| f64::from(y.abs()));
            assert!(magnitude <= 1.0, "{magnitude} at {at:e}");
        }
    }

    #[test]
    fn sigmoid_is_within_three_ulps_where_it_is_normal() {
        for isa in Isa::available() {
            let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
            // below twice the smallest normal number only the magnitude is checked
            let smallest = 2.0 * f64::from(f32::MIN_POSITIVE);
            let error = |y: f32, e: f64| if e < smallest { f64::from(y) / smallest } else { ulps(y, e) };
            let (error, at) = worst(|x| sigmoid(isa, x), logistic, error);
            assert!(error <= 3.0, "{}: {error} at {at:e}", isa.name());
            let mut special = [0.0, 40.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
            sigmoid(isa, &mut special);
            assert_eq!(special[..3], [0.5, 1.0, 1.0]);
            assert!(special[3] < 2.0 * f32::MIN_POSITIVE && special[4].is_nan());
        }
    }

    struct Exp<'a>(&'a mut [f32]);

    impl Kernel for Exp<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self) {
            exp_each::<L>(self.0);
        }
    }

    #[test]
    fn exp_is_within_three_ulps_where_it_is_normal() {
        for isa in Isa::available() {
            let error = |y: f32, e: f64| if e < f64::from(f32::MIN_POSITIVE) { f64::from(y) } else { ulps(y, e) };
            let exp = |values: &mut [f32]| isa.run(Exp(values));
            let finite = |y: f32, e: f64| if e > f64::from(f32::MAX) { 0.0 } else { error(y, e) };
            let (error, at) = worst(exp, f64::exp, finite);
            assert!(error <= 3.0, "{}: {error} ulp at {at:e}", isa.name());
            let mut special = [f32::NEG_INFINITY, -200.0, 0.0, 89.0, f32::NAN];
            exp(&mut special);
            assert_eq!(special[..4], [0.0, 0.0, 1.0, f32::INFINITY]);
            assert!(special[4].is_nan());
        }
    }

    #[test]
    fn max_and_sum_include_every_element_once_for_every_length() {
        for len in 0..70 {
            // integers, whose sums are exact in any order
            let values: Vec<f32> = (0..len).map(|i| (i * 37 % 71) as f32).collect();
            assert_eq!(sum(&values), values.iter().sum::<f32>(), "length {len}");
            for index in 0..len {
                let mut values = values.clone();
                values[index] = 1000.0;
                assert_eq!(max(&values), 1000.0, "index {index} of {len}");
                values[index] = f32::NAN;
                let others = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(max(&values), others, "NaN at index {index} of {len}");
            }
        }
    }

    #[test]
    fn a_result_does_not_depend_on_the_index_in_the_slice() {
        for isa in Isa::available() {
            for len in 1..40 {
                let mut all = vec![0.777_f32; len];
                tanh(isa, &mut all);
                assert!(all.iter().all(|&y| y.to_bits() == all[0].to_bits()), "{} length {len}", isa.name());
            }
        }
    }
}
