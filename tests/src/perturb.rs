//! What the self-test does to a check, beside the walk: one value upstream of what is compared is changed, and the check
//! must then fail. A check that passes all the same could not have seen that mistake.

use std::fmt;

/// A small damage. What exactly it does to a check's inputs is said where that kind of check is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Perturbation {
    /// One value of an input is moved a little.
    Input,
    /// One weight is moved a little.
    Weight,
    /// One bias of the last gate is moved a little.
    LastGate,
    /// What the first step reads is moved a little.
    FirstStep,
    /// One value changes its sign.
    Sign,
    /// One value becomes NaN; or, where a NaN is expected, it becomes a number.
    Nan,
    /// The state is not carried from one minibatch to the next.
    StateDropped,
    /// Two things that follow each other change places.
    Order,
    /// One id becomes another.
    Id,
    /// A scalar argument is moved a little.
    Scalar,
}

impl fmt::Display for Perturbation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "one input moved",
            Self::Weight => "one weight moved",
            Self::LastGate => "a bias of the last gate moved",
            Self::FirstStep => "the first step's input moved",
            Self::Sign => "one sign flipped",
            Self::Nan => "a NaN instead of a number, or the reverse",
            Self::StateDropped => "the state not carried",
            Self::Order => "two neighbours exchanged",
            Self::Id => "one id changed",
            Self::Scalar => "the scalar argument moved",
        })
    }
}
