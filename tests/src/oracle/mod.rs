//! The oracle: an independent forward pass of every cell in double-precision scalars and plain loops. It shares no code and no
//! design with the crates: it has no matrices, no tape and no backward pass. Its gradients are finite differences of its own
//! loss ([`differences`]).
//!
//! It follows PyTorch's documentation of `torch.nn.{RNN,GRU,LSTM,Linear,CrossEntropyLoss,AdaptiveLogSoftmaxWithLoss}` and, for the GRU that applies the
//! reset gate before the matrix multiplication, the book's section on GRUs (9.1 in the Chinese edition, 10.2 in the current
//! English one). minGRU and minLSTM follow arXiv 2410.01201. Sequences are time-major: element `(t, n, j)` of a sequence with `J` features has the index
//! `(t·N + n)·J + j`.

#![expect(clippy::needless_range_loop, reason = "loops over indices resemble the formulas")]

mod adaptive;
pub mod differences;
mod elman;
mod gru;
mod layer;
mod loss;
mod lstm;
mod mingru;
mod minlstm;

pub use adaptive::AdaptiveSoftmax;
pub use layer::{Input, Kind, Layer};
pub use loss::{Linear, cross_entropy, smoothed_cross_entropy};

use layer::Step;

/// Stacked layers: layer 0 forward, layer 0 reverse, layer 1 forward, …, each with its initial state.
#[derive(Clone, Debug)]
pub struct Network {
    /// Every layer and direction.
    pub layers: Vec<Layer>,
    /// 1, or 2 for bidirectional layers.
    pub directions: usize,
    /// The lowest layer's input.
    pub input: Input,
    /// `T`.
    pub num_steps: usize,
    /// `N`.
    pub batch_size: usize,
    /// `[T·N]`: whether a row continues from zeros at a step; empty if none does.
    pub starts: Vec<bool>,
    /// `[T·N][directions·H]`: the factors of dropout after each layer but the last; empty without dropout.
    pub dropout: Vec<Vec<f64>>,
    /// Whether each layer but the lowest adds its input to its output.
    pub residual: bool,
}

/// The results of a layer, in the order of time for both directions.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// `[T·N][G·H]`, activated.
    pub gates: Vec<f64>,
    /// `[T·N][H]`.
    pub hidden: Vec<f64>,
    /// `[T·N][H]`: the cell state of an LSTM, else empty.
    pub cell: Vec<f64>,
    /// `[T·N][H]`: the operand (`GruAfter`) or the result (`GruBefore`) of a GRU's reset gate, else empty.
    pub candidate: Vec<f64>,
    /// `[N][H]`: the hidden state after the last step of the layer's direction.
    pub final_hidden: Vec<f64>,
    /// `[N][H]`: the final cell state of an LSTM, else empty.
    pub final_cell: Vec<f64>,
}

impl Network {
    /// Runs every layer and returns their traces.
    pub fn forward(&self) -> Vec<Trace> {
        let mut traces: Vec<Trace> = Vec::new();
        for pair in self.layers.chunks(self.directions) {
            let input = match traces.is_empty() {
                true => self.input.clone(),
                false => Input::Dense(self.dropped_output(&traces)),
            };
            traces.extend(pair.iter().map(|layer| self.forward_layer(layer, &input)).collect::<Vec<_>>());
        }
        traces
    }

    /// `[T·N][directions·H]`: the output of the highest layer in `traces`.
    pub fn output(&self, traces: &[Trace]) -> Vec<f64> {
        let below = traces.len() - self.directions;
        let mut output = concatenated(&traces[below..], self.num_steps * self.batch_size);
        if self.residual && below > 0 {
            let input = self.dropped_output(&traces[..below]);
            for i in 0..output.len() {
                output[i] += input[i];
            }
        }
        output
    }

    /// The output of the highest layer in `traces`, which is not the last, after dropout.
    fn dropped_output(&self, traces: &[Trace]) -> Vec<f64> {
        let mut output = self.output(traces);
        if let Some(factors) = self.dropout.get(traces.len() / self.directions - 1) {
            for i in 0..output.len() {
                output[i] *= factors[i];
            }
        }
        output
    }

    /// Sets every layer's initial state to its final state, for the next minibatch.
    pub fn carry(&mut self, traces: &[Trace]) {
        for (layer, trace) in self.layers.iter_mut().zip(traces) {
            layer.hidden.clone_from(&trace.final_hidden);
            layer.cell.clone_from(&trace.final_cell);
        }
    }

    /// Runs a layer over the whole sequence, one row of the minibatch after the other.
    fn forward_layer(&self, layer: &Layer, input: &Input) -> Trace {
        let (num_steps, batch_size, h) = (self.num_steps, self.batch_size, layer.hidden_size);
        let zeros = |width: usize| vec![0.0; num_steps * batch_size * width];
        let is_gru = matches!(layer.kind, Kind::GruAfter | Kind::GruBefore);
        let is_lstm = layer.kind == Kind::Lstm;
        let mut trace = Trace {
            gates: zeros(layer.kind.gates() * h),
            hidden: zeros(h),
            cell: zeros(if is_lstm { h } else { 0 }),
            candidate: zeros(if is_gru { h } else { 0 }),
            ..Trace::default()
        };
        for n in 0..batch_size {
            let mut hidden = layer.hidden[n * h..(n + 1) * h].to_vec();
            let mut cell = if is_lstm { layer.cell[n * h..(n + 1) * h].to_vec() } else { Vec::new() };
            for taken in 0..num_steps {
                let t = if layer.reverse { num_steps - 1 - taken } else { taken };
                let row = t * batch_size + n;
                if self.starts.get(row) == Some(&true) {
                    hidden.fill(0.0);
                    cell.fill(0.0);
                }
                let result = step(layer, input, row, &hidden, &cell);
                put(&mut trace.gates, row, &result.gates);
                put(&mut trace.hidden, row, &result.hidden);
                put(&mut trace.cell, row, &result.cell);
                put(&mut trace.candidate, row, &result.candidate);
                hidden = result.hidden;
                cell = result.cell;
            }
            trace.final_hidden.extend(hidden);
            trace.final_cell.extend(cell);
        }
        trace
    }
}

/// The hidden states of both directions, row by row.
fn concatenated(traces: &[Trace], rows: usize) -> Vec<f64> {
    let mut joined = Vec::new();
    for row in 0..rows {
        for trace in traces {
            let width = trace.hidden.len() / rows;
            joined.extend_from_slice(&trace.hidden[row * width..(row + 1) * width]);
        }
    }
    joined
}

/// One step of one row.
fn step(layer: &Layer, input: &Input, row: usize, hidden: &[f64], cell: &[f64]) -> Step {
    let pre_activations = layer.kind.gates() * layer.hidden_size;
    let from_input: Vec<f64> = (0..pre_activations).map(|j| layer.input_term(input, row, j)).collect();
    match layer.kind {
        Kind::Tanh => elman::step(layer, f64::tanh, &from_input, hidden),
        Kind::Relu => elman::step(layer, elman::relu, &from_input, hidden),
        Kind::GruAfter => gru::step_after(layer, &from_input, hidden),
        Kind::GruBefore => gru::step_before(layer, &from_input, hidden),
        Kind::Lstm => lstm::step(layer, &from_input, hidden, cell),
        Kind::MinGru => mingru::step(&from_input, hidden),
        Kind::MinLstm => minlstm::step(&from_input, hidden),
    }
}

fn put(all: &mut [f64], row: usize, values: &[f64]) {
    all[row * values.len()..(row + 1) * values.len()].copy_from_slice(values);
}
