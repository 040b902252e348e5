//! The perturbations of the self-test: one value upstream of the comparison is changed, and the check must fail.

use std::fmt;

/// A small change of a check's inputs. The module of the check defines exactly what changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Perturbation {
    /// One input value is changed slightly.
    Input,
    /// One weight is changed slightly.
    Weight,
    /// One bias of the last gate is changed slightly.
    LastGate,
    /// The first step's input is changed slightly.
    FirstStep,
    /// One value changes its sign.
    Sign,
    /// One value becomes NaN, or a NaN becomes a number.
    Nan,
    /// The state is not carried from one minibatch to the next.
    StateDropped,
    /// A row starts a sequence at another step, or continues one.
    Start,
    /// Two neighbours in a sequence are exchanged.
    Order,
    /// One id becomes another.
    Id,
    /// A scalar argument is changed slightly.
    Scalar,
}

impl fmt::Display for Perturbation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "an input changed",
            Self::Weight => "a weight changed",
            Self::LastGate => "a bias of the last gate changed",
            Self::FirstStep => "the first step's input changed",
            Self::Sign => "a sign flipped",
            Self::Nan => "a NaN instead of a number, or the reverse",
            Self::StateDropped => "the state not carried",
            Self::Start => "a start added or removed",
            Self::Order => "two neighbours exchanged",
            Self::Id => "an id changed",
            Self::Scalar => "the scalar argument changed",
        })
    }
}
