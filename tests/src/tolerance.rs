//! The one table of tolerances, beside the walk. Each limits the relative error of [`crate::compare`]: `|a − b|` over the
//! largest magnitude expected. A limit is about four times the worst that its checks show, and never above 10⁻⁴.

/// How far a check may be off, and why that far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// The largest relative error that passes.
    pub limit: f64,
    /// Why not less.
    pub reason: &'static str,
}

/// One tensor operation against loops in double precision.
pub const OPERATION: Tolerance = Tolerance {
    limit: 2.5e-6,
    reason: "one rounding an element, and sums of up to 1000 terms in single precision; 5.7e-7 seen",
};
/// A layer's states and gates against the oracle's.
pub const ORACLE_FORWARD: Tolerance = Tolerance {
    limit: 2.5e-6,
    reason: "single against double precision over up to 35 dependent steps and sums of 256 terms; 6.0e-7 seen",
};
/// Gradients against finite differences of the oracle, whose own error is below 10⁻⁸.
pub const ORACLE_GRADIENT: Tolerance =
    Tolerance { limit: 5e-6, reason: "as forward, over twice as many dependent steps; 1.1e-6 seen" };
/// Losses, norms and parameters of a training run of 12 steps against the oracle's.
pub const ORACLE_TRAINING: Tolerance =
    Tolerance { limit: 8e-7, reason: "each update amplifies the roundings of those before it; 1.5e-7 seen" };
/// Outputs, losses and gradients against PyTorch's in double precision.
pub const GOLDEN: Tolerance =
    Tolerance { limit: 2.5e-6, reason: "single against double precision over up to 35 dependent steps; 6.1e-7 seen" };
/// The same where gates are saturated.
pub const GOLDEN_SATURATED: Tolerance = Tolerance {
    limit: 2e-5,
    reason: "y(1 − y) keeps few digits in single precision where y is almost 1; 4.3e-6 seen, and PyTorch's own is no better",
};
/// Losses, norms and parameters of a hundred updates against PyTorch's in single precision.
pub const TRAJECTORY: Tolerance =
    Tolerance { limit: 4e-6, reason: "each update amplifies the roundings of those before it; 9.8e-7 seen" };
/// The same with an optimizer that divides by what it has seen of a gradient's size.
pub const TRAJECTORY_ADAPTIVE: Tolerance = Tolerance {
    limit: 4.5e-5,
    reason: "a step is as large for a small gradient as for a large one, and so is its rounding; 1.1e-5 seen",
};
/// Losses, norms and parameters of a hundred updates against the reference's.
pub const PATH_TRAINING: Tolerance =
    Tolerance { limit: 2e-6, reason: "each update amplifies the roundings of those before it; 4.4e-7 seen" };
/// A path's states and gates against the reference's.
pub const PATH_FORWARD: Tolerance =
    Tolerance { limit: 1.5e-6, reason: "sums in another order, and other approximations of exp and tanh; 3.7e-7 seen" };
/// A path's gradients against the reference's.
pub const PATH_GRADIENT: Tolerance =
    Tolerance { limit: 3.5e-6, reason: "as forward, over twice as many dependent steps; 8.4e-7 seen" };
/// [`PATH_FORWARD`] where a CPU multiplies rows in pairs.
pub const PATH_FORWARD_IN_PAIRS: Tolerance =
    Tolerance { limit: 6e-6, reason: "an element is rounded at the size of its whole pair of rows; 1.5e-6 seen" };
/// [`PATH_GRADIENT`] where a CPU multiplies rows in pairs.
pub const PATH_GRADIENT_IN_PAIRS: Tolerance =
    Tolerance { limit: 7e-6, reason: "as forward, over twice as many dependent steps; 1.8e-6 seen" };
/// Two computations of which mathematics says that they agree.
pub const PROPERTY: Tolerance = Tolerance {
    limit: 3.5e-6,
    reason: "the same sums in another order, on generated sizes; 3.6e-7 seen on fixed ones",
};
/// The same bits.
pub const EXACT: Tolerance =
    Tolerance { limit: 0.0, reason: "the same operations in the same order, or whole numbers" };

/// All of them.
pub const ALL: [Tolerance; 13] = [
    OPERATION,
    ORACLE_FORWARD,
    ORACLE_GRADIENT,
    ORACLE_TRAINING,
    GOLDEN,
    GOLDEN_SATURATED,
    TRAJECTORY,
    TRAJECTORY_ADAPTIVE,
    PATH_TRAINING,
    PATH_FORWARD,
    PATH_GRADIENT,
    PROPERTY,
    EXACT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_looser_than_a_ten_thousandth_and_each_has_a_reason() {
        for tolerance in ALL {
            assert!(tolerance.limit <= 1e-4 && !tolerance.reason.is_empty(), "{tolerance:?}");
        }
    }
}
