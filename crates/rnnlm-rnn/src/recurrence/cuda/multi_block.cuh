// All steps of a layer in one cooperative launch whose blocks share the weights (multi-block persistent kernel). A
// block has a column slice, SLICE_UNITS units with all their gates, and a group of rows of the batch. Its weights stay
// in registers, or in registers and shared memory, for all steps. The blocks of a group exchange their results in
// messages of one value (`primitives.cuh`): forward each unit's state, backward the slice's contribution to every
// unit's gradient.
//
// Messages are double-buffered. A block that sends the message of step t + 2 has received those of step t + 1 for the
// same row from the whole group, and each of these was computed from all messages of step t; so the message that is
// overwritten has been read. Sequence numbers continue from launch to launch, so that an old message is never mistaken
// for a new one.
//
// A group processes its rows in tiles of TILE_ROWS rows, so that one tile is computed while the messages of another are
// in flight. Rows are independent, and the order of each sum depends on UNITS and NARROW_UNITS alone.
//
// Constants from the host, besides those of `unit.cuh`:
// - UNITS: the hidden size, rounded up to a compiled size.
// - SLICE_UNITS, TILE_ROWS: powers of two.
// - NARROW_UNITS: the units of a narrow slice, SLICE_UNITS or half of it. The sums of a wide slice's halves are
//   combined as those of two narrow slices are, so that both widths have the same results.
// - WEIGHT_REGISTERS: the most weights of a thread in registers.

constexpr unsigned THREADS = 256, WARPS = THREADS / WARP;
// Rows that are multiplied together. More would need more registers for sums than there are, and more code than the
// instruction cache holds.
constexpr unsigned CHUNK_ROWS = TILE_ROWS < 4 ? TILE_ROWS : 4;

// The layer's dimensions and direction.
struct LayerDims {
  unsigned num_steps, batch_size, hidden_size, reverse;

  // The step that the forward pass computes as number `index`.
  DEVICE_MEMBER unsigned step(unsigned index) const { return reverse ? num_steps - 1 - index : index; }
};

// This block's slice and rows, and the messages of its group.
struct BlockTask {
  unsigned tiles;
  Message* messages;
  unsigned* sequences;

  DEVICE_MEMBER unsigned slice() const { return block_index().x; }
  DEVICE_MEMBER unsigned first_row(unsigned tile) const { return (block_index().y * tiles + tile) * TILE_ROWS; }
  // The buffer for the messages of a row, `width` for each row.
  DEVICE_MEMBER Message* buffer(unsigned sequence, unsigned row, unsigned width) const {
    return messages + (size_t)(sequence % 2 * num_blocks().y * tiles * TILE_ROWS + row) * width;
  }
  // The last sequence number of the previous launch. It is the same for all blocks of a group, each of which stores its
  // own.
  DEVICE_MEMBER unsigned& last_sequence() const { return sequences[block_index().y * num_blocks().x + slice()]; }
};

// A unit of a row, which the same thread computes in every step of a tile.
struct UnitIndex {
  // The row in the tile, the unit in the slice, the unit in the layer.
  unsigned row, slice_unit, unit;
  // Whether the layer has the unit, and the batch also has the row.
  bool has_unit, exists;
  // The row of the batch; rows of the tape: of the step, and of the states before and after it.
  unsigned batch_row, now, before, after;

  DEVICE_MEMBER UnitIndex(unsigned index, const BlockTask& task, const LayerDims& dims)
      : row(index / SLICE_UNITS), slice_unit(index % SLICE_UNITS), unit(task.slice() * SLICE_UNITS + slice_unit),
        has_unit(row < TILE_ROWS && unit < dims.hidden_size) {}

  DEVICE_MEMBER void set_step(unsigned first_row, unsigned t, const LayerDims& dims) {
    batch_row = first_row + row;
    exists = has_unit && batch_row < dims.batch_size;
    now = t * dims.batch_size + batch_row;
    before = now + (dims.reverse ? dims.batch_size : 0);
    after = now + (dims.reverse ? 0 : dims.batch_size);
  }
};

// The next rows of a group: the next chunk of the tile, the next tile, or the first tile of the next step.
struct NextChunk {
  unsigned step, first_row;
  // Whether its messages may have arrived. With a single tile, those of the next step depend on what this block has not
  // sent yet.
  bool may_have_arrived;

  DEVICE_MEMBER NextChunk(unsigned index, unsigned tile, unsigned chunk, const BlockTask& task) {
    const bool same_tile = chunk + CHUNK_ROWS < TILE_ROWS;
    const bool same_step = same_tile || tile + 1 < task.tiles;
    step = same_step ? index : index + 1;
    first_row = same_tile ? task.first_row(tile) + chunk + CHUNK_ROWS : task.first_row(same_step ? tile + 1 : 0);
    may_have_arrived = step > 0 && (same_step || task.tiles > 1);
  }
};

// The row of W_hh with index `index` in this slice, in which GROUP_UNITS units at a time are stored gate after gate.
// False if the layer has no such row.
template <unsigned GROUP_UNITS>
DEVICE bool weight_row(unsigned index, const BlockTask& task, unsigned hidden_size, unsigned& row) {
  const unsigned gate = index / GROUP_UNITS % GATES;
  const unsigned slice_unit = index / (GROUP_UNITS * GATES) * GROUP_UNITS + index % GROUP_UNITS;
  const unsigned unit = task.slice() * SLICE_UNITS + slice_unit;
  row = gate * hidden_size + unit;
  return slice_unit < SLICE_UNITS && unit < hidden_size;
}

// The weights of a thread: LENGTH along k for each of COUNT sums. The first ones are in registers, the others in shared
// memory from element SHARED_OFFSET on.
template <unsigned COUNT, unsigned LENGTH, unsigned SHARED_OFFSET>
struct Weights {
  static constexpr unsigned MAX_REGISTERS = WEIGHT_REGISTERS / COUNT / 4 * 4;
  static constexpr unsigned REGISTERS = MAX_REGISTERS < LENGTH ? MAX_REGISTERS : LENGTH;
  float registers[COUNT][REGISTERS];

  // Four weights from `k` on, in [(LENGTH - REGISTERS) / 4][COUNT][THREADS].
  DEVICE_MEMBER static Float4& shared(unsigned i, unsigned k) {
    const unsigned index = ((k - REGISTERS) / 4 * COUNT + i) * THREADS + thread_index();
    return static_cast<Float4*>(shared_memory())[SHARED_OFFSET / 4 + index];
  }

  // `k` is a compile-time constant, since registers cannot be indexed at run time.
  DEVICE_MEMBER void set(unsigned i, unsigned k, float value) {
    if (k < REGISTERS)
      registers[i][k] = value;
    else
      reinterpret_cast<float*>(&shared(i, k))[k % 4] = value;
  }

  // Adds the products with CHUNK_ROWS rows of `operand`, whose leading dimension is PITCH.
  template <unsigned PITCH>
  DEVICE_MEMBER void multiply(const float* operand, float (&sums)[CHUNK_ROWS][COUNT]) const {
#pragma unroll
    for (unsigned k = 0; k < REGISTERS; k += 4) {
      Float4 weights[COUNT];
#pragma unroll
      for (unsigned i = 0; i < COUNT; i++)
        weights[i] = {registers[i][k], registers[i][k + 1], registers[i][k + 2], registers[i][k + 3]};
      add<PITCH>(weights, operand + k, sums);
    }
    // with eight sums, two iterations would need too many registers for loads
    constexpr unsigned UNROLLED = COUNT < 8 ? 2 : 1;
#pragma unroll UNROLLED
    for (unsigned k = REGISTERS; k < LENGTH; k += 4) {
      Float4 weights[COUNT];
#pragma unroll
      for (unsigned i = 0; i < COUNT; i++) weights[i] = shared(i, k);
      add<PITCH>(weights, operand + k, sums);
    }
  }

  template <unsigned PITCH>
  DEVICE_MEMBER static void add(const Float4 (&weights)[COUNT], const float* operand,
                                float (&sums)[CHUNK_ROWS][COUNT]) {
#pragma unroll
    for (unsigned row = 0; row < CHUNK_ROWS; row++) {
      const Float4 value = *reinterpret_cast<const Float4*>(operand + row * PITCH);
#pragma unroll
      for (unsigned i = 0; i < COUNT; i++) {
        float& sum = sums[row][i];
        sum = fmaf(weights[i].x, value.x, sum);
        sum = fmaf(weights[i].y, value.y, sum);
        sum = fmaf(weights[i].z, value.z, sum);
        sum = fmaf(weights[i].w, value.w, sum);
      }
    }
  }
};

// The sum of the messages of PARTS neighbouring lanes, COUNT each, by pairwise summation, whose order does not depend
// on PARTS.
template <unsigned PARTS, unsigned COUNT>
DEVICE float pairwise_sum(const Message (&messages)[COUNT]) {
  float values[COUNT];
#pragma unroll
  for (unsigned i = 0; i < COUNT; i++) values[i] = messages[i].value;
#pragma unroll
  for (unsigned stride = 1; stride < COUNT; stride *= 2) {
#pragma unroll
    for (unsigned i = 0; i + stride < COUNT; i += 2 * stride) values[i] += values[i + stride];
  }
  float sum = values[0];
#pragma unroll
  for (unsigned mask = 1; mask < PARTS; mask *= 2) sum += shuffle_xor(sum, mask);
  return sum;
}

// Reduce-scatter of COUNT sums over SPLITS lanes, by pairwise summation. The lane with number `split` gets the sums
// with i % SPLITS == split, at the multiples of SPLITS.
template <unsigned SPLITS, unsigned COUNT>
DEVICE void reduce_scatter(unsigned split, float (&sums)[COUNT]) {
#pragma unroll
  for (unsigned bit = 1; bit < SPLITS; bit *= 2) {
    const bool upper = (split & bit) != 0;
#pragma unroll
    for (unsigned i = 0; i < COUNT; i += 2 * bit) {
      const float own = upper ? sums[i + bit] : sums[i];
      const float other = upper ? sums[i] : sums[i + bit];
      sums[i] = own + shuffle_xor(other, bit * (WARP / SPLITS));
    }
  }
}
