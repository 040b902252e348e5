//! The oracle's adaptive softmax, as the documentation of `torch.nn.AdaptiveLogSoftmaxWithLoss` describes it.

/// `torch.nn.AdaptiveLogSoftmaxWithLoss`.
#[derive(Clone, Debug)]
pub struct AdaptiveSoftmax {
    /// **V**.
    pub vocab_size: usize,
    /// The first token of each cluster.
    pub cutoffs: Vec<usize>,
    /// `[C₀ + K][H]`.
    pub head: Vec<f64>,
    /// `[C₀ + K]`, or empty.
    pub head_bias: Vec<f64>,
    /// `[features][H]` and `[Cᵢ][features]` of each cluster.
    pub tails: Vec<[Vec<f64>; 2]>,
}

impl AdaptiveSoftmax {
    /// The logarithm of every token's probability, `[rows][V]`, from `[rows][H]`.
    pub fn log_probabilities(&self, x: &[f64]) -> Vec<f64> {
        let classes = self.cutoffs[0] + self.cutoffs.len();
        let h = self.head.len() / classes;
        let mut all = Vec::new();
        for row in x.chunks(h) {
            let mut head = product(&self.head, row);
            for (class, bias) in self.head_bias.iter().enumerate() {
                head[class] += bias;
            }
            let head = log_softmax(&head);
            all.extend_from_slice(&head[..self.cutoffs[0]]);
            for (cluster, [projection, weight]) in self.tails.iter().enumerate() {
                let within = log_softmax(&product(weight, &product(projection, row)));
                for log_probability in within {
                    all.push(head[self.cutoffs[0] + cluster] + log_probability);
                }
            }
        }
        all
    }
}

/// `W x` for a matrix with as many columns as `x` has elements.
fn product(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    let mut out = Vec::new();
    for row in matrix.chunks(x.len()) {
        let mut sum = 0.0;
        for (weight, value) in row.iter().zip(x) {
            sum += weight * value;
        }
        out.push(sum);
    }
    out
}

fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let mut largest = logits[0];
    for &logit in logits {
        if logit > largest {
            largest = logit;
        }
    }
    let mut sum = 0.0;
    for &logit in logits {
        sum += (logit - largest).exp();
    }
    logits.iter().map(|logit| logit - largest - sum.ln()).collect()
}
