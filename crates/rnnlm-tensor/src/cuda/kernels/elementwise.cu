// Elementwise operations, one thread per element. The equations are in `backend.rs`.

KERNEL(256) fill(float value, Matrix out) {
  const Element e = thread_element(out);
  if (e.exists) out.at(e.row, e.col) = value;
}

KERNEL(256) copy(Matrix a, Matrix out) {
  const Element e = thread_element(out);
  if (e.exists) out.at(e.row, e.col) = a.at(e.row, e.col);
}

KERNEL(256) axpy(float alpha, Matrix a, Matrix out) {
  const Element e = thread_element(out);
  if (e.exists) out.at(e.row, e.col) += alpha * a.at(e.row, e.col);
}

KERNEL(256) multiply(Matrix a, Matrix b, unsigned accumulate, Matrix out) {
  const Element e = thread_element(out);
  if (!e.exists) return;
  const float product = a.at(e.row, e.col) * b.at(e.row, e.col);
  out.at(e.row, e.col) = accumulate ? out.at(e.row, e.col) + product : product;
}

KERNEL(256) normalize(Matrix a, Matrix b, Matrix out) {
  const Element e = thread_element(out);
  if (!e.exists) return;
  const float value = a.at(e.row, e.col), sum = value + b.at(e.row, e.col);
  out.at(e.row, e.col) = sum == 0.0f ? 0.5f : value / sum;
}

KERNEL(256) add_row(Matrix row, Matrix out) {
  const Element e = thread_element(out);
  if (e.exists) out.at(e.row, e.col) += row.at(0, e.col);
}

// A selection, not a product: a NaN becomes zero, too.
KERNEL(256) zero_rows(const unsigned* mask, Matrix out) {
  const Element e = thread_element(out);
  if (e.exists && mask[e.row]) out.at(e.row, e.col) = 0.0f;
}

// Numbered as by the host's `activation_code`.
enum Activation { TANH, RELU, SIGMOID };

KERNEL(256) activate(unsigned activation, Matrix out) {
  const Element e = thread_element(out);
  if (!e.exists) return;
  float& x = out.at(e.row, e.col);
  if (activation == TANH) {
    x = tanhf(x);
  } else if (activation == RELU) {
    // propagates a NaN
    x = x < 0.0f ? 0.0f : x;
  } else {
    x = 1.0f / (1.0f + expf(-x));
  }
}

KERNEL(256) activate_backward(unsigned activation, Matrix y, Matrix out) {
  const Element e = thread_element(out);
  if (!e.exists) return;
  const float value = y.at(e.row, e.col);
  float& gradient = out.at(e.row, e.col);
  if (activation == TANH) {
    gradient *= 1.0f - value * value;
  } else if (activation == RELU) {
    gradient = value <= 0.0f ? 0.0f : gradient;
  } else {
    gradient *= value * (1.0f - value);
  }
}

// Propagates a NaN.
KERNEL(256) clamp(float bound, Matrix out) {
  const Element e = thread_element(out);
  if (!e.exists) return;
  float& x = out.at(e.row, e.col);
  x = x < -bound ? -bound : x > bound ? bound : x;
}

// `min(1, max_norm / (√sum_squares + 10⁻⁶))`; propagates a NaN.
KERNEL(32) clip_factor(Matrix sum_squares, float max_norm, Matrix out) {
  const float factor = max_norm / (sqrtf(sum_squares.data[0]) + 1e-6f);
  if (thread_index() == 0) out.data[0] = factor > 1.0f ? 1.0f : factor;
}

// FLT_MAX.
constexpr float MAX_FINITE = 3.402823466e38f;

// Sets `skipped` if this step is not finite, and sets the factor to NaN once `skipped` is set. A comparison with a NaN
// is false, so a NaN is not finite.
KERNEL(32) skip_nonfinite(float bound, Matrix loss, Matrix sum_squares, Matrix skipped, Matrix factor) {
  if (thread_index() > 0) return;
  const bool is_finite = fabsf(loss.data[0]) <= bound && fabsf(sum_squares.data[0]) <= MAX_FINITE;
  if (!is_finite) skipped.data[0] = 1.0f;
  // sqrtf(-1) is a NaN that needs no header
  if (skipped.data[0] != 0.0f) factor.data[0] = sqrtf(-1.0f);
}
