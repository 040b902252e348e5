//! The tolerances of all checks. Each limits the relative error of [`crate::compare`]: `|a − b|` over the largest magnitude
//! expected. A limit is about four times the worst error observed, and at most [`MAX_LIMIT`].

/// No check tolerates a larger relative error.
pub const MAX_LIMIT: f64 = 1e-4;

/// The largest relative error that passes a check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    limit: f64,
    reason: &'static str,
}

impl Tolerance {
    /// A tolerance, and why it is not smaller. The constants below are evaluated by the compiler, which rejects a limit above
    /// [`MAX_LIMIT`] and an empty reason.
    const fn new(limit: f64, reason: &'static str) -> Self {
        assert!(0.0 <= limit && limit <= MAX_LIMIT, "the limit is negative or above MAX_LIMIT");
        assert!(!reason.is_empty(), "a tolerance needs a reason");
        Self { limit, reason }
    }

    /// The largest relative error that passes.
    pub const fn limit(self) -> f64 {
        self.limit
    }

    /// Why the limit is not smaller.
    pub const fn reason(self) -> &'static str {
        self.reason
    }
}

/// One tensor operation against loops in double precision.
pub const OPERATION: Tolerance = Tolerance::new(
    2.5e-6,
    "one rounding per element, and sums of up to 1000 terms in single precision; 5.7e-7 observed",
);
/// A layer's states and gates against the oracle's.
pub const ORACLE_FORWARD: Tolerance = Tolerance::new(
    2.5e-6,
    "single against double precision over up to 35 dependent steps and sums of 256 terms; 6.0e-7 observed",
);
/// Gradients against finite differences of the oracle, whose own error is below 10⁻⁸.
pub const ORACLE_GRADIENT: Tolerance =
    Tolerance::new(5e-6, "as forward, over twice as many dependent steps; 1.1e-6 observed");
/// Losses, norms and parameters of a training run of 12 steps against the oracle's.
pub const ORACLE_TRAINING: Tolerance =
    Tolerance::new(8e-7, "each update amplifies earlier rounding errors; 1.5e-7 observed");
/// Outputs, losses and gradients against PyTorch's in double precision.
pub const GOLDEN: Tolerance =
    Tolerance::new(2.5e-6, "single against double precision over up to 35 dependent steps; 6.1e-7 observed");
/// [`GOLDEN`] for saturated gates.
pub const GOLDEN_SATURATED: Tolerance = Tolerance::new(
    2e-5,
    "y(1 − y) keeps few digits in single precision if y is almost 1, also in PyTorch; 4.3e-6 observed",
);
/// Losses, norms and parameters of a hundred updates against PyTorch's in single precision.
pub const TRAJECTORY: Tolerance =
    Tolerance::new(4e-6, "each update amplifies earlier rounding errors; 9.8e-7 observed");
/// [`TRAJECTORY`] for an optimizer that divides by a running mean of the gradient's magnitude.
pub const TRAJECTORY_ADAPTIVE: Tolerance = Tolerance::new(
    4.5e-5,
    "a small gradient gives as large a step as a large one, and so does its rounding error; 1.1e-5 observed",
);
/// Losses, norms and parameters of a hundred updates against the reference path's.
pub const PATH_TRAINING: Tolerance =
    Tolerance::new(2e-6, "each update amplifies earlier rounding errors; 4.4e-7 observed");
/// A path's states and gates against the reference path's.
pub const PATH_FORWARD: Tolerance =
    Tolerance::new(1.5e-6, "another order of summation, and other approximations of exp and tanh; 3.7e-7 observed");
/// A path's gradients against the reference path's.
pub const PATH_GRADIENT: Tolerance =
    Tolerance::new(3.5e-6, "as forward, over twice as many dependent steps; 8.4e-7 observed");
/// Two computations that are mathematically equal.
pub const PROPERTY: Tolerance =
    Tolerance::new(3.5e-6, "another order of the same sums, on generated sizes; 3.6e-7 observed on fixed ones");
/// The same bits.
pub const EXACT: Tolerance = Tolerance::new(0.0, "the same operations in the same order, or whole numbers");
