//! One recurrent layer in one direction: its sizes, its parameters under PyTorch's names, and its input.

use rnnlm_tensor::{Backend, View};

use crate::{Cell, Dims, Error, ParameterId, ParameterLayout, ParameterSet, Result};

/// The order in which a layer walks through the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From step 0 to step T − 1.
    Forward,
    /// From step T − 1 to step 0; the second half of a bidirectional layer.
    Reverse,
}

impl Direction {
    /// The step that this direction takes first.
    pub(crate) fn first(self, num_steps: usize) -> usize {
        self.step(0, num_steps)
    }

    /// The step that this direction takes last.
    pub(crate) fn last(self, num_steps: usize) -> usize {
        self.step(num_steps - 1, num_steps)
    }

    /// The step that is taken after `before` others.
    pub(crate) fn step(self, before: usize, num_steps: usize) -> usize {
        match self {
            Self::Forward => before,
            Self::Reverse => num_steps - 1 - before,
        }
    }

    /// The steps in the order in which this direction takes them.
    pub fn steps(self, num_steps: usize) -> impl DoubleEndedIterator<Item = usize> {
        (0..num_steps).map(move |before| self.step(before, num_steps))
    }

    /// What PyTorch appends to the names of the parameters.
    fn suffix(self) -> &'static str {
        match self {
            Self::Forward => "",
            Self::Reverse => "_reverse",
        }
    }
}

/// What a layer reads at every step.
#[derive(Debug)]
pub enum Input<'a, B: Backend> {
    /// `T·N` ids below `D`: one-hot rows, never written out.
    OneHot(&'a B::Indices),
    /// `[T·N, D]`.
    Dense(View<'a, B>),
}

impl<B: Backend> Clone for Input<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Input<'_, B> {}

/// One layer in one direction.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What it computes at each step.
    pub cell: Cell,
    /// In which order it takes the steps.
    pub direction: Direction,
    /// **D**.
    pub input_size: usize,
    /// **H**.
    pub hidden_size: usize,
    /// `[G·H, D]`.
    pub weight_ih: ParameterId,
    /// `[G·H, H]`.
    pub weight_hh: ParameterId,
    /// `[G·H]`.
    pub bias_ih: ParameterId,
    /// `[G·H]`.
    pub bias_hh: ParameterId,
}

impl Layer {
    /// Appends the layer's parameters to `layout`, under the names `rnn.weight_ih_l0`, `rnn.weight_hh_l0`,
    /// `rnn.bias_ih_l0`, `rnn.bias_hh_l0` (with the layer's index and, for the reverse direction, `_reverse`).
    ///
    /// # Errors
    /// If a size is 0 or the sizes overflow.
    pub fn new(
        layout: &mut ParameterLayout,
        index: usize,
        cell: Cell,
        direction: Direction,
        [input_size, hidden_size]: [usize; 2],
    ) -> Result<Self> {
        for (name, value) in [("input_size", input_size), ("hidden_size", hidden_size)] {
            if value == 0 {
                return Err(Error::ZeroSize { name, value });
            }
        }
        let name = |kind: &str| format!("rnn.{kind}_l{index}{}", direction.suffix());
        let rows = cell.num_gates().saturating_mul(hidden_size);
        // PyTorch draws all four from U(−1/√H, 1/√H), whatever their own fan-in
        Ok(Self {
            cell,
            direction,
            input_size,
            hidden_size,
            weight_ih: layout.add_weight(name("weight_ih"), [rows, input_size], hidden_size)?,
            weight_hh: layout.add_weight(name("weight_hh"), [rows, hidden_size], hidden_size)?,
            bias_ih: layout.add_bias(name("bias_ih"), rows, hidden_size)?,
            bias_hh: layout.add_bias(name("bias_hh"), rows, hidden_size)?,
        })
    }

    /// The sizes of this layer's work on `num_steps` steps of `batch_size` rows.
    pub fn dims(&self, num_steps: usize, batch_size: usize) -> Dims {
        Dims { num_steps, batch_size, input_size: self.input_size, hidden_size: self.hidden_size }
    }

    /// The layer's four parameters, to read.
    pub fn weights<'a, B: Backend>(&self, parameters: &'a ParameterSet<B>) -> Weights<'a, B> {
        Weights {
            weight_ih: parameters.view(self.weight_ih),
            weight_hh: parameters.view(self.weight_hh),
            bias_ih: parameters.view(self.bias_ih),
            bias_hh: parameters.view(self.bias_hh),
        }
    }
}

/// The parameters of one layer, to read.
#[derive(Debug)]
pub struct Weights<'a, B: Backend> {
    /// `[G·H, D]`.
    pub weight_ih: View<'a, B>,
    /// `[G·H, H]`.
    pub weight_hh: View<'a, B>,
    /// `[1, G·H]`.
    pub bias_ih: View<'a, B>,
    /// `[1, G·H]`.
    pub bias_hh: View<'a, B>,
}
