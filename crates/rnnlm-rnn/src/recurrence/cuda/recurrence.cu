// The loop over time of every cell, forward and backward, in one launch each, beside the walk. A block owns GROUP rows of
// the batch for all steps, so that no block waits for another; a thread owns one unit with all its gates, so that the
// cell's own arithmetic needs no exchange. States pass through shared memory, which holds two of them in turn: one barrier
// a step (two where a step has two products).
//
// A thread's weights stay where they are for all steps: the first chunks in registers, the next in shared memory as far as
// it goes, and the rest is read at each step from the L2 cache. Where a weight lies changes no bit: every sum is in the
// order of k.

// Sums of COUNT rows of weights for every row of the group. One row alone is summed in four parts, so that an addition
// need not wait for the one before.
template <unsigned COUNT>
struct Sums {
  static constexpr unsigned PARTS = COUNT == 1 ? 4 : 1;
  float parts[GROUP][COUNT][PARTS] = {};

  DEVICE_MEMBER void add(unsigned row, unsigned gate, const Four& weight, const Four& operand) {
    float(&part)[PARTS] = parts[row][gate];
    part[0] = fmaf(weight.x, operand.x, part[0]);
    part[1 % PARTS] = fmaf(weight.y, operand.y, part[1 % PARTS]);
    part[2 % PARTS] = fmaf(weight.z, operand.z, part[2 % PARTS]);
    part[3 % PARTS] = fmaf(weight.w, operand.w, part[3 % PARTS]);
  }

  DEVICE_MEMBER float total(unsigned row, unsigned gate) const {
    const float(&part)[PARTS] = parts[row][gate];
    return PARTS == 1 ? part[0] : (part[0] + part[1 % PARTS]) + (part[2 % PARTS] + part[3 % PARTS]);
  }
};

// The weights of this thread's unit: CHUNKS of four along k, each for WIDTH gates, laid out by `lay_out`.
template <unsigned CHUNKS, unsigned WIDTH, unsigned REGISTERS>
struct Weights {
  Four own[REGISTERS * WIDTH];
  const Four* shared;
  const Four* memory;
  // The first chunk that is in neither.
  unsigned shared_end;

  // `room` is shared memory for `kept` chunks of all units.
  DEVICE_MEMBER void load(const Four* laid_out, Four* room, unsigned kept) {
    memory = laid_out + thread_index();
    shared = room + thread_index();
    shared_end = REGISTERS + kept;
#pragma unroll
    for (unsigned i = 0; i < REGISTERS * WIDTH; i++) own[i] = memory[i * UNITS];
    // each thread reads what it has written itself, so no barrier is needed
    for (unsigned i = 0; i < kept * WIDTH; i++)
      room[i * UNITS + thread_index()] = memory[(REGISTERS * WIDTH + i) * UNITS];
  }

  // Adds the products of gates FIRST … FIRST + COUNT over chunks BEGIN … END; `operand` is [GROUP][4·CHUNKS].
  template <unsigned FIRST, unsigned COUNT, unsigned BEGIN, unsigned END>
  DEVICE_MEMBER void multiply(const float* operand, Sums<COUNT>& sums) const {
    constexpr unsigned OWN_END = REGISTERS < BEGIN ? BEGIN : REGISTERS < END ? REGISTERS : END;
#pragma unroll
    for (unsigned k = BEGIN; k < OWN_END; k++) add(operand, k, own + k * WIDTH + FIRST, 1, sums);
    const unsigned kept = shared_end < OWN_END ? OWN_END : shared_end < END ? shared_end : END;
#pragma unroll 4
    for (unsigned k = OWN_END; k < kept; k++)
      add(operand, k, shared + ((k - REGISTERS) * WIDTH + FIRST) * UNITS, UNITS, sums);
#pragma unroll 8
    for (unsigned k = kept; k < END; k++) add(operand, k, memory + (k * WIDTH + FIRST) * UNITS, UNITS, sums);
  }

  // Adds chunk k; its gates' weights are `stride` apart.
  template <unsigned COUNT>
  DEVICE_MEMBER void add(const float* operand, unsigned k, const Four* weights, unsigned stride,
                         Sums<COUNT>& sums) const {
    Four weight[COUNT];
#pragma unroll
    for (unsigned i = 0; i < COUNT; i++) weight[i] = weights[i * stride];
#pragma unroll
    for (unsigned row = 0; row < GROUP; row++) {
      const Four value = reinterpret_cast<const Four*>(operand)[row * CHUNKS + k];
#pragma unroll
      for (unsigned i = 0; i < COUNT; i++) sums.add(row, i, weight[i], value);
    }
  }
};

// The layer's sizes, and its direction.
struct Extent {
  unsigned num_steps, batch_size, hidden_size, reverse;

  // The step that the forward pass takes as number `index`.
  DEVICE_MEMBER unsigned step(unsigned index) const { return reverse ? num_steps - 1 - index : index; }
  // The first row of the group in the states before and after step t.
  DEVICE_MEMBER unsigned before(unsigned t) const { return (t + (reverse ? 1 : 0)) * batch_size + first(); }
  DEVICE_MEMBER unsigned after(unsigned t) const { return (t + (reverse ? 0 : 1)) * batch_size + first(); }
  DEVICE_MEMBER unsigned first() const { return block_index().x * GROUP; }
  // Whether this thread has a unit, and a row of the group is one of the batch.
  DEVICE_MEMBER bool has_unit() const { return thread_index() < hidden_size; }
  DEVICE_MEMBER bool has(unsigned row) const { return has_unit() && first() + row < batch_size; }
};

// `laid_out` for either pass: element i of 4-vectors [chunk][gate][unit] forward and [chunk][unit] backward, where a chunk
// is four units forward and four of all gates' units, each gate's from a multiple of UNITS on, backward. One thread each.
KERNEL(256) lay_out(Matrix weight, unsigned hidden_size, float* forward, float* backward) {
  const unsigned index = block_index().x * block_size() + thread_index();
  if (index >= GATES * UNITS * UNITS) return;
  const unsigned part = index % 4, unit = index / 4 % UNITS, chunk = index / 4 / UNITS;
  const unsigned gate = chunk % GATES, from = chunk / GATES * 4 + part;
  const bool exists = unit < hidden_size && from < hidden_size;
  forward[index] = exists ? weight.at(gate * hidden_size + unit, from) : 0.0f;
  const unsigned row = chunk * 4 + part, to = row % UNITS;
  backward[index] =
      unit < hidden_size && to < hidden_size ? weight.at(row / UNITS * hidden_size + to, unit) : 0.0f;
}

// Fills the tape from its initial state on. An Elman cell's share of the input stands where its states will.
KERNEL(UNITS) recurrence_forward(const Four* laid_out, unsigned kept, Matrix bias, Extent extent, Matrix gates,
                                 Matrix hidden, Matrix cell, Matrix candidate) {
  constexpr unsigned CHUNKS = UNITS / 4;
  float* states = static_cast<float*>(shared_memory());
  float* candidates = states + 2 * GROUP * UNITS;
  Weights<CHUNKS, GATES, FORWARD_REGISTERS> weights;
  weights.load(laid_out, reinterpret_cast<Four*>(candidates + (PRODUCTS - 1) * GROUP * UNITS), kept);
  const unsigned unit = thread_index(), h = extent.hidden_size;
  float bias_hh[GATES];
  for (unsigned gate = 0; gate < GATES; gate++) bias_hh[gate] = extent.has_unit() ? bias.at(0, gate * h + unit) : 0.0f;
  Forward units[GROUP];
  const unsigned initial = extent.before(extent.step(0));
  for (unsigned row = 0; row < GROUP; row++) {
    units[row].hidden = extent.has(row) ? hidden.at(initial + row, unit) : 0.0f;
    units[row].cell = KEEPS_CELL && extent.has(row) ? cell.at(initial + row, unit) : 0.0f;
    states[row * UNITS + unit] = units[row].hidden;
  }
  block_barrier();
  for (unsigned index = 0; index < extent.num_steps; index++) {
    const unsigned t = extent.step(index), now = t * extent.batch_size + extent.first(), after = extent.after(t);
    // on their way while the products are summed
    for (unsigned row = 0; row < GROUP; row++)
      for (unsigned gate = 0; gate < GATES; gate++)
        units[row].gates[gate] = !extent.has(row) ? 0.0f
                                 : KEEPS_GATES    ? gates.at(now + row, gate * h + unit)
                                                  : hidden.at(after + row, unit);
    const float* before = states + index % 2 * GROUP * UNITS;
    float* next = states + (index + 1) % 2 * GROUP * UNITS;
    Sums<FIRST_GATES> sums;
    weights.template multiply<0, FIRST_GATES, 0, CHUNKS>(before, sums);
    for (unsigned row = 0; row < GROUP; row++)
      for (unsigned gate = 0; gate < FIRST_GATES; gate++)
        units[row].recurrent[gate] = sums.total(row, gate) + bias_hh[gate];
#if PRODUCTS == 2
    for (unsigned row = 0; row < GROUP; row++) {
      before_second_product(units[row]);
      candidates[row * UNITS + unit] = extent.has_unit() ? units[row].candidate : 0.0f;
    }
    block_barrier();
    Sums<1> second;
    weights.template multiply<FIRST_GATES, 1, 0, CHUNKS>(candidates, second);
    for (unsigned row = 0; row < GROUP; row++)
      units[row].recurrent[FIRST_GATES] = second.total(row, 0) + bias_hh[FIRST_GATES];
#endif
    for (unsigned row = 0; row < GROUP; row++) {
      forward_step(units[row]);
      next[row * UNITS + unit] = extent.has_unit() ? units[row].hidden : 0.0f;
      if (!extent.has(row)) continue;
      hidden.at(after + row, unit) = units[row].hidden;
      if (KEEPS_CELL) cell.at(after + row, unit) = units[row].cell;
      if (KEEPS_CANDIDATE) candidate.at(now + row, unit) = units[row].candidate;
      for (unsigned gate = 0; KEEPS_GATES && gate < GATES; gate++)
        gates.at(now + row, gate * h + unit) = units[row].gates[gate];
    }
    block_barrier();
  }
}

// The mirror: from the gradients of the output and of the final state to those of the pre-activations and of the initial
// state.
KERNEL(UNITS) recurrence_backward(const Four* laid_out, unsigned kept, Extent extent, Matrix gates, Matrix hidden,
                                  Matrix cell, Matrix candidate, Matrix output, Matrix d_gates, Matrix d_candidate,
                                  Matrix d_hidden, Matrix d_cell) {
  constexpr unsigned LENGTH = GATES * UNITS, CHUNKS = LENGTH / 4, FIRST_CHUNKS = FIRST_GATES * UNITS / 4;
  float* products = static_cast<float*>(shared_memory());
  Weights<CHUNKS, 1, BACKWARD_REGISTERS> weights;
  weights.load(laid_out, reinterpret_cast<Four*>(products + 2 * GROUP * LENGTH), kept);
  const unsigned unit = thread_index(), h = extent.hidden_size, first = extent.first();
  Backward units[GROUP];
  for (unsigned row = 0; row < GROUP; row++) {
    units[row].hidden = extent.has(row) ? d_hidden.at(first + row, unit) : 0.0f;
    units[row].cell = KEEPS_CELL && extent.has(row) ? d_cell.at(first + row, unit) : 0.0f;
  }
  for (unsigned index = extent.num_steps; index-- > 0;) {
    const unsigned t = extent.step(index), now = t * extent.batch_size + first;
    const unsigned before = extent.before(t), after = extent.after(t);
    float* own = products + index % 2 * GROUP * LENGTH;
    Taped taped[GROUP] = {};
    for (unsigned row = 0; row < GROUP; row++) {
      if (!extent.has(row)) continue;
      for (unsigned gate = 0; KEEPS_GATES && gate < GATES; gate++)
        taped[row].gates[gate] = gates.at(now + row, gate * h + unit);
      taped[row].hidden_before = hidden.at(before + row, unit);
      taped[row].hidden = hidden.at(after + row, unit);
      taped[row].cell_before = KEEPS_CELL ? cell.at(before + row, unit) : 0.0f;
      taped[row].cell = KEEPS_CELL ? cell.at(after + row, unit) : 0.0f;
      taped[row].candidate = KEEPS_CANDIDATE ? candidate.at(now + row, unit) : 0.0f;
      taped[row].output = output.at(now + row, unit);
    }
    for (unsigned row = 0; row < GROUP; row++) {
      units[row].hidden += taped[row].output;
      backward_step(taped[row], units[row]);
      for (unsigned gate = PRODUCTS == 2 ? FIRST_GATES : 0; gate < GATES; gate++)
        own[row * LENGTH + gate * UNITS + unit] = extent.has_unit() ? units[row].products[gate] : 0.0f;
    }
    block_barrier();
#if PRODUCTS == 2
    Sums<1> second;
    weights.template multiply<0, 1, FIRST_CHUNKS, CHUNKS>(own, second);
    for (unsigned row = 0; row < GROUP; row++) {
      after_second_product(taped[row], second.total(row, 0), units[row]);
      for (unsigned gate = 0; gate < FIRST_GATES; gate++)
        own[row * LENGTH + gate * UNITS + unit] = extent.has_unit() ? units[row].products[gate] : 0.0f;
    }
    block_barrier();
#endif
    for (unsigned row = 0; row < GROUP; row++) {
      if (!extent.has(row)) continue;
      for (unsigned gate = 0; gate < GATES; gate++) d_gates.at(now + row, gate * h + unit) = units[row].gates[gate];
      if (KEEPS_CANDIDATE && PRODUCTS == 1) d_candidate.at(now + row, unit) = units[row].products[GATES - 1];
    }
    Sums<1> sums;
    weights.template multiply<0, 1, 0, FIRST_CHUNKS>(own, sums);
    for (unsigned row = 0; row < GROUP; row++) units[row].hidden += sums.total(row, 0);
  }
  for (unsigned row = 0; row < GROUP; row++) {
    if (!extent.has(row)) continue;
    d_hidden.at(first + row, unit) = units[row].hidden;
    if (KEEPS_CELL) d_cell.at(first + row, unit) = units[row].cell;
  }
}
