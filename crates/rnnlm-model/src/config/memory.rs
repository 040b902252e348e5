//! How large a model and its training run are: parameters, states and bytes of memory.
//!
//! Sizes are counted in 128 bits, so that absurd settings give an absurd number instead of a wrong one.

use rnnlm_rnn::Widths;
use rnnlm_tensor::Backend;

use super::model::ModelConfig;
use super::train::TrainConfig;
use crate::output::LOGITS_BYTES;

impl ModelConfig {
    /// The number of parameters; tied weights count once.
    pub fn num_parameters(&self) -> u128 {
        let [v, h, layers] = [self.vocab_size, self.hidden_size, self.num_layers].map(bounded);
        let [d, e] = [self.input_size(), self.embedding_size].map(bounded);
        let (gates, directions) = self.gates_and_directions();
        // the columns of W_hh and b_hh
        let recurrent = if self.cell.recurrent_blocks().is_empty() { 0 } else { h + 1 };
        let lowest = gates * h * (d + 1 + recurrent);
        let higher = gates * h * (directions * h + 1 + recurrent);
        let output = if self.tie_weights { 0 } else { v * directions * h };
        directions * (lowest + layers.saturating_sub(1) * higher) + output + v + v * e
    }

    /// The number of values of one carried state, hidden or cell, for `batch_size` rows.
    pub fn state_len(&self, batch_size: usize) -> u128 {
        let [h, layers, rows] = [self.hidden_size, self.num_layers, batch_size].map(bounded);
        let (_, directions) = self.gates_and_directions();
        h * layers * rows * directions
    }

    /// The bytes of device memory that a training run allocates: parameters, gradients, the optimizer's state, and every
    /// intermediate value of a minibatch. Rows have the padding that `backend` gives them.
    pub fn memory_needed<B: Backend>(&self, backend: &B, train: &TrainConfig) -> u128 {
        let padded = |cols: u128| backend.row_stride(cols as usize) as u128;
        let [v, h, layers] = [self.vocab_size, self.hidden_size, self.num_layers].map(bounded);
        let (_, directions) = self.gates_and_directions();
        let rows = bounded(train.batch_size) * bounded(train.num_steps);
        let Widths { hidden, gates, cell, candidate, gate_gradients, candidate_gradient } =
            self.cell.widths(h as usize);
        let stored = [hidden, gates, cell, candidate, gate_gradients, candidate_gradient];
        let mut per_row = layers * directions * stored.into_iter().map(|cols| padded(cols as u128)).sum::<u128>();
        // the gradients between layers and of the output
        per_row += 3 * padded(directions * h);
        // the embedding and its gradient
        per_row += 2 * padded(bounded(self.embedding_size));
        if train.dropout > 0.0 {
            per_row += layers.saturating_sub(1) * padded(directions * h);
        }
        let per_parameter = 2 + train.optimizer.num_buffers() as u128;
        let logits = rows.saturating_mul(padded(v)).min((LOGITS_BYTES / size_of::<f32>()).max(self.vocab_size) as u128);
        let values = (per_parameter * self.num_parameters()).saturating_add(rows.saturating_mul(per_row));
        values.saturating_add(logits).saturating_mul(4)
    }

    /// **G** and the number of directions.
    fn gates_and_directions(&self) -> (u128, u128) {
        (self.cell.num_gates() as u128, self.stack().num_directions() as u128)
    }
}

/// A size as a factor of a product. No machine has 2⁴⁰ of anything here, and products of bounded sizes fit 128 bits.
fn bounded(size: usize) -> u128 {
    (size as u128).min(1 << 40)
}

#[cfg(test)]
mod tests {
    use rnnlm_tensor::Cpu;

    use super::*;

    #[test]
    fn parameters_are_counted_as_pytorch_counts_them() {
        // torch.nn.RNN(28, 256) has 256·28 + 256·256 + 2·256 parameters, torch.nn.Linear(256, 28) has 28·256 + 28
        assert_eq!(ModelConfig::book(28).num_parameters(), 7_168 + 65_536 + 512 + 7_168 + 28);
    }

    #[test]
    fn the_estimate_uses_the_row_stride_of_the_backend() {
        let cpu = Cpu::new(1).unwrap();
        let train = TrainConfig { batch_size: 2, num_steps: 3, ..TrainConfig::book() };
        let model = ModelConfig { hidden_size: 5, ..ModelConfig::book(7) };
        let stride = |cols| cpu.row_stride(cols) as u128;
        // RNN(7, 5): 5·(7 + 5 + 2) parameters, Linear(5, 7): 42; each has a gradient
        let parameters = 2 * (70 + 42);
        // rows of H: hidden state, gradient of its pre-activation, 3 gradients between layers; one row of V for logits
        let rows = 6 * (5 * stride(5) + stride(7));
        assert_eq!(model.memory_needed(&cpu, &train), 4 * (parameters + rows));
    }

    #[test]
    fn absurd_sizes_give_an_absurd_number() {
        let model = ModelConfig { hidden_size: usize::MAX, num_layers: usize::MAX, ..ModelConfig::book(usize::MAX) };
        assert!(model.memory_needed(&Cpu::new(1).unwrap(), &TrainConfig::book()) > 1 << 100);
    }
}
