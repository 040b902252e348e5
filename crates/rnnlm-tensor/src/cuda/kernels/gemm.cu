// Matrix multiplication: `out = A·B`, with A or B transposed or neither. A block computes a square tile of the output.
// Both operands pass through shared memory TILE_K of k at a time; the next part is loaded while the current one is
// multiplied. Every element is one sum in the order of k. If the output has too few tiles to fill a GPU, k is split
// among blocks (split-K), and their partial sums are added in order.

// As in the host's `Transpose`: N is an operand as stored, T a transposed one.
enum Transpose { NN, NT, TN };

// Threads along each side of a block, which is a square.
constexpr unsigned BLOCK_SIDE = 16;

// COUNT consecutive elements, accessed as one.
template <unsigned COUNT>
struct alignas(COUNT * sizeof(float)) Vector {
  float at[COUNT];

  DEVICE_MEMBER void operator+=(const Vector& other) {
#pragma unroll
    for (unsigned i = 0; i < COUNT; i++) at[i] += other.at[i];
  }
};

// Whether every row begins at the alignment of a vector of four.
DEVICE bool is_vectorizable(const Matrix& operand) {
  return reinterpret_cast<size_t>(operand.data) % sizeof(Vector<4>) == 0 && operand.stride % 4 == 0;
}

// TILE × TILE_K elements of an operand: loaded into this thread's registers, then stored in shared memory as [k][TILE].
// K_CONTIGUOUS: k runs along the operand's rows. In either case neighbouring threads load neighbouring vectors.
template <unsigned TILE, unsigned TILE_K, bool K_CONTIGUOUS>
struct OperandTile {
  // four columns of padding avoid bank conflicts and keep vectors aligned
  static constexpr unsigned PITCH = TILE + 4, SIZE = TILE_K * PITCH;
  // vectors of this thread, and of a row of the tile as it is stored in the operand
  static constexpr unsigned VECTORS = TILE * TILE_K / (BLOCK_SIDE * BLOCK_SIDE * 4);
  static constexpr unsigned ROW_VECTORS = (K_CONTIGUOUS ? TILE_K : TILE) / 4;
  // the offsets of this thread's vectors for k = 0
  unsigned offsets[VECTORS];
  Vector<4> registers[VECTORS];
  bool is_vectorized;

  DEVICE_MEMBER static unsigned row(unsigned i) { return (i * BLOCK_SIDE * BLOCK_SIDE + thread_index()) / ROW_VECTORS; }
  DEVICE_MEMBER static unsigned col(unsigned i) {
    return (i * BLOCK_SIDE * BLOCK_SIDE + thread_index()) % ROW_VECTORS * 4;
  }

  // Rows and columns past the operand's end are clamped to the last ones; sums that use them are discarded.
  DEVICE_MEMBER OperandTile(const Matrix& operand, unsigned first) {
    // offsets have 32 bits
    const bool is_small = (size_t)operand.rows * operand.stride <= 0xffffffffu;
    is_vectorized = is_small && is_vectorizable(operand) && (K_CONTIGUOUS || operand.cols % 4 == 0);
    const unsigned last = K_CONTIGUOUS ? operand.rows - 1 : operand.cols - 4;
#pragma unroll
    for (unsigned i = 0; i < VECTORS; i++) {
      const unsigned index = first + (K_CONTIGUOUS ? row(i) : col(i));
      const unsigned clamped = index < last ? index : last;
      offsets[i] = K_CONTIGUOUS ? clamped * operand.stride + col(i) : row(i) * operand.stride + clamped;
    }
  }

  // Loads k = begin … begin + TILE_K; from `end` on the elements are zero.
  DEVICE_MEMBER void load(const Matrix& operand, unsigned first, unsigned begin, unsigned end) {
    if (is_vectorized && begin + TILE_K <= end) {
#pragma unroll
      for (unsigned i = 0; i < VECTORS; i++)
        registers[i] = *reinterpret_cast<const Vector<4>*>(
            operand.data + (offsets[i] + begin * (K_CONTIGUOUS ? 1 : operand.stride)));
      return;
    }
    const unsigned rows = K_CONTIGUOUS ? operand.rows : end;
    const unsigned cols = K_CONTIGUOUS ? end : operand.cols;
#pragma unroll
    for (unsigned i = 0; i < VECTORS; i++) {
      const unsigned r = (K_CONTIGUOUS ? first : begin) + row(i);
      const unsigned c = (K_CONTIGUOUS ? begin : first) + col(i);
#pragma unroll
      for (unsigned j = 0; j < 4; j++) registers[i].at[j] = r < rows && c + j < cols ? operand.at(r, c + j) : 0.0f;
    }
  }

  DEVICE_MEMBER void store(float* tile) const {
#pragma unroll
    for (unsigned i = 0; i < VECTORS; i++) {
      if (K_CONTIGUOUS) {
#pragma unroll
        for (unsigned j = 0; j < 4; j++) tile[(col(i) + j) * PITCH + row(i)] = registers[i].at[j];
      } else {
        *reinterpret_cast<Vector<4>*>(tile + row(i) * PITCH + col(i)) = registers[i];
      }
    }
  }
};

// A thread's rows, or columns, of a tile: vectors of up to four, strided so that neighbouring threads read neighbouring
// vectors.
template <unsigned TILE>
struct Fragment {
  static constexpr unsigned COUNT = TILE / BLOCK_SIDE, WIDTH = COUNT < 4 ? COUNT : 4;
  float at[COUNT];

  // The index in the tile of the thread's element i.
  DEVICE_MEMBER static unsigned index(unsigned thread, unsigned i) {
    return (i / WIDTH * BLOCK_SIDE + thread) * WIDTH + i % WIDTH;
  }

  DEVICE_MEMBER void load(const float* tile, unsigned thread) {
#pragma unroll
    for (unsigned first = 0; first < COUNT; first += WIDTH) {
      const auto vector = *reinterpret_cast<const Vector<WIDTH>*>(tile + index(thread, first));
#pragma unroll
      for (unsigned i = 0; i < WIDTH; i++) at[first + i] = vector.at[i];
    }
  }
};

// Computes a tile of `TILE` × `TILE` elements over the block's `split_len` of k. With more than one split the sums go
// to `partial`, `[splits][rows][cols]`.
template <unsigned TILE, unsigned TILE_K, Transpose TRANSPOSE>
DEVICE void multiply_tile(const Matrix& a, const Matrix& b, unsigned split_len, bool accumulate, float* partial,
                          const Matrix& out) {
  constexpr unsigned COUNT = Fragment<TILE>::COUNT;
  using TileA = OperandTile<TILE, TILE_K, TRANSPOSE != TN>;
  using TileB = OperandTile<TILE, TILE_K, TRANSPOSE == NT>;
  float* a_tiles = static_cast<float*>(shared_memory());
  float* b_tiles = a_tiles + 2 * TileA::SIZE;
  const unsigned len = TRANSPOSE == TN ? a.rows : a.cols;
  const unsigned begin = block_index().z * split_len;
  const unsigned end = len - begin < split_len ? len : begin + split_len;
  const unsigned first_row = block_index().y * TILE;
  const unsigned first_col = block_index().x * TILE;
  const unsigned y = thread_index() / BLOCK_SIDE;
  const unsigned x = thread_index() % BLOCK_SIDE;
  TileA tile_a(a, first_row);
  TileB tile_b(b, first_col);
  tile_a.load(a, first_row, begin, end);
  tile_b.load(b, first_col, begin, end);
  tile_a.store(a_tiles);
  tile_b.store(b_tiles);
  float sums[COUNT][COUNT] = {};
  unsigned buffer = 0;
  for (unsigned at = begin; at < end; at += TILE_K) {
    const float* a_tile = a_tiles + buffer * TileA::SIZE;
    const float* b_tile = b_tiles + buffer * TileB::SIZE;
    const auto multiply = [&](unsigned from) {
#pragma unroll
      for (unsigned k = from; k < from + TILE_K / 2; k++) {
        Fragment<TILE> rows, cols;
        rows.load(a_tile + k * TileA::PITCH, y);
        cols.load(b_tile + k * TileB::PITCH, x);
        for (unsigned i = 0; i < COUNT; i++)
          for (unsigned j = 0; j < COUNT; j++) sums[i][j] = fmaf(rows.at[i], cols.at[j], sums[i][j]);
      }
    };
    // double buffering: after the barrier this buffer is complete and no thread reads the other one. The two operands
    // are loaded one after the other, since both at the same time would need too many registers.
    block_barrier();
    buffer ^= 1;
    tile_a.load(a, first_row, at + TILE_K, end);
    multiply(0);
    tile_a.store(a_tiles + buffer * TileA::SIZE);
    tile_b.load(b, first_col, at + TILE_K, end);
    multiply(TILE_K / 2);
    tile_b.store(b_tiles + buffer * TileB::SIZE);
  }
  const bool is_split = num_blocks().z > 1;
  const size_t offset = (size_t)block_index().z * out.rows * out.cols;
  const Matrix to = is_split ? Matrix{partial + offset, out.rows, out.cols, out.cols} : out;
  constexpr unsigned WIDTH = Fragment<TILE>::WIDTH;
  const bool is_aligned = is_vectorizable(to);
#pragma unroll
  for (unsigned i = 0; i < COUNT; i++) {
    const unsigned row = first_row + Fragment<TILE>::index(y, i);
    if (row >= to.rows) continue;
#pragma unroll
    for (unsigned first = 0; first < COUNT; first += WIDTH) {
      const unsigned col = first_col + Fragment<TILE>::index(x, first);
      float* at = &to.at(row, col);
      Vector<WIDTH> vector;
#pragma unroll
      for (unsigned j = 0; j < WIDTH; j++)
        vector.at[j] = accumulate && !is_split && col + j < to.cols ? at[j] + sums[i][first + j] : sums[i][first + j];
      if (is_aligned && col + WIDTH <= to.cols) {
        *reinterpret_cast<Vector<WIDTH>*>(at) = vector;
      } else {
#pragma unroll
        for (unsigned j = 0; j < WIDTH; j++)
          if (col + j < to.cols) at[j] = vector.at[j];
      }
    }
  }
}

#define GEMM(name, tile, tile_k, transpose)                                                           \
  KERNEL_MIN_BLOCKS(256, tile == 128 ? 2 : 4)                                                         \
  name(Matrix a, Matrix b, unsigned split_len, unsigned accumulate, float* partial, Matrix out) {     \
    multiply_tile<tile, tile_k, transpose>(a, b, split_len, accumulate != 0, partial, out);           \
  }

GEMM(gemm_nn_32, 32, 32, NN)
GEMM(gemm_nt_32, 32, 32, NT)
GEMM(gemm_tn_32, 32, 32, TN)
GEMM(gemm_nn_64, 64, 16, NN)
GEMM(gemm_nt_64, 64, 16, NT)
GEMM(gemm_tn_64, 64, 16, TN)
GEMM(gemm_nn_128, 128, 16, NN)
GEMM(gemm_nt_128, 128, 16, NT)
GEMM(gemm_tn_128, 128, 16, TN)

// WIDTH consecutive elements of `out = Σ partial`, or `out += Σ partial`, summed in the order of the splits.
template <unsigned WIDTH>
DEVICE void reduce_vector(const float* partial, unsigned splits, bool accumulate, const Matrix& out) {
  // limited by registers
  constexpr unsigned IN_FLIGHT = LOADS_IN_FLIGHT / WIDTH;
  const size_t len = (size_t)out.rows * out.cols;
  const size_t index = (size_t)block_index().x * block_size() + thread_index();
  const Element e = element_at(index * WIDTH, out);
  if (!e.exists) return;
  const auto* vectors = reinterpret_cast<const Vector<WIDTH>*>(partial) + index;
  Vector<WIDTH> sum = {};
  for (unsigned first = 0; first < splits; first += IN_FLIGHT)
    sum = add_prefetched<IN_FLIGHT>(sum, [&](unsigned i) {
      return first + i < splits ? vectors[(first + i) * (len / WIDTH)] : Vector<WIDTH>{};
    });
  auto& elements = *reinterpret_cast<Vector<WIDTH>*>(&out.at(e.row, e.col));
  if (accumulate) sum += elements;
  elements = sum;
}

// One thread per vector of `width` elements.
KERNEL(256) reduce_splits(const float* partial, unsigned splits, unsigned width, unsigned accumulate, Matrix out) {
  if (width == 4)
    reduce_vector<4>(partial, splits, accumulate != 0, out);
  else
    reduce_vector<1>(partial, splits, accumulate != 0, out);
}
