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

  DEVICE_MEMBER void operator+=(const Pack& other) {
#pragma unroll
    for (unsigned i = 0; i < COUNT; i++) at[i] += other.at[i];
  }
};

// Whether packs of four begin where a pack may.
DEVICE bool may_have_packs(const Matrix& operand) {
  return reinterpret_cast<size_t>(operand.data) % sizeof(Pack<4>) == 0 && operand.stride % 4 == 0;
}

// DEPTH columns of k of a tile of an operand: on their way in this thread's registers, then [k][TILE] in shared memory.
// ALONG_ROWS says that k runs along the operand's rows. Neighbouring threads read neighbouring packs, whichever it is.
template <unsigned TILE, unsigned DEPTH, bool ALONG_ROWS>
struct Strip {
  // four columns behind the tile keep threads of a warp in different banks, and packs where they are read at once
  static constexpr unsigned PITCH = TILE + 4, SIZE = DEPTH * PITCH, OWN = TILE * DEPTH / (SIDE * SIDE * 4);
  static constexpr unsigned WIDTH = (ALONG_ROWS ? DEPTH : TILE) / 4;
  // where this thread's packs are when the strip begins at 0
  unsigned from[OWN];
  Pack<4> own[OWN];
  bool has_packs;

  DEVICE_MEMBER static unsigned row(unsigned i) { return (i * SIDE * SIDE + thread_index()) / WIDTH; }
  DEVICE_MEMBER static unsigned col(unsigned i) { return (i * SIDE * SIDE + thread_index()) % WIDTH * 4; }

  // What is behind the operand's last row or column is in no sum that is kept, so that any pack may stand in for it.
  DEVICE_MEMBER Strip(const Matrix& operand, unsigned first) {
    // of a larger operand the places have more digits
    const bool is_small = (size_t)operand.rows * operand.stride <= 0xffffffffu;
    has_packs = is_small && may_have_packs(operand) && (ALONG_ROWS || operand.cols % 4 == 0);
    const unsigned last = ALONG_ROWS ? operand.rows - 1 : operand.cols - 4;
#pragma unroll
    for (unsigned i = 0; i < OWN; i++) {
      const unsigned other = first + (ALONG_ROWS ? row(i) : col(i)), nearest = other < last ? other : last;
      from[i] = ALONG_ROWS ? nearest * operand.stride + col(i) : row(i) * operand.stride + nearest;
    }
  }

  // Zeros stand in for what is behind `end`.
  DEVICE_MEMBER void fetch(const Matrix& operand, unsigned first, unsigned begin, unsigned end) {
    if (has_packs && begin + DEPTH <= end) {
#pragma unroll
      for (unsigned i = 0; i < OWN; i++)
        own[i] = *reinterpret_cast<const Pack<4>*>(operand.data + (from[i] + begin * (ALONG_ROWS ? 1 : operand.stride)));
      return;
    }
    const unsigned rows = ALONG_ROWS ? operand.rows : end, cols = ALONG_ROWS ? end : operand.cols;
#pragma unroll
    for (unsigned i = 0; i < OWN; i++) {
      const unsigned r = (ALONG_ROWS ? first : begin) + row(i), c = (ALONG_ROWS ? begin : first) + col(i);
#pragma unroll
      for (unsigned j = 0; j < 4; j++) own[i].at[j] = r < rows && c + j < cols ? operand.at(r, c + j) : 0.0f;
    }
  }

  DEVICE_MEMBER void put(float* tile) const {
#pragma unroll
    for (unsigned i = 0; i < OWN; i++) {
      if (ALONG_ROWS) {
#pragma unroll
        for (unsigned j = 0; j < 4; j++) tile[(col(i) + j) * PITCH + row(i)] = own[i].at[j];
      } else {
        *reinterpret_cast<Pack<4>*>(tile + row(i) * PITCH + col(i)) = own[i];
      }
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
  Left left(a, first_row);
  Right right(b, first_col);
  left.fetch(a, first_row, begin, end);
  right.fetch(b, first_col, begin, end);
  left.put(left_tiles);
  right.put(right_tiles);
  float sums[OWN][OWN] = {};
  unsigned buffer = 0;
  for (unsigned at = begin; at < end; at += DEPTH) {
    const float* left_tile = left_tiles + buffer * Left::SIZE;
    const float* right_tile = right_tiles + buffer * Right::SIZE;
    const auto multiply = [&](unsigned from) {
#pragma unroll
      for (unsigned k = from; k < from + DEPTH / 2; k++) {
        Own<TILE> rows, cols;
        rows.read(left_tile + k * Left::PITCH, y);
        cols.read(right_tile + k * Right::PITCH, x);
        for (unsigned i = 0; i < OWN; i++)
          for (unsigned j = 0; j < OWN; j++) sums[i][j] = fmaf(rows.at[i], cols.at[j], sums[i][j]);
      }
    };
    // two buffers in turn: before it both strips of this one are written, and whoever has come through it no longer reads the
    // other one. One strip at a time is on its way while these are multiplied, since two would take too many registers.
    block_barrier();
    buffer ^= 1;
    left.fetch(a, first_row, at + DEPTH, end);
    multiply(0);
    left.put(left_tiles + buffer * Left::SIZE);
    right.fetch(b, first_col, at + DEPTH, end);
    multiply(DEPTH / 2);
    right.put(right_tiles + buffer * Right::SIZE);
  }
  // a slice of many has its sums for itself
  const bool sliced = num_blocks().z > 1;
  const size_t before = (size_t)block_index().z * out.rows * out.cols;
  const Matrix to = sliced ? Matrix{partial + before, out.rows, out.cols, out.cols} : out;
  constexpr unsigned PACK = Own<TILE>::PACK;
  const bool aligned = may_have_packs(to);
#pragma unroll
  for (unsigned i = 0; i < OWN; i++) {
    const unsigned row = first_row + Own<TILE>::place(y, i);
    if (row >= to.rows) continue;
#pragma unroll
    for (unsigned first = 0; first < OWN; first += PACK) {
      const unsigned col = first_col + Own<TILE>::place(x, first);
      float* at = &to.at(row, col);
      Pack<PACK> pack;
#pragma unroll
      for (unsigned j = 0; j < PACK; j++)
        pack.at[j] = accumulate && !sliced && col + j < to.cols ? at[j] + sums[i][first + j] : sums[i][first + j];
      if (aligned && col + PACK <= to.cols) {
        *reinterpret_cast<Pack<PACK>*>(at) = pack;
      } else {
#pragma unroll
        for (unsigned j = 0; j < PACK; j++)
          if (col + j < to.cols) at[j] = pack.at[j];
      }
    }
  }
}

#define GEMM(name, tile, depth, product)                                                                      \
  KERNEL_BESIDE(256, tile == 128 ? 2 : 4)                                                                      \
  name(Matrix a, Matrix b, unsigned slice, unsigned accumulate, float* partial, Matrix out) {                  \
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

// WIDTH neighbours of `out = Σ partial`, or `out += Σ partial`, in the order of the slices, of which so many are on their way
// at once that registers suffice.
template <unsigned WIDTH>
DEVICE void sum_pack(const float* partial, unsigned slices, bool accumulate, const Matrix& out) {
  constexpr unsigned AT_ONCE = AHEAD / WIDTH;
  const size_t len = (size_t)out.rows * out.cols, pack = (size_t)block_index().x * block_size() + thread_index();
  const Element e = element_at(pack * WIDTH, out);
  if (!e.exists) return;
  const auto* of_slices = reinterpret_cast<const Pack<WIDTH>*>(partial) + pack;
  Pack<WIDTH> sum = {};
  for (unsigned first = 0; first < slices; first += AT_ONCE)
    sum = add_ahead<AT_ONCE>(sum, [&](unsigned i) {
      return first + i < slices ? of_slices[(first + i) * (len / WIDTH)] : Pack<WIDTH>{};
    });
  auto& elements = *reinterpret_cast<Pack<WIDTH>*>(&out.at(e.row, e.col));
  if (accumulate) sum += elements;
  elements = sum;
}

// One thread for each pack of `width`.
KERNEL(256) sum_slices(const float* partial, unsigned slices, unsigned width, unsigned accumulate, Matrix out) {
  if (width == 4)
    sum_pack<4>(partial, slices, accumulate != 0, out);
  else
    sum_pack<1>(partial, slices, accumulate != 0, out);
}
