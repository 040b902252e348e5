//! A layer's weights as the fused path wants them, remade whenever the parameters have changed.

use std::ops::Range;

use rayon::prelude::*;
use rnnlm_tensor::cpu::Isa;
use rnnlm_tensor::cpu::product::{Onto, Packed, Rows};
use rnnlm_tensor::cpu::strassen::Paired;
use rnnlm_tensor::{Backend, Cpu, Layout, View, ViewMut};

use super::rows::rows_of;
use crate::recurrence::Pass;
use crate::{Cell, Input, Layer, gru};

/// Rows of a dense input that one task multiplies: they stay in the second-level cache while the weight passes.
const ROWS_PER_TASK: usize = 128;
/// Numbers of a weight that one thread lays out sooner than two that have to be called.
const SMALL: usize = 1 << 15;

/// A block of rows of `W_hh`, as right operand of both passes.
#[derive(Debug)]
pub(super) struct Recurrent {
    rows: Range<usize>,
    /// `W_hhᵀ`: `h · W_hhᵀ`.
    pub(super) forward: Weight,
    /// `W_hh`: `∂gates · W_hh`.
    pub(super) backward: Weight,
}

/// A right operand, multiplied with rows in pairs where that is faster. Which, follows from sizes alone, so that no number
/// depends on how rows are shared out.
#[derive(Debug)]
pub(super) enum Weight {
    Single(Packed),
    Paired(Paired),
}

impl Weight {
    /// Room for `[k, n]`, and what padding behind them products have.
    fn new(isa: Isa, [k, n]: [usize; 2], padding: usize, in_pairs: bool) -> Self {
        if in_pairs {
            Self::Paired(Paired::new(isa, k, n))
        } else {
            Self::Single(Packed::new(isa, k, n).with_padding(padding))
        }
    }

    fn pack(&mut self, source: &[f32], stride: usize) {
        match self {
            Self::Single(weight) => weight.pack(source, stride),
            Self::Paired(weight) => weight.pack(source, stride),
        }
    }

    fn pack_transposed(&mut self, source: &[f32], stride: usize) {
        match self {
            Self::Single(weight) => weight.pack_transposed(source, stride),
            Self::Paired(weight) => weight.pack_transposed(source, stride),
        }
    }

    /// `c[m, n] = a[m, k] · self`, added to what `onto` says.
    pub(super) fn multiply(&self, m: usize, a: Rows<'_>, c: &mut [f32], c_stride: usize, onto: Onto<'_>) {
        match self {
            Self::Single(weight) => weight.multiply(m, a, c, c_stride, onto),
            Self::Paired(weight) => weight.multiply(m, a, c, c_stride, onto),
        }
    }
}

/// Everything that is laid out.
#[derive(Debug)]
pub(super) struct LaidOut {
    isa: Isa,
    /// The version of the parameters that this was made from.
    version: Option<u64>,
    /// One block, or for a GRU two: the gates r and z, and n.
    pub(super) recurrent: Vec<Recurrent>,
    /// **G·H**.
    width: usize,
    /// `[1, G·H]` and zeros up to where a row of gates ends: what is added to every pre-activation, both biases where they can be
    /// taken together.
    bias: Vec<f32>,
    /// GRU with reset after: `b_hn`, which stands inside the reset gate, and zeros likewise; else empty.
    pub(super) candidate_bias: Vec<f32>,
    /// One-hot input: `W_ihᵀ + bias`, `[D, G·H]`, so that a row is what an id adds; as far apart as `bias` is long.
    table: Vec<f32>,
    /// Dense input: `W_ihᵀ`; made at the first use, since most layers never need it.
    input: Option<Weight>,
}

impl LaidOut {
    /// Room for a layer's weights, to be multiplied with groups of rows out of `batch_size`.
    pub(super) fn new(cpu: &Cpu, layer: &Layer, batch_size: usize) -> Self {
        let (isa, h, width) = (cpu.isa(), layer.hidden_size, layer.cell.num_gates() * layer.hidden_size);
        let [rz, n] = gru::gate_columns(h);
        let (first, second) = match layer.cell {
            Cell::Gru { .. } => (rz, Some(n)),
            Cell::Rnn(_) | Cell::Lstm => (0..width, None),
        };
        let reset_after = layer.cell == Cell::Gru { reset_after: true };
        let padding = |cols| cpu.row_stride(cols) - cols;
        let weight =
            |[k, n]: [usize; 2], padding| Weight::new(isa, [k, n], padding, Paired::suits(isa, [batch_size, k, n]));
        let recurrent = std::iter::once(first).chain(second).map(|rows| Recurrent {
            // gates end with their row, and a candidate that is reset after has a row of its own
            forward: weight(
                [h, rows.len()],
                if rows.end == width && (rows.start == 0 || reset_after) { padding(rows.len()) } else { 0 },
            ),
            backward: weight([rows.len(), h], padding(h)),
            rows,
        });
        Self {
            isa,
            version: None,
            recurrent: recurrent.collect(),
            width,
            bias: vec![0.0; cpu.row_stride(width)],
            candidate_bias: vec![0.0; if reset_after { cpu.row_stride(h) } else { 0 }],
            table: Vec::new(),
            input: None,
        }
    }

    /// Makes everything anew if the parameters have changed since it was made.
    pub(super) fn refresh(&mut self, pass: &Pass<'_, Cpu>) {
        if self.version == Some(pass.parameters.version()) {
            return;
        }
        self.version = Some(pass.parameters.version());
        let weights = pass.layer.weights(pass.parameters);
        let h = pass.layer.hidden_size;
        let Self { isa, recurrent, width, bias, candidate_bias, table, input, .. } = self;
        let small = *width * h < SMALL;
        let refresh_recurrent = |Recurrent { rows, forward, backward }: &mut Recurrent| {
            let block = rows_of(&weights.weight_hh, rows.clone());
            both(small, || forward.pack_transposed(block, h), || backward.pack(block, h));
        };
        let (b_ih, b_hh) = (rows_of(&weights.bias_ih, 0..1), rows_of(&weights.bias_hh, 0..1));
        // b_hn of a GRU with reset after stays apart
        let (together, apart) = b_hh.split_at(if candidate_bias.is_empty() { *width } else { *width - h });
        bias[..*width].copy_from_slice(b_ih);
        bias.iter_mut().zip(together).for_each(|(bias, b_hh)| *bias += b_hh);
        candidate_bias[..apart.len()].copy_from_slice(apart);
        let [rows, cols] = weights.weight_ih.shape();
        let weight_ih = rows_of(&weights.weight_ih, 0..rows);
        let refresh_input = || match pass.input {
            Input::OneHot(_) => refresh_table(table, weight_ih, bias, *width),
            Input::Dense(x) => {
                let in_pairs = Paired::suits_single(*isa, [x.layout.rows, cols, rows]);
                let padding = bias.len() - rows;
                let input = input.get_or_insert_with(|| Weight::new(*isa, [cols, rows], padding, in_pairs));
                input.pack_transposed(weight_ih, cols);
            }
        };
        both(small, || recurrent.par_iter_mut().for_each(refresh_recurrent), refresh_input);
    }

    /// A dense input's share of the pre-activations, biases included, of every step: one product, since none waits for
    /// another.
    pub(super) fn project(&self, x: View<'_, Cpu>, out: ViewMut<'_, Cpu>) {
        let Layout { offset, rows, stride, .. } = out.layout;
        // `refresh` has made it
        let Some(input) = &self.input else { return };
        out.buffer[offset..offset + rows * stride].par_chunks_mut(ROWS_PER_TASK * stride).enumerate().for_each(
            |(task, out)| {
                let first = task * ROWS_PER_TASK;
                let layout = x.layout.rows(first..first + out.len() / stride);
                let rows = Rows { values: &x.buffer[layout.span()], row_stride: layout.stride, col_stride: 1 };
                input.multiply(layout.rows, rows, out, stride, Onto::Row(&self.bias));
            },
        );
    }

    /// What the recurrent product of rows `range` is added to, from column `first` on: a one-hot input's share, or a dense
    /// one's, which stands there already.
    pub(super) fn onto<'a>(&'a self, input: Input<'a, Cpu>, range: Range<usize>, first: usize) -> Onto<'a> {
        match input {
            Input::OneHot(ids) => {
                Onto::Table { values: &self.table[first..], stride: self.bias.len(), ids: &ids[range] }
            }
            Input::Dense(_) => Onto::Output,
        }
    }

    /// Puts a one-hot input's share where no product is added to it: some `columns` of rows `range`, which lie `stride` apart.
    pub(super) fn look_up(
        &self,
        input: Input<'_, Cpu>,
        range: Range<usize>,
        columns: Range<usize>,
        out: &mut [f32],
        stride: usize,
    ) {
        if let Input::OneHot(ids) = input {
            for (out, &id) in out.chunks_exact_mut(stride).zip(&ids[range]) {
                let row = &self.table[id as usize * self.bias.len()..];
                out[columns.clone()].copy_from_slice(&row[columns.clone()]);
            }
        }
    }
}

/// Both, at the same time where they are not small.
fn both(small: bool, one: impl FnOnce() + Send, other: impl FnOnce() + Send) {
    if small {
        one();
        other();
    } else {
        rayon::join(one, other);
    }
}

/// One-hot input: `W_ihᵀ + bias` from `W_ih [G·H, D]`, where `width` is G·H.
fn refresh_table(table: &mut Vec<f32>, weight_ih: &[f32], bias: &[f32], width: usize) {
    let ids = weight_ih.len() / width;
    table.resize(ids * bias.len(), 0.0);
    for (id, row) in table.chunks_exact_mut(bias.len()).enumerate() {
        for ((value, bias), weights) in row.iter_mut().zip(bias).zip(weight_ih.chunks_exact(ids)) {
            *value = weights[id] + bias;
        }
    }
}
