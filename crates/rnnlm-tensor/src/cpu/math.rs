//! `tanh`, `σ` and `exp` over slices, one body each, compiled for every instruction set.
//!
//! Results do not depend on an element's place in its slice: the loops have no carried state, and a tail is computed by
//! the same arithmetic. NaN stays NaN. Errors against double precision, over the whole range, are asserted by the tests:
//! `tanh`, `exp` and `σ` within 3 units in the last place, where that is a normal number.

use super::isa::{Isa, Kernel, Lanes};

/// Every element becomes its hyperbolic tangent.
pub fn tanh(isa: Isa, values: &mut [f32]) {
    isa.run(Tanh(values));
}

/// Every element becomes `1 / (1 + e^−x)`.
pub fn sigmoid(isa: Isa, values: &mut [f32]) {
    isa.run(Sigmoid(values));
}

/// [`tanh`] inside another kernel.
#[inline(always)]
pub fn tanh_each<L: Lanes>(values: &mut [f32]) {
    side_by_side::<L>(values, tanh_of::<L, 4>, tanh_of::<L, 1>);
}

/// [`sigmoid`] inside another kernel.
#[inline(always)]
pub fn sigmoid_each<L: Lanes>(values: &mut [f32]) {
    side_by_side::<L>(values, sigmoid_of::<L, 4>, sigmoid_of::<L, 1>);
}

/// Every element, four at a time from four places that are whole vectors apart, and what is left one by one. An element has
/// some twenty operations, each of which waits for the one before, and a CPU looks no more than a hundred ahead: side by side,
/// four elements have something to do in every cycle.
#[inline(always)]
fn side_by_side<L: Lanes>(
    values: &mut [f32],
    of_four: impl Fn([f32; 4]) -> [f32; 4],
    of_one: impl Fn([f32; 1]) -> [f32; 1],
) {
    let quarter = values.len() / (4 * L::LANES) * L::LANES;
    let (a, values) = values.split_at_mut(quarter);
    let (b, values) = values.split_at_mut(quarter);
    let (c, values) = values.split_at_mut(quarter);
    let (d, rest) = values.split_at_mut(quarter);
    for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
        [*a, *b, *c, *d] = of_four([*a, *b, *c, *d]);
    }
    rest.iter_mut().for_each(|x| [*x] = of_one([*x]));
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

/// Every element becomes `e^x`.
#[inline(always)]
pub(crate) fn exp_each<L: Lanes>(values: &mut [f32]) {
    side_by_side::<L>(values, exp_of::<L, 4>, exp_of::<L, 1>);
}

/// Partial sums and maxima, so that one operation does not wait for another; fixed, so that the order is.
const PARTIAL: usize = 16;

/// The largest element, NaN left out.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let larger = |largest: f32, x: f32| if x > largest { x } else { largest };
    let Some(last) = values.last_chunk::<PARTIAL>() else {
        return values.iter().fold(f32::NEG_INFINITY, |largest, &x| larger(largest, x));
    };
    // the last block may overlap the one before it
    let mut largest = [f32::NEG_INFINITY; PARTIAL];
    for block in values.as_chunks::<PARTIAL>().0.iter().chain([last]) {
        largest.iter_mut().zip(block).for_each(|(largest, &x)| *largest = larger(*largest, x));
    }
    by_halves(&mut largest, larger)
}

/// All values, a power of two of them, taken together half by half: one after the other, each would wait for the one before.
#[inline(always)]
pub(crate) fn by_halves(values: &mut [f32], both: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = values.len() / 2;
    while width > 0 {
        for lane in 0..width {
            values[lane] = both(values[lane], values[lane + width]);
        }
        width /= 2;
    }
    values[0]
}

/// The sum of all elements.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    let (blocks, rest) = values.as_chunks::<PARTIAL>();
    // the rest becomes a block first: added to the sums one by one, each element would wait for the store before it
    let mut last = [0.0_f32; PARTIAL];
    last.iter_mut().zip(rest).for_each(|(last, x)| *last = *x);
    let mut sums = [0.0_f32; PARTIAL];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, x)| *sum += x);
    }
    sums.iter().zip(last).map(|(sum, last)| sum + last).sum()
}

/// Beyond it, `1 / (1 + e^−x)` is 1, or as good as the smallest normal number; `e^87` is a float yet.
const SIGMOID_END: f32 = 87.0;

/// `1 / (1 + e^−x)`.
#[inline(always)]
fn sigmoid_of<L: Lanes, const N: usize>(x: [f32; N]) -> [f32; N] {
    let end = each(x, |x| if x > SIGMOID_END { SIGMOID_END } else { x });
    let end = each(end, |end| if end < -SIGMOID_END { -SIGMOID_END } else { end });
    let (fraction, exponent) = exp_parts::<L, N>(each(end, |end| -end));
    let sum = pair(exponent, fraction, |exponent, fraction| 1.0 + power_of_two(exponent) * (1.0 + fraction));
    each(sum, |sum| 1.0 / sum)
}

/// `1 − tanh(9.02) = 2.9e-8`, under half a unit in the last place below 1.
const TANH_END: f32 = 9.02;

/// `tanh x = y / (y + 2)` with `y = e^2x − 1 = 2^n·(e^r − 1) + (2^n − 1)`, which keeps all its digits near zero.
#[inline(always)]
fn tanh_of<L: Lanes, const N: usize>(x: [f32; N]) -> [f32; N] {
    let magnitude = each(x, f32::abs);
    let end = each(magnitude, |magnitude| if magnitude > TANH_END { TANH_END } else { magnitude });
    let (fraction, exponent) = exp_parts::<L, N>(each(end, |end| 2.0 * end));
    let power = each(exponent, power_of_two);
    let y = pair(power, fraction, |power, fraction| L::mul_add(power, fraction, power - 1.0));
    pair(each(y, |y| y / (y + 2.0)), x, f32::copysign)
}

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts, the first with 15 low bits zero, so that its products with exponents are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Beyond these `e^x` is 0 or infinite.
const EXP_RANGE: [f32; 2] = [-87.336_54, 88.722_83];
/// 1.5·2²³: added and taken away again, it rounds to the nearest integer, which stands in the low bits meanwhile.
const ROUND: f32 = 12_582_912.0;

/// `e^x`, also where it has no float or a subnormal one.
#[inline(always)]
fn exp_of<L: Lanes, const N: usize>(x: [f32; N]) -> [f32; N] {
    let [lowest, highest] = EXP_RANGE;
    let clamped = each(x, |x| {
        if x < lowest {
            lowest
        } else if x > highest {
            highest
        } else {
            x
        }
    });
    let (fraction, exponent) = exp_parts::<L, N>(clamped);
    let value = pair(fraction, exponent, |fraction, exponent| {
        // two factors, because 2^128 has no float of its own
        let half = exponent >> 1;
        (1.0 + fraction) * power_of_two(half) * power_of_two(exponent - half)
    });
    pair(x, value, |x, value| {
        if x < lowest {
            0.0
        } else if x > highest {
            f32::INFINITY
        } else {
            value
        }
    })
}

/// `e^x = 2^n · e^r` with `n` the integer nearest to `x / ln 2` and `|r| ≤ ln 2 / 2`, where the series of degree 7 is
/// within 5e-9: `e^r − 1` and `n`.
#[inline(always)]
fn exp_parts<L: Lanes, const N: usize>(x: [f32; N]) -> ([f32; N], [i32; N]) {
    let shifted = each(x, |x| L::mul_add(x, LOG2_E, ROUND));
    let n = each(shifted, |shifted| shifted - ROUND);
    let r = pair(n, x, |n, x| L::mul_add(-n, LN_2_HIGH, x));
    let r = pair(n, r, |n, r| L::mul_add(-n, LN_2_LOW, r));
    let mut series = [1.0 / 5040.0; N];
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        series = pair(series, r, |series, r| L::mul_add(series, r, coefficient));
    }
    let fraction = pair(series, r, |series, r| L::mul_add(series * r, r, r));
    (fraction, each(shifted, |shifted| (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)))
}

/// `f` of each element.
#[inline(always)]
fn each<T: Copy, R, const N: usize>(x: [T; N], f: impl Fn(T) -> R) -> [R; N] {
    std::array::from_fn(|i| f(x[i]))
}

/// `f` of each pair of elements.
#[inline(always)]
fn pair<T: Copy, U: Copy, R, const N: usize>(x: [T; N], y: [U; N], f: impl Fn(T, U) -> R) -> [R; N] {
    std::array::from_fn(|i| f(x[i], y[i]))
}

/// `2^n` for an exponent that a float has.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 997th float from −∞ to ∞, both zeros and NaN left out: two million points in each half.
    fn sweep() -> impl Iterator<Item = f32> {
        (0..=f32::INFINITY.to_bits()).step_by(997).map(f32::from_bits).flat_map(|x| [x, -x])
    }

    /// Units in the last place of the nearest float.
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
        errors.fold((0.0, 0.0), |worst, now| if now.0 <= worst.0 { worst } else { now })
    }

    #[test]
    fn tanh_is_within_three_ulps_everywhere_and_never_past_one() {
        for isa in Isa::available() {
            let (error, at) = worst(|x| tanh(isa, x), f64::tanh, ulps);
            assert!(error <= 3.0, "{}: {error} ulp at {at:e}", isa.name());
            let mut ends = [0.0, -0.0, 40.0, -40.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
            tanh(isa, &mut ends);
            assert_eq!(ends[..6], [0.0, 0.0, 1.0, -1.0, 1.0, -1.0]);
            assert!(ends[6].is_nan());
            let (past, at) = worst(|x| tanh(isa, x), |_| 0.0, |y, _| f64::from(y.abs()));
            assert!(past <= 1.0, "{past} at {at:e}");
        }
    }

    #[test]
    fn sigmoid_is_within_three_ulps_where_it_is_normal_and_ends_in_zero_and_one() {
        for isa in Isa::available() {
            let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
            // what is left at the lower end is no more than twice the smallest normal number
            let smallest = 2.0 * f64::from(f32::MIN_POSITIVE);
            let error = |y: f32, e: f64| if e < smallest { f64::from(y) / smallest } else { ulps(y, e) };
            let (error, at) = worst(|x| sigmoid(isa, x), logistic, error);
            assert!(error <= 3.0, "{}: {error} at {at:e}", isa.name());
            let mut ends = [0.0, 40.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
            sigmoid(isa, &mut ends);
            assert_eq!(ends[..3], [0.5, 1.0, 1.0]);
            assert!(ends[3] < 2.0 * f32::MIN_POSITIVE && ends[4].is_nan());
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
    fn exp_is_within_three_ulps_where_it_is_normal_and_ends_in_zero_and_infinity() {
        for isa in Isa::available() {
            let error = |y: f32, e: f64| if e < f64::from(f32::MIN_POSITIVE) { f64::from(y) } else { ulps(y, e) };
            let exp = |values: &mut [f32]| isa.run(Exp(values));
            let finite = |y: f32, e: f64| if e > f64::from(f32::MAX) { 0.0 } else { error(y, e) };
            let (error, at) = worst(exp, f64::exp, finite);
            assert!(error <= 3.0, "{}: {error} ulp at {at:e}", isa.name());
            let mut ends = [f32::NEG_INFINITY, -200.0, 0.0, 89.0, f32::NAN];
            exp(&mut ends);
            assert_eq!(ends[..4], [0.0, 0.0, 1.0, f32::INFINITY]);
            assert!(ends[4].is_nan());
        }
    }

    #[test]
    fn the_largest_and_the_sum_of_every_length_take_each_element_once() {
        for len in 0..70 {
            // whole numbers, so that no order of adding rounds; the largest at every place, and a NaN that is left out
            let values: Vec<f32> = (0..len).map(|i| (i * 37 % 71) as f32).collect();
            assert_eq!(sum(&values), values.iter().sum::<f32>(), "length {len}");
            for place in 0..len {
                let mut values = values.clone();
                values[place] = 1000.0;
                assert_eq!(largest(&values), 1000.0, "place {place} of {len}");
                values[place] = f32::NAN;
                let others = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(largest(&values), others, "NaN at place {place} of {len}");
            }
        }
    }

    #[test]
    fn a_result_does_not_depend_on_the_place_in_the_slice() {
        for isa in Isa::available() {
            for len in 1..40 {
                let mut all = vec![0.777_f32; len];
                tanh(isa, &mut all);
                assert!(all.iter().all(|&y| y.to_bits() == all[0].to_bits()), "{} length {len}", isa.name());
            }
        }
    }
}
