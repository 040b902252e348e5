// All steps of a layer in one launch, its weights spread over the multiprocessors, beside the walk. A block has a slice of
// the units, SLICE_UNITS with all their gates, and a group of rows of the batch; its weights stay in registers from the
// first step to the last. All blocks run at the same time, and those of a group tell each other what they have computed,
// in letters of one number (`prim.cuh`): forward each unit's state, back the slice's share of every unit's gradient.
//
// There are two places for each letter, in turn. Who posts the letter of step t + 2 has received those of step t + 1 for the
// same row from the whole group, each of which was computed from all of step t; so what is overwritten has been read. Stamps
// count on from launch to launch, so that an old letter is never taken for a new one.
//
// A group is taken in waves of ROWS rows, so that one is computed while another's letters are on their way. Rows are
// independent, and every sum has an order that depends on UNITS and SLICE_UNITS alone.
//
// Constants from the host, besides those of `unit.cuh`: SLICE_UNITS and ROWS, powers of two.

constexpr unsigned THREADS = 256, WARPS = THREADS / WARP;

// The layer's sizes, and its direction.
struct Extent {
  unsigned num_steps, batch_size, hidden_size, reverse;

  // The step that the forward pass takes as number `index`.
  DEVICE_MEMBER unsigned step(unsigned index) const { return reverse ? num_steps - 1 - index : index; }
};

// What of it this block has, and the letters of its group.
struct Share {
  unsigned waves;
  Letter* letters;
  unsigned* clocks;

  DEVICE_MEMBER unsigned slice() const { return block_index().x; }
  DEVICE_MEMBER unsigned first_row(unsigned wave) const { return (block_index().y * waves + wave) * ROWS; }
  // The place for a letter of a row, of which there are `width` for each row.
  DEVICE_MEMBER Letter* place(unsigned stamp, unsigned row, unsigned width) const {
    return letters + (size_t)(stamp % 2 * num_blocks().y * waves * ROWS + row) * width;
  }
  // The last stamp of the launch before: the same for all blocks of a group, each of which counts its own steps.
  DEVICE_MEMBER unsigned& clock() const { return clocks[block_index().y * num_blocks().x + slice()]; }
};

// A unit of a row, which one thread has in every step of a wave.
struct Unit {
  // Within the wave; within the slice.
  unsigned row, of_slice, unit;
  // Whether the layer has it, and the batch the row.
  bool has_unit, exists;
  // Rows of the tape: of the step, and of the states before and after it.
  unsigned in_batch, now, before, after;

  DEVICE_MEMBER Unit(unsigned number, const Share& share, const Extent& extent)
      : row(number / SLICE_UNITS), of_slice(number % SLICE_UNITS), unit(share.slice() * SLICE_UNITS + of_slice),
        has_unit(row < ROWS && unit < extent.hidden_size) {}

  DEVICE_MEMBER void go_to(unsigned first_row, unsigned t, const Extent& extent) {
    in_batch = first_row + row;
    exists = has_unit && in_batch < extent.batch_size;
    now = t * extent.batch_size + in_batch;
    before = now + (extent.reverse ? extent.batch_size : 0);
    after = now + (extent.reverse ? 0 : extent.batch_size);
  }
};

// The next wave of a group: of the same step, or the first of the next.
struct Next {
  unsigned step, first_row;

  DEVICE_MEMBER Next(unsigned number, unsigned wave, const Share& share)
      : step(wave + 1 < share.waves ? number : number + 1),
        first_row(share.first_row(wave + 1 < share.waves ? wave + 1 : 0)) {}

  // Whether some of its letters may be there already, and COUNT of them leave registers for what is computed meanwhile.
  template <unsigned COUNT>
  DEVICE_MEMBER bool may_be_there(const Share& share) const {
    return COUNT <= 8 && share.waves > 1 && step > 0;
  }
};

// The row of W_hh behind a gate of a unit of the slice, gate after gate; false if there is none.
DEVICE bool weight_row(unsigned number, const Share& share, unsigned hidden_size, unsigned& row) {
  const unsigned gate = number / SLICE_UNITS, unit = share.slice() * SLICE_UNITS + number % SLICE_UNITS;
  row = gate * hidden_size + unit;
  return gate < GATES && unit < hidden_size;
}

// Adds the products of COUNT rows of a thread's weights with each row of `operand`, which is [ROWS][LENGTH].
template <unsigned COUNT, unsigned LENGTH>
DEVICE void multiply(const float (&weights)[COUNT][LENGTH], const float* operand, float (&sums)[ROWS][COUNT]) {
#pragma unroll
  for (unsigned k = 0; k < LENGTH; k += 4) {
#pragma unroll
    for (unsigned row = 0; row < ROWS; row++) {
      const Four value = reinterpret_cast<const Four*>(operand)[(row * LENGTH + k) / 4];
#pragma unroll
      for (unsigned i = 0; i < COUNT; i++) {
        float& sum = sums[row][i];
        sum = fmaf(weights[i][k], value.x, sum);
        sum = fmaf(weights[i][k + 1], value.y, sum);
        sum = fmaf(weights[i][k + 2], value.z, sum);
        sum = fmaf(weights[i][k + 3], value.w, sum);
      }
    }
  }
}

// Fills the tape from its initial state on. A warp has an eighth of k, a lane every 32nd gate of the slice. An Elman cell's
// share of the input stands where its states will.
KERNEL(256) spread_forward(Matrix weight, Matrix bias, Extent extent, unsigned waves, Letter* letters, unsigned* clocks,
                           Matrix gates, Matrix hidden, Matrix cell, Matrix candidate) {
  constexpr unsigned COLUMNS = (GATES * SLICE_UNITS + WARP - 1) / WARP, DEPTH = UNITS / WARPS;
  const Share share = {waves, letters, clocks};
  const unsigned h = extent.hidden_size, lane = thread_index() % WARP, warp = thread_index() / WARP;
  const unsigned first_unit = warp * DEPTH;
  float* memory = static_cast<float*>(shared_memory());

  // Square after square through shared memory: neighbouring lanes read neighbours, and each keeps a row of its own.
  float own[COLUMNS][DEPTH];
  float* square = memory + warp * WARP * (WARP + 1);
#pragma unroll
  for (unsigned i = 0; i < COLUMNS; i++) {
#pragma unroll
    for (unsigned from = 0; from < DEPTH; from += WARP) {
      const unsigned unit = first_unit + from + lane;
#pragma unroll 16
      for (unsigned column = 0; column < WARP; column++) {
        unsigned row;
        const bool exists = weight_row(i * WARP + column, share, h, row) && unit < h;
        square[column * (WARP + 1) + lane] = exists ? weight.at(row, unit) : 0.0f;
      }
      warp_barrier();
#pragma unroll
      for (unsigned k = 0; k < WARP; k++) own[i][from + k] = square[lane * (WARP + 1) + k];
      warp_barrier();
    }
  }
  block_barrier();

  // the warp's part of the states before a step, and the sums of all warps for two waves in turn
  float* states = memory + warp * ROWS * DEPTH;
  float* sums = memory + ROWS * UNITS;
  Unit at(thread_index(), share, extent);
  float bias_hh[GATES];
#pragma unroll
  for (unsigned gate = 0; gate < GATES; gate++)
    bias_hh[gate] = at.has_unit ? bias.at(0, gate * h + at.unit) : 0.0f;
  const unsigned clock = share.clock();
  constexpr unsigned RUNS = DEPTH / WARP, LETTERS = ROWS * RUNS;
  Letter states_before[LETTERS];
  const auto places = [&](unsigned stamp, unsigned from_row) {
    return [=](unsigned i) -> const Letter* {
      const unsigned from = first_unit + i % RUNS * WARP + lane;
      return from < h ? share.place(stamp, from_row + i / RUNS, UNITS) + from : nullptr;
    };
  };
  unsigned turn = 0;
  bool looked = false;
  for (unsigned index = 0; index < extent.num_steps; index++) {
    for (unsigned wave = 0; wave < waves; wave++, turn ^= 1) {
      const unsigned first_row = share.first_row(wave);
      at.go_to(first_row, extent.step(index), extent);
      // on their way while the letters are
      Forward u = {};
      if (at.exists) {
#pragma unroll
        for (unsigned gate = 0; gate < GATES; gate++)
          u.gates[gate] = KEEPS_GATES ? gates.at(at.now, gate * h + at.unit) : hidden.at(at.after, at.unit);
        u.hidden = hidden.at(at.before, at.unit);
        u.cell = KEEPS_CELL ? cell.at(at.before, at.unit) : 0.0f;
      }
      if (index == 0) {
#pragma unroll
        for (unsigned i = 0; i < LETTERS; i++) {
          const unsigned from = first_unit + i % RUNS * WARP + lane, batch_row = first_row + i / RUNS;
          const bool is_there = from < h && batch_row < extent.batch_size;
          const unsigned initial = (extent.reverse ? extent.num_steps * extent.batch_size : 0) + batch_row;
          states_before[i].value = is_there ? hidden.at(initial, from) : 0.0f;
        }
      } else {
        receive(clock + index, states_before, looked, places(clock + index, first_row));
      }
#pragma unroll
      for (unsigned i = 0; i < LETTERS; i++) states[i * WARP + lane] = states_before[i].value;
      warp_barrier();
      const Next next(index, wave, share);
      looked = next.may_be_there<LETTERS>(share);
      if (looked) look_at(clock + next.step, states_before, places(clock + next.step, next.first_row));
      float products[ROWS][COLUMNS] = {};
      multiply(own, states, products);
      float* of_warps = sums + turn * WARPS * ROWS * COLUMNS * WARP;
#pragma unroll
      for (unsigned i = 0; i < ROWS * COLUMNS; i++)
        of_warps[(warp * ROWS * COLUMNS + i) * WARP + lane] = products[i / COLUMNS][i % COLUMNS];
      // before it every warp has read its states; the sums of the wave before are read before the next one
      block_barrier();
      if (!at.has_unit) continue;
#pragma unroll
      for (unsigned gate = 0; gate < GATES; gate++) {
        float sum = 0.0f;
#pragma unroll
        for (unsigned of_warp = 0; of_warp < WARPS; of_warp++)
          sum += of_warps[(of_warp * ROWS + at.row) * COLUMNS * WARP + gate * SLICE_UNITS + at.of_slice];
        u.recurrent[gate] = sum + bias_hh[gate];
      }
      forward_step(u);
      post(share.place(clock + index + 1, at.in_batch, UNITS) + at.unit, {u.hidden, clock + index + 1});
      if (!at.exists) continue;
      hidden.at(at.after, at.unit) = u.hidden;
      if (KEEPS_CELL) cell.at(at.after, at.unit) = u.cell;
      if (KEEPS_CANDIDATE) candidate.at(at.now, at.unit) = u.candidate;
#pragma unroll
      for (unsigned gate = 0; KEEPS_GATES && gate < GATES; gate++) gates.at(at.now, gate * h + at.unit) = u.gates[gate];
    }
  }
  if (thread_index() == 0) share.clock() = clock + extent.num_steps;
}

// The sum of numbers of which each thread has COUNT and its lanes, PARTS in a row, have the rest: in pairs, pairs of pairs
// and so on, whatever part a thread has.
template <unsigned PARTS, unsigned COUNT>
DEVICE float sum_in_pairs(const Letter (&letters)[COUNT]) {
  float values[COUNT];
#pragma unroll
  for (unsigned i = 0; i < COUNT; i++) values[i] = letters[i].value;
#pragma unroll
  for (unsigned apart = 1; apart < COUNT; apart *= 2) {
#pragma unroll
    for (unsigned i = 0; i + apart < COUNT; i += 2 * apart) values[i] += values[i + apart];
  }
  float sum = values[0];
#pragma unroll
  for (unsigned mask = 1; mask < PARTS; mask *= 2) sum += exchange(sum, mask);
  return sum;
}

// The mirror: from the gradients of the output and of the final state to those of the pre-activations and of the initial
// state. A thread multiplies its slice's gates for every 256th unit of the layer; PARTS threads, of which the first has a unit
// of the slice, add up what the slices have posted for it.
KERNEL(256) spread_backward(Matrix weight, Extent extent, unsigned waves, Letter* letters, unsigned* clocks, Matrix gates,
                            Matrix hidden, Matrix cell, Matrix candidate, Matrix output, Matrix d_gates,
                            Matrix d_candidate, Matrix d_hidden, Matrix d_cell) {
  constexpr unsigned OUTPUTS = UNITS / THREADS, LENGTH = GATES * SLICE_UNITS, SLICES = UNITS / SLICE_UNITS;
  constexpr unsigned PARTS = THREADS / (ROWS * SLICE_UNITS), LETTERS = SLICES / PARTS;
  const Share share = {waves, letters, clocks};
  const unsigned h = extent.hidden_size, part = thread_index() % PARTS;
  float* products = static_cast<float*>(shared_memory());
  float own[OUTPUTS][LENGTH];
#pragma unroll
  for (unsigned k = 0; k < LENGTH; k++) {
    unsigned row;
    const bool exists = weight_row(k, share, h, row);
#pragma unroll
    for (unsigned i = 0; i < OUTPUTS; i++) {
      const unsigned unit = i * THREADS + thread_index();
      own[i][k] = exists && unit < h ? weight.at(row, unit) : 0.0f;
    }
  }

  Unit at(thread_index() / PARTS, share, extent);
  const unsigned clock = share.clock();
  Letter of_slices[LETTERS];
  const auto places = [&](unsigned stamp, unsigned from_row) {
    return [=](unsigned i) -> const Letter* {
      const unsigned slice = part * LETTERS + i;
      if (slice >= num_blocks().x || !at.has_unit) return nullptr;
      return share.place(stamp, from_row + at.row, SLICES * UNITS) + slice * UNITS + at.unit;
    };
  };
  unsigned turn = 0;
  bool looked = false;
  // after the first step there is one round more, for what the others have posted in it
  for (unsigned count = 0; count <= extent.num_steps; count++) {
    const bool is_initial = count == extent.num_steps;
    for (unsigned wave = 0; wave < waves; wave++, turn ^= 1) {
      const unsigned first_row = share.first_row(wave);
      at.go_to(first_row, extent.step(is_initial ? 0 : extent.num_steps - 1 - count), extent);
      const bool exists = at.exists && part == 0;
      // on their way while the letters are
      Taped taped = {};
      Backward u = {};
      if (exists) {
        u.hidden = d_hidden.at(at.in_batch, at.unit);
        u.cell = KEEPS_CELL ? d_cell.at(at.in_batch, at.unit) : 0.0f;
      }
      if (exists && !is_initial) {
#pragma unroll
        for (unsigned gate = 0; KEEPS_GATES && gate < GATES; gate++)
          taped.gates[gate] = gates.at(at.now, gate * h + at.unit);
        taped.hidden_before = hidden.at(at.before, at.unit);
        taped.hidden = hidden.at(at.after, at.unit);
        taped.cell_before = KEEPS_CELL ? cell.at(at.before, at.unit) : 0.0f;
        taped.cell = KEEPS_CELL ? cell.at(at.after, at.unit) : 0.0f;
        taped.candidate = KEEPS_CANDIDATE ? candidate.at(at.now, at.unit) : 0.0f;
        taped.output = output.at(at.now, at.unit);
      }
      if (count > 0) {
        receive(clock + count, of_slices, looked, places(clock + count, first_row));
        u.hidden += sum_in_pairs<PARTS>(of_slices);
      }
      if (is_initial) {
        if (exists) d_hidden.at(at.in_batch, at.unit) = u.hidden;
        continue;
      }
      u.hidden += taped.output;
      backward_step(taped, u);
      float* of_wave = products + turn * ROWS * LENGTH;
      if (part == 0) {
#pragma unroll
        for (unsigned gate = 0; gate < GATES; gate++)
          of_wave[at.row * LENGTH + gate * SLICE_UNITS + at.of_slice] = u.products[gate];
      }
      if (exists) {
        d_hidden.at(at.in_batch, at.unit) = u.hidden;
        if (KEEPS_CELL) d_cell.at(at.in_batch, at.unit) = u.cell;
        if (KEEPS_CANDIDATE) d_candidate.at(at.now, at.unit) = u.products[GATES - 1];
#pragma unroll
        for (unsigned gate = 0; gate < GATES; gate++) d_gates.at(at.now, gate * h + at.unit) = u.gates[gate];
      }
      // before it the products are written; those of the wave before are read before the next one
      block_barrier();
      const Next next(count, wave, share);
      looked = next.may_be_there<LETTERS>(share);
      if (looked) look_at(clock + next.step, of_slices, places(clock + next.step, next.first_row));
      float sums[ROWS][OUTPUTS] = {};
      multiply(own, of_wave, sums);
#pragma unroll
      for (unsigned row = 0; row < ROWS; row++) {
        Letter* to = share.place(clock + count + 1, first_row + row, SLICES * UNITS) + share.slice() * UNITS;
#pragma unroll
        for (unsigned i = 0; i < OUTPUTS; i++) {
          const unsigned unit = i * THREADS + thread_index();
          if (unit < h) post(to + unit, {sums[row][i], clock + count + 1});
        }
      }
    }
  }
  if (thread_index() == 0) share.clock() = clock + extent.num_steps;
}
