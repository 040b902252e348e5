//! The cases of recurrent layers, beside the walk's stage 5: sizes chosen to hurt, and the values drawn for them.
//!
//! Every listed value occurs with every cell: T in {1, 2, 35}, N in {1, 3, 32, 70}, H in {1, 7, 8, 9, 33, 64, 128, 256}, V in
//! {2, 28, 1000}, D other than H; states that start at zero or not; gates driven to ±40; a NaN; several minibatches.

use rnnlm_rnn::{Cell, Nonlinearity, StackConfig};

use crate::Result;
use crate::device::{Features, StackInputs};
use crate::draw::Draw;
use crate::perturb::Perturbation;

/// What the lowest layer reads, by size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// **D** features.
    Dense(usize),
    /// Ids below **V**.
    OneHot(usize),
}

/// What is special about a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// A state that is not zero.
    State,
    /// A zero state.
    ZeroState,
    /// Two of three units have gates driven to +40 and −40.
    Saturated,
    /// One input of one row is not a number.
    Nan,
    /// Three minibatches, the state carried; only the last is compared.
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
    /// What is special about it.
    pub twist: Twist,
}

/// Which unit perturbations work on: it is alive and not saturated in every case.
const PROBED_UNIT: usize = 0;

/// T, N, width, H, L, bidirectional, twist.
type Line = (usize, usize, Width, usize, usize, bool, Twist);

const LINES: [Line; 15] = [
    (1, 1, Width::Dense(3), 1, 1, false, Twist::State),
    (2, 3, Width::Dense(5), 7, 1, false, Twist::State),
    (35, 1, Width::OneHot(2), 8, 1, false, Twist::ZeroState),
    (2, 32, Width::Dense(4), 9, 1, false, Twist::State),
    (35, 3, Width::OneHot(28), 33, 1, false, Twist::State),
    (1, 32, Width::OneHot(1000), 64, 1, false, Twist::ZeroState),
    (2, 3, Width::Dense(28), 256, 1, false, Twist::State),
    (35, 32, Width::OneHot(28), 256, 1, false, Twist::State), // the book's
    (2, 3, Width::Dense(4), 515, 1, false, Twist::State),     // more units than a CPU takes gates at a time
    (35, 3, Width::Dense(5), 8, 1, false, Twist::Saturated),
    (35, 3, Width::Dense(5), 9, 1, false, Twist::Nan),
    (2, 3, Width::OneHot(28), 33, 1, false, Twist::Carried),
    (2, 3, Width::Dense(5), 7, 2, false, Twist::State),
    (35, 3, Width::OneHot(2), 8, 2, true, Twist::State),
    IN_PAIRS,
];

/// A batch whose rows a CPU multiplies in pairs, and that two and three threads share out in different ways.
const IN_PAIRS: Line = (2, 70, Width::OneHot(28), 128, 1, false, Twist::State);

impl StackCase {
    /// Every case of a cell; of one with a second product within its step none that a GPU has no path for.
    pub fn all(cell: Cell) -> Vec<Self> {
        let is_for = |case: &Self| cell != Cell::Gru { reset_after: false } || case.hidden_size <= 256;
        LINES.into_iter().map(|line| Self::of(cell, line)).filter(is_for).collect()
    }

    /// The case whose rows a CPU multiplies in pairs.
    pub fn in_pairs(cell: Cell) -> Self {
        Self::of(cell, IN_PAIRS)
    }

    /// Whether it is that one.
    pub fn is_in_pairs(&self) -> bool {
        self.batch_size == IN_PAIRS.1
    }

    fn of(cell: Cell, line: Line) -> Self {
        let (num_steps, batch_size, width, hidden_size, num_layers, bidirectional, twist) = line;
        Self { cell, num_steps, batch_size, width, hidden_size, num_layers, bidirectional, twist }
    }

    /// A layer that is too large for a GPU's pass in one launch: by its units, or by the weights of its gates.
    pub fn beyond_one_launch(cell: Cell) -> Self {
        Self {
            cell,
            num_steps: 2,
            batch_size: 3,
            width: Width::Dense(5),
            hidden_size: if cell.num_gates() == 1 { 513 } else { 257 },
            num_layers: 1,
            bidirectional: true,
            twist: Twist::State,
        }
    }

    /// Layers that a GPU with 19 multiprocessors spreads over them: a last slice with few units, a last wave and a last group
    /// with few rows, two waves, two layers, several launches; with gates also so many rows that one with 38 multiprocessors
    /// takes wide slices, in waves of either size. None for a cell with a second product within its step.
    pub fn spread(cell: Cell) -> Vec<Self> {
        let (few_slices, many_slices) = match cell {
            Cell::Gru { reset_after: false } => return Vec::new(),
            Cell::Rnn(_) => (257, 513),
            Cell::Gru { .. } | Cell::Lstm => (150, 257),
        };
        let lines = [
            (3, 3, Width::Dense(5), few_slices, 1, true, Twist::State),
            (3, 1, Width::OneHot(2), few_slices, 2, false, Twist::Carried),
            (2, 7, Width::Dense(5), many_slices, 1, false, Twist::State),
        ];
        let wide = [
            (2, 9, Width::Dense(5), 257, 1, true, Twist::State),
            (2, 16, Width::Dense(5), 300, 1, false, Twist::State),
        ];
        let wide = wide.into_iter().filter(|_| cell.num_gates() > 1);
        lines.into_iter().chain(wide).map(|line| Self::of(cell, line)).collect()
    }

    /// Such a layer with so many rows that a GPU with 132 multiprocessors takes wide slices, in waves of either size, and with
    /// more than it is spread for on any.
    pub fn crowded(cell: Cell) -> Vec<Self> {
        let last = Self::spread(cell).into_iter().last();
        last.into_iter().flat_map(|case| [33, 65, 257].map(|batch_size| Self { batch_size, ..case })).collect()
    }

    /// The sizes, as the table shows them.
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
        shape.push_str(match self.twist {
            Twist::State => "",
            Twist::ZeroState => " zero state",
            Twist::Saturated => " saturated",
            Twist::Nan => " NaN",
            Twist::Carried => " 3 minibatches",
        });
        shape
    }

    /// The sizes, as the crates take them.
    pub fn config(&self) -> StackConfig {
        let (Width::Dense(input_size) | Width::OneHot(input_size)) = self.width;
        let (hidden_size, num_layers, bidirectional) = (self.hidden_size, self.num_layers, self.bidirectional);
        StackConfig { cell: self.cell, input_size, hidden_size, num_layers, bidirectional }
    }

    /// Rows of a sequence times units: how much there is to compute.
    pub fn volume(&self) -> usize {
        self.num_steps * self.batch_size * self.hidden_size
    }

    /// Draws every value; the same ones each time.
    ///
    /// # Errors
    /// If the sizes make no layer.
    pub fn draw(&self) -> Result<StackInputs> {
        let mut draw = Draw::new(0x5EED);
        let config = self.config();
        let (rows, states) = (self.num_steps * self.batch_size, config.num_directions() * self.num_layers);
        let states = states * self.batch_size * self.hidden_size;
        let minibatches = if self.twist == Twist::Carried { 3 } else { 1 };
        let start = if self.twist == Twist::ZeroState { 0.0 } else { 1.0 };
        let mut inputs = StackInputs {
            config,
            num_steps: self.num_steps,
            batch_size: self.batch_size,
            parameters: self.parameters(&mut draw)?,
            minibatches: (0..minibatches).map(|_| self.features(rows, &mut draw)).collect(),
            hidden: draw.uniform(states, start),
            cell: draw.uniform(if self.cell.has_cell_state() { states } else { 0 }, start),
            grad_output: draw.uniform(rows * config.output_size(), 1.0),
            carries_state: true,
        };
        if let (Twist::Nan, Features::Dense(x)) = (self.twist, &mut inputs.minibatches[0]) {
            x[nan_place(rows, config.input_size)] = f32::NAN;
        }
        Ok(inputs)
    }

    fn features(&self, rows: usize, draw: &mut Draw) -> Features {
        match self.width {
            Width::Dense(d) => Features::Dense(draw.uniform(rows * d, 1.0)),
            Width::OneHot(v) => Features::OneHot(draw.ids(rows, v)),
        }
    }

    /// PyTorch's `U(−1/√H, 1/√H)`, with what the case adds to the biases.
    fn parameters(&self, draw: &mut Draw) -> Result<Vec<f32>> {
        let (_, layout) = crate::device::layout(self.config())?;
        let h = self.hidden_size;
        let steered = self.is_steered_clear();
        let bound = if steered { 0.25 } else { 1.0 } / (h as f32).sqrt();
        let mut parameters = draw.uniform(layout.len(), bound);
        for spec in layout.specs().iter().filter(|spec| spec.name.starts_with("rnn.bias_ih")) {
            for (index, bias) in parameters[spec.range()].iter_mut().enumerate() {
                let (gate, unit) = (index / h, index % h);
                *bias += match (self.twist, unit % 3) {
                    _ if steered => 1.5 * sign(unit),
                    (_, PROBED_UNIT) if self.cell == Cell::Rnn(Nonlinearity::Relu) => 1.0,
                    (Twist::Saturated, 1 | 2) => 40.0 * sign(unit + gate),
                    _ => 0.0,
                };
            }
        }
        Ok(parameters)
    }

    /// Whether every unit is kept well to one side of ReLU's kink. Among thousands of pre-activations some otherwise lie
    /// within a rounding of zero, and which side a path finds them on, or a finite difference, is nobody's mistake.
    fn is_steered_clear(&self) -> bool {
        self.cell == Cell::Rnn(Nonlinearity::Relu) && self.volume() > 1000
    }
}

fn sign(index: usize) -> f32 {
    if index.is_multiple_of(2) { 1.0 } else { -1.0 }
}

/// The first feature of row 1 in the second quarter of the steps.
fn nan_place(rows: usize, width: usize) -> usize {
    (rows / 4 / 3 * 3 + 1) * width
}

impl StackInputs {
    /// Damages them. A NaN stands in, or is taken from, the last minibatch's input where it is dense, else the state.
    ///
    /// # Errors
    /// If the sizes make no layer.
    pub fn perturb(&mut self, perturbation: Perturbation) -> Result<()> {
        let width = self.config.input_size;
        let last = self.minibatches.len() - 1;
        match (perturbation, &mut self.minibatches[last]) {
            (Perturbation::StateDropped, _) => self.carries_state = false,
            (Perturbation::Sign, _) => self.grad_output[PROBED_UNIT] *= -1.0,
            (Perturbation::Nan, Features::Dense(x)) => {
                let value =
                    &mut x[if self.num_steps > 4 { nan_place(self.num_steps * self.batch_size, width) } else { 0 }];
                *value = if value.is_nan() { 0.5 } else { f32::NAN };
            }
            (Perturbation::Nan, Features::OneHot(_)) => self.hidden[PROBED_UNIT] = f32::NAN,
            (Perturbation::FirstStep | Perturbation::Input | Perturbation::Id, Features::Dense(x)) => x[0] += 0.25,
            (Perturbation::FirstStep | Perturbation::Input | Perturbation::Id, Features::OneHot(ids)) => {
                ids[0] = (ids[0] + 1) % width as u32;
            }
            _ => self.move_a_bias()?,
        }
        Ok(())
    }

    /// Moves one recurrent bias of the lowest layer's last gate.
    fn move_a_bias(&mut self) -> Result<()> {
        let (_, layout) = crate::device::layout(self.config)?;
        let gate = self.config.cell.num_gates() - 1;
        for spec in layout.specs().iter().filter(|spec| spec.name == "rnn.bias_hh_l0") {
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
    fn every_listed_value_occurs() {
        let set = |of: fn(&Line) -> Option<usize>| LINES.iter().filter_map(of).collect::<BTreeSet<_>>();
        assert_eq!(set(|line| Some(line.0)), [1, 2, 35].into());
        assert_eq!(set(|line| Some(line.1)), [1, 3, 32, 70].into());
        assert_eq!(set(|line| Some(line.3)), [1, 7, 8, 9, 33, 64, 128, 256, 515].into());
        let vocab_size = |line: &Line| match line.2 {
            Width::OneHot(v) => Some(v),
            Width::Dense(_) => None,
        };
        assert_eq!(set(vocab_size), [2, 28, 1000].into());
        assert!(LINES.iter().all(|line| !matches!(line.2, Width::Dense(d) if d == line.3)));
        for twist in [Twist::State, Twist::ZeroState, Twist::Saturated, Twist::Nan, Twist::Carried] {
            assert!(LINES.iter().any(|line| line.6 == twist), "{twist:?}");
        }
    }

    #[test]
    fn the_not_a_number_lies_in_the_second_row() {
        let inputs =
            StackCase::all(Cell::Lstm).into_iter().find(|case| case.twist == Twist::Nan).unwrap().draw().unwrap();
        let Features::Dense(x) = &inputs.minibatches[0] else { panic!("dense input") };
        let places: Vec<usize> = (0..x.len()).filter(|&place| x[place].is_nan()).collect();
        assert_eq!(places, [nan_place(105, 5)]);
        assert_eq!(places[0] / 5 % 3, 1);
    }
}
