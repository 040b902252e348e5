//! A naive implementation of every tensor operation: one plain loop each, in double precision.

use rnnlm_tensor::{Activation, Mask, Transpose, Update};

use crate::device::{Block, Operands, Operation, SMOOTHING, mask};

/// The buffers of the output, the losses and the state after the operation, completely.
pub(super) fn run(operation: Operation, operands: &Operands) -> Vec<Vec<f64>> {
    let Operands { a, b, out, losses, state, ids, scalar } = operands;
    let scalar = f64::from(*scalar);
    let mut y = Matrix::new(out);
    let mut new_losses = Matrix::new(losses);
    let column_sum = |c| (0..a.shape()[0]).map(|r| a.at(r, c)).sum::<f64>();
    match operation {
        Operation::Fill => y.each(|_, _, _| scalar),
        Operation::Copy => y.each(|r, c, _| a.at(r, c)),
        Operation::Axpy => y.each(|r, c, old| old + scalar * a.at(r, c)),
        Operation::Multiply(false) => y.each(|r, c, _| a.at(r, c) * b.at(r, c)),
        Operation::Multiply(true) => y.each(|r, c, old| old + a.at(r, c) * b.at(r, c)),
        Operation::Normalize => y.each(|r, c, _| normalized(a.at(r, c), b.at(r, c))),
        Operation::Gemm(transpose, accumulate) => y.each(|r, c, old| {
            let start = if accumulate { old } else { 0.0 };
            start + dot(transpose, a, b, r, c)
        }),
        Operation::Linear => y.each(|r, c, _| dot(Transpose::NT, a, b, r, c) + state[0].at(0, c)),
        Operation::AddRow => y.each(|_, c, old| old + a.at(0, c)),
        Operation::SumRows => y.each(|_, c, old| old + column_sum(c)),
        Operation::GatherColumns => y.each(|r, c, _| a.at(c, ids[r] as usize)),
        Operation::GatherRows => y.each(|r, c, _| a.at(ids[r] as usize, c)),
        Operation::ScatterAddColumns => {
            y.each(|r, c, old| old + sum_where(ids, c, |row| a.at(row, r)));
            let mut sum = Matrix::new(&state[0]);
            sum.each(|_, c, old| old + column_sum(c));
            return vec![y.values, new_losses.values, sum.values, Matrix::new(&state[1]).values];
        }
        Operation::ScatterAddRows => y.each(|r, c, old| old + sum_where(ids, r, |row| a.at(row, c))),
        Operation::ZeroRows => y.each(|r, _, old| if ids[r] == 0 { old } else { 0.0 }),
        Operation::Activate(activation) => y.each(|_, _, old| activate(activation, old)),
        Operation::ActivateBackward(activation) => y.each(|r, c, old| old * derivative(activation, a.at(r, c))),
        Operation::SoftmaxCrossEntropy(smooths) => {
            new_losses.each(|r, _, _| -log_softmax(out, r, ids[r] as usize));
            let smoothing = if smooths { f64::from(SMOOTHING) } else { 0.0 };
            y.each(|r, c, _| scalar * (log_softmax(out, r, c).exp() - target(ids[r], c, smoothing, out.shape()[1])));
        }
        Operation::LogSoftmax(false) => y.each(|r, c, _| log_softmax(out, r, c)),
        Operation::LogSoftmax(true) => y.each(|r, c, _| log_softmax(out, r, c) + a.at(r, 0)),
        Operation::Sum => y.each(|_, _, _| sum(a, |x| x)),
        Operation::SumSquares | Operation::SumSquaresIn => y.each(|_, _, _| sum(a, |x| x * x)),
        Operation::ClipFactor => y.each(|_, _, _| clip_factor(scalar, a.at(0, 0))),
        Operation::SkipNonfinite => {
            let is_finite = a.at(0, 0).abs() <= scalar && b.at(0, 0).is_finite();
            y.each(|_, _, old| if is_finite { old } else { 1.0 });
            let mut factor = Matrix::new(&state[0]);
            factor.each(|_, _, old| if is_finite && out.at(0, 0) == 0.0 { old } else { f64::NAN });
            return vec![y.values, new_losses.values, factor.values, Matrix::new(&state[1]).values];
        }
        Operation::Clamp => y.each(|_, _, old| old.clamp(-scalar, scalar)),
        Operation::Dropout(period) => {
            let row = |r: usize| if period > 0 { r % period as usize } else { r };
            y.each(|r, c, old| old * mask_at(mask(operands.scalar, 0), out.shape()[1], row(r), c));
        }
        Operation::DropoutRows => y.each(|r, _, old| old * mask_at(mask(operands.scalar, 0), 1, ids[r] as usize, 0)),
        Operation::Update(rule) => return update(rule.update(operands.scalar), operands),
    }
    let unchanged = state.each_ref().map(|block| Matrix::new(block).values);
    [y.values, new_losses.values].into_iter().chain(unchanged).collect()
}

/// The factor of `torch.nn.utils.clip_grad_norm_` for a sum of squares; NaN stays NaN.
fn clip_factor(max_norm: f64, sum_of_squares: f64) -> f64 {
    let factor = max_norm / (sum_of_squares.sqrt() + 1e-6);
    if factor > 1.0 { 1.0 } else { factor }
}

/// The smoothed probability of class `c` for a target.
fn target(id: u32, c: usize, smoothing: f64, classes: usize) -> f64 {
    let one_hot = if id as usize == c { 1.0 } else { 0.0 };
    (1.0 - smoothing) * one_hot + smoothing / classes as f64
}

/// Every buffer after an update, by the formulas in PyTorch's documentation.
fn update(rule: Update, operands: &Operands) -> Vec<Vec<f64>> {
    let Operands { a, b, out, losses, state: [first, second], .. } = operands;
    let (mut w, mut m, mut v) = (Matrix::new(out), Matrix::new(first), Matrix::new(second));
    // A NaN factor skips the update.
    let [rows, cols] = if a.at(0, 0).is_nan() { [0, 0] } else { out.shape() };
    for (r, c) in (0..rows).flat_map(|r| (0..cols).map(move |c| (r, c))) {
        let index = out.index(r, c);
        let old = out.at(r, c);
        let g = a.at(0, 0) * b.at(r, c);
        let old_first = first.at(r, c);
        let old_second = second.at(r, c);
        match rule {
            Update::Sgd { lr, momentum, nesterov, weight_decay } => {
                let [lr, momentum, weight_decay] = [lr, momentum, weight_decay].map(f64::from);
                let g = g + weight_decay * old;
                let buffer = momentum * old_first + g;
                let step = if nesterov { g + momentum * buffer } else { buffer };
                if momentum > 0.0 {
                    m.values[index] = buffer;
                }
                w.values[index] = old - lr * if momentum > 0.0 { step } else { g };
            }
            Update::Adam { lr, betas, eps, weight_decay, decoupled, bias_corrections } => {
                let [lr, eps, weight_decay] = [lr, eps, weight_decay].map(f64::from);
                let [beta1, beta2] = betas.map(f64::from);
                let [correction, root] = bias_corrections.map(f64::from);
                let (old, g) =
                    if decoupled { (old - lr * weight_decay * old, g) } else { (old, g + weight_decay * old) };
                m.values[index] = beta1 * old_first + (1.0 - beta1) * g;
                v.values[index] = beta2 * old_second + (1.0 - beta2) * g * g;
                let denominator = v.values[index].sqrt() / root + eps;
                w.values[index] = old - lr * (m.values[index] / correction) / denominator;
            }
            Update::Rmsprop { lr, alpha, eps, weight_decay, momentum } => {
                let [lr, alpha, eps, weight_decay, momentum] = [lr, alpha, eps, weight_decay, momentum].map(f64::from);
                let g = g + weight_decay * old;
                m.values[index] = alpha * old_first + (1.0 - alpha) * g * g;
                let step = momentum * old_second + g / (m.values[index].sqrt() + eps);
                if momentum > 0.0 {
                    v.values[index] = step;
                }
                w.values[index] = old - lr * if momentum > 0.0 { step } else { g / (m.values[index].sqrt() + eps) };
            }
        }
    }
    vec![w.values, Matrix::new(losses).values, m.values, v.values]
}

/// The factor of dropout for an element of a matrix with `cols` columns: Philox4x32-10, one output word per element.
pub(super) fn mask_at(mask: Mask, cols: usize, row: usize, col: usize) -> f64 {
    const LOW: u64 = u32::MAX as u64;
    let index = (row * cols.div_ceil(4) + col / 4) as u64;
    let mut x = [index, u64::from(mask.layer), mask.step & LOW, mask.step >> 32];
    let mut key = [mask.seed & LOW, mask.seed >> 32];
    for _ in 0..10 {
        let products = [0xD251_1F53 * x[0], 0xCD9E_8D57 * x[2]];
        x = [
            products[1] >> 32 ^ x[1] ^ key[0],
            products[1] & LOW,
            products[0] >> 32 ^ x[3] ^ key[1],
            products[0] & LOW,
        ];
        key = [(key[0] + 0x9E37_79B9) & LOW, (key[1] + 0xBB67_AE85) & LOW];
    }
    let probability = f64::from(mask.probability);
    if (x[col % 4] as f64) < (probability * 4_294_967_296.0).floor() { 0.0 } else { 1.0 / (1.0 - probability) }
}

/// A block in double precision whose elements can be written.
struct Matrix<'a> {
    block: &'a Block,
    values: Vec<f64>,
}

impl<'a> Matrix<'a> {
    fn new(block: &'a Block) -> Self {
        Self { block, values: block.values.iter().map(|&value| f64::from(value)).collect() }
    }

    /// Sets every element to a function of its row, its column and its old value.
    fn each(&mut self, f: impl Fn(usize, usize, f64) -> f64) {
        let [rows, cols] = self.block.shape();
        for r in 0..rows {
            for c in 0..cols {
                let index = self.block.index(r, c);
                self.values[index] = f(r, c, self.values[index]);
            }
        }
    }
}

fn dot(transpose: Transpose, a: &Block, b: &Block, r: usize, c: usize) -> f64 {
    let mut total = 0.0;
    match transpose {
        Transpose::NN => (0..a.shape()[1]).for_each(|k| total += a.at(r, k) * b.at(k, c)),
        Transpose::NT => (0..a.shape()[1]).for_each(|k| total += a.at(r, k) * b.at(c, k)),
        Transpose::TN => (0..a.shape()[0]).for_each(|k| total += a.at(k, r) * b.at(k, c)),
    }
    total
}

fn sum(a: &Block, f: impl Fn(f64) -> f64) -> f64 {
    let [rows, cols] = a.shape();
    let mut total = 0.0;
    for r in 0..rows {
        for c in 0..cols {
            total += f(a.at(r, c));
        }
    }
    total
}

/// The sum over the rows whose id is `entry`.
fn sum_where(ids: &[u32], entry: usize, value: impl Fn(usize) -> f64) -> f64 {
    let mut total = 0.0;
    for (row, &id) in ids.iter().enumerate() {
        if id as usize == entry {
            total += value(row);
        }
    }
    total
}

fn normalized(a: f64, b: f64) -> f64 {
    if a + b == 0.0 { 0.5 } else { a / (a + b) }
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Tanh => x.tanh(),
        Activation::Relu if x < 0.0 => 0.0,
        Activation::Relu => x,
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
    }
}

/// The derivative as a function of the activated value.
fn derivative(activation: Activation, y: f64) -> f64 {
    match activation {
        Activation::Tanh => 1.0 - y * y,
        Activation::Relu if y > 0.0 => 1.0,
        // NaN propagates.
        Activation::Relu if y.is_nan() => y,
        Activation::Relu => 0.0,
        Activation::Sigmoid => y * (1.0 - y),
    }
}

fn log_softmax(logits: &Block, row: usize, column: usize) -> f64 {
    let cols = logits.shape()[1];
    let largest = (0..cols).map(|c| logits.at(row, c)).fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = (0..cols).map(|c| (logits.at(row, c) - largest).exp()).sum();
    logits.at(row, column) - largest - total.ln()
}
