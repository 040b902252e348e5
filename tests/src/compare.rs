//! The one comparison of the repository, beside the walk: two quantities with named axes, the worst absolute and relative
//! error between them, and the name of the place where it stands.
//!
//! Relative means `|a − b|` over the largest magnitude in the expected quantity, or over that of the terms it is the sum
//! of where the check knows it. Element by element even a perfect `f32` path is far from its `f64` counterpart wherever a
//! sum happens to cancel.

/// One dimension of a quantity: how long it is, and what a position along it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Axis {
    /// `t = 3`.
    Step(usize),
    /// `row 1`, of the minibatch or of a matrix.
    Row(usize),
    /// `unit 17`.
    Unit(usize),
    /// `column 4`.
    Column(usize),
    /// `forget gate`.
    Gate(&'static [&'static str]),
    /// Any other, such as `minibatch 2`.
    Other(&'static str, usize),
}

impl Axis {
    fn len(&self) -> usize {
        match self {
            Self::Step(len) | Self::Row(len) | Self::Unit(len) | Self::Column(len) | Self::Other(_, len) => *len,
            Self::Gate(names) => names.len(),
        }
    }

    /// The name of a position; none for the only gate of a cell without gates.
    fn place(&self, at: usize) -> Option<String> {
        match self {
            Self::Step(_) => Some(format!("t = {at}")),
            Self::Row(_) => Some(format!("row {at}")),
            Self::Unit(_) => Some(format!("unit {at}")),
            Self::Column(_) => Some(format!("column {at}")),
            Self::Other(name, _) => Some(format!("{name} {at}")),
            Self::Gate([_]) => None,
            Self::Gate(names) => Some(format!("{} gate", names[at])),
        }
    }
}

/// Named values, row-major over their axes.
#[derive(Clone, Debug)]
pub struct Quantity {
    /// What it is, such as `hidden state` or `gradient of rnn.weight_hh_l0`.
    pub name: String,
    axes: Vec<Axis>,
    values: Vec<f64>,
    /// Where each value stands among the axes' positions, if only some of them were computed.
    sample: Option<Vec<usize>>,
    /// The magnitude that errors are relative to, if no value is larger.
    scale: f64,
}

impl Quantity {
    /// A value for every position of the axes.
    pub fn new(name: impl Into<String>, axes: Vec<Axis>, values: Vec<f64>) -> Self {
        Self { name: name.into(), axes, values, sample: None, scale: 0.0 }
    }

    /// As [`Quantity::new`], from what a device computed.
    pub fn from_f32(name: impl Into<String>, axes: Vec<Axis>, values: &[f32]) -> Self {
        Self::new(name, axes, values.iter().map(|&value| f64::from(value)).collect())
    }

    /// Values at some positions only, in the order of `sample`; the other side is reduced to the same positions.
    pub fn sampled(name: impl Into<String>, axes: Vec<Axis>, sample: Vec<usize>, values: Vec<f64>) -> Self {
        Self { name: name.into(), axes, values, sample: Some(sample), scale: 0.0 }
    }

    /// Sums whose terms have magnitudes that add up to `scale`, which is what their rounding goes by: of a quantity of
    /// very few values, all may cancel.
    #[must_use]
    pub fn summed_from(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    /// The same quantity under a longer name.
    #[must_use]
    pub fn prefixed(self, prefix: &str) -> Self {
        Self { name: format!("{prefix}{}", self.name), ..self }
    }

    /// The values.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The number of positions.
    fn positions(&self) -> usize {
        self.axes.iter().map(Axis::len).product()
    }

    fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(Axis::len).collect()
    }

    /// The name of a position: the gate first, then the axes in their order.
    fn place(&self, position: usize) -> String {
        let mut rest = position;
        let mut parts = Vec::new();
        for axis in self.axes.iter().rev() {
            let part = axis.place(rest % axis.len());
            parts.push((matches!(axis, Axis::Gate(_)), part));
            rest /= axis.len();
        }
        parts.reverse();
        let (gates, others): (Vec<_>, Vec<_>) = parts.into_iter().partition(|(is_gate, _)| *is_gate);
        let name = Some(self.name.clone()).filter(|name| !name.is_empty());
        let names = gates.into_iter().chain(others).filter_map(|(_, part)| part);
        name.into_iter().chain(names).collect::<Vec<_>>().join(", ")
    }
}

/// How far two quantities are apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The largest `|found − expected|`; infinite where one of them is not a number and the other is.
    pub worst_abs: f64,
    /// The same over the largest magnitude expected.
    pub worst_rel: f64,
    /// Whether every pair of values has the same bits, or is not a number. 0 and −0 are equal but not the same.
    pub same_bits: bool,
    /// Where, with both values: `forget gate, t = 3, row 1, unit 17: 0.4213 against 0.4219`, found before expected.
    pub place: String,
}

/// Two quantities that cannot be compared: as bad as the worst difference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was compared, so nothing was shown.
    #[error("`{0}` is empty")]
    Empty(String),
    /// Names or shapes differ.
    #[error("`{expected}` {expected_shape:?} is expected, `{found}` {found_shape:?} was found")]
    Shape {
        /// The name expected.
        expected: String,
        /// The shape expected.
        expected_shape: Vec<usize>,
        /// The name found.
        found: String,
        /// The shape found.
        found_shape: Vec<usize>,
    },
    /// Not as many values as the axes have positions.
    #[error("`{name}` has {found} values for {expected} places")]
    Length {
        /// Which quantity.
        name: String,
        /// Its places.
        expected: usize,
        /// Its values.
        found: usize,
    },
}

/// Holds `found` against `expected`. A NaN is right only where one is expected, and there nothing else is.
///
/// # Errors
/// A [`Refusal`] if there is nothing to compare or the two are not of one shape.
pub fn compare(expected: &Quantity, found: &Quantity) -> Result<Comparison, Refusal> {
    check(expected, found)?;
    let at = |index: usize| expected.sample.as_ref().map_or(index, |sample| sample[index]);
    let scale =
        expected.values.iter().filter(|value| value.is_finite()).fold(expected.scale, |max, v| max.max(v.abs()));
    let (mut worst_abs, mut worst) = (-1.0, 0);
    for (index, &value) in expected.values.iter().enumerate() {
        let error = distance(value, found.values[at(index)]);
        if error > worst_abs {
            (worst_abs, worst) = (error, index);
        }
    }
    let worst_rel = if worst_abs == 0.0 { 0.0 } else { worst_abs / scale };
    let is_same = |(index, &value): (usize, &f64)| {
        let found = found.values[at(index)];
        value.to_bits() == found.to_bits() || value.is_nan() && found.is_nan()
    };
    let same_bits = expected.values.iter().enumerate().all(is_same);
    let [theirs, ours] = [expected.values[worst], found.values[at(worst)]].map(digits);
    let place = format!("{}: {ours} against {theirs}", expected.place(at(worst)));
    Ok(Comparison { worst_abs, worst_rel, same_bits, place })
}

fn check(expected: &Quantity, found: &Quantity) -> Result<(), Refusal> {
    if expected.values.is_empty() || found.values.is_empty() {
        return Err(Refusal::Empty(expected.name.clone()));
    }
    if expected.name != found.name || expected.shape() != found.shape() {
        return Err(Refusal::Shape {
            expected: expected.name.clone(),
            expected_shape: expected.shape(),
            found: found.name.clone(),
            found_shape: found.shape(),
        });
    }
    let needed = expected.sample.as_ref().map_or(expected.positions(), Vec::len);
    for (quantity, needed) in [(expected, needed), (found, found.positions())] {
        let (name, found) = (quantity.name.clone(), quantity.values.len());
        if found != needed {
            return Err(Refusal::Length { name, expected: needed, found });
        }
    }
    Ok(())
}

fn distance(expected: f64, found: f64) -> f64 {
    if expected.is_nan() && found.is_nan() || expected == found {
        return 0.0;
    }
    let error = (expected - found).abs();
    if error.is_nan() { f64::INFINITY } else { error }
}

/// Enough digits to tell two `f32` apart.
fn digits(value: f64) -> String {
    if value == 0.0 || (1e-4..1e6).contains(&value.abs()) { format!("{value:.8}") } else { format!("{value:.7e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATES: &[&str] = &["input", "forget"];

    fn axes() -> Vec<Axis> {
        vec![Axis::Step(3), Axis::Row(2), Axis::Gate(GATES), Axis::Unit(4)]
    }

    fn quantity(values: Vec<f64>) -> Quantity {
        Quantity::new("gates", axes(), values)
    }

    fn values() -> Vec<f64> {
        (0..48).map(|i| (f64::from(i) - 20.0) / 7.0).collect()
    }

    #[test]
    fn a_single_perturbed_element_is_found_wherever_it_stands() {
        let largest = 27.0 / 7.0; // of the values −20/7 … 27/7
        for index in 0..48 {
            let mut found = values();
            found[index] += 1e-4;
            let comparison = compare(&quantity(values()), &quantity(found)).unwrap();
            assert!((comparison.worst_abs - 1e-4).abs() < 1e-12, "{comparison:?}");
            assert!((comparison.worst_rel - 1e-4 / largest).abs() < 1e-12, "{comparison:?}");
            let gate = GATES[index / 4 % 2];
            let place = format!("{gate} gate, t = {}, row {}, unit {}: ", index / 16, index / 8 % 2, index % 4);
            assert!(comparison.place.contains(&place), "{} has no {place}", comparison.place);
        }
    }

    #[test]
    fn a_place_reads_found_against_expected() {
        let (mut expected, mut found) = (vec![0.0; 48], vec![0.0; 48]);
        (expected[5], found[5]) = (0.5, 0.25);
        let comparison = compare(&quantity(expected), &quantity(found)).unwrap();
        assert_eq!(comparison.place, "gates, forget gate, t = 0, row 0, unit 1: 0.25000000 against 0.50000000");
        assert_eq!((comparison.worst_abs, comparison.worst_rel), (0.25, 0.5));
    }

    #[test]
    fn nan_is_right_only_where_it_is_expected() {
        let with = |index: Option<usize>, value: f64| {
            let mut all = values();
            index.into_iter().for_each(|index| all[index] = value);
            quantity(all)
        };
        let error = |a: &Quantity, b: &Quantity| compare(a, b).unwrap().worst_rel;
        assert_eq!(error(&with(Some(3), f64::NAN), &with(Some(3), f64::NAN)), 0.0);
        assert_eq!(error(&with(None, 0.0), &with(Some(3), f64::NAN)), f64::INFINITY);
        assert_eq!(error(&with(Some(3), f64::NAN), &with(None, 0.0)), f64::INFINITY);
        assert_eq!(error(&with(Some(3), f64::NAN), &with(Some(4), f64::NAN)), f64::INFINITY);
        assert_eq!(error(&with(Some(3), f64::INFINITY), &with(Some(3), f64::INFINITY)), 0.0);
        assert_eq!(error(&with(Some(3), f64::INFINITY), &with(Some(3), f64::NEG_INFINITY)), f64::INFINITY);
    }

    #[test]
    fn anything_is_infinitely_far_from_nothing_but_zeros() {
        let comparison = compare(&quantity(vec![0.0; 48]), &quantity(values())).unwrap();
        assert_eq!(comparison.worst_rel, f64::INFINITY);
    }

    #[test]
    fn what_cancels_is_held_against_what_it_was_summed_from() {
        let error = |scale| compare(&quantity(vec![0.5; 48]).summed_from(scale), &quantity(vec![0.75; 48])).unwrap();
        assert_eq!(error(8.0).worst_rel, 0.25 / 8.0);
        assert_eq!(error(0.25).worst_rel, 0.25 / 0.5);
    }

    #[test]
    fn empty_and_misshapen_quantities_are_refused() {
        let empty = Quantity::new("gates", vec![Axis::Row(0)], vec![]);
        assert_eq!(compare(&empty, &empty), Err(Refusal::Empty("gates".to_owned())));
        let transposed = Quantity::new("gates", vec![Axis::Row(16), Axis::Unit(3)], values());
        assert!(matches!(compare(&quantity(values()), &transposed), Err(Refusal::Shape { .. })));
        let renamed = Quantity::new("states", axes(), values());
        assert!(matches!(compare(&quantity(values()), &renamed), Err(Refusal::Shape { .. })));
        let short = quantity(values()[..47].to_vec());
        let refusal = Refusal::Length { name: "gates".to_owned(), expected: 48, found: 47 };
        assert_eq!(compare(&quantity(values()), &short), Err(refusal));
    }

    #[test]
    fn a_sample_is_held_against_the_same_places() {
        let expected = Quantity::sampled("gates", axes(), vec![7, 40], vec![values()[7], values()[40]]);
        let mut found = values();
        found[8] = 100.0; // not in the sample
        assert_eq!(compare(&expected, &quantity(found.clone())).unwrap().worst_abs, 0.0);
        found[40] += 1.0;
        assert!(compare(&expected, &quantity(found)).unwrap().place.contains("input gate, t = 2, row 1, unit 0"));
    }
}
