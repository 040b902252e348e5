//! The ranges of the axes and their ticks.

use std::ops::Range;

use crate::human;

/// Ticks of a logarithmic axis within a power of ten, from few to many.
const MANTISSAS: [&[f64]; 5] = [
    &[1.0],
    &[1.0, 3.0],
    &[1.0, 2.0, 5.0],
    &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
    &[1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0],
];
/// Ticks that an axis of perplexities has at least, if there are so many round numbers.
const MIN_TICKS: usize = 4;

/// The smallest and the largest of some values; `None` without values.
pub(super) fn range(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    values.fold(None, |range: Option<Range<f64>>, value| match range {
        None => Some(value..value),
        Some(Range { start, end }) => Some(start.min(value)..end.max(value)),
    })
}

/// The ticks of an axis of perplexities between the extremes of the curves: round numbers, or the extremes if there are
/// fewer than two round numbers between them.
pub(super) fn perplexity_ticks(range: &Range<f64>) -> Vec<f64> {
    let powers = || (0..310).map(|power| 10_f64.powi(power)).take_while(|power| *power <= range.end);
    let within = |mantissas: &[f64]| -> Vec<f64> {
        let ticks = powers().flat_map(|power| mantissas.iter().map(move |mantissa| mantissa * power));
        ticks.filter(|tick| (range.start..=range.end).contains(tick)).collect()
    };
    let candidates = MANTISSAS.map(within);
    match candidates.iter().find(|ticks| ticks.len() >= MIN_TICKS).or(candidates.last()) {
        Some(ticks) if ticks.len() >= 2 => ticks.clone(),
        _ if range.start == range.end => vec![range.start],
        _ => vec![range.start, range.end],
    }
}

/// `10`, `1.5`, `1.293`, `1e6`.
pub(super) fn perplexity_label(tick: f64) -> String {
    let short = if tick < 1e6 { format!("{}", (tick * 10.0).round() / 10.0) } else { format!("{tick:.0e}") };
    let is_round = short.parse::<f64>().is_ok_and(|round| (round - tick).abs() < 1e-9 * tick);
    if is_round { short } else { human::perplexity(tick) }
}

/// At most about `count` ticks at whole epochs, or at fractions of an epoch if the range is shorter than two.
pub(super) fn epoch_ticks(range: &Range<f64>, count: usize) -> Vec<f64> {
    if range.start == range.end {
        return vec![range.start];
    }
    let length = range.end - range.start;
    let smallest = if length < 2.0 { 0.1 } else { 1.0 };
    let powers = (0..30).map(|power| smallest * 10_f64.powi(power));
    let mut steps = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * power));
    let step = steps.find(|step| length / step <= count as f64).unwrap_or(f64::MAX);
    let first = (range.start / step - 1e-9).ceil() as u64;
    let last = (range.end / step + 1e-9).floor() as u64;
    let mut ticks: Vec<f64> = (first..=last).map(|index| index as f64 * step).collect();
    if step > 1.0 && range.start == 1.0 {
        ticks.insert(0, 1.0);
    }
    ticks
}

/// `120`, `0.3`, and two significant digits for the start of a first epoch: `0.0057`.
pub(super) fn epoch_label(tick: f64) -> String {
    if tick > 0.0 && tick < 0.1 {
        let two_digits = format!("{tick:.1e}").parse().unwrap_or(tick);
        return f64::to_string(&two_digits);
    }
    let rounded = (tick * 10.0).round() / 10.0;
    rounded.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perplexities_get_round_ticks_or_the_ends() {
        let labels = |range| perplexity_ticks(&range).into_iter().map(perplexity_label).collect::<Vec<_>>();
        assert_eq!(labels(1.306..20.14), ["2", "5", "10", "20"]);
        assert_eq!(labels(8.1..22.9), ["9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20"]);
        assert_eq!(labels(1.05..1.47), ["1.1", "1.2", "1.3", "1.4"]);
        assert_eq!(labels(4.0..6.0), ["4", "4.5", "5", "6"]);
        assert_eq!(labels(5.0..4e7), ["10", "100", "1000", "10000", "100000", "1e6", "1e7"]);
        assert_eq!(labels(1.271..1.293), ["1.271", "1.293"]);
        assert_eq!(labels(3.3..3.3), ["3.3"]);
        assert_eq!(labels(1.0..f64::MAX).len(), 309);
    }

    #[test]
    fn epochs_get_whole_ticks() {
        assert_eq!(epoch_ticks(&(1.0..3.0), 10), [1.0, 2.0, 3.0]);
        assert_eq!(
            epoch_ticks(&(1.0..500.0), 10),
            [1.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0, 450.0, 500.0]
        );
        assert_eq!(
            epoch_ticks(&(0.1..1.0), 5).into_iter().map(epoch_label).collect::<Vec<_>>(),
            ["0.2", "0.4", "0.6", "0.8", "1"]
        );
        assert_eq!(epoch_ticks(&(1.0..1.0), 5), [1.0]);
        assert_eq!([0.0, 0.00574, 0.099, 0.1, 0.25].map(epoch_label), ["0", "0.0057", "0.099", "0.1", "0.3"]);
    }
}
