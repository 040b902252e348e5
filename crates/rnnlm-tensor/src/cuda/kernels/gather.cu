// Gather and scatter-add for one-hot inputs and embeddings. Picking columns instead of rows of a table exchanges its
// strides.

// A table of entries: element `e` of entry `id` is `data[id * entry_stride + e * element_stride]`.
struct Table {
  float* data;
  unsigned entry_stride, element_stride;

  DEVICE_MEMBER float& at(unsigned id, unsigned element) const {
    return data[(size_t)id * entry_stride + (size_t)element * element_stride];
  }
};

// `out[r, :] = table[ids[r]]`, one thread per element.
KERNEL(256) gather(Table table, const unsigned* ids, Matrix out) {
  const Element e = thread_element(out);
  if (e.exists) out.at(e.row, e.col) = table.at(ids[e.row], e.col);
}

// `table[ids[r]] += a[r, :]`. A block sums all rows with one id over `block_cols` columns, so that no two blocks write
// to the same element and the order of the sum is fixed. A warp takes every eighth group of 32 rows, a lane one column
// of 32; the first warp then sums over the warps. With `block_per_entry`, block x has entry x of the table; else it has
// the id of row x, and returns unless row x is the first row with this id.
KERNEL(256) scatter_add(Matrix a, const unsigned* ids, unsigned block_per_entry, unsigned block_cols, Table table) {
  constexpr unsigned WARPS = 8, SCANNED_ROWS = LOADS_IN_FLIGHT * WARP;
  // for each warp the scanned rows that have the id; a sum for each thread; whether an earlier row has the block's id
  unsigned* matching = static_cast<unsigned*>(shared_memory());
  float* sums = reinterpret_cast<float*>(matching + WARPS * SCANNED_ROWS);
  unsigned* is_repeated = reinterpret_cast<unsigned*>(sums + WARPS * WARP);
  const unsigned lane = thread_index() % WARP;
  const unsigned warp = thread_index() / WARP;
  const unsigned own_row = block_per_entry ? 0 : block_index().x;
  const unsigned id = block_per_entry ? block_index().x : ids[own_row];
  if (thread_index() == 0) *is_repeated = 0;
  block_barrier();
  for (unsigned row = thread_index(); row < own_row; row += block_size())
    if (ids[row] == id) *is_repeated = 1;
  block_barrier();
  // the same for every thread of the block, so that none is left at a barrier
  if (*is_repeated) return;
  matching += warp * SCANNED_ROWS;
  for (unsigned first_col = block_index().y * block_cols; first_col < (block_index().y + 1) * block_cols;
       first_col += WARP) {
    const unsigned col = first_col + lane;
    float sum = 0.0f;
    for (unsigned first = warp * WARP; first < a.rows; first += WARPS * SCANNED_ROWS) {
      bool matches[LOADS_IN_FLIGHT];
#pragma unroll
      for (unsigned i = 0; i < LOADS_IN_FLIGHT; i++) {
        const unsigned row = first + i * WARPS * WARP + lane;
        matches[i] = row < a.rows && ids[row] == id;
      }
      unsigned count = 0;
#pragma unroll
      for (unsigned i = 0; i < LOADS_IN_FLIGHT; i++) {
        const unsigned lanes = ballot(matches[i]);
        if (matches[i]) matching[count + popcount(lanes & ((1u << lane) - 1))] = first + i * WARPS * WARP + lane;
        count += popcount(lanes);
      }
      warp_barrier();
      for (unsigned begin = 0; begin < count; begin += LOADS_IN_FLIGHT)
        sum = add_prefetched(sum, [&](unsigned i) {
          return begin + i < count && col < a.cols ? a.at(matching[begin + i], col) : 0.0f;
        });
      warp_barrier();
    }
    sums[thread_index()] = sum;
    block_barrier();
    if (warp == 0 && col < a.cols) {
      for (unsigned other = 1; other < WARPS; other++) sum += sums[other * WARP + lane];
      table.at(id, col) += sum;
    }
    block_barrier();
  }
}
