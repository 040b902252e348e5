//! The cases of recurrent layers: sizes on both sides of every block size, and random values for them.
//!
//! Every cell has cases with T in {1, 2, 35}, N in {1, 3, 32, 70}, H in {1, 7, 8, 9, 33, 64, 128, 256, 515}, V in
//! {2, 28, 1000} and D other than H; zero and non-zero initial states; gates saturated at ±40; a NaN; several minibatches;
//! and sequences that start inside a minibatch.

use rnnlm_rnn::{Cell, Nonlinearity, StackConfig};

use crate::Result;
use crate::device::{Features, StackInputs};
use crate::draw::Draw;
use crate::perturb::Perturbation;

/// The lowest layer's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// **D** features.
    Dense(usize),
    /// Ids below **V**, as one-hot rows.
    OneHot(usize),
}

/// The special condition of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A random initial state.
    State,
    /// A zero initial state.
    ZeroState,
    /// Two of three units have pre-activations near +40 and −40.
    Saturated,
    /// One input value of one row is NaN.
    Nan,
    /// Sequences that start inside the minibatch, some of them at the first step.
    Starts,
    /// Sequences that start inside the minibatch, none of them at the first step.
    LateStarts,
    /// Three minibatches with the state carried between them; the last one is compared.
    Carried,
}

/// One case of recurrent layers.
#[derive(Clone, Copy, Debug)]
pub struct StackCase {
    /// The cell.
    pub cell: Cell,
    /// **T**.
    pub num_steps: usize,
    /// **N**.
    pub batch_size: usize,
    /// **D** or **V**.
    pub width: Width,
    /// **H**.
    pub hidden_size: usize,
    /// **L**.
    pub num_layers: usize,
    /// Whether there are reverse layers.
    pub bidirectional: bool,
    /// The special condition.
    pub condition: Condition,
}

/// The unit that perturbations change. In every case it is neither inactive nor saturated.
const PROBED_UNIT: usize = 0;

/// T, N, width, H, L, bidirectional, condition.
type Sizes = (usize, usize, Width, usize, usize, bool, Condition);

const SIZES: [Sizes; 20] = [
    (1, 1, Width::Dense(3), 1, 1, false, Condition::State),
    (2, 3, Width::Dense(5), 7, 1, false, Condition::State),
    (35, 1, Width::OneHot(2), 8, 1, false, Condition::ZeroState),
    (2, 32, Width::Dense(4), 9, 1, false, Condition::State),
    (35, 3, Width::OneHot(28), 33, 1, false, Condition::State),
    (1, 32, Width::OneHot(1000), 64, 1, false, Condition::ZeroState),
    (2, 3, Width::Dense(28), 256, 1, false, Condition::State),
    (35, 32, Width::OneHot(28), 256, 1, false, Condition::State), // the book's example
    (2, 3, Width::Dense(4), 515, 1, false, Condition::State),     // more units than the CPU computes gates of at a time
    (35, 3, Width::Dense(5), 8, 1, false, Condition::Saturated),
    (35, 3, Width::Dense(5), 9, 1, false, Condition::Nan),
    (2, 3, Width::OneHot(28), 33, 1, false, Condition::Carried),
    (2, 3, Width::Dense(5), 7, 2, false, Condition::State),
    (35, 3, Width::OneHot(2), 8, 2, true, Condition::State),
    (35, 3, Width::Dense(5), 9, 1, false, Condition::Starts),
    (35, 3, Width::OneHot(28), 8, 2, false, Condition::Starts),
    (35, 3, Width::OneHot(2), 33, 1, false, Condition::LateStarts),
    (2, 32, Width::Dense(4), 7, 2, false, Condition::LateStarts),
    (35, 70, Width::OneHot(28), 7, 1, false, Condition::Starts), // several groups of rows on the CPU
    MANY_ROWS,
];

/// A batch that is divided differently among two and three threads.
const MANY_ROWS: Sizes = (2, 70, Width::OneHot(28), 128, 1, false, Condition::State);

impl StackCase {
    /// Every case of a cell. The fused path of a GPU has no kernel for a GRU with the reset gate before the matrix
    /// multiplication and more than 256 units.
    pub fn all(cell: Cell) -> Vec<Self> {
        let is_supported = |case: &Self| cell != Cell::Gru { reset_after: false } || case.hidden_size <= 256;
        SIZES.into_iter().map(|sizes| Self::of(cell, sizes)).filter(is_supported).collect()
    }

    /// The case with enough rows to be divided differently among two and three threads.
    pub fn many_rows(cell: Cell) -> Self {
        Self::of(cell, MANY_ROWS)
    }

    fn of(cell: Cell, sizes: Sizes) -> Self {
        let (num_steps, batch_size, width, hidden_size, num_layers, bidirectional, condition) = sizes;
        Self { cell, num_steps, batch_size, width, hidden_size, num_layers, bidirectional, condition }
    }

    /// A layer that is too large for the persistent kernel of a GPU, which runs all steps in one launch.
    pub fn beyond_one_launch(cell: Cell) -> Self {
        Self {
            cell,
            num_steps: 2,
            batch_size: 3,
            width: Width::Dense(5),
            hidden_size: if cell.num_gates() == 1 { 513 } else { 257 },
            num_layers: 1,
            bidirectional: true,
            condition: Condition::State,
        }
    }

    /// Layers for the multi-block persistent kernels of a GPU with 19 multiprocessors: a partial last slice, a partial last
    /// wave and group of rows, two waves, two layers, several launches. For cells with gates also enough rows that a GPU with
    /// 38 multiprocessors uses wide slices, in waves of both sizes. Empty for a cell without such kernels.
    pub fn multi_block(cell: Cell) -> Vec<Self> {
        let (few_slices, many_slices) = match cell {
            Cell::Rnn(_) => (257, 513),
            Cell::Gru { reset_after: true } | Cell::Lstm => (150, 257),
            _ => return Vec::new(),
        };
        let narrow = [
            (3, 3, Width::Dense(5), few_slices, 1, true, Condition::State),
            (3, 1, Width::OneHot(2), few_slices, 2, false, Condition::Carried),
            (2, 7, Width::Dense(5), many_slices, 1, false, Condition::State),
        ];
        let wide = [
            (2, 9, Width::Dense(5), 257, 1, true, Condition::State),
            (2, 16, Width::Dense(5), 300, 1, false, Condition::State),
        ];
        let wide = wide.into_iter().filter(|_| cell.num_gates() > 1);
        narrow.into_iter().chain(wide).map(|sizes| Self::of(cell, sizes)).collect()
    }

    /// The last of [`StackCase::multi_block`] with so many rows that a GPU with 132 multiprocessors uses wide slices, in waves
    /// of both sizes, and with more rows than the multi-block kernels take.
    pub fn crowded(cell: Cell) -> Vec<Self> {
        let last = Self::multi_block(cell).into_iter().last();
        last.into_iter().flat_map(|case| [33, 65, 257].map(|batch_size| Self { batch_size, ..case })).collect()
    }

    /// The sizes as text for the table.
    pub fn shape(&self) -> String {
        let (letter, width) = match self.width {
            Width::Dense(d) => ('D', d),
            Width::OneHot(v) => ('V', v),
        };
        let mut shape = format!("T{} N{} {letter}{width} H{}", self.num_steps, self.batch_size, self.hidden_size);
        if self.num_layers > 1 {
            shape.push_str(&format!(" L{}", self.num_layers));
        }
        if self.bidirectional {
            shape.push_str(" bidirectional");
        }
        shape.push_str(match self.condition {
            Condition::State => "",
            Condition::ZeroState => " zero state",
            Condition::Saturated => " saturated",
            Condition::Nan => " NaN",
            Condition::Carried => " 3 minibatches",
            Condition::Starts => " starts",
            Condition::LateStarts => " late starts",
        });
        shape
    }

    /// The sizes as a [`StackConfig`].
    pub fn config(&self) -> StackConfig {
        let (Width::Dense(input_size) | Width::OneHot(input_size)) = self.width;
        let (hidden_size, num_layers, bidirectional) = (self.hidden_size, self.num_layers, self.bidirectional);
        StackConfig { cell: self.cell, input_size, hidden_size, num_layers, bidirectional, residual: false }
    }

    /// Whether sequences start inside the minibatch.
    pub fn has_starts(&self) -> bool {
        matches!(self.condition, Condition::Starts | Condition::LateStarts)
    }

    /// The number of hidden values, T·N·H: a measure of the time a case takes.
    pub fn volume(&self) -> usize {
        self.num_steps * self.batch_size * self.hidden_size
    }

    /// Draws all values; the same ones in every call.
    ///
    /// # Errors
    /// If the sizes are invalid.
    pub fn draw(&self) -> Result<StackInputs> {
        let mut draw = Draw::new(0x5EED);
        let config = self.config();
        let (rows, states) = (self.num_steps * self.batch_size, config.num_directions() * self.num_layers);
        let states = states * self.batch_size * self.hidden_size;
        let minibatches = if self.condition == Condition::Carried { 3 } else { 1 };
        let start = if self.condition == Condition::ZeroState { 0.0 } else { 1.0 };
        let mut inputs = StackInputs {
            config,
            num_steps: self.num_steps,
            batch_size: self.batch_size,
            parameters: self.parameters(&mut draw)?,
            minibatches: (0..minibatches).map(|_| self.features(rows, &mut draw)).collect(),
            hidden: draw.uniform(states, start),
            cell: draw.uniform(if self.cell.storage().cell_state { states } else { 0 }, start),
            grad_output: draw.uniform(rows * config.output_size(), 1.0),
            starts: Vec::new(),
            carries_state: true,
        };
        if self.has_starts() {
            inputs.starts = self.starts(&mut draw);
        }
        if let (Condition::Nan, Features::Dense(x)) = (self.condition, &mut inputs.minibatches[0]) {
            x[nan_index(rows, config.input_size)] = f32::NAN;
        }
        Ok(inputs)
    }

    /// A quarter of all rows. Row 1 also starts at the second step, and at the first one if any row does; row 0 does not, so
    /// that it reads its initial state.
    fn starts(&self, draw: &mut Draw) -> Vec<bool> {
        let n = self.batch_size;
        let mut starts: Vec<bool> = draw.ids(self.num_steps * n, 4).iter().map(|&id| id == 0).collect();
        starts[..n].fill(false);
        if self.condition == Condition::Starts {
            starts[..n].iter_mut().skip(1).step_by(3).for_each(|start| *start = true);
        }
        starts[n + 1] = true;
        starts
    }

    fn features(&self, rows: usize, draw: &mut Draw) -> Features {
        match self.width {
            Width::Dense(d) => Features::Dense(draw.uniform(rows * d, 1.0)),
            Width::OneHot(v) => Features::OneHot(draw.ids(rows, v)),
        }
    }

    /// PyTorch's `U(−1/√H, 1/√H)`, plus the biases of the case's condition.
    fn parameters(&self, draw: &mut Draw) -> Result<Vec<f32>> {
        let (_, layout) = crate::device::layout(self.config())?;
        let h = self.hidden_size;
        let avoids_kink = self.avoids_kink();
        let bound = if avoids_kink { 0.25 } else { 1.0 } / (h as f32).sqrt();
        let mut parameters = draw.uniform(layout.len(), bound);
        for spec in layout.specs().iter().filter(|spec| spec.name.starts_with("rnn.bias_ih")) {
            for (index, bias) in parameters[spec.range()].iter_mut().enumerate() {
                let (gate, unit) = (index / h, index % h);
                *bias += match (self.condition, unit % 3) {
                    _ if avoids_kink => 1.5 * sign(unit),
                    (_, PROBED_UNIT) if self.cell == Cell::Rnn(Nonlinearity::Relu) => 1.0,
                    (Condition::Saturated, 1 | 2) => 40.0 * sign(unit + gate),
                    _ => 0.0,
                };
            }
        }
        Ok(parameters)
    }

    /// Whether all pre-activations are kept away from zero, where ReLU is not differentiable. Among thousands of them some
    /// would otherwise be within a rounding error of zero, and paths and finite differences could differ without an error.
    fn avoids_kink(&self) -> bool {
        self.cell == Cell::Rnn(Nonlinearity::Relu) && self.volume() > 1000
    }
}

fn sign(index: usize) -> f32 {
    if index.is_multiple_of(2) { 1.0 } else { -1.0 }
}

/// Adds or removes the start of row 0 at the second step.
pub(crate) fn flip_start(starts: &mut [bool], batch_size: usize) {
    starts[batch_size] = !starts[batch_size];
}

/// The index of the first feature of row 1 at a step in the second quarter.
fn nan_index(rows: usize, width: usize) -> usize {
    (rows / 4 / 3 * 3 + 1) * width
}

impl StackInputs {
    /// Applies a perturbation. `Nan` sets a value of the last minibatch's dense input, or of the state, to NaN, or replaces a
    /// NaN there.
    ///
    /// # Errors
    /// If the sizes are invalid.
    pub fn perturb(&mut self, perturbation: Perturbation) -> Result<()> {
        let width = self.config.input_size;
        let last = self.minibatches.len() - 1;
        match (perturbation, &mut self.minibatches[last]) {
            (Perturbation::StateDropped, _) => self.carries_state = false,
            (Perturbation::Start, _) => flip_start(&mut self.starts, self.batch_size),
            (Perturbation::Sign, _) => self.grad_output[PROBED_UNIT] *= -1.0,
            (Perturbation::Nan, Features::Dense(x)) => {
                let value =
                    &mut x[if self.num_steps > 4 { nan_index(self.num_steps * self.batch_size, width) } else { 0 }];
                *value = if value.is_nan() { 0.5 } else { f32::NAN };
            }
            (Perturbation::Nan, Features::OneHot(_)) => self.hidden[PROBED_UNIT] = f32::NAN,
            (Perturbation::FirstStep | Perturbation::Input | Perturbation::Id, Features::Dense(x)) => x[0] += 0.25,
            (Perturbation::FirstStep | Perturbation::Input | Perturbation::Id, Features::OneHot(ids)) => {
                ids[0] = (ids[0] + 1) % width as u32;
            }
            _ => self.change_bias()?,
        }
        Ok(())
    }

    /// Changes one recurrent bias of the lowest layer's last gate.
    fn change_bias(&mut self) -> Result<()> {
        let (_, layout) = crate::device::layout(self.config)?;
        let gate = self.config.cell.num_gates() - 1;
        let biases = ["rnn.bias_ih_l0", "rnn.bias_hh_l0"];
        if let Some(spec) = layout.specs().iter().rfind(|spec| biases.contains(&spec.name.as_str())) {
            self.parameters[spec.range().start + gate * self.config.hidden_size + PROBED_UNIT] += 0.03;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_cases_have_all_documented_sizes() {
        let set = |of: fn(&Sizes) -> Option<usize>| SIZES.iter().filter_map(of).collect::<BTreeSet<_>>();
        assert_eq!(set(|sizes| Some(sizes.0)), [1, 2, 35].into());
        assert_eq!(set(|sizes| Some(sizes.1)), [1, 3, 32, 70].into());
        assert_eq!(set(|sizes| Some(sizes.3)), [1, 7, 8, 9, 33, 64, 128, 256, 515].into());
        let vocab_size = |sizes: &Sizes| match sizes.2 {
            Width::OneHot(v) => Some(v),
            Width::Dense(_) => None,
        };
        assert_eq!(set(vocab_size), [2, 28, 1000].into());
        assert!(SIZES.iter().all(|sizes| !matches!(sizes.2, Width::Dense(d) if d == sizes.3)));
        for condition in [
            Condition::State,
            Condition::ZeroState,
            Condition::Saturated,
            Condition::Nan,
            Condition::Carried,
            Condition::Starts,
            Condition::LateStarts,
        ] {
            assert!(SIZES.iter().any(|sizes| sizes.6 == condition), "{condition:?}");
        }
    }

    #[test]
    fn the_nan_is_in_the_second_row() {
        let inputs = StackCase::all(Cell::Lstm)
            .into_iter()
            .find(|case| case.condition == Condition::Nan)
            .unwrap()
            .draw()
            .unwrap();
        let Features::Dense(x) = &inputs.minibatches[0] else { panic!("dense input") };
        let indices: Vec<usize> = (0..x.len()).filter(|&index| x[index].is_nan()).collect();
        assert_eq!(indices, [nan_index(105, 5)]);
        assert_eq!(indices[0] / 5 % 3, 1);
    }
}
