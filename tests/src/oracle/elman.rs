//! The oracle's Elman cell: `h' = φ(W_ih x + b_ih + W_hh h + b_hh)`.

use super::layer::{Layer, Step};

pub(super) fn relu(x: f64) -> f64 {
    // NaN propagates.
    if x < 0.0 { 0.0 } else { x }
}

pub(super) fn step(layer: &Layer, phi: fn(f64) -> f64, from_input: &[f64], hidden: &[f64]) -> Step {
    let mut new = Vec::new();
    for j in 0..layer.hidden_size {
        new.push(phi(from_input[j] + layer.hidden_term(hidden, j)));
    }
    Step { gates: new.clone(), hidden: new, cell: Vec::new(), candidate: Vec::new() }
}
