//! The fused path of a layer: groups of rows, each taken through all steps.

use std::ops::Range;

use rayon::prelude::*;
use rnnlm_tensor::cpu::{Isa, Kernel, Lanes, matmul, work_splitting};
use rnnlm_tensor::{Backend, Cpu, Tensor, View};

use super::packed_weights::PackedWeights;
use super::rows::{GroupedRows, SharedRows, rows_of};
use super::step::{BackwardContext, BackwardStep, ForwardContext, ForwardStep, FusedCell, Strides};
use crate::recurrence::{Gradients, Pass, Recurrence, reference};
use crate::starts::Starts;
use crate::{Cell, Dims, Direction, Input, Layer, Result, Tape};

/// A group has at least this many rows, where there are enough: a single row reads the weights for too little arithmetic.
const MIN_GROUP_ROWS: usize = 2;
/// A group has at most this many rows, so that they finish with a weight too large for the second-level cache before the
/// next group reads it.
const MAX_GROUP_ROWS: usize = 32;
/// About what a gate of a unit takes in a step without matrix multiplication.
const FLOPS_PER_GATE: usize = 32;

/// The number of rows of each group, such that all threads have equal work.
fn rows_per_group(batch_size: usize, threads: usize) -> usize {
    let num_groups = batch_size.div_ceil(MAX_GROUP_ROWS).next_multiple_of(threads);
    batch_size.div_ceil(num_groups).max(MIN_GROUP_ROWS)
}

/// The packed weights and the groups of a layer.
#[derive(Debug)]
pub struct CpuPlan {
    isa: Isa,
    cell: Box<dyn FusedCell>,
    weights: PackedWeights,
    /// ∂loss/∂(hidden state) during the backward pass.
    grad_hidden: Tensor<Cpu>,
    rows_per_group: usize,
}

impl Recurrence for Cpu {
    type Plan = CpuPlan;

    fn plan(&self, layer: &Layer, dims: Dims) -> Result<Option<CpuPlan>> {
        let Some(cell) = layer.cell.fused_cpu() else { return Ok(None) };
        let rows_per_group = rows_per_group(dims.batch_size, self.threads());
        let blocks = layer.cell.recurrent_blocks();
        let weights = PackedWeights::new(self, blocks, layer.cell.num_gates(), layer.hidden_size);
        let grad_hidden = GroupedRows::memory(self, rows_per_group, [dims.batch_size, dims.hidden_size])?;
        Ok(Some(CpuPlan { isa: self.isa(), cell, weights, grad_hidden, rows_per_group }))
    }

    fn shares_host_memory(&self) -> bool {
        true
    }

    fn plan_bytes(&self, cell: Cell, is_one_hot: bool, dims: Dims) -> u128 {
        let Dims { batch_size, input_size, hidden_size, .. } = dims;
        let stride = self.row_stride(hidden_size);
        let rows = GroupedRows::num_rows(rows_per_group(batch_size, self.threads()), batch_size, stride);
        let grad_hidden = rows as u128 * stride as u128 * size_of::<f32>() as u128;
        let recurrent = (cell.recurrent_blocks(), cell.num_gates());
        grad_hidden + PackedWeights::num_bytes(self, recurrent, input_size as u128, is_one_hot, hidden_size)
    }

    fn matmul_scratch_bytes(&self, [m, k]: [u128; 2], n: usize) -> u128 {
        matmul::scratch_bytes(self, [m, k], n)
    }

    fn has_fused_starts(&self) -> bool {
        true
    }

    fn fused_forward(&self, plan: &mut CpuPlan, pass: &Pass<'_, Self>, tape: &mut Tape<Self>) -> Result<()> {
        if let Input::OneHot(ids) = pass.input {
            check_ids(ids, pass.layer.input_size)?;
        }
        let (weights, version) = (pass.weights(), pass.version());
        self.run(|| plan.weights.prepare(self, &weights, version, pass.input, tape.pre_activations()));
        let forward = Forward {
            isa: plan.isa,
            cell: &*plan.cell,
            weights: &plan.weights,
            input: pass.input,
            steps: Steps::of(tape),
            strides: strides(tape),
            gates: SharedRows::new(&mut tape.gates),
            hidden: SharedRows::new(&mut tape.hidden),
            cell_state: SharedRows::new(&mut tape.cell),
            candidate: SharedRows::new(&mut tape.candidate),
            starts: Starts::enabled_mut(&mut tape.starts).map(|starts| ForwardStarts {
                mask: &starts.mask,
                hidden: SharedRows::new(&mut starts.hidden),
                cell_state: SharedRows::new(&mut starts.cell),
            }),
        };
        let Steps { dims, direction } = forward.steps;
        let step = |num_before, group: &_| forward.step(direction.step(num_before, dims.num_steps), group);
        self.run(|| for_each_step(pass.layer.cell, dims, plan.rows_per_group, step));
        Ok(())
    }

    fn fused_backward(
        &self,
        plan: &mut CpuPlan,
        pass: &Pass<'_, Self>,
        tape: &mut Tape<Self>,
        mut gradients: Gradients<'_, Self>,
    ) -> Result<()> {
        let CpuPlan { isa, cell, weights, grad_hidden, rows_per_group } = plan;
        let adjoint = &mut *gradients.adjoint;
        // gradients overwrite the gates in place: another matrix would have to be loaded into the cache first
        if tape.gates.shape()[1] > 0 {
            std::mem::swap(&mut tape.gates, &mut adjoint.gates);
        }
        let tape = &*tape;
        GroupedRows::each_row(grad_hidden, *rows_per_group, &mut adjoint.hidden, |own, final_state| {
            own.copy_from_slice(final_state);
        });
        let backward = Backward {
            isa: *isa,
            cell: &**cell,
            weights,
            tape,
            steps: Steps::of(tape),
            strides: strides(tape),
            initial_state: gradients.initial_state,
            output: gradients.output,
            gates: SharedRows::new(&mut adjoint.gates),
            grad_candidate: SharedRows::new(&mut adjoint.candidate),
            grad_hidden: GroupedRows::new(grad_hidden, *rows_per_group),
            grad_cell: SharedRows::new(&mut adjoint.cell),
            scratch: SharedRows::new(&mut adjoint.scratch),
        };
        let Steps { dims, direction } = backward.steps;
        let last = dims.num_steps - 1;
        let step = |num_before, group: &_| backward.step(direction.step(last - num_before, dims.num_steps), group);
        self.run(|| for_each_step(pass.layer.cell, dims, *rows_per_group, step));
        if gradients.initial_state {
            GroupedRows::each_row(grad_hidden, *rows_per_group, &mut adjoint.hidden, |own, initial_state| {
                initial_state.copy_from_slice(own);
            });
        }
        self.run(|| reference::parameter_gradients(self, pass, tape, &mut gradients))
    }
}

/// An error unless every id is a column of the one-hot input.
fn check_ids(ids: &[u32], bound: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= bound) {
        Some(&id) => Err(rnnlm_tensor::Error::IdOutOfRange { op: "one-hot input", id, bound }.into()),
        None => Ok(()),
    }
}

/// All steps of all rows, group by group: `step` receives the number of steps before it, and its rows.
fn for_each_step(cell: Cell, dims: Dims, rows_per_group: usize, step: impl Fn(usize, &Range<usize>) + Sync) {
    let Dims { batch_size, num_steps, hidden_size, .. } = dims;
    // decoding: one group that is never split needs no tasks
    if batch_size <= rows_per_group && batch_size < work_splitting::MIN_SPLIT_ROWS {
        return (0..num_steps).for_each(|num_before| step(num_before, &(0..batch_size)));
    }
    let groups = (0..batch_size.div_ceil(rows_per_group)).into_par_iter();
    let groups = groups.map(|index| index * rows_per_group..((index + 1) * rows_per_group).min(batch_size));
    let flops_per_row = match cell.recurrent_blocks() {
        [] => FLOPS_PER_GATE * cell.num_gates() * hidden_size,
        _ => 2 * cell.num_gates() * hidden_size * hidden_size,
    };
    work_splitting::run_steps(groups, rows_per_group, num_steps, flops_per_row, |index, group| step(index, group));
}

fn strides(tape: &Tape<Cpu>) -> Strides {
    let stride = |tensor: &Tensor<Cpu>| tensor.view().layout.stride;
    Strides { hidden_size: tape.dims().hidden_size, state: stride(&tape.hidden), gates: stride(&tape.gates) }
}

/// Where the rows of each step are; a copy of what the tape knows, without its borrow.
#[derive(Clone, Copy)]
struct Steps {
    dims: Dims,
    direction: Direction,
}

impl Steps {
    fn of(tape: &Tape<Cpu>) -> Self {
        Self { dims: tape.dims(), direction: tape.direction() }
    }

    /// The group's rows in block `block` of a time-major matrix.
    fn rows(&self, block: usize, group: &Range<usize>) -> Range<usize> {
        let first = block * self.dims.batch_size;
        first + group.start..first + group.end
    }

    /// The group's rows of a state matrix before and after step `t`.
    fn states(&self, t: usize, group: &Range<usize>) -> [Range<usize>; 2] {
        let blocks = match self.direction {
            Direction::Forward => [t, t + 1],
            Direction::Reverse => [t + 1, t],
        };
        blocks.map(|block| self.rows(block, group))
    }
}

/// The forward pass, shared by the groups.
struct Forward<'a> {
    isa: Isa,
    cell: &'a dyn FusedCell,
    weights: &'a PackedWeights,
    input: Input<'a, Cpu>,
    steps: Steps,
    strides: Strides,
    gates: SharedRows<'a>,
    hidden: SharedRows<'a>,
    cell_state: SharedRows<'a>,
    candidate: SharedRows<'a>,
    starts: Option<ForwardStarts<'a>>,
}

/// [`Starts`] while groups run their steps.
struct ForwardStarts<'a> {
    mask: &'a [u32],
    hidden: SharedRows<'a>,
    cell_state: SharedRows<'a>,
}

impl Forward<'_> {
    fn step(&self, t: usize, group: &Range<usize>) {
        let Self { isa, weights, input, strides, .. } = *self;
        let [before, after] = self.steps.states(t, group);
        let rows = self.steps.rows(t, group);
        let context = ForwardContext { isa, strides, weights, input, rows: rows.clone() };
        // SAFETY: groups are disjoint ranges of the batch, so no other task accesses these rows
        let hidden_before = unsafe { self.hidden.rows_mut(before.clone()) };
        // SAFETY: the same rows of another matrix
        let cell_before = unsafe { self.cell_state.rows_mut(before) };
        if let Some(starts) = &self.starts {
            let flags = &starts.mask[rows.clone()];
            zero_rows(flags, hidden_before, strides.state);
            zero_rows(flags, cell_before, strides.state);
        }
        // SAFETY: as above, and within this task the states before and after a step are different blocks
        let step = unsafe {
            ForwardStep {
                context,
                gates: self.gates.rows_mut(rows.clone()),
                hidden_before,
                hidden: self.hidden.rows_mut(after.clone()),
                cell_before,
                cell: self.cell_state.rows_mut(after.clone()),
                candidate: self.candidate.rows_mut(rows.clone()),
            }
        };
        self.cell.forward(step);
        if let Some(starts) = &self.starts {
            // SAFETY: as above; the step has returned the states after it
            unsafe {
                starts.hidden.rows_mut(rows.clone()).copy_from_slice(self.hidden.rows_mut(after.clone()));
                starts.cell_state.rows_mut(rows).copy_from_slice(self.cell_state.rows_mut(after));
            }
        }
    }
}

/// Sets the rows whose flag is not 0 to zero.
fn zero_rows(flags: &[u32], rows: &mut [f32], stride: usize) {
    let rows = rows.chunks_exact_mut(stride).zip(flags);
    rows.filter(|&(_, &flag)| flag != 0).for_each(|(row, _)| row.fill(0.0));
}

/// The backward pass, shared by the groups.
struct Backward<'a> {
    isa: Isa,
    cell: &'a dyn FusedCell,
    weights: &'a PackedWeights,
    tape: &'a Tape<Cpu>,
    steps: Steps,
    strides: Strides,
    initial_state: bool,
    output: View<'a, Cpu>,
    /// The tape's gates, if the cell stores any; after each step, their gradients.
    gates: SharedRows<'a>,
    grad_candidate: SharedRows<'a>,
    grad_hidden: GroupedRows<'a>,
    grad_cell: SharedRows<'a>,
    scratch: SharedRows<'a>,
}

impl Backward<'_> {
    fn step(&self, t: usize, group: &Range<usize>) {
        let Self { isa, weights, strides, tape, .. } = *self;
        let [before, _] = self.steps.states(t, group);
        let rows = self.steps.rows(t, group);
        // only the initial state is before the first step
        let needs_previous = self.initial_state || t != self.steps.direction.first(self.steps.dims.num_steps);
        let context = BackwardContext { isa, strides, weights, m: group.len(), needs_previous };
        let Tape { hidden, cell, candidate, .. } = tape;
        // SAFETY: groups are disjoint ranges of the batch, so no other task accesses these rows
        let step = unsafe {
            BackwardStep {
                context,
                gates: self.gates.rows_mut(rows.clone()),
                hidden_before: rows_of(&hidden.view(), before.clone()),
                hidden: rows_of(&tape.output(), rows.clone()),
                cell_before: rows_of(&cell.view(), before),
                cell: rows_of(&tape.cell_output(), rows.clone()),
                candidate: rows_of(&candidate.view(), rows.clone()),
                grad_hidden: self.grad_hidden.rows_mut(group),
                grad_cell: self.grad_cell.rows_mut(group.clone()),
                grad_candidate: self.grad_candidate.rows_mut(rows.clone()),
                scratch: self.scratch.rows_mut(group.clone()),
            }
        };
        isa.run(AddRows { rows: self.output.rows(rows.clone()), out: step.grad_hidden, stride: strides.state });
        self.cell.backward(step);
        if let Some(starts) = Starts::enabled(&tape.starts) {
            let flags = &starts.mask[rows];
            // SAFETY: as above; the step has returned the gradients of the state before it
            let [hidden, cell] = unsafe { [self.grad_hidden.rows_mut(group), self.grad_cell.rows_mut(group.clone())] };
            zero_rows(flags, hidden, strides.state);
            zero_rows(flags, cell, strides.state);
        }
    }
}

/// `out += rows`; the rows may be a block of columns, as half of a bidirectional layer's output is.
struct AddRows<'a> {
    rows: View<'a, Cpu>,
    out: &'a mut [f32],
    /// Distance between rows of `out`.
    stride: usize,
}

impl Kernel for AddRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let layout = self.rows.layout;
        let rows = self.rows.buffer[layout.span()].chunks(layout.stride);
        for (out, row) in self.out.chunks_exact_mut(self.stride).zip(rows) {
            out.iter_mut().zip(row).for_each(|(out, value)| *out += value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rows_per_group;

    #[test]
    fn groups_have_equal_sizes_and_their_number_is_a_multiple_of_the_threads() {
        // (batch_size, threads) → rows of a group
        let cases = [
            ((32, 1), 32),
            ((32, 2), 16),
            ((20, 2), 10),
            ((32, 8), 4),
            ((32, 16), 2),
            ((32, 64), 2),
            ((1, 2), 2),
            // four groups of 25, where groups of 32 would leave one of 4
            ((100, 2), 25),
            ((20, 8), 3),
            ((256, 2), 32),
        ];
        for ((batch_size, threads), expected) in cases {
            assert_eq!(rows_per_group(batch_size, threads), expected, "{batch_size} rows on {threads} threads");
        }
    }
}
