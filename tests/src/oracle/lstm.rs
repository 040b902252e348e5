//! The oracle's long short-term memory, beside the walk's stage 5. Rows of the weights: first i, then f, then g, then o.
//!
//! ```text
//! i, f, o = σ(W x + b + W h + b)    g = tanh(W x + b + W h + b)
//! c' = f c + i g                    h' = o tanh(c')
//! ```

use super::{Layer, Step, sigmoid};

pub(super) fn step(layer: &Layer, from_input: &[f64], hidden: &[f64], cell: &[f64]) -> Step {
    let h = layer.hidden_size;
    let mut gates = vec![0.0; 4 * h];
    let (mut new_hidden, mut new_cell) = (Vec::new(), Vec::new());
    for j in 0..h {
        let i = sigmoid(from_input[j] + layer.share_of_state(hidden, j));
        let f = sigmoid(from_input[h + j] + layer.share_of_state(hidden, h + j));
        let g = (from_input[2 * h + j] + layer.share_of_state(hidden, 2 * h + j)).tanh();
        let o = sigmoid(from_input[3 * h + j] + layer.share_of_state(hidden, 3 * h + j));
        let c = f * cell[j] + i * g;
        (gates[j], gates[h + j], gates[2 * h + j], gates[3 * h + j]) = (i, f, g, o);
        new_cell.push(c);
        new_hidden.push(o * c.tanh());
    }
    Step { gates, hidden: new_hidden, cell: new_cell, candidate: Vec::new() }
}
