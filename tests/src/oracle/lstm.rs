//! The oracle's long short-term memory. The rows of the weights are in the order i, f, g, o.
//!
//! ```text
//! i, f, o = σ(W x + b + W h + b)    g = tanh(W x + b + W h + b)
//! c' = f c + i g                    h' = o tanh(c')
//! ```

use super::layer::{Layer, Step, sigmoid};

pub(super) fn step(layer: &Layer, from_input: &[f64], hidden: &[f64], cell: &[f64]) -> Step {
    let h = layer.hidden_size;
    let mut gates = vec![0.0; 4 * h];
    let mut new_hidden = Vec::new();
    let mut new_cell = Vec::new();
    for j in 0..h {
        let i = sigmoid(from_input[j] + layer.hidden_term(hidden, j));
        let f = sigmoid(from_input[h + j] + layer.hidden_term(hidden, h + j));
        let g = (from_input[2 * h + j] + layer.hidden_term(hidden, 2 * h + j)).tanh();
        let o = sigmoid(from_input[3 * h + j] + layer.hidden_term(hidden, 3 * h + j));
        let c = f * cell[j] + i * g;
        gates[j] = i;
        gates[h + j] = f;
        gates[2 * h + j] = g;
        gates[3 * h + j] = o;
        new_cell.push(c);
        new_hidden.push(o * c.tanh());
    }
    Step { gates, hidden: new_hidden, cell: new_cell, candidate: Vec::new() }
}
