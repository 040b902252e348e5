// One-hot rows and embeddings, beside the walk: picking rows of a table by id, and adding gradients back to them. A table
// whose columns are picked is one with its two strides exchanged.

// Entry `id` of a table is at `data + id * entry_stride`, its elements `element_stride` apart.
struct Table {
  float* data;
  unsigned entries, entry_stride, element_stride;

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
// write to one place and the order of the sum is fixed: each of its groups of `width` threads takes some of the rows in order,
// and the first group adds up the sums of all. Of a table with fewer entries than there are rows, each entry has blocks; else
// each row has, of which those whose row is the first with its id go on.
KERNEL(256) scatter_add(Matrix a, const unsigned* ids, unsigned width, Table table) {
  // a sum of each thread, rows with the id in order, a bit for each row that is looked at, and whether there is one before the
  // block's own
  float* sums = static_cast<float*>(shared_memory());
  unsigned* matching = reinterpret_cast<unsigned*>(sums) + block_size();
  unsigned* bits = matching + block_size();
  unsigned* found = bits + block_size() / WARP;
  const unsigned thread = thread_index(), threads = block_size();
  const unsigned lane = thread % WARP, warp = thread / WARP, warps = threads / WARP;
  const bool of_entry = table.entries < a.rows;
  const unsigned own = of_entry ? 0 : block_index().x, id = of_entry ? block_index().x : ids[own];
  if (thread == 0) *found = 0;
  block_barrier();
  for (unsigned row = thread; row < own; row += threads)
    if (ids[row] == id) *found = 1;
  block_barrier();
  // every thread of the block sees the same
  if (*found) return;
  const unsigned group = thread / width, groups = threads / width;
  const unsigned col = block_index().y * width + thread % width;
  const bool exists = col < a.cols;
  float sum = 0.0f;
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
    for (unsigned begin = group; begin < count; begin += AHEAD * groups)
      sum = add_ahead(sum, [&](unsigned i) {
        const unsigned at = begin + i * groups;
        return exists && at < count ? a.at(matching[at], col) : 0.0f;
      });
  }
  sums[thread] = sum;
  block_barrier();
  if (group > 0 || !exists) return;
  for (unsigned other = 1; other < groups; other++) sum += sums[other * width + thread];
  table.at(id, col) += sum;
}
