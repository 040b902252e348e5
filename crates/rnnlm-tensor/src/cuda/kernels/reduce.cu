// Sums, beside the walk, each in one order that depends on sizes alone: no atomics, so that a run gives the same bits again.
// Sums of a whole matrix are in double precision, as on the CPU: their terms may cancel.

// `partial[block] = Σ` over the block's share of the elements, of their squares if `squares`.
KERNEL(256) partial_sums(Matrix a, unsigned squares, double* partial) {
  double* shared = static_cast<double*>(shared_memory());
  const size_t len = (size_t)a.rows * a.cols, step = (size_t)num_blocks().x * block_size();
  double sum = 0.0;
  for (size_t index = (size_t)block_index().x * block_size() + thread_index(); index < len; index += step) {
    const double value = a.at((unsigned)(index / a.cols), (unsigned)(index % a.cols));
    sum += squares ? value * value : value;
  }
  sum = block_sum(sum, shared);
  if (thread_index() == 0) partial[block_index().x] = sum;
}

// `out = Σ partial`, one block.
KERNEL(256) total(const double* partial, unsigned len, Matrix out) {
  double* shared = static_cast<double*>(shared_memory());
  double sum = 0.0;
  for (unsigned index = thread_index(); index < len; index += block_size()) sum += partial[index];
  sum = block_sum(sum, shared);
  if (thread_index() == 0) out.data[0] = (float)sum;
}

// `out[0, c] += Σ_r a[r, c]`. A block has 32 columns; each of its eight warps adds up every eighth row, and the first warp
// the sums of the warps.
KERNEL(256) sum_rows(Matrix a, Matrix out) {
  constexpr unsigned WARPS = 8;
  float* sums = static_cast<float*>(shared_memory());
  const unsigned lane = thread_index() % WARP, warp = thread_index() / WARP;
  const unsigned col = block_index().x * WARP + lane;
  float sum = 0.0f;
  for (unsigned first = warp; first < a.rows; first += WARPS * AHEAD)
    sum = add_ahead(sum, [&](unsigned i) {
      const unsigned row = first + i * WARPS;
      return row < a.rows && col < a.cols ? a.at(row, col) : 0.0f;
    });
  sums[warp * WARP + lane] = sum;
  block_barrier();
  if (warp > 0 || col >= a.cols) return;
  for (unsigned other = 1; other < WARPS; other++) sum += sums[other * WARP + lane];
  out.at(0, col) += sum;
}
