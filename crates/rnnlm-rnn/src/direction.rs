//! The order in which a layer takes the steps.

/// The order in which a layer takes the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From step 0 to step T − 1.
    Forward,
    /// From step T − 1 to step 0: the second half of a bidirectional layer.
    Reverse,
}

impl Direction {
    /// The first step of this direction.
    pub(crate) fn first(self, num_steps: usize) -> usize {
        self.step(0, num_steps)
    }

    /// The last step of this direction.
    pub(crate) fn last(self, num_steps: usize) -> usize {
        self.step(num_steps - 1, num_steps)
    }

    /// The step after `num_before` others.
    pub(crate) fn step(self, num_before: usize, num_steps: usize) -> usize {
        match self {
            Self::Forward => num_before,
            Self::Reverse => num_steps - 1 - num_before,
        }
    }

    /// The steps in the order of this direction.
    pub fn steps(self, num_steps: usize) -> impl DoubleEndedIterator<Item = usize> {
        (0..num_steps).map(move |num_before| self.step(num_before, num_steps))
    }

    /// PyTorch's suffix for the names of the parameters.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Forward => "",
            Self::Reverse => "_reverse",
        }
    }
}
