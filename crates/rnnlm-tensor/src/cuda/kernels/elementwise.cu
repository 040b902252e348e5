// Operations on each element by itself, one thread an element, beside the walk. The equations stand in `backend.rs`.

KERNEL(256) fill(float value, Matrix out) {
  const Element e = element_of(out);
  if (e.exists) out.at(e.row, e.col) = value;
}

KERNEL(256) copy(Matrix a, Matrix out) {
  const Element e = element_of(out);
  if (e.exists) out.at(e.row, e.col) = a.at(e.row, e.col);
}

KERNEL(256) axpy(float alpha, Matrix a, Matrix out) {
  const Element e = element_of(out);
  if (e.exists) out.at(e.row, e.col) += alpha * a.at(e.row, e.col);
}

KERNEL(256) multiply(Matrix a, Matrix b, unsigned accumulate, Matrix out) {
  const Element e = element_of(out);
  if (!e.exists) return;
  const float product = a.at(e.row, e.col) * b.at(e.row, e.col);
  out.at(e.row, e.col) = accumulate ? out.at(e.row, e.col) + product : product;
}

KERNEL(256) add_row(Matrix row, Matrix out) {
  const Element e = element_of(out);
  if (e.exists) out.at(e.row, e.col) += row.at(0, e.col);
}

// The largest finite number.
constexpr float LARGEST = 3.402823466e38f;

// By the order of `Activation`.
enum Activation { TANH, RELU, SIGMOID };

KERNEL(256) activate(unsigned activation, Matrix out) {
  const Element e = element_of(out);
  if (!e.exists) return;
  float& x = out.at(e.row, e.col);
  if (activation == TANH) {
    x = tanhf(x);
  } else if (activation == RELU) {
    // a NaN stays one
    x = x < 0.0f ? 0.0f : x;
  } else {
    x = 1.0f / (1.0f + expf(-x));
  }
}

KERNEL(256) activate_backward(unsigned activation, Matrix y, Matrix out) {
  const Element e = element_of(out);
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

// A NaN stays one.
KERNEL(256) clamp(float bound, Matrix out) {
  const Element e = element_of(out);
  if (!e.exists) return;
  float& x = out.at(e.row, e.col);
  x = x < -bound ? -bound : x > bound ? bound : x;
}

// `min(1, max_norm / (√sum_squares + 10⁻⁶))`; a NaN stays one.
KERNEL(32) clip_factor(Matrix sum_squares, float max_norm, Matrix out) {
  const float factor = max_norm / (sqrtf(sum_squares.data[0]) + 1e-6f);
  if (thread_index() == 0) out.data[0] = factor > 1.0f ? 1.0f : factor;
}

// Holds updates back from a step on that is not finite; a NaN is within no bound.
KERNEL(32) skip_nonfinite(float bound, Matrix loss, Matrix sum_squares, Matrix skipped, Matrix factor) {
  if (thread_index() > 0) return;
  const bool is_finite = fabsf(loss.data[0]) <= bound && fabsf(sum_squares.data[0]) <= LARGEST;
  if (!is_finite) skipped.data[0] = 1.0f;
  // a NaN without a header
  if (skipped.data[0] != 0.0f) factor.data[0] = sqrtf(-1.0f);
}
