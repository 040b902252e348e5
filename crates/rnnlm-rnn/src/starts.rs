//! Sequences that start inside a minibatch.

use rnnlm_tensor::{Backend, Tensor};

use crate::Result;

/// Which rows start a sequence at which step, and the states after each step. Those of the tape become zero where the next
/// step starts a sequence.
#[derive(Debug)]
pub(crate) struct Starts<B: Backend> {
    /// False while the memory is only kept for later.
    is_enabled: bool,
    /// `T·N` flags, step by step: not 0 for a row that starts a sequence.
    pub(crate) mask: B::Indices,
    /// `[T·N, H]`: the hidden states after each step.
    pub(crate) hidden: Tensor<B>,
    /// `[T·N, H]`: the cell states after each step of an LSTM; else no columns.
    pub(crate) cell: Tensor<B>,
}

impl<B: Backend> Starts<B> {
    /// No starts, for at most `max_rows` rows with hidden and cell states of these widths.
    pub(crate) fn new(backend: &B, max_rows: usize, [hidden, cell]: [usize; 2]) -> Result<Self> {
        Ok(Self {
            is_enabled: false,
            mask: backend.allocate_indices(max_rows)?,
            hidden: Tensor::padded(backend, max_rows, hidden)?,
            cell: Tensor::padded(backend, max_rows, cell)?,
        })
    }

    /// Changes the number of rows.
    pub(crate) fn set_rows(&mut self, backend: &B, rows: usize) {
        backend.set_indices_len(&mut self.mask, rows);
        self.hidden.set_rows(rows);
        self.cell.set_rows(rows);
    }

    /// Enables the starts with these flags, or disables them and keeps the memory.
    pub(crate) fn set(&mut self, backend: &B, flags: Option<&[u32]>) -> Result<()> {
        if let Some(flags) = flags {
            backend.write_indices(flags, &mut self.mask)?;
        }
        self.is_enabled = flags.is_some();
        Ok(())
    }

    /// The starts that are enabled.
    pub(crate) fn enabled(starts: &Option<Self>) -> Option<&Self> {
        starts.as_ref().filter(|starts| starts.is_enabled)
    }

    /// The starts that are enabled, to write.
    pub(crate) fn enabled_mut(starts: &mut Option<Self>) -> Option<&mut Self> {
        starts.as_mut().filter(|starts| starts.is_enabled)
    }
}
