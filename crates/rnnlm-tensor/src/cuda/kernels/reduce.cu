// Reductions. The order of each sum depends on sizes alone, without atomics, so that results are reproducible. Sums
// over a whole matrix are in double precision, as on the CPU: their terms may cancel.

// This thread's part of a sum over `len` elements, or over their squares.
template <class Term>
DEVICE double thread_sum(size_t len, bool squares, Term element) {
  const size_t step = (size_t)num_blocks().x * block_size();
  double sum = 0.0;
  for (size_t first = (size_t)block_index().x * block_size() + thread_index(); first < len;
       first += LOADS_IN_FLIGHT * step)
    sum = add_prefetched(sum, [&](unsigned i) {
      const double value = first + i * step < len ? element(first + i * step) : 0.0f;
      return squares ? value * value : value;
    });
  return sum;
}

// `partial[block]` = the block's part of the sum over `a`, or over the squares.
KERNEL(256) partial_sums(Matrix a, unsigned squares, double* partial) {
  double* shared = static_cast<double*>(shared_memory());
  const size_t len = (size_t)a.rows * a.cols;
  double sum;
  // a contiguous matrix needs no division per element, which would delay the loads
  if (a.stride == a.cols || a.rows == 1)
    sum = thread_sum(len, squares != 0, [&](size_t index) { return a.data[index]; });
  else
    sum = thread_sum(len, squares != 0, [&](size_t index) {
      const Element e = element_at(index, a);
      return a.at(e.row, e.col);
    });
  sum = block_sum(sum, shared);
  if (thread_index() == 0) partial[block_index().x] = sum;
}

// `out = Σ partial`, in one block.
KERNEL(256) total(const double* partial, unsigned len, Matrix out) {
  double* shared = static_cast<double*>(shared_memory());
  double sum = 0.0;
  for (unsigned index = thread_index(); index < len; index += block_size()) sum += partial[index];
  sum = block_sum(sum, shared);
  if (thread_index() == 0) out.data[0] = (float)sum;
}

// `out[0, c] += Σ_r a[r, c]`. A block has eight columns, one 32-byte memory sector. Each of its 32 groups of eight
// threads sums every 32nd row; the first group then sums over the groups.
KERNEL(256) sum_rows(Matrix a, Matrix out) {
  constexpr unsigned COLUMNS = 8, GROUPS = 32;
  float* sums = static_cast<float*>(shared_memory());
  const unsigned group = thread_index() / COLUMNS;
  const unsigned col = block_index().x * COLUMNS + thread_index() % COLUMNS;
  float sum = 0.0f;
  for (unsigned first = group; first < a.rows; first += GROUPS * LOADS_IN_FLIGHT)
    sum = add_prefetched(sum, [&](unsigned i) {
      const unsigned row = first + i * GROUPS;
      return row < a.rows && col < a.cols ? a.at(row, col) : 0.0f;
    });
  sums[thread_index()] = sum;
  block_barrier();
  if (group > 0 || col >= a.cols) return;
  for (unsigned other = 1; other < GROUPS; other++) sum += sums[other * COLUMNS + thread_index()];
  out.at(0, col) += sum;
}
