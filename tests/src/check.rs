//! A check as a value, beside the walk: what is expected, what is found, how far they may be apart, and which damages must
//! make it fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::compare::{Quantity, compare};
use crate::perturb::Perturbation;
use crate::table::{Row, Status};
use crate::tolerance::{EXACT, Tolerance};
use crate::{Error, Result};

/// What a group of checks holds against what; `cargo test` has one test for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Tensor operations against loops in double precision.
    Operations,
    /// The reference against the oracle.
    Oracle,
    /// Every path against PyTorch's golden files.
    Golden,
    /// Training runs against PyTorch's.
    Trajectories,
    /// Every other path against the reference.
    Paths,
    /// What must hold of any input.
    Properties,
    /// The same bits with any number of threads and of other rows.
    Reproducibility,
}

/// Computes what is expected.
pub type Expected = Box<dyn Fn() -> Result<Vec<Quantity>> + Send + Sync>;
/// Computes what is found, upstream damaged or not.
pub type Found = Box<dyn Fn(Option<Perturbation>) -> Result<Vec<Quantity>> + Send + Sync>;

/// One row of the table, before it is run.
pub struct Check {
    /// Its group.
    pub family: Family,
    /// The operation or cell.
    pub subject: String,
    /// The sizes, and what is special about them.
    pub shape: String,
    /// The backend's name.
    pub backend: String,
    /// The path's name on that backend.
    pub path: String,
    /// How far `found` may be from `expected`.
    pub tolerance: Tolerance,
    /// Damages that `found` knows how to do to itself, at least one.
    pub perturbations: Vec<Perturbation>,
    /// The one side.
    pub expected: Expected,
    /// The other side.
    pub found: Found,
}

impl Check {
    /// Computes both sides and compares them.
    pub fn run(&self) -> Row {
        match guarded(|| (self.expected)()) {
            Ok(expected) => self.judge(&expected, None),
            Err(error) => self.without_numbers(&error),
        }
    }

    /// One row for each damage: ok if it made the check fail, FAIL if the check did not notice.
    pub fn self_test(&self) -> Vec<Row> {
        let expected = match guarded(|| (self.expected)()) {
            Ok(expected) => expected,
            Err(error) => return vec![self.without_numbers(&error)],
        };
        let sound = self.judge(&expected, None);
        if sound.status == Status::NotChecked {
            return vec![sound];
        }
        let damaged = self.perturbations.iter().map(|&perturbation| {
            let row = self.judge(&expected, Some(perturbation));
            let (status, reason) = match row.status {
                // a check that fails undamaged has shown nothing
                _ if sound.status == Status::Fail => (Status::Fail, "fails undamaged".to_owned()),
                Status::Fail => (Status::Ok, format!("caught: {perturbation}")),
                _ => (Status::Fail, format!("not noticed: {perturbation}")),
            };
            Row { status, reason, ..row }
        });
        damaged.collect()
    }

    /// Whether two checks look at one computation from two sides, such as forward and backward, and are best run on one core.
    pub fn is_of_one_case_with(&self, other: &Self) -> bool {
        (self.family, &self.shape, &self.backend, &self.path)
            == (other.family, &other.shape, &other.backend, &other.path)
            && self.layer() == other.layer()
    }

    /// The subject without its last word, which says what of it is looked at.
    fn layer(&self) -> Option<&str> {
        self.subject.rsplit_once(' ').map(|(layer, _)| layer)
    }

    fn judge(&self, expected: &[Quantity], perturbation: Option<Perturbation>) -> Row {
        let found = match guarded(|| (self.found)(perturbation)) {
            Ok(found) => found,
            Err(error) => return self.without_numbers(&error),
        };
        let mut row = Row { worst_abs: Some(0.0), worst_rel: Some(0.0), ..self.row() };
        if expected.is_empty() || expected.len() != found.len() {
            let reason = format!("{} quantities are expected, {} were found", expected.len(), found.len());
            return Row { status: Status::Fail, reason, ..row };
        }
        let mut worst = -1.0;
        let mut same_bits = true;
        for (expected, found) in expected.iter().zip(&found) {
            match compare(expected, found) {
                Ok(comparison) => {
                    same_bits &= comparison.same_bits;
                    row.worst_abs = row.worst_abs.map(|abs| abs.max(comparison.worst_abs));
                    if comparison.worst_rel > worst {
                        worst = comparison.worst_rel;
                        row.place = format!("{}, {}", self.subject, comparison.place);
                    }
                }
                Err(refusal) => return Row { status: Status::Fail, reason: refusal.to_string(), ..row },
            }
        }
        row.worst_rel = Some(worst);
        // A NaN is not within any limit.
        let passes = worst <= self.tolerance.limit && (same_bits || self.tolerance != EXACT);
        row.status = if passes { Status::Ok } else { Status::Fail };
        row
    }

    fn without_numbers(&self, error: &Error) -> Row {
        let status = if matches!(error, Error::NotChecked(_)) { Status::NotChecked } else { Status::Fail };
        Row { status, reason: error.to_string(), ..self.row() }
    }

    /// The row before it is run.
    pub fn row(&self) -> Row {
        Row {
            subject: self.subject.clone(),
            shape: self.shape.clone(),
            backend: self.backend.clone(),
            path: self.path.clone(),
            worst_abs: None,
            worst_rel: None,
            limit: self.tolerance.limit,
            status: Status::NotChecked,
            reason: String::new(),
            place: String::new(),
        }
    }
}

/// A panic is a failure of the check that it happened in, not of the table.
fn guarded(compute: impl FnOnce() -> Result<Vec<Quantity>>) -> Result<Vec<Quantity>> {
    // what a closure leaves half done when it panics is its own and is dropped
    catch_unwind(AssertUnwindSafe(compute)).unwrap_or_else(|payload| {
        let message = payload.downcast_ref::<String>().cloned();
        let message = message.or_else(|| payload.downcast_ref::<&str>().map(|&message| message.to_owned()));
        Err(Error::Panic(message.unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Axis;

    fn check(found: fn(Option<Perturbation>) -> Result<Vec<Quantity>>) -> Check {
        Check {
            family: Family::Properties,
            subject: "subject".to_owned(),
            shape: "1×1".to_owned(),
            backend: "cpu".to_owned(),
            path: "reference".to_owned(),
            tolerance: crate::tolerance::PROPERTY,
            perturbations: vec![Perturbation::Sign],
            expected: Box::new(|| Ok(vec![one(1.0)])),
            found: Box::new(found),
        }
    }

    fn one(value: f64) -> Quantity {
        Quantity::new("number", vec![Axis::Row(1)], vec![value])
    }

    #[test]
    fn a_difference_a_nan_a_missing_quantity_and_a_panic_fail() {
        assert_eq!(check(|_| Ok(vec![one(1.0)])).run().status, Status::Ok);
        let row = check(|_| Ok(vec![one(1.1)])).run();
        assert_eq!(
            (row.status, row.place.as_str()),
            (Status::Fail, "subject, number, row 0: 1.10000000 against 1.00000000")
        );
        assert_eq!(check(|_| Ok(vec![one(f64::NAN)])).run().status, Status::Fail);
        assert_eq!(check(|_| Ok(Vec::new())).run().status, Status::Fail);
        let row = check(|_| panic!("index out of bounds")).run();
        assert_eq!((row.status, row.reason.as_str()), (Status::Fail, "panicked: index out of bounds"));
        let row = check(|_| Err(Error::NotChecked("no driver".to_owned()))).run();
        assert_eq!((row.status, row.reason.as_str()), (Status::NotChecked, "no driver"));
    }

    #[test]
    fn forward_and_backward_of_a_layer_are_one_case_and_other_layers_or_shapes_are_not() {
        let of = |subject: &str, shape: &str| Check {
            subject: subject.to_owned(),
            shape: shape.to_owned(),
            ..check(|_| Ok(Vec::new()))
        };
        let forward = of("rnn tanh forward", "T2");
        assert!(forward.is_of_one_case_with(&of("rnn tanh backward", "T2")));
        assert!(!forward.is_of_one_case_with(&of("rnn tanh backward", "T3")));
        assert!(!forward.is_of_one_case_with(&of("rnn relu backward", "T2")));
    }

    #[test]
    fn a_self_test_fails_if_the_damage_is_not_noticed_or_the_check_fails_without_it() {
        let status = |found| check(found).self_test()[0].status;
        assert_eq!(status(|damage| Ok(vec![one(if damage.is_some() { -1.0 } else { 1.0 })])), Status::Ok);
        assert_eq!(status(|_| Ok(vec![one(1.0)])), Status::Fail);
        assert_eq!(status(|_| Ok(vec![one(2.0)])), Status::Fail);
    }
}
