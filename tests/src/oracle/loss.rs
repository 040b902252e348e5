//! The oracle's output layer and loss.

/// `torch.nn.Linear`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[V][H]`.
    pub weight: Vec<f64>,
    /// `[V]`.
    pub bias: Vec<f64>,
}

impl Linear {
    /// `[rows][V]` from `[rows][H]`.
    pub fn forward(&self, x: &[f64]) -> Vec<f64> {
        let v = self.bias.len();
        let h = self.weight.len() / v;
        let mut logits = Vec::new();
        for row in 0..x.len() / h {
            for j in 0..v {
                let mut sum = self.bias[j];
                for k in 0..h {
                    sum += self.weight[j * h + k] * x[row * h + k];
                }
                logits.push(sum);
            }
        }
        logits
    }
}

/// `torch.nn.CrossEntropyLoss`: the mean over all rows of `ln Σ exp(logits) − logits[target]`.
pub fn cross_entropy(logits: &[f64], targets: &[usize]) -> f64 {
    smoothed_cross_entropy(logits, targets, 0.0)
}

/// `torch.nn.CrossEntropyLoss(label_smoothing=ε)`: the targets are `1 − ε + ε/V` for the target's class and `ε/V` for the
/// others.
pub fn smoothed_cross_entropy(logits: &[f64], targets: &[usize], smoothing: f64) -> f64 {
    let v = logits.len() / targets.len();
    let mut total = 0.0;
    for (row, &target) in targets.iter().enumerate() {
        let row = &logits[row * v..(row + 1) * v];
        let mut largest = row[0];
        for &logit in row {
            if logit > largest {
                largest = logit;
            }
        }
        let mut sum = 0.0;
        for &logit in row {
            sum += (logit - largest).exp();
        }
        let log_sum = largest + sum.ln();
        total += (1.0 - smoothing) * (log_sum - row[target]);
        for &logit in row {
            total += smoothing / v as f64 * (log_sum - logit);
        }
    }
    total / targets.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_of_equal_logits_is_the_logarithm_of_their_number() {
        assert!((cross_entropy(&[3.0; 8], &[0, 3]) - 4.0_f64.ln()).abs() < 1e-15);
        // softmax of (ln 1, ln 3) is (1/4, 3/4)
        assert!((cross_entropy(&[0.0, 3.0_f64.ln()], &[1]) - (4.0_f64 / 3.0).ln()).abs() < 1e-15);
    }

    #[test]
    fn label_smoothing_matches_arithmetic_by_hand() {
        // softmax of (ln 1, ln 3) is (1/4, 3/4); the targets are 0.9 for the second class and 0.1 for the first
        let expected = -0.9 * 0.75_f64.ln() - 0.1 * 0.25_f64.ln();
        assert!((smoothed_cross_entropy(&[0.0, 3.0_f64.ln()], &[1], 0.2) - expected).abs() < 1e-15);
    }

    #[test]
    fn a_linear_layer_matches_arithmetic_by_hand() {
        let linear = Linear { weight: vec![1.0, 2.0, 3.0, 4.0], bias: vec![10.0, 20.0] };
        assert_eq!(linear.forward(&[1.0, 1.0, 0.0, -1.0]), [13.0, 27.0, 8.0, 16.0]);
    }
}
