//! The oracle's gated recurrent units. The rows of the weights are in the order r, z, n.
//!
//! ```text
//! r = σ(W_ir x + b_ir + W_hr h + b_hr)      z = σ(W_iz x + b_iz + W_hz h + b_hz)
//! after:  n = tanh(W_in x + b_in + r (W_hn h + b_hn))
//! before: n = tanh(W_in x + b_in + W_hn (r h) + b_hn)
//! h' = (1 − z) n + z h
//! ```

use super::layer::{Layer, Step, sigmoid};

pub(super) fn step_after(layer: &Layer, from_input: &[f64], hidden: &[f64]) -> Step {
    let h = layer.hidden_size;
    let (r, z) = reset_and_update(layer, from_input, hidden);
    let mut candidate = Vec::new();
    let mut n = Vec::new();
    for j in 0..h {
        let recurrent = layer.hidden_term(hidden, 2 * h + j);
        candidate.push(recurrent);
        n.push((from_input[2 * h + j] + r[j] * recurrent).tanh());
    }
    finish(r, z, n, hidden, candidate)
}

pub(super) fn step_before(layer: &Layer, from_input: &[f64], hidden: &[f64]) -> Step {
    let h = layer.hidden_size;
    let (r, z) = reset_and_update(layer, from_input, hidden);
    let mut candidate = Vec::new();
    let mut n = Vec::new();
    for j in 0..h {
        candidate.push(r[j] * hidden[j]);
    }
    for j in 0..h {
        n.push((from_input[2 * h + j] + layer.hidden_term(&candidate, 2 * h + j)).tanh());
    }
    finish(r, z, n, hidden, candidate)
}

fn reset_and_update(layer: &Layer, from_input: &[f64], hidden: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let h = layer.hidden_size;
    let mut r = Vec::new();
    let mut z = Vec::new();
    for j in 0..h {
        r.push(sigmoid(from_input[j] + layer.hidden_term(hidden, j)));
        z.push(sigmoid(from_input[h + j] + layer.hidden_term(hidden, h + j)));
    }
    (r, z)
}

fn finish(r: Vec<f64>, z: Vec<f64>, n: Vec<f64>, hidden: &[f64], candidate: Vec<f64>) -> Step {
    let mut new = Vec::new();
    for j in 0..hidden.len() {
        new.push((1.0 - z[j]) * n[j] + z[j] * hidden[j]);
    }
    Step { gates: [r, z, n].concat(), hidden: new, cell: Vec::new(), candidate }
}
