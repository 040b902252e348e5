//! The comparison that all checks use: the largest absolute and relative error between two quantities with named axes, and
//! the name of the element that has it.
//!
//! The relative error is `|a − b|` over the largest magnitude in the expected quantity, or over the magnitude of the terms
//! that it is the sum of, if the check gives one. An elementwise relative error would be large wherever a sum cancels, even
//! for a correctly rounded `f32` result.

/// One dimension of a quantity: its length and the name of an index along it.
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

    /// The name of an index; none for the only gate of a cell without gates.
    fn name(&self, at: usize) -> Option<String> {
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
    /// The name, such as `hidden state` or `gradient of rnn.weight_hh_l0`.
    pub name: String,
    axes: Vec<Axis>,
    values: Vec<f64>,
    /// The index of each value, if only some of the elements were computed.
    sample: Option<Vec<usize>>,
    /// A lower bound of the magnitude that errors are relative to.
    scale: f64,
}

impl Quantity {
    /// A value for every element.
    pub fn new(name: impl Into<String>, axes: Vec<Axis>, values: Vec<f64>) -> Self {
        Self { name: name.into(), axes, values, sample: None, scale: 0.0 }
    }

    /// Like [`Quantity::new`], from single precision.
    pub fn from_f32(name: impl Into<String>, axes: Vec<Axis>, values: &[f32]) -> Self {
        Self::new(name, axes, values.iter().map(|&value| f64::from(value)).collect())
    }

    /// The values of the elements with the indices `sample`. Only these are compared.
    pub fn sampled(name: impl Into<String>, axes: Vec<Axis>, sample: Vec<usize>, values: Vec<f64>) -> Self {
        Self { name: name.into(), axes, values, sample: Some(sample), scale: 0.0 }
    }

    /// For sums whose terms have magnitudes that add up to `scale`. Errors are then relative to at least `scale`, because
    /// rounding errors are, even if all sums cancel.
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

    /// The number of elements.
    fn len(&self) -> usize {
        self.axes.iter().map(Axis::len).product()
    }

    fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(Axis::len).collect()
    }

    /// The name of the element `index`: the gate first, then the axes in order.
    fn element(&self, index: usize) -> String {
        let mut rest = index;
        let mut parts = Vec::new();
        for axis in self.axes.iter().rev() {
            let part = axis.name(rest % axis.len());
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

/// The difference between two quantities.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The largest `|found − expected|`; infinite if only one of the two is NaN.
    pub worst_abs: f64,
    /// `worst_abs` over the largest magnitude expected.
    pub worst_rel: f64,
    /// Whether every pair of values has the same bits, or is NaN. 0 and −0 have different bits.
    pub same_bits: bool,
    /// The element with the largest error and both values, found and expected: `forget gate, t = 3, row 1, unit 17: 0.4213
    /// against 0.4219`.
    pub location: String,
}

/// Why two quantities cannot be compared, which fails a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// There is nothing to compare.
    #[error("`{0}` is empty")]
    Empty(String),
    /// Names or shapes differ.
    #[error("expected `{expected}` with shape {expected_shape:?}, found `{found}` with shape {found_shape:?}")]
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
    /// The number of values is not the number of elements.
    #[error("`{name}` has {found} values for {expected} elements")]
    Length {
        /// The quantity.
        name: String,
        /// The number of elements.
        expected: usize,
        /// The number of values.
        found: usize,
    },
}

/// Compares `found` with `expected`. A NaN equals only a NaN.
///
/// # Errors
/// A [`Mismatch`] if there is nothing to compare or the names, shapes or lengths differ.
pub fn compare(expected: &Quantity, found: &Quantity) -> Result<Comparison, Mismatch> {
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
    let [expected_digits, found_digits] = [expected.values[worst], found.values[at(worst)]].map(digits);
    let location = format!("{}: {found_digits} against {expected_digits}", expected.element(at(worst)));
    Ok(Comparison { worst_abs, worst_rel, same_bits, location })
}

fn check(expected: &Quantity, found: &Quantity) -> Result<(), Mismatch> {
    if expected.values.is_empty() || found.values.is_empty() {
        return Err(Mismatch::Empty(expected.name.clone()));
    }
    if expected.name != found.name || expected.shape() != found.shape() {
        return Err(Mismatch::Shape {
            expected: expected.name.clone(),
            expected_shape: expected.shape(),
            found: found.name.clone(),
            found_shape: found.shape(),
        });
    }
    let needed = expected.sample.as_ref().map_or(expected.len(), Vec::len);
    for (quantity, needed) in [(expected, needed), (found, found.len())] {
        let (name, found) = (quantity.name.clone(), quantity.values.len());
        if found != needed {
            return Err(Mismatch::Length { name, expected: needed, found });
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

/// `value` with enough digits to distinguish any two `f32`.
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
    fn a_changed_element_is_located_at_every_index() {
        let largest = 27.0 / 7.0; // of the values −20/7 … 27/7
        for index in 0..48 {
            let mut found = values();
            found[index] += 1e-4;
            let comparison = compare(&quantity(values()), &quantity(found)).unwrap();
            assert!((comparison.worst_abs - 1e-4).abs() < 1e-12, "{comparison:?}");
            assert!((comparison.worst_rel - 1e-4 / largest).abs() < 1e-12, "{comparison:?}");
            let gate = GATES[index / 4 % 2];
            let location = format!("{gate} gate, t = {}, row {}, unit {}: ", index / 16, index / 8 % 2, index % 4);
            assert!(comparison.location.contains(&location), "{} has no {location}", comparison.location);
        }
    }

    #[test]
    fn a_location_has_the_found_value_first() {
        let (mut expected, mut found) = (vec![0.0; 48], vec![0.0; 48]);
        (expected[5], found[5]) = (0.5, 0.25);
        let comparison = compare(&quantity(expected), &quantity(found)).unwrap();
        assert_eq!(comparison.location, "gates, forget gate, t = 0, row 0, unit 1: 0.25000000 against 0.50000000");
        assert_eq!((comparison.worst_abs, comparison.worst_rel), (0.25, 0.5));
    }

    #[test]
    fn nan_equals_only_nan() {
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
    fn the_error_relative_to_zeros_is_infinite() {
        let comparison = compare(&quantity(vec![0.0; 48]), &quantity(values())).unwrap();
        assert_eq!(comparison.worst_rel, f64::INFINITY);
    }

    #[test]
    fn the_error_of_a_sum_is_relative_to_its_terms() {
        let error = |scale| compare(&quantity(vec![0.5; 48]).summed_from(scale), &quantity(vec![0.75; 48])).unwrap();
        assert_eq!(error(8.0).worst_rel, 0.25 / 8.0);
        assert_eq!(error(0.25).worst_rel, 0.25 / 0.5);
    }

    #[test]
    fn empty_and_mismatched_quantities_are_errors() {
        let empty = Quantity::new("gates", vec![Axis::Row(0)], vec![]);
        assert_eq!(compare(&empty, &empty), Err(Mismatch::Empty("gates".to_owned())));
        let transposed = Quantity::new("gates", vec![Axis::Row(16), Axis::Unit(3)], values());
        assert!(matches!(compare(&quantity(values()), &transposed), Err(Mismatch::Shape { .. })));
        let renamed = Quantity::new("states", axes(), values());
        assert!(matches!(compare(&quantity(values()), &renamed), Err(Mismatch::Shape { .. })));
        let short = quantity(values()[..47].to_vec());
        let mismatch = Mismatch::Length { name: "gates".to_owned(), expected: 48, found: 47 };
        assert_eq!(compare(&quantity(values()), &short), Err(mismatch));
    }

    #[test]
    fn a_sample_is_compared_with_the_same_elements() {
        let expected = Quantity::sampled("gates", axes(), vec![7, 40], vec![values()[7], values()[40]]);
        let mut found = values();
        found[8] = 100.0; // not in the sample
        assert_eq!(compare(&expected, &quantity(found.clone())).unwrap().worst_abs, 0.0);
        found[40] += 1.0;
        assert!(compare(&expected, &quantity(found)).unwrap().location.contains("input gate, t = 2, row 1, unit 0"));
    }
}
