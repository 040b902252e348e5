//! A check as a value: an expected and an actual result, the tolerance between them, and the perturbations that must make it
//! fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::compare::{Quantity, compare};
use crate::perturb::Perturbation;
use crate::table::{Row, Status};
use crate::tolerance::{EXACT, Tolerance};
use crate::{Error, Result};

/// A group of checks, by what they compare; `cargo test` has one test for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Tensor operations against loops in double precision.
    Operations,
    /// The reference path against the oracle.
    Oracle,
    /// Every path against the oracle, with each technique of regularization.
    Regularization,
    /// Every path against PyTorch's golden files.
    Golden,
    /// Training runs against PyTorch's.
    Trajectories,
    /// Every other path against the reference path.
    Paths,
    /// Properties that hold for any input.
    Properties,
    /// The same bits with any number of threads and of other rows in the batch.
    Reproducibility,
}

/// Computes the expected quantities.
pub type Expected = Box<dyn Fn() -> Result<Vec<Quantity>> + Send + Sync>;
/// Computes the actual quantities, with or without a perturbation upstream.
pub type Found = Box<dyn Fn(Option<Perturbation>) -> Result<Vec<Quantity>> + Send + Sync>;

/// One row of the table, before it is run.
pub struct Check {
    /// The group it belongs to.
    pub family: Family,
    /// The operation or cell.
    pub subject: String,
    /// The sizes and special conditions.
    pub shape: String,
    /// The backend's name.
    pub backend: String,
    /// The path's name on that backend.
    pub path: String,
    /// How much `found` may differ from `expected`.
    pub tolerance: Tolerance,
    /// The perturbations that `found` supports, at least one.
    pub perturbations: Vec<Perturbation>,
    /// The expected result.
    pub expected: Expected,
    /// The actual result.
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

    /// One row for each perturbation: ok if the check failed with it, FAIL if the check passed.
    pub fn self_test(&self) -> Vec<Row> {
        let expected = match guarded(|| (self.expected)()) {
            Ok(expected) => expected,
            Err(error) => return vec![self.without_numbers(&error)],
        };
        let unperturbed = self.judge(&expected, None);
        if unperturbed.status == Status::NotChecked {
            return vec![unperturbed];
        }
        let rows = self.perturbations.iter().map(|&perturbation| {
            let row = self.judge(&expected, Some(perturbation));
            let (status, reason) = match row.status {
                // A check that fails without a perturbation proves nothing.
                _ if unperturbed.status == Status::Fail => (Status::Fail, "fails without a perturbation".to_owned()),
                Status::Fail => (Status::Ok, format!("detected: {perturbation}")),
                _ => (Status::Fail, format!("not detected: {perturbation}")),
            };
            Row { status, reason, ..row }
        });
        rows.collect()
    }

    /// Whether two checks compare results of the same computation, such as forward and backward. They run on one thread and
    /// can share its results.
    pub fn shares_case_with(&self, other: &Self) -> bool {
        (self.family, &self.shape, &self.backend, &self.path)
            == (other.family, &other.shape, &other.backend, &other.path)
            && self.layer() == other.layer()
    }

    /// The subject without its last word, such as `forward`.
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
            let reason = format!("expected {} quantities, found {}", expected.len(), found.len());
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
                        row.location = format!("{}, {}", self.subject, comparison.location);
                    }
                }
                Err(mismatch) => return Row { status: Status::Fail, reason: mismatch.to_string(), ..row },
            }
        }
        row.worst_rel = Some(worst);
        // A NaN is not within any limit.
        let passes = worst <= self.tolerance.limit() && (same_bits || self.tolerance != EXACT);
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
            limit: self.tolerance.limit(),
            status: Status::NotChecked,
            reason: String::new(),
            location: String::new(),
        }
    }
}

/// Turns a panic into an error, so that it fails one check and not the table.
fn guarded(compute: impl FnOnce() -> Result<Vec<Quantity>>) -> Result<Vec<Quantity>> {
    // Unwind safe: the closure's state is not used after a panic.
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
            (row.status, row.location.as_str()),
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
    fn forward_and_backward_of_a_layer_share_a_case() {
        let of = |subject: &str, shape: &str| Check {
            subject: subject.to_owned(),
            shape: shape.to_owned(),
            ..check(|_| Ok(Vec::new()))
        };
        let forward = of("rnn tanh forward", "T2");
        assert!(forward.shares_case_with(&of("rnn tanh backward", "T2")));
        assert!(!forward.shares_case_with(&of("rnn tanh backward", "T3")));
        assert!(!forward.shares_case_with(&of("rnn relu backward", "T2")));
    }

    #[test]
    fn a_self_test_fails_if_the_perturbation_is_not_detected_or_the_check_fails_without_it() {
        let status = |found| check(found).self_test()[0].status;
        assert_eq!(status(|perturbation| Ok(vec![one(if perturbation.is_some() { -1.0 } else { 1.0 })])), Status::Ok);
        assert_eq!(status(|_| Ok(vec![one(1.0)])), Status::Fail);
        assert_eq!(status(|_| Ok(vec![one(2.0)])), Status::Fail);
    }
}
