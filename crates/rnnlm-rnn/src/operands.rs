//! What a layer reads: its input and its parameters.

use rnnlm_tensor::{Backend, Mask, View};

/// The input of a layer at every step.
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

/// The parameters of one layer, to read.
#[derive(Debug)]
pub struct Weights<'a, B: Backend> {
    /// `[G·H, D]`.
    pub weight_ih: View<'a, B>,
    /// `[G·H, H]`; no rows for a cell without recurrent blocks.
    pub weight_hh: View<'a, B>,
    /// `[1, G·H]`.
    pub bias_ih: View<'a, B>,
    /// `[1, G·H]`; no columns for a cell without recurrent blocks.
    pub bias_hh: View<'a, B>,
}

/// A value that changes whenever the weights that a pass reads may have changed: the version of the parameters, and the mask
/// of weight drop.
pub(crate) type WeightsVersion = (u64, Option<Mask>);
