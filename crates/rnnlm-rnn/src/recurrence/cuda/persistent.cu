// All steps of a layer in one launch, forward and backward. A block owns BLOCK_ROWS rows of the batch for all steps, so
// that no block waits for another. A thread owns one unit with all its gates, so that the cell's arithmetic needs no
// exchange. States pass through double-buffered shared memory with one barrier per step, or two if a step has two
// matmuls.
//
// A thread's weights stay in place for all steps: the first chunks in registers, the next ones in shared memory as far
// as it goes. The rest is read in each step from the L2 cache. Where a weight is stored changes no result: every sum is
// in the order of k.
//
// Constants from the host, besides those of `unit.cuh`:
// - UNITS: the hidden size, rounded up to a compiled size.
// - BLOCK_ROWS: rows of the batch per block.
// - FORWARD_REGISTERS, BACKWARD_REGISTERS: chunks of weights in registers.

// The sums over k of COUNT weight rows for every row of the block. With one weight row four independent chains hide the
// latency of additions.
template <unsigned COUNT>
struct Sums {
  static constexpr unsigned CHAINS = COUNT == 1 ? 4 : 1;
  float chains[BLOCK_ROWS][COUNT][CHAINS] = {};

  DEVICE_MEMBER void add(unsigned row, unsigned gate, const Float4& weight, const Float4& operand) {
    float(&chain)[CHAINS] = chains[row][gate];
    chain[0] = fmaf(weight.x, operand.x, chain[0]);
    chain[1 % CHAINS] = fmaf(weight.y, operand.y, chain[1 % CHAINS]);
    chain[2 % CHAINS] = fmaf(weight.z, operand.z, chain[2 % CHAINS]);
    chain[3 % CHAINS] = fmaf(weight.w, operand.w, chain[3 % CHAINS]);
  }

  DEVICE_MEMBER float total(unsigned row, unsigned gate) const {
    const float(&chain)[CHAINS] = chains[row][gate];
    return CHAINS == 1 ? chain[0] : (chain[0] + chain[1 % CHAINS]) + (chain[2 % CHAINS] + chain[3 % CHAINS]);
  }
};

// The weights of this thread's unit: CHUNKS chunks of four along k, each for WIDTH gates, packed by `pack_weights`.
template <unsigned CHUNKS, unsigned WIDTH, unsigned REGISTERS>
struct Weights {
  Float4 registers[REGISTERS * WIDTH];
  const Float4* shared;
  const Float4* memory;
  // The first chunk that is neither in registers nor in shared memory.
  unsigned shared_end;

  // `buffer` is shared memory for `shared_chunks` chunks of all units.
  DEVICE_MEMBER void load(const Float4* packed, Float4* buffer, unsigned shared_chunks) {
    memory = packed + thread_index();
    shared = buffer + thread_index();
    shared_end = REGISTERS + shared_chunks;
#pragma unroll
    for (unsigned i = 0; i < REGISTERS * WIDTH; i++) registers[i] = memory[i * UNITS];
    // each thread reads only what it has written, so that no barrier is needed
    for (unsigned i = 0; i < shared_chunks * WIDTH; i++)
      buffer[i * UNITS + thread_index()] = memory[(REGISTERS * WIDTH + i) * UNITS];
  }

  // Adds the products of gates FIRST … FIRST + COUNT over chunks BEGIN … END; `operand` is [BLOCK_ROWS][4·CHUNKS].
  template <unsigned FIRST, unsigned COUNT, unsigned BEGIN, unsigned END>
  DEVICE_MEMBER void multiply(const float* operand, Sums<COUNT>& sums) const {
    constexpr unsigned REGISTERS_END = REGISTERS < BEGIN ? BEGIN : REGISTERS < END ? REGISTERS : END;
#pragma unroll
    for (unsigned k = BEGIN; k < REGISTERS_END; k++) add(operand, k, registers + k * WIDTH + FIRST, 1, sums);
    const unsigned end = shared_end < REGISTERS_END ? REGISTERS_END : shared_end < END ? shared_end : END;
#pragma unroll 4
    for (unsigned k = REGISTERS_END; k < end; k++)
      add(operand, k, shared + ((k - REGISTERS) * WIDTH + FIRST) * UNITS, UNITS, sums);
#pragma unroll 8
    for (unsigned k = end; k < END; k++) add(operand, k, memory + (k * WIDTH + FIRST) * UNITS, UNITS, sums);
  }

  // Adds chunk k; `stride` is the distance from one gate's weights to the next gate's.
  template <unsigned COUNT>
  DEVICE_MEMBER void add(const float* operand, unsigned k, const Float4* weights, unsigned stride,
                         Sums<COUNT>& sums) const {
    Float4 weight[COUNT];
#pragma unroll
    for (unsigned i = 0; i < COUNT; i++) weight[i] = weights[i * stride];
#pragma unroll
    for (unsigned row = 0; row < BLOCK_ROWS; row++) {
      const Float4 value = reinterpret_cast<const Float4*>(operand)[row * CHUNKS + k];
#pragma unroll
      for (unsigned i = 0; i < COUNT; i++) sums.add(row, i, weight[i], value);
    }
  }
};

// The layer's dimensions and direction, with the rows of this block.
struct LayerDims {
  unsigned num_steps, batch_size, hidden_size, reverse;

  // The step that the forward pass computes as number `index`.
  DEVICE_MEMBER unsigned step(unsigned index) const { return reverse ? num_steps - 1 - index : index; }
  // The block's first row in the states before and after step t.
  DEVICE_MEMBER unsigned before(unsigned t) const { return (t + (reverse ? 1 : 0)) * batch_size + first_row(); }
  DEVICE_MEMBER unsigned after(unsigned t) const { return (t + (reverse ? 0 : 1)) * batch_size + first_row(); }
  DEVICE_MEMBER unsigned first_row() const { return block_index().x * BLOCK_ROWS; }
  // Whether this thread has a unit of the layer, and the batch also has the row.
  DEVICE_MEMBER bool has_unit() const { return thread_index() < hidden_size; }
  DEVICE_MEMBER bool has(unsigned row) const { return has_unit() && first_row() + row < batch_size; }
};

// Packs `W_hh` for both passes, in vectors of four. Forward the layout is [chunk][gate][unit], where a chunk is four
// units. Backward it is [chunk][unit], where a chunk is four of all gates' units and each gate begins at a multiple of
// UNITS. One thread per element.
KERNEL(256) pack_weights(Matrix weight, unsigned hidden_size, float* forward, float* backward) {
  const unsigned index = block_index().x * block_size() + thread_index();
  if (index >= GATES * UNITS * UNITS) return;
  const unsigned lane = index % 4;
  const unsigned unit = index / 4 % UNITS;
  const unsigned chunk = index / 4 / UNITS;
  const unsigned gate = chunk % GATES;
  const unsigned from = chunk / GATES * 4 + lane;
  const bool exists = unit < hidden_size && from < hidden_size;
  forward[index] = exists ? weight.at(gate * hidden_size + unit, from) : 0.0f;
  const unsigned row = chunk * 4 + lane;
  const unsigned to = row % UNITS;
  backward[index] =
      unit < hidden_size && to < hidden_size ? weight.at(row / UNITS * hidden_size + to, unit) : 0.0f;
}

// Fills the tape from its initial state on. An Elman cell has no gates on the tape: `hidden` holds W_ih x + b_ih until
// the states replace it.
KERNEL(UNITS) persistent_forward(const Float4* packed, unsigned shared_chunks, Matrix bias, LayerDims dims,
                                 Matrix gates, Matrix hidden, Matrix cell, Matrix candidate) {
  constexpr unsigned CHUNKS = UNITS / 4;
  float* states = static_cast<float*>(shared_memory());
  float* candidates = states + 2 * BLOCK_ROWS * UNITS;
  Weights<CHUNKS, GATES, FORWARD_REGISTERS> weights;
  weights.load(packed, reinterpret_cast<Float4*>(candidates + (RECURRENT_MATMULS - 1) * BLOCK_ROWS * UNITS),
               shared_chunks);
  const unsigned unit = thread_index();
  const unsigned h = dims.hidden_size;
  float bias_hh[GATES];
  for (unsigned gate = 0; gate < GATES; gate++) bias_hh[gate] = dims.has_unit() ? bias.at(0, gate * h + unit) : 0.0f;
  ForwardUnit units[BLOCK_ROWS];
  const unsigned initial = dims.before(dims.step(0));
  for (unsigned row = 0; row < BLOCK_ROWS; row++) {
    units[row].hidden = dims.has(row) ? hidden.at(initial + row, unit) : 0.0f;
    units[row].cell = STORES_CELL && dims.has(row) ? cell.at(initial + row, unit) : 0.0f;
    states[row * UNITS + unit] = units[row].hidden;
  }
  block_barrier();
  for (unsigned index = 0; index < dims.num_steps; index++) {
    const unsigned t = dims.step(index);
    const unsigned now = t * dims.batch_size + dims.first_row();
    const unsigned after = dims.after(t);
    // these loads overlap with the matmul
    for (unsigned row = 0; row < BLOCK_ROWS; row++)
      for (unsigned gate = 0; gate < GATES; gate++)
        units[row].gates[gate] = !dims.has(row) ? 0.0f
                                 : STORES_GATES ? gates.at(now + row, gate * h + unit)
                                                : hidden.at(after + row, unit);
    const float* before = states + index % 2 * BLOCK_ROWS * UNITS;
    float* next = states + (index + 1) % 2 * BLOCK_ROWS * UNITS;
    Sums<FIRST_GATES> sums;
    weights.template multiply<0, FIRST_GATES, 0, CHUNKS>(before, sums);
    for (unsigned row = 0; row < BLOCK_ROWS; row++)
      for (unsigned gate = 0; gate < FIRST_GATES; gate++)
        units[row].recurrent[gate] = sums.total(row, gate) + bias_hh[gate];
#if RECURRENT_MATMULS == 2
    for (unsigned row = 0; row < BLOCK_ROWS; row++) {
      before_second_matmul(units[row]);
      candidates[row * UNITS + unit] = dims.has_unit() ? units[row].candidate : 0.0f;
    }
    block_barrier();
    Sums<1> second;
    weights.template multiply<FIRST_GATES, 1, 0, CHUNKS>(candidates, second);
    for (unsigned row = 0; row < BLOCK_ROWS; row++)
      units[row].recurrent[FIRST_GATES] = second.total(row, 0) + bias_hh[FIRST_GATES];
#endif
    for (unsigned row = 0; row < BLOCK_ROWS; row++) {
      forward_step(units[row]);
      next[row * UNITS + unit] = dims.has_unit() ? units[row].hidden : 0.0f;
      if (!dims.has(row)) continue;
      hidden.at(after + row, unit) = units[row].hidden;
      if (STORES_CELL) cell.at(after + row, unit) = units[row].cell;
      if (STORES_CANDIDATE) candidate.at(now + row, unit) = units[row].candidate;
      for (unsigned gate = 0; STORES_GATES && gate < GATES; gate++)
        gates.at(now + row, gate * h + unit) = units[row].gates[gate];
    }
    block_barrier();
  }
}

// From the gradients of the output and of the final state to those of the pre-activations and of the initial state.
KERNEL(UNITS) persistent_backward(const Float4* packed, unsigned shared_chunks, LayerDims dims, Matrix gates,
                                  Matrix hidden, Matrix cell, Matrix candidate, Matrix output, Matrix d_gates,
                                  Matrix d_candidate, Matrix d_hidden, Matrix d_cell) {
  constexpr unsigned LENGTH = GATES * UNITS, CHUNKS = LENGTH / 4, FIRST_CHUNKS = FIRST_GATES * UNITS / 4;
  // the operand of the matmul with W_hh, double-buffered
  float* operands = static_cast<float*>(shared_memory());
  Weights<CHUNKS, 1, BACKWARD_REGISTERS> weights;
  weights.load(packed, reinterpret_cast<Float4*>(operands + 2 * BLOCK_ROWS * LENGTH), shared_chunks);
  const unsigned unit = thread_index();
  const unsigned h = dims.hidden_size;
  const unsigned first_row = dims.first_row();
  BackwardUnit units[BLOCK_ROWS];
  for (unsigned row = 0; row < BLOCK_ROWS; row++) {
    units[row].hidden = dims.has(row) ? d_hidden.at(first_row + row, unit) : 0.0f;
    units[row].cell = STORES_CELL && dims.has(row) ? d_cell.at(first_row + row, unit) : 0.0f;
  }
  for (unsigned index = dims.num_steps; index-- > 0;) {
    const unsigned t = dims.step(index);
    const unsigned now = t * dims.batch_size + first_row;
    const unsigned before = dims.before(t);
    const unsigned after = dims.after(t);
    float* operand = operands + index % 2 * BLOCK_ROWS * LENGTH;
    TapeUnit tape[BLOCK_ROWS] = {};
    for (unsigned row = 0; row < BLOCK_ROWS; row++) {
      if (!dims.has(row)) continue;
      for (unsigned gate = 0; STORES_GATES && gate < GATES; gate++)
        tape[row].gates[gate] = gates.at(now + row, gate * h + unit);
      tape[row].hidden_before = hidden.at(before + row, unit);
      tape[row].hidden = hidden.at(after + row, unit);
      tape[row].cell_before = STORES_CELL ? cell.at(before + row, unit) : 0.0f;
      tape[row].cell = STORES_CELL ? cell.at(after + row, unit) : 0.0f;
      tape[row].candidate = STORES_CANDIDATE ? candidate.at(now + row, unit) : 0.0f;
      tape[row].output = output.at(now + row, unit);
    }
    for (unsigned row = 0; row < BLOCK_ROWS; row++) {
      units[row].hidden += tape[row].output;
      backward_step(tape[row], units[row]);
      for (unsigned gate = RECURRENT_MATMULS == 2 ? FIRST_GATES : 0; gate < GATES; gate++)
        operand[row * LENGTH + gate * UNITS + unit] = dims.has_unit() ? units[row].recurrent[gate] : 0.0f;
    }
    block_barrier();
#if RECURRENT_MATMULS == 2
    Sums<1> second;
    weights.template multiply<0, 1, FIRST_CHUNKS, CHUNKS>(operand, second);
    for (unsigned row = 0; row < BLOCK_ROWS; row++) {
      after_second_matmul(tape[row], second.total(row, 0), units[row]);
      for (unsigned gate = 0; gate < FIRST_GATES; gate++)
        operand[row * LENGTH + gate * UNITS + unit] = dims.has_unit() ? units[row].recurrent[gate] : 0.0f;
    }
    block_barrier();
#endif
    for (unsigned row = 0; row < BLOCK_ROWS; row++) {
      if (!dims.has(row)) continue;
      for (unsigned gate = 0; gate < GATES; gate++) d_gates.at(now + row, gate * h + unit) = units[row].gates[gate];
      if (STORES_D_CANDIDATE) d_candidate.at(now + row, unit) = units[row].recurrent[GATES - 1];
    }
    Sums<1> sums;
    weights.template multiply<0, 1, 0, FIRST_CHUNKS>(operand, sums);
    for (unsigned row = 0; row < BLOCK_ROWS; row++) units[row].hidden += sums.total(row, 0);
  }
  for (unsigned row = 0; row < BLOCK_ROWS; row++) {
    if (!dims.has(row)) continue;
    d_hidden.at(first_row + row, unit) = units[row].hidden;
    if (STORES_CELL) d_cell.at(first_row + row, unit) = units[row].cell;
  }
}
