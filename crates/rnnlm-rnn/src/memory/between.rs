//! The inputs and outputs of layers above the lowest one.

use rnnlm_tensor::{Mask, View, ops};

use super::{Between, LayerMemory};
use crate::{Input, Recurrence, Result};

impl<B: Recurrence> Between<B> {
    /// The output of layer `index`, both directions.
    pub(crate) fn output<'a>(&'a self, layers: &'a [LayerMemory<B>], index: usize) -> View<'a, B> {
        match self.joined.get(index) {
            Some(joined) => joined.view(),
            None => layers[index].tape.output(),
        }
    }

    /// The input of layer `index`, given the layers below it and the input of the stack.
    pub(crate) fn input<'a>(&'a self, input: Input<'a, B>, below: &'a [LayerMemory<B>], index: usize) -> Input<'a, B> {
        match (index.checked_sub(1), self.mask) {
            (None, _) => input,
            (Some(lower), None) => Input::Dense(self.output(below, lower)),
            (Some(lower), Some(_)) => Input::Dense(self.dropped[lower].view()),
        }
    }

    /// The mask between layer `lower` and the next.
    pub(crate) fn mask_above(&self, lower: usize) -> Option<Mask> {
        self.mask.map(|mask| Mask { layer: mask.layer + lower as u32, ..mask })
    }

    /// Adds the input of layer `index`, which is not the lowest, to its output.
    pub(crate) fn add_residual(&mut self, backend: &B, index: usize) -> Result<()> {
        let (below, layers) = self.joined.split_at_mut(index);
        let input = if self.mask.is_some() { &self.dropped[index - 1] } else { &below[index - 1] };
        Ok(ops::axpy(backend, 1.0, input.view(), layers[0].view_mut())?)
    }
}
