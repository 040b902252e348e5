// Matrix products, beside the walk: `out = A·B`, with one operand transposed or none. A block computes a square tile of the
// output; both operands pass through shared memory a few columns at a time, the next ones on their way while these are
// multiplied. Every element is one sum in the order of k. Where the output has too few tiles to fill a GPU, k is cut into
// slices, a block for each, and their sums are added in order.

// By the order of `Product`.
enum Product { AB, ABT, ATB };

// Threads of a block, in a square.
constexpr unsigned SIDE = 16;

// COUNT neighbours, read at once.
template <unsigned COUNT>
struct alignas(COUNT * sizeof(float)) Pack {
  float at[COUNT];
};

// DEPTH columns of k of a tile of an operand: on their way in this thread's registers, then [k][TILE] in shared memory.
// ALONG_ROWS says that k runs along the operand's rows. Neighbouring threads read neighbouring elements, whichever it is.
template <unsigned TILE, unsigned DEPTH, bool ALONG_ROWS>
struct Strip {
  // four columns behind the tile keep threads of a warp in different banks, and packs where they are read at once
  static constexpr unsigned PITCH = TILE + 4, SIZE = DEPTH * PITCH, OWN = TILE * DEPTH / (SIDE * SIDE);
  float own[OWN];

  DEVICE_MEMBER static unsigned k(unsigned i) { return ALONG_ROWS ? i % DEPTH : i / TILE; }
  DEVICE_MEMBER static unsigned place(unsigned i) { return ALONG_ROWS ? i / DEPTH : i % TILE; }

  // Zeros stand in for what is behind the operand or behind `end`.
  DEVICE_MEMBER void fetch(const Matrix& operand, unsigned first, unsigned begin, unsigned end) {
#pragma unroll
    for (unsigned n = 0; n < OWN; n++) {
      const unsigned i = n * SIDE * SIDE + thread_index(), other = first + place(i), at = begin + k(i);
      const bool exists = other < (ALONG_ROWS ? operand.rows : operand.cols) && at < end;
      own[n] = !exists ? 0.0f : ALONG_ROWS ? operand.at(other, at) : operand.at(at, other);
    }
  }

  DEVICE_MEMBER void put(float* tile) const {
#pragma unroll
    for (unsigned n = 0; n < OWN; n++) {
      const unsigned i = n * SIDE * SIDE + thread_index();
      tile[k(i) * PITCH + place(i)] = own[n];
    }
  }
};

// What a thread has of a tile's rows, or of its columns: packs of up to four, as far apart as those of all threads reach, so
// that threads side by side read packs side by side.
template <unsigned TILE>
struct Own {
  static constexpr unsigned COUNT = TILE / SIDE, PACK = COUNT < 4 ? COUNT : 4;
  float at[COUNT];

  DEVICE_MEMBER static unsigned place(unsigned thread, unsigned i) {
    return (i / PACK * SIDE + thread) * PACK + i % PACK;
  }

  DEVICE_MEMBER void read(const float* tile, unsigned thread) {
#pragma unroll
    for (unsigned first = 0; first < COUNT; first += PACK) {
      const auto pack = *reinterpret_cast<const Pack<PACK>*>(tile + place(thread, first));
#pragma unroll
      for (unsigned i = 0; i < PACK; i++) at[first + i] = pack.at[i];
    }
  }
};

// A tile of `TILE` × `TILE` over the slice of k that is the block's, of which a thread has as many rows as columns. With more
// slices than one their sums go to `partial`, `[slices][rows][cols]`.
template <unsigned TILE, unsigned DEPTH, Product PRODUCT>
DEVICE void multiply_tile(const Matrix& a, const Matrix& b, unsigned slice, bool accumulate, float* partial,
                          const Matrix& out) {
  constexpr unsigned OWN = Own<TILE>::COUNT;
  using Left = Strip<TILE, DEPTH, PRODUCT != ATB>;
  using Right = Strip<TILE, DEPTH, PRODUCT == ABT>;
  float* left_tiles = static_cast<float*>(shared_memory());
  float* right_tiles = left_tiles + 2 * Left::SIZE;
  const unsigned depth = PRODUCT == ATB ? a.rows : a.cols;
  const unsigned begin = block_index().z * slice, end = depth - begin < slice ? depth : begin + slice;
  const unsigned first_row = block_index().y * TILE, first_col = block_index().x * TILE;
  const unsigned y = thread_index() / SIDE, x = thread_index() % SIDE;
  Left left;
  Right right;
  left.fetch(a, first_row, begin, end);
  right.fetch(b, first_col, begin, end);
  float sums[OWN][OWN] = {};
  unsigned buffer = 0;
  for (unsigned at = begin; at < end; at += DEPTH) {
    float* left_tile = left_tiles + buffer * Left::SIZE;
    float* right_tile = right_tiles + buffer * Right::SIZE;
    left.put(left_tile);
    right.put(right_tile);
    // two buffers in turn: whoever has come through here no longer reads the other one
    block_barrier();
    left.fetch(a, first_row, at + DEPTH, end);
    right.fetch(b, first_col, at + DEPTH, end);
#pragma unroll
    for (unsigned k = 0; k < DEPTH; k++) {
      Own<TILE> rows, cols;
      rows.read(left_tile + k * Left::PITCH, y);
      cols.read(right_tile + k * Right::PITCH, x);
      for (unsigned i = 0; i < OWN; i++)
        for (unsigned j = 0; j < OWN; j++) sums[i][j] = fmaf(rows.at[i], cols.at[j], sums[i][j]);
    }
    buffer ^= 1;
  }
  for (unsigned i = 0; i < OWN; i++)
    for (unsigned j = 0; j < OWN; j++) {
      const unsigned row = first_row + Own<TILE>::place(y, i), col = first_col + Own<TILE>::place(x, j);
      if (row >= out.rows || col >= out.cols) continue;
      if (num_blocks().z > 1)
        partial[((size_t)block_index().z * out.rows + row) * out.cols + col] = sums[i][j];
      else
        out.at(row, col) = accumulate ? out.at(row, col) + sums[i][j] : sums[i][j];
    }
}

#define GEMM(name, tile, depth, product)                                                                      \
  KERNEL(256) name(Matrix a, Matrix b, unsigned slice, unsigned accumulate, float* partial, Matrix out) {     \
    multiply_tile<tile, depth, product>(a, b, slice, accumulate != 0, partial, out);                          \
  }

GEMM(gemm_ab_32, 32, 32, AB)
GEMM(gemm_abt_32, 32, 32, ABT)
GEMM(gemm_atb_32, 32, 32, ATB)
GEMM(gemm_ab_64, 64, 16, AB)
GEMM(gemm_abt_64, 64, 16, ABT)
GEMM(gemm_atb_64, 64, 16, ATB)
GEMM(gemm_ab_128, 128, 16, AB)
GEMM(gemm_abt_128, 128, 16, ABT)
GEMM(gemm_atb_128, 128, 16, ATB)

// `out = Σ partial`, or `out += Σ partial`, in the order of the slices; one thread an element.
KERNEL(256) sum_slices(const float* partial, unsigned slices, unsigned accumulate, Matrix out) {
  const Element e = element_of(out);
  if (!e.exists) return;
  const size_t len = (size_t)out.rows * out.cols, index = (size_t)e.row * out.cols + e.col;
  float sum = 0.0f;
  for (unsigned first = 0; first < slices; first += AHEAD)
    sum = add_ahead(sum, [&](unsigned i) { return first + i < slices ? partial[(first + i) * len + index] : 0.0f; });
  float& element = out.at(e.row, e.col);
  element = accumulate ? element + sum : sum;
}
