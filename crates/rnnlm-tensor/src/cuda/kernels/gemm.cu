// Matrix products, beside the walk: `out = A·B`, with one operand transposed or none. A block computes a square tile of the
// output; both operands pass through shared memory a few columns at a time. Every element is one sum in the order of k.

// By the order of `Product`.
enum Product { AB, ABT, ATB };

// Columns of A and rows of B that are in shared memory at a time.
constexpr unsigned DEPTH = 16;
// Threads of a block, in a square.
constexpr unsigned SIDE = 16;

// A tile of `TILE` × `TILE`, of which a thread has every SIDE-th row and column.
template <unsigned TILE, Product PRODUCT>
DEVICE void multiply_tile(const Matrix& a, const Matrix& b, bool accumulate, const Matrix& out) {
  constexpr unsigned OWN = TILE / SIDE;
  // a column behind the tile keeps threads of a warp in different banks
  constexpr unsigned PITCH = TILE + 1;
  float* a_tile = static_cast<float*>(shared_memory());
  float* b_tile = a_tile + DEPTH * PITCH;
  const unsigned depth = PRODUCT == ATB ? a.rows : a.cols;
  const unsigned first_row = block_index().y * TILE, first_col = block_index().x * TILE;
  const unsigned y = thread_index() / SIDE, x = thread_index() % SIDE;
  float sums[OWN][OWN] = {};
  for (unsigned first = 0; first < depth; first += DEPTH) {
    // neighbouring threads read neighbouring elements, whichever way an operand lies
    for (unsigned i = thread_index(); i < TILE * DEPTH; i += SIDE * SIDE) {
      const unsigned k = PRODUCT == ATB ? i / TILE : i % DEPTH, m = PRODUCT == ATB ? i % TILE : i / DEPTH;
      const unsigned row = first_row + m, at = first + k;
      const bool exists = row < out.rows && at < depth;
      a_tile[k * PITCH + m] = !exists ? 0.0f : PRODUCT == ATB ? a.at(at, row) : a.at(row, at);
    }
    for (unsigned i = thread_index(); i < TILE * DEPTH; i += SIDE * SIDE) {
      const unsigned k = PRODUCT == ABT ? i % DEPTH : i / TILE, n = PRODUCT == ABT ? i / DEPTH : i % TILE;
      const unsigned col = first_col + n, at = first + k;
      const bool exists = col < out.cols && at < depth;
      b_tile[k * PITCH + n] = !exists ? 0.0f : PRODUCT == ABT ? b.at(col, at) : b.at(at, col);
    }
    block_barrier();
    for (unsigned k = 0; k < DEPTH; k++) {
      float left[OWN], right[OWN];
      for (unsigned i = 0; i < OWN; i++) left[i] = a_tile[k * PITCH + y + i * SIDE];
      for (unsigned j = 0; j < OWN; j++) right[j] = b_tile[k * PITCH + x + j * SIDE];
      for (unsigned i = 0; i < OWN; i++)
        for (unsigned j = 0; j < OWN; j++) sums[i][j] = fmaf(left[i], right[j], sums[i][j]);
    }
    block_barrier();
  }
  for (unsigned i = 0; i < OWN; i++)
    for (unsigned j = 0; j < OWN; j++) {
      const unsigned row = first_row + y + i * SIDE, col = first_col + x + j * SIDE;
      if (row < out.rows && col < out.cols) out.at(row, col) = accumulate ? out.at(row, col) + sums[i][j] : sums[i][j];
    }
}

#define GEMM(name, tile, product)                                                    \
  KERNEL(256) name(Matrix a, Matrix b, unsigned accumulate, Matrix out) {            \
    multiply_tile<tile, product>(a, b, accumulate != 0, out);                        \
  }

GEMM(gemm_ab_32, 32, AB)
GEMM(gemm_abt_32, 32, ABT)
GEMM(gemm_atb_32, 32, ATB)
GEMM(gemm_ab_64, 64, AB)
GEMM(gemm_abt_64, 64, ABT)
GEMM(gemm_atb_64, 64, ATB)
