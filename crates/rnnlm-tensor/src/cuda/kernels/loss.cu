// Softmax, cross-entropy and its gradient, and the logarithm of the softmax, one warp per row. The row's maximum is
// subtracted first, so that no exponential overflows.

// The maximum of a row, and the sum of the exponentials of the differences from it. Every lane of the warp calls it; one
// past the last row has no columns.
struct SoftmaxSum {
  float largest, sum;

  DEVICE_MEMBER SoftmaxSum(const Matrix& logits, unsigned row, unsigned cols) {
    const unsigned lane = thread_index() % WARP;
    largest = cols > 0 ? logits.at(row, 0) : 0.0f;
    for (unsigned col = lane; col < cols; col += WARP) {
      const float value = logits.at(row, col);
      largest = value > largest || value != value ? value : largest;
    }
    largest = warp_max(largest);
    sum = 0.0f;
    for (unsigned col = lane; col < cols; col += WARP) sum += expf(logits.at(row, col) - largest);
    sum = warp_sum(sum);
  }
};

// `logits[r, :]` becomes `scale·(softmax − (1 − smoothing)·one_hot(targets[r]) − smoothing/V)`, `losses[r]` becomes
// `−ln softmax[targets[r]]`.
KERNEL(256) softmax_cross_entropy(float scale, float smoothing, const unsigned* targets, Matrix logits, Matrix losses) {
  const unsigned lane = thread_index() % WARP;
  const unsigned row = block_index().x * (block_size() / WARP) + thread_index() / WARP;
  // a warp past the last row takes part in the shuffles and writes nothing
  const bool exists = row < logits.rows;
  const auto [largest, sum] = SoftmaxSum(logits, row, exists ? logits.cols : 0);
  if (!exists) return;
  const unsigned target = targets[row];
  if (lane == target % WARP) losses.at(row, 0) = logf(sum) - (logits.at(row, target) - largest);
  const float of_target = 1.0f - smoothing, of_each = smoothing / logits.cols;
  for (unsigned col = lane; col < logits.cols; col += WARP) {
    float& logit = logits.at(row, col);
    logit = scale * (expf(logit - largest) / sum - of_each - (col == target ? of_target : 0.0f));
  }
}

// `out[r, :]` becomes `ln softmax(out[r, :]) + shift[r]`; without data, the shift is zero.
KERNEL(256) log_softmax(Matrix shift, Matrix out) {
  const unsigned lane = thread_index() % WARP;
  const unsigned row = block_index().x * (block_size() / WARP) + thread_index() / WARP;
  const bool exists = row < out.rows;
  const auto [largest, sum] = SoftmaxSum(out, row, exists ? out.cols : 0);
  if (!exists) return;
  const float offset = (shift.data ? shift.at(row, 0) : 0.0f) - logf(sum);
  for (unsigned col = lane; col < out.cols; col += WARP) out.at(row, col) = out.at(row, col) - largest + offset;
}
