//! One recurrent layer in one direction: its sizes and its parameters under PyTorch's names.

use rnnlm_tensor::{Backend, Layout, View};

use crate::{Cell, Dims, Direction, Error, ParameterId, ParameterLayout, ParameterSet, Result, Weights};

/// One layer in one direction.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The cell.
    pub cell: Cell,
    /// The order of the steps.
    pub direction: Direction,
    /// **D**.
    pub input_size: usize,
    /// **H**.
    pub hidden_size: usize,
    /// `[G·H, D]`.
    pub weight_ih: ParameterId,
    /// `[G·H]`.
    pub bias_ih: ParameterId,
    /// `W_hh` and its bias; `None` for a cell without recurrent blocks ([`Cell::recurrent_blocks`]).
    pub recurrent: Option<RecurrentParameters>,
}

/// The recurrent parameters of a layer.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentParameters {
    /// `[G·H, H]`.
    pub weight_hh: ParameterId,
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
        let is_recurrent = !cell.recurrent_blocks().is_empty();
        // PyTorch draws all four from U(−1/√H, 1/√H), whatever their own fan-in, and lists them in this order; a cell without
        // W_hh is a `torch.nn.Linear`, which is drawn from U(−1/√D, 1/√D)
        let fan_in = if is_recurrent { hidden_size } else { input_size };
        let weight_ih = layout.add_weight(name("weight_ih"), [rows, input_size], fan_in)?;
        let weight_hh = if is_recurrent {
            Some(layout.add_weight(name("weight_hh"), [rows, hidden_size], hidden_size)?)
        } else {
            None
        };
        let bias_ih = layout.add_bias(name("bias_ih"), rows, fan_in)?;
        let recurrent = match weight_hh {
            Some(weight_hh) => {
                let bias_hh = layout.add_bias(name("bias_hh"), rows, hidden_size)?;
                Some(RecurrentParameters { weight_hh, bias_hh })
            }
            None => None,
        };
        Ok(Self { cell, direction, input_size, hidden_size, weight_ih, bias_ih, recurrent })
    }

    /// The sizes for `num_steps` steps of `batch_size` rows.
    pub fn dims(&self, num_steps: usize, batch_size: usize) -> Dims {
        Dims { num_steps, batch_size, input_size: self.input_size, hidden_size: self.hidden_size }
    }

    /// The layer's parameters, to read.
    pub fn weights<'a, B: Backend>(&self, parameters: &'a ParameterSet<B>) -> Weights<'a, B> {
        let empty = |rows, cols| View::new(parameters.flat().buffer, Layout::dense(0, rows, cols));
        Weights {
            weight_ih: parameters.view(self.weight_ih),
            weight_hh: self.recurrent.map_or(empty(0, self.hidden_size), |ids| parameters.view(ids.weight_hh)),
            bias_ih: parameters.view(self.bias_ih),
            bias_hh: self.recurrent.map_or(empty(1, 0), |ids| parameters.view(ids.bias_hh)),
        }
    }
}
