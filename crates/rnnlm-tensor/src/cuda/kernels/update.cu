// How parameters move by their gradients, one thread a parameter, beside the walk. The equations stand in `update.rs`; the
// numbers of a rule come in the order of its fields. A factor that is NaN holds an update back.

// Whether a step is to leave everything as it is.
DEVICE bool is_held(const Matrix& factor) { return factor.data[0] != factor.data[0]; }

KERNEL(256) update_sgd(float lr, float momentum, unsigned nesterov, float weight_decay, Matrix factor, Matrix gradients,
                       Matrix buffer, Matrix parameters) {
  const Element e = element_of(parameters);
  if (!e.exists || is_held(factor)) return;
  float& w = parameters.at(e.row, e.col);
  float g = factor.data[0] * gradients.at(e.row, e.col) + weight_decay * w;
  if (momentum != 0.0f) {
    float& m = buffer.at(e.row, e.col);
    m = momentum * m + g;
    g = nesterov ? g + momentum * m : m;
  }
  w -= lr * g;
}

// `shrunk` is what a parameter keeps of itself, `joined` what of it joins the gradient.
KERNEL(256) update_adam(float rate, float beta1, float beta2, float root, float eps, float shrunk, float joined,
                        Matrix factor, Matrix gradients, Matrix means, Matrix squares, Matrix parameters) {
  const Element e = element_of(parameters);
  if (!e.exists || is_held(factor)) return;
  float& w = parameters.at(e.row, e.col);
  float& m = means.at(e.row, e.col);
  float& v = squares.at(e.row, e.col);
  const float g = factor.data[0] * gradients.at(e.row, e.col) + joined * w;
  m += (1.0f - beta1) * (g - m);
  v = beta2 * v + (1.0f - beta2) * g * g;
  w = w * shrunk - rate * m / (sqrtf(v) / root + eps);
}

KERNEL(256) update_rmsprop(float lr, float alpha, float eps, float weight_decay, float momentum, Matrix factor,
                           Matrix gradients, Matrix squares, Matrix buffer, Matrix parameters) {
  const Element e = element_of(parameters);
  if (!e.exists || is_held(factor)) return;
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
