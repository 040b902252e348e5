//! The oracle's minGRU. The rows of the weights are in the order z, h̃.
//!
//! ```text
//! z = σ(W_z x + b_z)      h̃ = W_h x + b_h      h' = (1 − z) h + z h̃
//! ```

use super::layer::{Step, sigmoid};

pub(super) fn step(from_input: &[f64], hidden: &[f64]) -> Step {
    let h = hidden.len();
    let mut gates = from_input.to_vec();
    let mut new = Vec::new();
    for j in 0..h {
        gates[j] = sigmoid(from_input[j]);
        new.push((1.0 - gates[j]) * hidden[j] + gates[j] * from_input[h + j]);
    }
    Step { gates, hidden: new, cell: Vec::new(), candidate: Vec::new() }
}
