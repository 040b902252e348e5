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

// `table[ids[r]] += a[r, :]` in the order of the rows. A block for each row and as many columns as it has threads; the one
// whose row is the first with its id adds up all rows with that id, so that no two blocks write to one place and the order
// of the sum is fixed.
KERNEL(256) scatter_add(Matrix a, const unsigned* ids, Table table) {
  // rows with the id in order, a bit for each row that is looked at, and whether there is one before the block's own
  unsigned* matching = static_cast<unsigned*>(shared_memory());
  unsigned* bits = matching + block_size();
  unsigned* found = bits + block_size() / WARP;
  const unsigned own = block_index().x, id = ids[own], thread = thread_index(), threads = block_size();
  const unsigned lane = thread % WARP, warp = thread / WARP, warps = threads / WARP;
  if (thread == 0) *found = 0;
  block_barrier();
  for (unsigned row = thread; row < own; row += threads)
    if (ids[row] == id) *found = 1;
  block_barrier();
  // every thread of the block sees the same
  if (*found) return;
  const unsigned col = block_index().y * threads + thread;
  const bool exists = col < a.cols;
  float sum = exists ? table.at(id, col) : 0.0f;
  for (unsigned first = own; first < a.rows; first += threads) {
    const unsigned row = first + thread;
    const bool matches = row < a.rows && ids[row] == id;
    const unsigned of_warp = warp_bits(matches);
    if (lane == 0) bits[warp] = of_warp;
    block_barrier();
    unsigned place = count_bits(of_warp & ((1u << lane) - 1)), count = 0;
    for (unsigned other = 0; other < warps; other++) {
      const unsigned matches_there = count_bits(bits[other]);
      place += other < warp ? matches_there : 0;
      count += matches_there;
    }
    if (matches) matching[place] = row;
    block_barrier();
    for (unsigned begin = 0; begin < count; begin += AHEAD)
      sum = add_ahead(sum, [&](unsigned i) {
        return exists && begin + i < count ? a.at(matching[begin + i], col) : 0.0f;
      });
  }
  if (exists) table.at(id, col) = sum;
}
