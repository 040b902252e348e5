//! The oracle: every cell's forward pass once more, beside the walk's stages 4 to 6, in scalars of double precision and
//! nothing but loops. It shares no code with the crates, and no idea either: no matrices, no tape, no backward pass. Its
//! gradients are finite differences of its own loss ([`differences`]).
//!
//! Everything is written from PyTorch's documentation of `torch.nn.{RNN,GRU,LSTM,Linear,CrossEntropyLoss}` and, for the
//! GRU that resets before the product, from the book's 9.1. Sequences are time-major: element `(t, n, j)` of a sequence
//! with `J` features stands at `(t·N + n)·J + j`.

#![expect(clippy::needless_range_loop, reason = "loops over indices read like the formulas, and are all there is here")]

pub mod differences;
mod elman;
mod gru;
mod loss;
mod lstm;

pub use loss::{Linear, cross_entropy};

/// The cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `torch.nn.RNN`.
    Tanh,
    /// `torch.nn.RNN(nonlinearity="relu")`.
    Relu,
    /// `torch.nn.GRU`.
    GruAfter,
    /// The GRU of the book's from-scratch code.
    GruBefore,
    /// `torch.nn.LSTM`.
    Lstm,
}

impl Kind {
    fn gates(self) -> usize {
        match self {
            Self::Tanh | Self::Relu => 1,
            Self::GruAfter | Self::GruBefore => 3,
            Self::Lstm => 4,
        }
    }
}

/// One layer in one direction, weights as PyTorch lays them out.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its cell.
    pub kind: Kind,
    /// Features it reads.
    pub input_size: usize,
    /// Its units.
    pub hidden_size: usize,
    /// Whether it starts at the last step.
    pub reverse: bool,
    /// `[G·H][D]`.
    pub weight_ih: Vec<f64>,
    /// `[G·H][H]`.
    pub weight_hh: Vec<f64>,
    /// `[G·H]`.
    pub bias_ih: Vec<f64>,
    /// `[G·H]`.
    pub bias_hh: Vec<f64>,
    /// `[N][H]`.
    pub hidden: Vec<f64>,
    /// `[N][H]`; empty but for an LSTM.
    pub cell: Vec<f64>,
}

/// What the lowest layer reads.
#[derive(Clone, Debug)]
pub enum Input {
    /// `[T·N][D]`.
    Dense(Vec<f64>),
    /// `[T·N]`: a one at this place, zeros elsewhere.
    OneHot(Vec<usize>),
}

/// Layers on top of each other, layer 0 forward, layer 0 reverse, layer 1 forward, …, with the state each starts from.
#[derive(Clone, Debug)]
pub struct Network {
    /// Every layer and direction.
    pub layers: Vec<Layer>,
    /// 1, or 2 for bidirectional layers.
    pub directions: usize,
    /// What the lowest reads.
    pub input: Input,
    /// `T`.
    pub num_steps: usize,
    /// `N`.
    pub batch_size: usize,
}

/// All that a layer computed, in the order of time whatever its direction.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// `[T·N][G·H]`, activated.
    pub gates: Vec<f64>,
    /// `[T·N][H]`.
    pub hidden: Vec<f64>,
    /// `[T·N][H]`; empty but for an LSTM.
    pub cell: Vec<f64>,
    /// `[T·N][H]`: what the reset gate of a GRU multiplies (after), or has multiplied (before).
    pub candidate: Vec<f64>,
    /// `[N][H]`, after the last step of its direction.
    pub final_hidden: Vec<f64>,
    /// `[N][H]`; empty but for an LSTM.
    pub final_cell: Vec<f64>,
}

/// What one row's step computed.
struct Step {
    gates: Vec<f64>,
    hidden: Vec<f64>,
    cell: Vec<f64>,
    candidate: Vec<f64>,
}

impl Network {
    /// Runs every layer; the traces in the layers' order.
    pub fn forward(&self) -> Vec<Trace> {
        let mut traces: Vec<Trace> = Vec::new();
        let mut input = self.input.clone();
        for pair in self.layers.chunks(self.directions) {
            let first = traces.len();
            traces.extend(pair.iter().map(|layer| layer.forward(&input, self.num_steps, self.batch_size)));
            input = Input::Dense(side_by_side(&traces[first..], self.num_steps * self.batch_size));
        }
        traces
    }

    /// `[T·N][directions·H]`: what the top layer gives.
    pub fn output(&self, traces: &[Trace]) -> Vec<f64> {
        side_by_side(&traces[traces.len() - self.directions..], self.num_steps * self.batch_size)
    }

    /// Lets every layer start where it stopped: the state carried into the next minibatch.
    pub fn carry(&mut self, traces: &[Trace]) {
        for (layer, trace) in self.layers.iter_mut().zip(traces) {
            layer.hidden.clone_from(&trace.final_hidden);
            layer.cell.clone_from(&trace.final_cell);
        }
    }
}

fn side_by_side(traces: &[Trace], rows: usize) -> Vec<f64> {
    let mut joined = Vec::new();
    for row in 0..rows {
        for trace in traces {
            let width = trace.hidden.len() / rows;
            joined.extend_from_slice(&trace.hidden[row * width..(row + 1) * width]);
        }
    }
    joined
}

impl Layer {
    /// The whole sequence, one row of the minibatch after the other.
    fn forward(&self, input: &Input, num_steps: usize, batch_size: usize) -> Trace {
        let (h, rows) = (self.hidden_size, num_steps * batch_size);
        let with = |width: usize| vec![0.0; rows * width];
        let is_gru = matches!(self.kind, Kind::GruAfter | Kind::GruBefore);
        let is_lstm = self.kind == Kind::Lstm;
        let mut trace = Trace {
            gates: with(self.kind.gates() * h),
            hidden: with(h),
            cell: with(if is_lstm { h } else { 0 }),
            candidate: with(if is_gru { h } else { 0 }),
            ..Trace::default()
        };
        for n in 0..batch_size {
            let mut hidden = self.hidden[n * h..(n + 1) * h].to_vec();
            let mut cell = if is_lstm { self.cell[n * h..(n + 1) * h].to_vec() } else { Vec::new() };
            for taken in 0..num_steps {
                let t = if self.reverse { num_steps - 1 - taken } else { taken };
                let step = self.step(input, t * batch_size + n, &hidden, &cell);
                put(&mut trace.gates, t * batch_size + n, &step.gates);
                put(&mut trace.hidden, t * batch_size + n, &step.hidden);
                put(&mut trace.cell, t * batch_size + n, &step.cell);
                put(&mut trace.candidate, t * batch_size + n, &step.candidate);
                (hidden, cell) = (step.hidden, step.cell);
            }
            trace.final_hidden.extend(hidden);
            trace.final_cell.extend(cell);
        }
        trace
    }

    fn step(&self, input: &Input, row: usize, hidden: &[f64], cell: &[f64]) -> Step {
        let from_input: Vec<f64> =
            (0..self.kind.gates() * self.hidden_size).map(|j| self.share_of_input(input, row, j)).collect();
        match self.kind {
            Kind::Tanh => elman::step(self, f64::tanh, &from_input, hidden),
            Kind::Relu => elman::step(self, elman::relu, &from_input, hidden),
            Kind::GruAfter => gru::step_after(self, &from_input, hidden),
            Kind::GruBefore => gru::step_before(self, &from_input, hidden),
            Kind::Lstm => lstm::step(self, &from_input, hidden, cell),
        }
    }

    /// `(W_ih x + b_ih)[j]`.
    fn share_of_input(&self, input: &Input, row: usize, j: usize) -> f64 {
        let d = self.input_size;
        let mut sum = self.bias_ih[j];
        match input {
            Input::OneHot(ids) => sum += self.weight_ih[j * d + ids[row]],
            Input::Dense(x) => {
                for k in 0..d {
                    sum += self.weight_ih[j * d + k] * x[row * d + k];
                }
            }
        }
        sum
    }

    /// `(W_hh v + b_hh)[j]`.
    fn share_of_state(&self, v: &[f64], j: usize) -> f64 {
        let h = self.hidden_size;
        let mut sum = self.bias_hh[j];
        for k in 0..h {
            sum += self.weight_hh[j * h + k] * v[k];
        }
        sum
    }
}

fn put(all: &mut [f64], row: usize, values: &[f64]) {
    all[row * values.len()..(row + 1) * values.len()].copy_from_slice(values);
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
