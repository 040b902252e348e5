//! The oracle's gated recurrent units, beside the walk's stage 5. Rows of the weights: first r, then z, then n.
//!
//! ```text
//! r = σ(W_ir x + b_ir + W_hr h + b_hr)      z = σ(W_iz x + b_iz + W_hz h + b_hz)
//! after:  n = tanh(W_in x + b_in + r (W_hn h + b_hn))
//! before: n = tanh(W_in x + b_in + W_hn (r h) + b_hn)
//! h' = (1 − z) n + z h
//! ```

use super::{Layer, Step, sigmoid};

pub(super) fn step_after(layer: &Layer, from_input: &[f64], hidden: &[f64]) -> Step {
    let h = layer.hidden_size;
    let (r, z) = reset_and_update(layer, from_input, hidden);
    let (mut candidate, mut n) = (Vec::new(), Vec::new());
    for j in 0..h {
        let product = layer.share_of_state(hidden, 2 * h + j);
        candidate.push(product);
        n.push((from_input[2 * h + j] + r[j] * product).tanh());
    }
    finish(r, z, n, hidden, candidate)
}

pub(super) fn step_before(layer: &Layer, from_input: &[f64], hidden: &[f64]) -> Step {
    let h = layer.hidden_size;
    let (r, z) = reset_and_update(layer, from_input, hidden);
    let (mut candidate, mut n) = (Vec::new(), Vec::new());
    for j in 0..h {
        candidate.push(r[j] * hidden[j]);
    }
    for j in 0..h {
        n.push((from_input[2 * h + j] + layer.share_of_state(&candidate, 2 * h + j)).tanh());
    }
    finish(r, z, n, hidden, candidate)
}

fn reset_and_update(layer: &Layer, from_input: &[f64], hidden: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let h = layer.hidden_size;
    let (mut r, mut z) = (Vec::new(), Vec::new());
    for j in 0..h {
        r.push(sigmoid(from_input[j] + layer.share_of_state(hidden, j)));
        z.push(sigmoid(from_input[h + j] + layer.share_of_state(hidden, h + j)));
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
