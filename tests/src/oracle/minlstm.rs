//! The oracle's minLSTM. The rows of the weights are in the order f, i, h̃.
//!
//! ```text
//! f = σ(W_f x + b_f)      i = σ(W_i x + b_i)      h̃ = W_h x + b_h
//! h' = f / (f + i) h + i / (f + i) h̃
//! ```

use super::layer::{Step, sigmoid};

pub(super) fn step(from_input: &[f64], hidden: &[f64]) -> Step {
    let h = hidden.len();
    let mut gates = from_input.to_vec();
    let mut new = Vec::new();
    for j in 0..h {
        gates[j] = sigmoid(from_input[j]);
        gates[h + j] = sigmoid(from_input[h + j]);
        let sum = gates[j] + gates[h + j];
        new.push(gates[j] / sum * hidden[j] + gates[h + j] / sum * from_input[2 * h + j]);
    }
    Step { gates, hidden: new, cell: Vec::new(), candidate: Vec::new() }
}
