//! A layer's weights, packed for the fused path once for each version of the parameters.

use rayon::prelude::*;
use rnnlm_tensor::cpu::matmul::{Epilogue, MatRef, PackedMatrix};
use rnnlm_tensor::{Backend, Cpu, Layout, View, ViewMut};

use super::rows::rows_of;
use crate::operands::{Input, Weights, WeightsVersion};
use crate::structure::RecurrentBlock;

/// Rows of a dense input that one task multiplies: they stay in the second-level cache while it reads the weight.
const ROWS_PER_TASK: usize = 128;
/// Weights with fewer elements are packed on one thread: waking another takes longer.
const PARALLEL_PACK_MIN_LEN: usize = 1 << 15;

/// A block of rows of `W_hh`, packed as the right operand of both passes.
#[derive(Debug)]
pub(super) struct PackedBlock {
    block: RecurrentBlock,
    hidden_size: usize,
    /// `W_hhᵀ`: `h · W_hhᵀ`.
    pub(super) forward: PackedMatrix,
    /// `W_hh`: `∂gates · W_hh`.
    pub(super) backward: PackedMatrix,
}

impl PackedBlock {
    /// The first column of the block's gates.
    pub(super) fn first_column(&self) -> usize {
        self.block.rows(self.hidden_size).start
    }
}

/// The packed weights of a layer.
#[derive(Debug)]
pub(super) struct PackedWeights {
    /// The version of the weights that are packed.
    version: Option<WeightsVersion>,
    pub(super) blocks: Vec<PackedBlock>,
    /// **G·H**.
    width: usize,
    /// `[1, G·H]` with padding: what is added to every pre-activation, `b_ih` plus `b_hh` of the blocks that share it.
    bias: Vec<f32>,
    /// `[1, H]` with padding: `b_hh` of a block that does not share the input's bias; else empty.
    pub(super) candidate_bias: Vec<f32>,
    /// One-hot input: `W_ihᵀ + bias`, `[D, G·H]` with the padding of `bias`, so that row `id` is the input's term.
    table: Vec<f32>,
    /// Dense input: `W_ihᵀ`, allocated at the first use.
    input: Option<PackedMatrix>,
}

/// The input's term of the pre-activations, being packed.
enum InputTerm<'w, 'x> {
    Table(&'w mut Vec<f32>),
    Projection(&'w mut PackedMatrix, View<'x, Cpu>),
}

impl PackedWeights {
    /// Memory for the blocks of a layer with `num_gates` gates of `hidden_size` units.
    pub(super) fn new(cpu: &Cpu, blocks: &[RecurrentBlock], num_gates: usize, hidden_size: usize) -> Self {
        let (isa, width) = (cpu.isa(), num_gates * hidden_size);
        let padding = |cols| cpu.row_stride(cols) - cols;
        let pack = |block: &RecurrentBlock| {
            let rows = block.rows(hidden_size);
            // the output of a block may use padding where it is a whole matrix: all gates, or a candidate
            let is_whole = !block.shares_input_bias || rows.len() == width;
            let forward_padding = if is_whole { padding(rows.len()) } else { 0 };
            PackedBlock {
                block: block.clone(),
                hidden_size,
                forward: PackedMatrix::new(isa, hidden_size, rows.len()).with_padding(forward_padding),
                backward: PackedMatrix::new(isa, rows.len(), hidden_size).with_padding(padding(hidden_size)),
            }
        };
        let has_candidate_bias = blocks.iter().any(|block| !block.shares_input_bias);
        Self {
            version: None,
            blocks: blocks.iter().map(pack).collect(),
            width,
            bias: vec![0.0; cpu.row_stride(width)],
            candidate_bias: vec![0.0; if has_candidate_bias { cpu.row_stride(hidden_size) } else { 0 }],
            table: Vec::new(),
            input: None,
        }
    }

    /// The bytes of a layer's packed weights once they are in use, for an input of `input_size` features. `blocks` and
    /// `num_gates` are those of the layer's cell.
    pub(super) fn num_bytes(
        cpu: &Cpu,
        (blocks, num_gates): (&[RecurrentBlock], usize),
        input_size: u128,
        is_one_hot: bool,
        hidden_size: usize,
    ) -> u128 {
        let (isa, width) = (cpu.isa(), num_gates.saturating_mul(hidden_size));
        let packed_block = |block: &RecurrentBlock| {
            let rows = block.rows(hidden_size).len();
            let [forward, backward] = [(hidden_size, rows), (rows, hidden_size)];
            PackedMatrix::num_bytes(isa, forward.0 as u128, forward.1)
                + PackedMatrix::num_bytes(isa, backward.0 as u128, backward.1)
        };
        let bias = cpu.row_stride(width) as u128 * size_of::<f32>() as u128;
        let input = if is_one_hot { input_size * bias } else { PackedMatrix::num_bytes(isa, input_size, width) };
        blocks.iter().map(packed_block).sum::<u128>() + (blocks.len() * size_of::<PackedBlock>()) as u128 + bias + input
    }

    /// Packs the weights if `version` differs from what is packed. For a dense input, also writes its term of the
    /// pre-activations of every step, biases included: one multiplication, since no step waits for another.
    pub(super) fn prepare(
        &mut self,
        cpu: &Cpu,
        weights: &Weights<'_, Cpu>,
        version: WeightsVersion,
        input: Input<'_, Cpu>,
        pre_activations: ViewMut<'_, Cpu>,
    ) {
        let [rows, cols] = weights.weight_ih.shape();
        let has_term = match input {
            Input::OneHot(_) => !self.table.is_empty(),
            Input::Dense(_) => self.input.is_some(),
        };
        let is_stale = self.version != Some(version) || !has_term;
        self.version = Some(version);
        if is_stale {
            self.add_biases(weights);
        }
        let Self { blocks, width, bias, table, input: packed_input, .. } = self;
        let mut term = match input {
            Input::OneHot(_) => InputTerm::Table(table),
            Input::Dense(x) => {
                let padding = bias.len() - rows;
                let new = || PackedMatrix::new(cpu.isa(), cols, rows).with_padding(padding);
                InputTerm::Projection(packed_input.get_or_insert_with(new), x)
            }
        };
        if is_stale {
            let weight_ih = rows_of(&weights.weight_ih, 0..rows);
            let pack_input = || match &mut term {
                InputTerm::Table(table) => fill_table(table, weight_ih, bias, *width),
                InputTerm::Projection(packed, _) => packed.pack_transposed(weight_ih, cols),
            };
            let pack_block = |packed: &mut PackedBlock| {
                let h = packed.hidden_size;
                let source = rows_of(&weights.weight_hh, packed.block.rows(h));
                let PackedBlock { forward, backward, .. } = packed;
                join(source.len(), || forward.pack_transposed(source, h), || backward.pack(source, h));
            };
            let recurrent_len = weights.weight_hh.layout.len();
            join(recurrent_len, || blocks.par_iter_mut().for_each(pack_block), pack_input);
        }
        if let InputTerm::Projection(packed, x) = term {
            project(packed, bias, x, pre_activations);
        }
    }

    /// `b_ih` plus `b_hh` of the blocks that share it; the others' `b_hh` is the bias of the candidate.
    fn add_biases(&mut self, weights: &Weights<'_, Cpu>) {
        self.bias[..self.width].copy_from_slice(rows_of(&weights.bias_ih, 0..1));
        let bias_hh = rows_of(&weights.bias_hh, 0..1);
        for PackedBlock { block, hidden_size, .. } in &self.blocks {
            let rows = block.rows(*hidden_size);
            let bias_hh = &bias_hh[rows.clone()];
            if block.shares_input_bias {
                self.bias[rows].iter_mut().zip(bias_hh).for_each(|(bias, b_hh)| *bias += b_hh);
            } else {
                self.candidate_bias[..rows.len()].copy_from_slice(bias_hh);
            }
        }
    }

    /// The epilogue that adds the one-hot input's term, from column `first` on.
    pub(super) fn gather<'a>(&'a self, ids: &'a [u32], first: usize) -> Epilogue<'a> {
        Epilogue::Gather { values: &self.table[first..], stride: self.bias.len(), ids }
    }

    /// The one-hot input's term for a token, `[G·H]` with padding.
    pub(super) fn table_row(&self, id: u32) -> &[f32] {
        &self.table[id as usize * self.bias.len()..][..self.bias.len()]
    }
}

/// `x · weight + bias` for every row of a dense input.
fn project(weight: &PackedMatrix, bias: &[f32], x: View<'_, Cpu>, out: ViewMut<'_, Cpu>) {
    let Layout { offset, rows, stride, .. } = out.layout;
    let out = &mut out.buffer[offset..offset + rows * stride];
    out.par_chunks_mut(ROWS_PER_TASK * stride).enumerate().for_each(|(task, out)| {
        let first = task * ROWS_PER_TASK;
        let layout = x.layout.rows(first..first + out.len() / stride);
        let x = MatRef::row_major(&x.buffer[layout.span()], layout.stride);
        weight.multiply(layout.rows, x, out, stride, false, Epilogue::Bias(bias));
    });
}

/// Runs both, on two threads if there are many elements.
fn join(len: usize, one: impl FnOnce() + Send, other: impl FnOnce() + Send) {
    if len < PARALLEL_PACK_MIN_LEN {
        one();
        other();
    } else {
        rayon::join(one, other);
    }
}

/// `W_ihᵀ + bias` from `W_ih [G·H, D]`, where `width` is G·H.
fn fill_table(table: &mut Vec<f32>, weight_ih: &[f32], bias: &[f32], width: usize) {
    let num_ids = weight_ih.len() / width;
    table.resize(num_ids * bias.len(), 0.0);
    for (id, row) in table.chunks_exact_mut(bias.len()).enumerate() {
        for ((value, bias), weights) in row.iter_mut().zip(bias).zip(weight_ih.chunks_exact(num_ids)) {
            *value = weights[id] + bias;
        }
    }
}
