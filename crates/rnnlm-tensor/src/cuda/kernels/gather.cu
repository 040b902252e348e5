// One-hot rows and embeddings, beside the walk: picking rows of a table by id, and adding gradients back to them. A table
// whose columns are picked is one with its two strides exchanged.

// Entry `id` of a table is at `data + id * entry_stride`, its elements `element_stride` apart.
struct Table {
  float* data;
  unsigned entry_stride, element_stride;

  DEVICE_MEMBER float& at(unsigned id, unsigned element) const {
    return data[(size_t)id * entry_stride + (size_t)element * element_stride];
  }
};

// `out[r, :] = table[ids[r]]`, one thread an element.
KERNEL(256) gather(Table table, const unsigned* ids, Matrix out) {
  const Element e = element_of(out);
  if (e.exists) out.at(e.row, e.col) = table.at(ids[e.row], e.col);
}

// `table[ids[r]] += a[r, :]`. A block has `width` columns of one entry, and adds up all rows with its id, so that no two blocks
// write to one place and the order of the sum is fixed: a warp takes every eighth 32 rows, a lane a column of 32, and the first
// warp adds up the sums of all. Blocks are of entries, each of which has some, if `of_entries`; else of rows, of which those
// whose row is the first with its id go on.
KERNEL(256) scatter_add(Matrix a, const unsigned* ids, unsigned of_entries, unsigned width, Table table) {
  constexpr unsigned WARPS = 8, LOOKED_AT = AHEAD * WARP;
  // the rows with the id among those that a warp looks at, a sum of each thread, and whether there is a row before the
  // block's own
  unsigned* matching = static_cast<unsigned*>(shared_memory());
  float* sums = reinterpret_cast<float*>(matching + WARPS * LOOKED_AT);
  unsigned* found = reinterpret_cast<unsigned*>(sums + WARPS * WARP);
  const unsigned lane = thread_index() % WARP, warp = thread_index() / WARP;
  const unsigned own = of_entries ? 0 : block_index().x, id = of_entries ? block_index().x : ids[own];
  if (thread_index() == 0) *found = 0;
  block_barrier();
  for (unsigned row = thread_index(); row < own; row += block_size())
    if (ids[row] == id) *found = 1;
  block_barrier();
  // every thread of the block sees the same
  if (*found) return;
  matching += warp * LOOKED_AT;
  for (unsigned first_col = block_index().y * width; first_col < (block_index().y + 1) * width; first_col += WARP) {
    const unsigned col = first_col + lane;
    float sum = 0.0f;
    for (unsigned first = warp * WARP; first < a.rows; first += WARPS * LOOKED_AT) {
      bool matches[AHEAD];
#pragma unroll
      for (unsigned i = 0; i < AHEAD; i++) {
        const unsigned row = first + i * WARPS * WARP + lane;
        matches[i] = row < a.rows && ids[row] == id;
      }
      unsigned count = 0;
#pragma unroll
      for (unsigned i = 0; i < AHEAD; i++) {
        const unsigned of_warp = warp_bits(matches[i]);
        if (matches[i]) matching[count + count_bits(of_warp & ((1u << lane) - 1))] = first + i * WARPS * WARP + lane;
        count += count_bits(of_warp);
      }
      warp_barrier();
      for (unsigned begin = 0; begin < count; begin += AHEAD)
        sum = add_ahead(sum, [&](unsigned i) {
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
