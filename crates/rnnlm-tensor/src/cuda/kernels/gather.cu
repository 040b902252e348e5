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
  const size_t index = (size_t)block_index().x * block_size() + thread_index();
  if (index >= (size_t)out.rows * out.cols) return;
  const unsigned row = (unsigned)(index / out.cols), col = (unsigned)(index % out.cols);
  out.at(row, col) = table.at(ids[row], col);
}

// `table[ids[r]] += a[r, :]` in the order of the rows. A block for each row; the one whose row is the first with its id
// adds up all rows with that id, so that no two blocks write to one place and the order of the sum is fixed.
KERNEL(256) scatter_add(Matrix a, const unsigned* ids, Table table) {
  unsigned* matches = static_cast<unsigned*>(shared_memory());
  unsigned* found = matches + block_size();
  const unsigned own = block_index().x, id = ids[own], thread = thread_index(), threads = block_size();
  if (thread == 0) *found = 0;
  block_barrier();
  for (unsigned row = thread; row < own; row += threads)
    if (ids[row] == id) *found = 1;
  block_barrier();
  // every thread of the block sees the same
  if (*found) return;
  for (unsigned first = own; first < a.rows; first += threads) {
    const unsigned row = first + thread;
    matches[thread] = row < a.rows && ids[row] == id ? row : NO_ROW;
    block_barrier();
    const unsigned end = a.rows - first < threads ? a.rows - first : threads;
    for (unsigned col = thread; col < a.cols; col += threads) {
      float sum = table.at(id, col);
      for (unsigned i = 0; i < end; i++)
        if (matches[i] != NO_ROW) sum += a.at(matches[i], col);
      table.at(id, col) = sum;
    }
    block_barrier();
  }
}
