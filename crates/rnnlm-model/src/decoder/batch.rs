//! A batch of sequences that advance by one token at a time.

use rnnlm_rnn::{Recurrence, State};
use rnnlm_tensor::{Tensor, ops};
use rnnlm_vocab::Minibatch;

use crate::{LanguageModel, Result, Workspace};

/// `N` rows, each with the recurrent state of a sequence, and their last logits.
#[derive(Debug)]
pub(crate) struct StepBatch<'a, B: Recurrence> {
    model: &'a LanguageModel<B>,
    /// `None` after a change of **N**, until the next step. It has copies of the weights, so that there is only one at a time.
    workspace: Option<Workspace<B>>,
    state: State<B>,
    minibatch: Minibatch,
    /// `[N, stride]`.
    logits: Vec<f32>,
    stride: usize,
}

/// The logits of all rows, on the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logits<'a> {
    values: &'a [f32],
    stride: usize,
    vocab_size: usize,
}

impl<'a> Logits<'a> {
    /// The logits `[V]` of a row.
    pub(crate) fn row(self, row: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..self.vocab_size]
    }
}

impl<'a, B: Recurrence> StepBatch<'a, B> {
    /// Rows in the zero state.
    pub(crate) fn new(model: &'a LanguageModel<B>, batch_size: usize) -> Result<Self> {
        let stride = model.config().vocab_size;
        Ok(Self {
            model,
            workspace: Some(model.workspace(1, batch_size)?),
            state: model.zero_state(batch_size)?,
            minibatch: Minibatch::new(batch_size, 1),
            logits: vec![0.0; batch_size * stride],
            stride,
        })
    }

    /// **N**.
    pub(crate) fn batch_size(&self) -> usize {
        self.minibatch.batch_size
    }

    /// Reads one token in each of the first rows. With `needs_logits`, computes the logits of the next ones.
    pub(crate) fn step(&mut self, ids: &[u32], needs_logits: bool) -> Result<()> {
        let backend = self.model.backend();
        self.minibatch.inputs[..ids.len()].copy_from_slice(ids);
        let workspace = match &mut self.workspace {
            Some(workspace) => workspace,
            None => self.workspace.insert(self.model.workspace(1, self.minibatch.batch_size)?),
        };
        workspace.load(backend, &self.minibatch)?;
        self.model.forward(workspace, &mut self.state)?;
        if !needs_logits {
            return Ok(());
        }
        for rows in workspace.chunks() {
            let rows = rows.start..rows.end.min(ids.len());
            if rows.is_empty() {
                break;
            }
            let first = rows.start;
            let logits = self.model.logits(workspace, rows)?;
            let (layout, span) = (logits.layout, logits.layout.span());
            self.stride = layout.stride;
            let needed = first * layout.stride + span.len();
            self.logits.resize(self.logits.len().max(needed), 0.0);
            backend.read(logits.buffer, span.start, &mut self.logits[needed - span.len()..needed])?;
        }
        Ok(())
    }

    /// The logits of the rows after their last tokens.
    pub(crate) fn logits(&self) -> Logits<'_> {
        Logits { values: &self.logits, stride: self.stride, vocab_size: self.model.config().vocab_size }
    }

    /// Sets the state of a row to zero.
    pub(crate) fn reset_row(&mut self, row: usize) -> Result<()> {
        let n = self.batch_size();
        let backend = self.model.backend();
        for tensor in [&mut self.state.hidden, &mut self.state.cell] {
            for row in (row..tensor.shape()[0]).step_by(n) {
                ops::fill(backend, 0.0, tensor.view_mut().rows(row..row + 1))?;
            }
        }
        Ok(())
    }

    /// Makes a batch of `batch_size` rows, whose first rows have the states of the rows `sources`, and the others zero.
    pub(crate) fn rearrange(&mut self, batch_size: usize, sources: &[usize]) -> Result<()> {
        let n = self.batch_size();
        let mut state = self.model.zero_state(batch_size)?;
        let pairs = [(&self.state.hidden, &mut state.hidden), (&self.state.cell, &mut state.cell)];
        for (from, to) in pairs {
            self.copy_rows(from, n, to, batch_size, sources)?;
        }
        self.state = state;
        if n != batch_size {
            self.workspace = None;
            self.minibatch = Minibatch::new(batch_size, 1);
        }
        Ok(())
    }

    /// Copies the state of row `from` to row `to`.
    pub(crate) fn copy_row(&mut self, from: usize, to: usize) -> Result<()> {
        let n = self.batch_size();
        let backend = self.model.backend();
        for tensor in [&mut self.state.hidden, &mut self.state.cell] {
            let [rows, cols] = tensor.shape();
            let mut copy = Tensor::zeros(backend, 1, cols)?;
            for first in (0..rows).step_by(n) {
                let [from, to] = [first + from, first + to];
                ops::copy(backend, tensor.view().rows(from..from + 1), copy.view_mut())?;
                ops::copy(backend, copy.view(), tensor.view_mut().rows(to..to + 1))?;
            }
        }
        Ok(())
    }

    /// Copies rows of every layer: row `i` of `to` becomes row `sources[i]` of `from`.
    fn copy_rows(
        &self,
        from: &Tensor<B>,
        from_size: usize,
        to: &mut Tensor<B>,
        to_size: usize,
        sources: &[usize],
    ) -> Result<()> {
        for layer in 0..from.shape()[0] / from_size {
            for (row, source) in sources.iter().enumerate() {
                let (source, row) = (layer * from_size + source, layer * to_size + row);
                let source = from.view().rows(source..source + 1);
                ops::copy(self.model.backend(), source, to.view_mut().rows(row..row + 1))?;
            }
        }
        Ok(())
    }
}
