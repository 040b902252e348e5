// Optimizer updates, one thread per parameter. The equations are in `update.rs`; a rule's scalars are passed in the
// order of its fields. A NaN factor skips the update.

DEVICE bool is_skipped(const Matrix& factor) { return factor.data[0] != factor.data[0]; }

KERNEL(256) update_sgd(float lr, float momentum, unsigned nesterov, float weight_decay, Matrix factor, Matrix gradients,
                       Matrix buffer, Matrix parameters) {
  const Element e = thread_element(parameters);
  if (!e.exists || is_skipped(factor)) return;
  float& w = parameters.at(e.row, e.col);
  float g = factor.data[0] * gradients.at(e.row, e.col) + weight_decay * w;
  if (momentum != 0.0f) {
    float& m = buffer.at(e.row, e.col);
    m = momentum * m + g;
    g = nesterov ? g + momentum * m : m;
  }
  w -= lr * g;
}

// `decay` multiplies the parameter (decoupled weight decay); `l2` times the parameter is added to the gradient.
KERNEL(256) update_adam(float step_size, float beta1, float beta2, float bias_correction2_sqrt, float eps, float decay,
                        float l2, Matrix factor, Matrix gradients, Matrix means, Matrix squares, Matrix parameters) {
  const Element e = thread_element(parameters);
  if (!e.exists || is_skipped(factor)) return;
  float& w = parameters.at(e.row, e.col);
  float& m = means.at(e.row, e.col);
  float& v = squares.at(e.row, e.col);
  const float g = factor.data[0] * gradients.at(e.row, e.col) + l2 * w;
  m += (1.0f - beta1) * (g - m);
  v = beta2 * v + (1.0f - beta2) * g * g;
  w = w * decay - step_size * m / (sqrtf(v) / bias_correction2_sqrt + eps);
}

KERNEL(256) update_rmsprop(float lr, float alpha, float eps, float weight_decay, float momentum, Matrix factor,
                           Matrix gradients, Matrix squares, Matrix buffer, Matrix parameters) {
  const Element e = thread_element(parameters);
  if (!e.exists || is_skipped(factor)) return;
  float& w = parameters.at(e.row, e.col);
  float& v = squares.at(e.row, e.col);
  const float g = factor.data[0] * gradients.at(e.row, e.col) + weight_decay * w;
  v = alpha * v + (1.0f - alpha) * g * g;
  float d = g / (sqrtf(v) + eps);
  if (momentum != 0.0f) {
    float& m = buffer.at(e.row, e.col);
    m = momentum * m + d;
    d = m;
  }
  w -= lr * d;
}
