// The kernels of the multi-block persistent path, forward and backward. `multi_block.cuh` describes how the blocks
// cooperate.

// Fills the tape from its initial state on. A warp multiplies one eighth of k, a lane every 32nd weight row of the
// slice. An Elman cell has no gates on the tape: `hidden` holds W_ih x + b_ih until the states replace it.
KERNEL(256) multi_block_forward(Matrix weight, Matrix bias, LayerDims dims, unsigned tiles, Message* messages,
                                unsigned* sequences, Matrix gates, Matrix hidden, Matrix cell, Matrix candidate) {
  constexpr unsigned COLUMNS = (GATES * SLICE_UNITS + WARP - 1) / WARP, DEPTH = UNITS / WARPS;
  const BlockTask task = {tiles, messages, sequences};
  const unsigned h = dims.hidden_size;
  const unsigned lane = thread_index() % WARP;
  const unsigned warp = thread_index() / WARP;
  const unsigned first_unit = warp * DEPTH;
  float* memory = static_cast<float*>(shared_memory());
  // the warp's part of the states before a step; then the sums of all warps, double-buffered
  float* states = memory + warp * TILE_ROWS * DEPTH;
  float* sums = memory + TILE_ROWS * UNITS;
  constexpr unsigned SUMS = 2 * WARPS * TILE_ROWS * COLUMNS * WARP, SQUARES = WARPS * WARP * (WARP + 1);
  constexpr unsigned IN_STEPS = TILE_ROWS * UNITS + SUMS;

  // Loads the weights in squares that are transposed through shared memory: neighbouring lanes load neighbouring
  // elements, and each lane keeps one row.
  Weights<COLUMNS, DEPTH, IN_STEPS < SQUARES ? SQUARES : IN_STEPS> weights;
  float* square = memory + warp * WARP * (WARP + 1);
#pragma unroll
  for (unsigned i = 0; i < COLUMNS; i++) {
#pragma unroll
    for (unsigned from = 0; from < DEPTH; from += WARP) {
      const unsigned unit = first_unit + from + lane;
#pragma unroll 16
      for (unsigned column = 0; column < WARP; column++) {
        unsigned row;
        const bool exists = weight_row<SLICE_UNITS>(i * WARP + column, task, h, row) && unit < h;
        square[column * (WARP + 1) + lane] = exists ? weight.at(row, unit) : 0.0f;
      }
      warp_barrier();
#pragma unroll
      for (unsigned k = 0; k < WARP; k++) weights.set(i, from + k, square[lane * (WARP + 1) + k]);
      warp_barrier();
    }
  }
  block_barrier();

  UnitIndex at(thread_index(), task, dims);
  float bias_hh[GATES];
#pragma unroll
  for (unsigned gate = 0; gate < GATES; gate++)
    bias_hh[gate] = at.has_unit ? bias.at(0, gate * h + at.unit) : 0.0f;
  const unsigned base = task.last_sequence();
  constexpr unsigned RUNS = DEPTH / WARP, MESSAGES = CHUNK_ROWS * RUNS;
  Message received[MESSAGES];
  const auto addresses = [&](unsigned sequence, unsigned from_row) {
    const Message* first = task.buffer(sequence, from_row, UNITS) + first_unit + lane;
    return [=](unsigned i) -> const Message* {
      const bool exists = first_unit + i % RUNS * WARP + lane < h;
      return exists ? first + (i / RUNS * UNITS + i % RUNS * WARP) : nullptr;
    };
  };
  unsigned buffer = 0;
  bool prefetched = false;
  for (unsigned index = 0; index < dims.num_steps; index++) {
    for (unsigned tile = 0; tile < tiles; tile++, buffer ^= 1) {
      const unsigned first_row = task.first_row(tile);
      at.set_step(first_row, dims.step(index), dims);
      // these loads overlap with the wait for messages
      ForwardUnit u = {};
      if (at.exists) {
#pragma unroll
        for (unsigned gate = 0; gate < GATES; gate++)
          u.gates[gate] = STORES_GATES ? gates.at(at.now, gate * h + at.unit) : hidden.at(at.after, at.unit);
        u.hidden = hidden.at(at.before, at.unit);
        u.cell = STORES_CELL ? cell.at(at.before, at.unit) : 0.0f;
      }
      float* warp_sums = sums + buffer * WARPS * TILE_ROWS * COLUMNS * WARP;
#pragma unroll 1
      for (unsigned chunk = 0; chunk < TILE_ROWS; chunk += CHUNK_ROWS) {
        const unsigned from_row = first_row + chunk;
        if (index == 0) {
#pragma unroll
          for (unsigned i = 0; i < MESSAGES; i++) {
            const unsigned from = first_unit + i % RUNS * WARP + lane, batch_row = from_row + i / RUNS;
            const bool exists = from < h && batch_row < dims.batch_size;
            const unsigned initial = (dims.reverse ? dims.num_steps * dims.batch_size : 0) + batch_row;
            received[i].value = exists ? hidden.at(initial, from) : 0.0f;
          }
        } else {
          receive(base + index, received, prefetched, addresses(base + index, from_row));
        }
#pragma unroll
        for (unsigned i = 0; i < MESSAGES; i++) states[chunk * DEPTH + i * WARP + lane] = received[i].value;
        warp_barrier();
        const NextChunk next(index, tile, chunk, task);
        prefetched = next.may_have_arrived;
        if (prefetched) poll(base + next.step, received, addresses(base + next.step, next.first_row));
        float products[CHUNK_ROWS][COLUMNS] = {};
        weights.template multiply<DEPTH>(states + chunk * DEPTH, products);
#pragma unroll
        for (unsigned i = 0; i < CHUNK_ROWS * COLUMNS; i++)
          warp_sums[((warp * TILE_ROWS + chunk) * COLUMNS + i) * WARP + lane] = products[i / COLUMNS][i % COLUMNS];
      }
      // after the barrier the sums of all warps are complete, and the other buffer has been read
      block_barrier();
      if (!at.has_unit) continue;
#pragma unroll
      for (unsigned gate = 0; gate < GATES; gate++) {
        float sum = 0.0f;
#pragma unroll
        for (unsigned other = 0; other < WARPS; other++)
          sum += warp_sums[(other * TILE_ROWS + at.row) * COLUMNS * WARP + gate * SLICE_UNITS + at.slice_unit];
        u.recurrent[gate] = sum + bias_hh[gate];
      }
      forward_step(u);
      send(task.buffer(base + index + 1, at.batch_row, UNITS) + at.unit, {u.hidden, base + index + 1});
      if (!at.exists) continue;
      hidden.at(at.after, at.unit) = u.hidden;
      if (STORES_CELL) cell.at(at.after, at.unit) = u.cell;
      if (STORES_CANDIDATE) candidate.at(at.now, at.unit) = u.candidate;
#pragma unroll
      for (unsigned gate = 0; STORES_GATES && gate < GATES; gate++)
        gates.at(at.now, gate * h + at.unit) = u.gates[gate];
    }
  }
  if (thread_index() == 0) task.last_sequence() = base + dims.num_steps;
}

// From the gradients of the output and of the final state to those of the pre-activations and of the initial state. A
// warp multiplies the slice's gates for one eighth of the layer's units. A lane has four of these for each half of a
// wide slice, so that one value from shared memory serves several sums, and a split of k. PARTS threads, the first of
// which has a unit of the slice, add up the messages of all slices for that unit.
KERNEL(256) multi_block_backward(Matrix weight, LayerDims dims, unsigned tiles, Message* messages, unsigned* sequences,
                                 Matrix gates, Matrix hidden, Matrix cell, Matrix candidate, Matrix output,
                                 Matrix d_gates, Matrix d_candidate, Matrix d_hidden, Matrix d_cell) {
  constexpr unsigned LENGTH = GATES * SLICE_UNITS, SLICES = UNITS / SLICE_UNITS;
  constexpr unsigned OUTPUTS = 4 * (SLICE_UNITS / NARROW_UNITS), SPLITS = OUTPUTS * THREADS / UNITS;
  constexpr unsigned LANES = WARP / SPLITS, DEPTH = LENGTH / SPLITS;
  // four elements of padding between splits avoid bank conflicts
  constexpr unsigned SPLIT_PITCH = SPLITS == 1 ? DEPTH : DEPTH + 4, PITCH = SPLITS * SPLIT_PITCH;
  constexpr unsigned PARTS = THREADS / (TILE_ROWS * SLICE_UNITS), MESSAGES = SLICES / PARTS;
  const BlockTask task = {tiles, messages, sequences};
  const unsigned h = dims.hidden_size;
  const unsigned part = thread_index() % PARTS;
  // the operand of the matmul with W_hh, double-buffered
  float* operands = static_cast<float*>(shared_memory());
  const unsigned lane = thread_index() % WARP;
  const unsigned split = lane / LANES;
  const unsigned first_unit = thread_index() / WARP * (UNITS / WARPS);
  Weights<OUTPUTS, DEPTH, 2 * TILE_ROWS * PITCH> weights;
#pragma unroll
  for (unsigned k = 0; k < DEPTH; k++) {
    unsigned row;
    const bool exists = weight_row<NARROW_UNITS>(split * DEPTH + k, task, h, row);
#pragma unroll
    for (unsigned i = 0; i < OUTPUTS; i++) {
      const unsigned unit = first_unit + i * LANES + lane % LANES;
      weights.set(i, k, exists && unit < h ? weight.at(row, unit) : 0.0f);
    }
  }

  UnitIndex at(thread_index() / PARTS, task, dims);
  const unsigned base = task.last_sequence();
  Message received[MESSAGES];
  const auto addresses = [&](unsigned sequence, unsigned from_row) {
    const Message* first =
        task.buffer(sequence, from_row + at.row, SLICES * UNITS) + part * MESSAGES * UNITS + at.unit;
    return [=](unsigned i) -> const Message* {
      const bool exists = part * MESSAGES + i < num_blocks().x && at.has_unit;
      return exists ? first + i * UNITS : nullptr;
    };
  };
  unsigned buffer = 0;
  bool prefetched = false;
  // one iteration more than steps: the last one receives the messages of the first step
  for (unsigned count = 0; count <= dims.num_steps; count++) {
    const bool is_initial = count == dims.num_steps;
    for (unsigned tile = 0; tile < tiles; tile++, buffer ^= 1) {
      const unsigned first_row = task.first_row(tile);
      at.set_step(first_row, dims.step(is_initial ? 0 : dims.num_steps - 1 - count), dims);
      const bool exists = at.exists && part == 0;
      // these loads overlap with the wait for messages
      TapeUnit tape = {};
      BackwardUnit u = {};
      if (exists) {
        u.hidden = d_hidden.at(at.batch_row, at.unit);
        u.cell = STORES_CELL ? d_cell.at(at.batch_row, at.unit) : 0.0f;
      }
      if (exists && !is_initial) {
#pragma unroll
        for (unsigned gate = 0; STORES_GATES && gate < GATES; gate++)
          tape.gates[gate] = gates.at(at.now, gate * h + at.unit);
        tape.hidden_before = hidden.at(at.before, at.unit);
        tape.hidden = hidden.at(at.after, at.unit);
        tape.cell_before = STORES_CELL ? cell.at(at.before, at.unit) : 0.0f;
        tape.cell = STORES_CELL ? cell.at(at.after, at.unit) : 0.0f;
        tape.candidate = STORES_CANDIDATE ? candidate.at(at.now, at.unit) : 0.0f;
        tape.output = output.at(at.now, at.unit);
      }
      if (count > 0) {
        receive(base + count, received, prefetched, addresses(base + count, first_row));
        u.hidden += pairwise_sum<PARTS>(received);
      }
      if (is_initial) {
        if (exists) d_hidden.at(at.batch_row, at.unit) = u.hidden;
        continue;
      }
      u.hidden += tape.output;
      backward_step(tape, u);
      float* operand = operands + buffer * TILE_ROWS * PITCH;
      if (part == 0) {
#pragma unroll
        for (unsigned gate = 0; gate < GATES; gate++) {
          const unsigned k =
              (at.slice_unit / NARROW_UNITS * GATES + gate) * NARROW_UNITS + at.slice_unit % NARROW_UNITS;
          operand[at.row * PITCH + k / DEPTH * SPLIT_PITCH + k % DEPTH] = u.recurrent[gate];
        }
      }
      if (exists) {
        d_hidden.at(at.batch_row, at.unit) = u.hidden;
        if (STORES_CELL) d_cell.at(at.batch_row, at.unit) = u.cell;
        if (STORES_D_CANDIDATE) d_candidate.at(at.now, at.unit) = u.recurrent[GATES - 1];
#pragma unroll
        for (unsigned gate = 0; gate < GATES; gate++) d_gates.at(at.now, gate * h + at.unit) = u.gates[gate];
      }
      // after the barrier the operand is complete, and the other buffer has been read
      block_barrier();
      const NextChunk next(count, tile, TILE_ROWS - CHUNK_ROWS, task);
      prefetched = next.may_have_arrived && MESSAGES <= 8;
      if (prefetched) poll(base + next.step, received, addresses(base + next.step, next.first_row));
#pragma unroll 1
      for (unsigned chunk = 0; chunk < TILE_ROWS; chunk += CHUNK_ROWS) {
        float sums[CHUNK_ROWS][OUTPUTS] = {};
        weights.template multiply<PITCH>(operand + chunk * PITCH + split * SPLIT_PITCH, sums);
        const unsigned first_own = first_unit + lane;
        Message* to =
            task.buffer(base + count + 1, first_row + chunk, SLICES * UNITS) + task.slice() * UNITS + first_own;
#pragma unroll
        for (unsigned row = 0; row < CHUNK_ROWS; row++) {
          reduce_scatter<SPLITS>(split, sums[row]);
#pragma unroll
          for (unsigned i = 0; i < OUTPUTS / SPLITS; i++) {
            if (first_own + i * WARP < h)
              send(to + (row * SLICES * UNITS + i * WARP), {sums[row][i * SPLITS], base + count + 1});
          }
        }
      }
    }
  }
  if (thread_index() == 0) task.last_sequence() = base + dims.num_steps;
}
