//! The CPU's fused path. The rows of a minibatch are independent through time, so each group of rows runs through all
//! steps on its own, forward and then backward, without waiting for another; between two products stands the cell's
//! pointwise part (`elman/cpu.rs`, `gru/cpu.rs`, `lstm/cpu.rs`). Weights are laid out anew once an update, in both
//! directions, so that every product reads rows.
//!
//! The arithmetic of a row, or of a pair of neighbours where they are multiplied together, does not depend on the group
//! that it falls into, so the size of the groups may follow the number of threads, and between two steps half of a group may
//! go to a thread that has none left (`rnnlm_tensor::cpu::shares`); no bit does. What sums over rows (`∂W`, `∂b`) is done
//! afterwards, in one order.

mod rows;
mod weights;

use std::ops::Range;

use rayon::prelude::*;
use rnnlm_tensor::cpu::product::{Onto, Rows};
use rnnlm_tensor::cpu::{Isa, Kernel, Lanes, shares};
use rnnlm_tensor::{Backend, Cpu, Tensor, View};

use self::rows::{OwnRows, SharedRows, rows_of};
use self::weights::LaidOut;
use super::{Gradients, Pass, Recurrence, reference};
use crate::{Cell, Dims, Input, Layer, Result, Tape, elman, gru, lstm};

/// Rows that a group has at the least, where there are enough, and at the most: fewer would read the weights for too
/// little arithmetic, and 32 rows pass a weight that is too large for the second-level cache before the next group reads
/// it again.
const GROUP: [usize; 2] = [2, 32];
/// Units whose gates a cell's part of the backward pass copies at a time before gradients take their place: a row, mostly, that
/// is near then.
pub(crate) const ABREAST: usize = 512;

/// How wide the rows of a pass are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widths {
    /// **H**.
    pub(crate) hidden_size: usize,
    /// Distance between rows of hidden and cell states, of a GRU's candidates, and of gradients of all these; of an Elman cell's
    /// gate too.
    pub(crate) state: usize,
    /// Distance between rows of the gates on the tape, and of their gradients.
    pub(crate) gates: usize,
}

impl Widths {
    fn of(tape: &Tape<Cpu>) -> Self {
        let stride = |tensor: &Tensor<Cpu>| tensor.view().layout.stride;
        Self { hidden_size: tape.dims().hidden_size, state: stride(&tape.hidden), gates: stride(&tape.gates) }
    }
}

/// How many rows a group has, so that all threads have as much to do. An even number: some products take rows in pairs.
fn rows_per_group(batch_size: usize, threads: usize) -> usize {
    let [least, most] = GROUP;
    batch_size.div_ceil(batch_size.div_ceil(most).next_multiple_of(threads)).max(least).next_multiple_of(2)
}

/// Laid-out weights and the way rows are shared out.
#[derive(Debug)]
pub struct CpuPlan {
    isa: Isa,
    weights: LaidOut,
    /// ∂loss/∂(hidden state) on its way back, a group's rows far from another's.
    hidden: Tensor<Cpu>,
    rows_per_group: usize,
}

impl Recurrence for Cpu {
    type Plan = CpuPlan;

    fn plan(&self, layer: &Layer, dims: Dims) -> Result<Option<CpuPlan>> {
        let rows_per_group = rows_per_group(dims.batch_size, self.threads());
        let weights = LaidOut::new(self, layer, dims.batch_size);
        let hidden = OwnRows::memory(self, rows_per_group, [dims.batch_size, dims.hidden_size])?;
        Ok(Some(CpuPlan { isa: self.isa(), weights, hidden, rows_per_group }))
    }

    fn fused_forward(&self, plan: &mut CpuPlan, pass: &Pass<'_, Self>, tape: &mut Tape<Self>) -> Result<()> {
        if let Input::OneHot(ids) = pass.input {
            check_ids(ids, pass.layer.input_size)?;
        }
        self.run(|| plan.weights.refresh(pass));
        if let Input::Dense(x) = pass.input {
            self.run(|| plan.weights.project(x, tape.pre_activations()));
        }
        let dims = tape.dims();
        let CpuPlan { isa, weights, rows_per_group, .. } = plan;
        let forward = Forward {
            isa: *isa,
            weights,
            pass,
            steps: Steps::of(tape),
            widths: Widths::of(tape),
            gates: SharedRows::new(&mut tape.gates),
            hidden: SharedRows::new(&mut tape.hidden),
            cell: SharedRows::new(&mut tape.cell),
            candidate: SharedRows::new(&mut tape.candidate),
        };
        let step = |before, group: &_| forward.step(forward.steps.direction.step(before, dims.num_steps), group);
        self.run(|| for_each_step(pass.layer.cell, dims, *rows_per_group, step));
        Ok(())
    }

    fn fused_backward(
        &self,
        plan: &mut CpuPlan,
        pass: &Pass<'_, Self>,
        tape: &mut Tape<Self>,
        mut gradients: Gradients<'_, Self>,
    ) -> Result<()> {
        let dims = tape.dims();
        let CpuPlan { isa, weights, hidden, rows_per_group } = plan;
        let adjoint = &mut *gradients.adjoint;
        // gates become gradients where they stand: the lines of another matrix would have to come first, to be overwritten
        if tape.gates.shape()[1] > 0 {
            std::mem::swap(&mut tape.gates, &mut adjoint.gates);
        }
        let tape = &*tape;
        OwnRows::each_row(hidden, *rows_per_group, &mut adjoint.hidden, |own, given| own.copy_from_slice(given));
        let backward = Backward {
            isa: *isa,
            weights,
            cell: pass.layer.cell,
            tape,
            widths: Widths::of(tape),
            initial_state: gradients.initial_state,
            output: gradients.output,
            gates: SharedRows::new(&mut adjoint.gates),
            candidate: SharedRows::new(&mut adjoint.candidate),
            hidden: OwnRows::new(hidden, *rows_per_group),
            cell_state: SharedRows::new(&mut adjoint.cell),
            scratch: SharedRows::new(&mut adjoint.scratch),
        };
        let steps = Steps::of(tape);
        let step = |before, group: &_| {
            // the last step first
            let t = steps.direction.step(dims.num_steps - 1 - before, dims.num_steps);
            backward.step(&steps, t, group);
        };
        self.run(|| for_each_step(pass.layer.cell, dims, *rows_per_group, step));
        if gradients.initial_state {
            OwnRows::each_row(hidden, *rows_per_group, &mut adjoint.hidden, |own, wanted| wanted.copy_from_slice(own));
        }
        self.run(|| reference::parameter_gradients(self, pass, tape, &mut gradients))
    }
}

/// An error unless every id names a column of the one-hot input.
fn check_ids(ids: &[u32], bound: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= bound) {
        Some(&id) => Err(rnnlm_tensor::Error::IdOutOfRange { op: "one-hot input", id, bound }.into()),
        None => Ok(()),
    }
}

/// All steps of all rows, group by group: `step` is told how many steps come before one, and its rows.
fn for_each_step(cell: Cell, dims: Dims, rows_per_group: usize, step: impl Fn(usize, &Range<usize>) + Sync) {
    let Dims { batch_size, num_steps, hidden_size, .. } = dims;
    let groups = (0..batch_size.div_ceil(rows_per_group)).into_par_iter();
    let groups = groups.map(|index| index * rows_per_group..((index + 1) * rows_per_group).min(batch_size));
    let work = cell.num_gates() * hidden_size * hidden_size;
    shares::walk(groups, rows_per_group, num_steps, work, |index, group| step(index, group));
}

/// Where a group's rows of each step stand; a copy of what the tape knows, free of its borrow.
#[derive(Clone, Copy)]
struct Steps {
    dims: Dims,
    direction: crate::Direction,
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

    /// The blocks of a state matrix before and after step `t`.
    fn states(&self, t: usize) -> [usize; 2] {
        match self.direction {
            crate::Direction::Forward => [t, t + 1],
            crate::Direction::Reverse => [t + 1, t],
        }
    }
}

/// The forward pass, shared by the groups.
struct Forward<'a> {
    isa: Isa,
    weights: &'a LaidOut,
    pass: &'a Pass<'a, Cpu>,
    steps: Steps,
    widths: Widths,
    gates: SharedRows<'a>,
    hidden: SharedRows<'a>,
    cell: SharedRows<'a>,
    candidate: SharedRows<'a>,
}

impl Forward<'_> {
    fn step(&self, t: usize, group: &Range<usize>) {
        let Self { isa, weights, steps, widths, .. } = *self;
        let (m, hidden_size) = (group.len(), widths.hidden_size);
        let [before, after] = steps.states(t);
        let now = steps.rows(t, group);
        // SAFETY: groups are disjoint ranges of the batch, so no other task touches these rows, and within this one the
        // state before a step and the state after it are different blocks
        let (gates, h_before, hidden, candidate) = unsafe {
            (
                self.gates.rows_mut(now.clone()),
                &*self.hidden.rows_mut(steps.rows(before, group)),
                self.hidden.rows_mut(steps.rows(after, group)),
                self.candidate.rows_mut(now.clone()),
            )
        };
        let rows = Rows { values: h_before, row_stride: widths.state, col_stride: 1 };
        match self.pass.layer.cell {
            Cell::Rnn(phi) => {
                let onto = weights.onto(self.pass.input, now, 0);
                weights.recurrent[0].forward.multiply(m, rows, hidden, widths.state, onto);
                elman::cpu::forward(isa, phi.activation(), hidden);
            }
            Cell::Lstm => {
                let onto = weights.onto(self.pass.input, now, 0);
                weights.recurrent[0].forward.multiply(m, rows, gates, widths.gates, onto);
                // SAFETY: these rows belong to this group alone, and the two blocks differ
                let (c_before, c) = unsafe {
                    (&*self.cell.rows_mut(steps.rows(before, group)), self.cell.rows_mut(steps.rows(after, group)))
                };
                isa.run(lstm::cpu::Forward { gates, c_before, c, h: hidden, widths });
            }
            Cell::Gru { reset_after } => {
                let onto = weights.onto(self.pass.input, now.clone(), 0);
                weights.recurrent[0].forward.multiply(m, rows, gates, widths.gates, onto);
                isa.run(gru::cpu::ResetUpdate { gates, h_before, m: candidate, reset_after, widths });
                let new = &weights.recurrent[1].forward;
                if reset_after {
                    weights.look_up(self.pass.input, now, 2 * hidden_size..3 * hidden_size, gates, widths.gates);
                    new.multiply(m, rows, candidate, widths.state, Onto::Row(&weights.candidate_bias));
                } else {
                    let rows = Rows { values: candidate, ..rows };
                    let onto = weights.onto(self.pass.input, now, 2 * hidden_size);
                    new.multiply(m, rows, &mut gates[2 * hidden_size..], widths.gates, onto);
                }
                isa.run(gru::cpu::Finish { gates, h_before, m: candidate, h: hidden, reset_after, widths });
            }
        }
    }
}

/// The backward pass, shared by the groups.
struct Backward<'a> {
    isa: Isa,
    weights: &'a LaidOut,
    cell: Cell,
    tape: &'a Tape<Cpu>,
    widths: Widths,
    initial_state: bool,
    output: View<'a, Cpu>,
    /// The tape's, of a cell that has any; where a step has been, their gradients.
    gates: SharedRows<'a>,
    candidate: SharedRows<'a>,
    hidden: OwnRows<'a>,
    cell_state: SharedRows<'a>,
    scratch: SharedRows<'a>,
}

impl Backward<'_> {
    fn step(&self, steps: &Steps, t: usize, group: &Range<usize>) {
        let Self { isa, weights, widths, .. } = *self;
        let (m, hidden_size) = (group.len(), widths.hidden_size);
        let [before, after] = steps.states(t).map(|block| steps.rows(block, group));
        let now = steps.rows(t, group);
        // SAFETY: groups are disjoint ranges of the batch, so no other task touches these rows
        let (gates, dm, dh, scratch) = unsafe {
            (
                self.gates.rows_mut(now.clone()),
                self.candidate.rows_mut(now.clone()),
                self.hidden.rows_mut(group),
                self.scratch.rows_mut(group.clone()),
            )
        };
        isa.run(AddRows { rows: self.output.rows(now.clone()), out: dh, stride: widths.state });
        let hidden = self.tape.hidden.view();
        // nothing comes before the first step but the initial state
        let goes_on = self.initial_state || t != steps.direction.first(steps.dims.num_steps);
        let product = |wanted, part: usize, values: &[f32], row_stride: usize, out: &mut [f32], onto: Onto<'_>| {
            if wanted {
                let (weight, rows) = (&weights.recurrent[part].backward, Rows { values, row_stride, col_stride: 1 });
                weight.multiply(m, rows, out, widths.state, onto);
            }
        };
        match self.cell {
            Cell::Rnn(phi) => {
                let h = rows_of(&hidden, after);
                isa.run(elman::cpu::Backward { activation: phi.activation(), h, dh, dz: gates });
                product(goes_on, 0, gates, widths.state, dh, Onto::Nothing);
            }
            Cell::Lstm => {
                let cell = self.tape.cell.view();
                let (c_before, c) = (rows_of(&cell, before), rows_of(&cell, after));
                // SAFETY: these rows belong to this group alone
                let dc = unsafe { self.cell_state.rows_mut(group.clone()) };
                isa.run(lstm::cpu::Backward { gates, c_before, c, dh, dc, widths });
                product(goes_on, 0, gates, widths.gates, dh, Onto::Nothing);
            }
            Cell::Gru { reset_after } => {
                let candidate = self.tape.candidate.view();
                let h_before = rows_of(&hidden, before);
                let m = rows_of(&candidate, now);
                isa.run(gru::cpu::Backward { gates, h_before, m, dh, dm, reset_after, widths });
                if reset_after {
                    product(goes_on, 1, dm, widths.state, dh, Onto::Output);
                } else {
                    product(true, 1, &gates[2 * hidden_size..], widths.gates, scratch, Onto::Nothing);
                    isa.run(gru::cpu::BackwardResetBefore { gates, h_before, dm: scratch, dh, widths });
                }
                product(goes_on, 0, gates, widths.gates, dh, Onto::Output);
            }
        }
    }
}

/// `out += rows`, where the rows may have gaps: half of a bidirectional layer's output.
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
    fn groups_are_of_one_even_size_and_as_many_as_threads_or_a_multiple() {
        // (batch_size, threads) → rows of a group
        let cases = [
            ((32, 1), 32),
            ((32, 2), 16),
            ((20, 2), 10),
            ((32, 8), 4),
            ((32, 16), 2),
            ((32, 64), 2),
            ((1, 2), 2),
            // four groups of about 25, where as many as fit would be three of 32 and one of 4
            ((100, 2), 26),
            ((20, 8), 4),
            ((256, 2), 32),
        ];
        for ((batch_size, threads), expected) in cases {
            assert_eq!(rows_per_group(batch_size, threads), expected, "{batch_size} rows on {threads} threads");
        }
    }
}
