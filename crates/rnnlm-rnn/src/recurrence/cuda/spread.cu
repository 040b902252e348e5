// All steps of a layer in one launch, its weights spread over the multiprocessors, beside the walk. A block has a slice of
// the units, SLICE_UNITS with all their gates, and a group of rows of the batch; its weights stay in registers, or in
// registers and shared memory, from the first step to the last. All blocks run at the same time, and those of a group tell
// each other what they have computed, in letters of one number (`prim.cuh`): forward each unit's state, back the slice's share
// of every unit's gradient.
//
// There are two places for each letter, in turn. Who posts the letter of step t + 2 has received those of step t + 1 for the
// same row from the whole group, each of which was computed from all of step t; so what is overwritten has been read. Stamps
// count on from launch to launch, so that an old letter is never taken for a new one.
//
// A group is taken in waves of ROWS rows, so that one is computed while another's letters are on their way. Rows are
// independent, and every sum has an order that depends on UNITS and PART_UNITS alone.
//
// Constants from the host, besides those of `unit.cuh`: SLICE_UNITS, PART_UNITS and ROWS, powers of two; REGISTERS, how many
// weights a thread has in registers at the most. The sums of a slice's parts are joined as those of slices are, so that a
// slice of two parts gives the bits of two slices.

constexpr unsigned THREADS = 256, WARPS = THREADS / WARP;
// Rows that are multiplied at once: more take more registers for sums than there are, and more code than is at hand.
constexpr unsigned CHUNK = ROWS < 4 ? ROWS : 4;

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

// The next rows of a group: of the same wave, of the next one, or of the next step.
struct Next {
  unsigned step, first_row;
  bool may_be_there;

  DEVICE_MEMBER Next(unsigned number, unsigned wave, unsigned chunk, const Share& share) {
    const bool same_wave = chunk + CHUNK < ROWS, same_step = same_wave || wave + 1 < share.waves;
    step = same_step ? number : number + 1;
    first_row = same_wave ? share.first_row(wave) + chunk + CHUNK : share.first_row(same_step ? wave + 1 : 0);
    // those of the next step wait for what this block has not posted yet, unless they are of another wave
    may_be_there = step > 0 && (same_step || share.waves > 1);
  }
};

// The row of W_hh behind a gate of a unit of the slice, whose units are taken `UNITS_AT_ONCE` at a time, gate after gate; false
// if there is none.
template <unsigned UNITS_AT_ONCE>
DEVICE bool weight_row(unsigned number, const Share& share, unsigned hidden_size, unsigned& row) {
  const unsigned gate = number / UNITS_AT_ONCE % GATES;
  const unsigned of_slice = number / (UNITS_AT_ONCE * GATES) * UNITS_AT_ONCE + number % UNITS_AT_ONCE;
  const unsigned unit = share.slice() * SLICE_UNITS + of_slice;
  row = gate * hidden_size + unit;
  return of_slice < SLICE_UNITS && unit < hidden_size;
}

// The weights of a thread: LENGTH along k for each of COUNT sums, as many of them in registers as there is room for, and the
// rest in shared memory behind BEFORE numbers.
template <unsigned COUNT, unsigned LENGTH, unsigned BEFORE>
struct Weights {
  static constexpr unsigned ROOM = REGISTERS / COUNT / 4 * 4, OWN = ROOM < LENGTH ? ROOM : LENGTH;
  float own[COUNT][OWN];

  // Where four along k from `k` on are, [(LENGTH - OWN) / 4][COUNT][THREADS].
  DEVICE_MEMBER static Four& shared(unsigned i, unsigned k) {
    return static_cast<Four*>(shared_memory())[BEFORE / 4 + ((k - OWN) / 4 * COUNT + i) * THREADS + thread_index()];
  }

  // `k` is known when this is compiled, as the registers' numbers must be.
  DEVICE_MEMBER void set(unsigned i, unsigned k, float value) {
    if (k < OWN)
      own[i][k] = value;
    else
      reinterpret_cast<float*>(&shared(i, k))[k % 4] = value;
  }

  // Adds the products with each of CHUNK rows of `operand`, which are PITCH apart.
  template <unsigned PITCH>
  DEVICE_MEMBER void multiply(const float* operand, float (&sums)[CHUNK][COUNT]) const {
#pragma unroll
    for (unsigned k = 0; k < OWN; k += 4) {
      Four weights[COUNT];
#pragma unroll
      for (unsigned i = 0; i < COUNT; i++) weights[i] = {own[i][k], own[i][k + 1], own[i][k + 2], own[i][k + 3]};
      add<PITCH>(weights, operand + k, sums);
    }
    // eight sums alone take as many registers for weights on their way as there are
    constexpr unsigned AT_ONCE = COUNT < 8 ? 2 : 1;
#pragma unroll AT_ONCE
    for (unsigned k = OWN; k < LENGTH; k += 4) {
      Four weights[COUNT];
#pragma unroll
      for (unsigned i = 0; i < COUNT; i++) weights[i] = shared(i, k);
      add<PITCH>(weights, operand + k, sums);
    }
  }

  template <unsigned PITCH>
  DEVICE_MEMBER static void add(const Four (&weights)[COUNT], const float* operand, float (&sums)[CHUNK][COUNT]) {
#pragma unroll
    for (unsigned row = 0; row < CHUNK; row++) {
      const Four value = *reinterpret_cast<const Four*>(operand + row * PITCH);
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

// Fills the tape from its initial state on. A warp has an eighth of k, a lane every 32nd gate of the slice. An Elman cell's
// share of the input stands where its states will.
KERNEL(256) spread_forward(Matrix weight, Matrix bias, Extent extent, unsigned waves, Letter* letters, unsigned* clocks,
                           Matrix gates, Matrix hidden, Matrix cell, Matrix candidate) {
  constexpr unsigned COLUMNS = (GATES * SLICE_UNITS + WARP - 1) / WARP, DEPTH = UNITS / WARPS;
  const Share share = {waves, letters, clocks};
  const unsigned h = extent.hidden_size, lane = thread_index() % WARP, warp = thread_index() / WARP;
  const unsigned first_unit = warp * DEPTH;
  float* memory = static_cast<float*>(shared_memory());
  // the warp's part of the states before a step, and the sums of all warps for two waves in turn
  float* states = memory + warp * ROWS * DEPTH;
  float* sums = memory + ROWS * UNITS;
  constexpr unsigned SUMS = 2 * WARPS * ROWS * COLUMNS * WARP, SQUARES = WARPS * WARP * (WARP + 1);
  constexpr unsigned IN_STEPS = ROWS * UNITS + SUMS;

  // Square after square through shared memory: neighbouring lanes read neighbours, and each keeps a row of its own.
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
        const bool exists = weight_row<SLICE_UNITS>(i * WARP + column, share, h, row) && unit < h;
        square[column * (WARP + 1) + lane] = exists ? weight.at(row, unit) : 0.0f;
      }
      warp_barrier();
#pragma unroll
      for (unsigned k = 0; k < WARP; k++) weights.set(i, from + k, square[lane * (WARP + 1) + k]);
      warp_barrier();
    }
  }
  block_barrier();

  Unit at(thread_index(), share, extent);
  float bias_hh[GATES];
#pragma unroll
  for (unsigned gate = 0; gate < GATES; gate++)
    bias_hh[gate] = at.has_unit ? bias.at(0, gate * h + at.unit) : 0.0f;
  const unsigned clock = share.clock();
  constexpr unsigned RUNS = DEPTH / WARP, LETTERS = CHUNK * RUNS;
  Letter states_before[LETTERS];
  const auto places = [&](unsigned stamp, unsigned from_row) {
    const Letter* first = share.place(stamp, from_row, UNITS) + first_unit + lane;
    return [=](unsigned i) -> const Letter* {
      const bool is_there = first_unit + i % RUNS * WARP + lane < h;
      return is_there ? first + (i / RUNS * UNITS + i % RUNS * WARP) : nullptr;
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
      float* of_warps = sums + turn * WARPS * ROWS * COLUMNS * WARP;
#pragma unroll 1
      for (unsigned chunk = 0; chunk < ROWS; chunk += CHUNK) {
        const unsigned from_row = first_row + chunk;
        if (index == 0) {
#pragma unroll
          for (unsigned i = 0; i < LETTERS; i++) {
            const unsigned from = first_unit + i % RUNS * WARP + lane, batch_row = from_row + i / RUNS;
            const bool is_there = from < h && batch_row < extent.batch_size;
            const unsigned initial = (extent.reverse ? extent.num_steps * extent.batch_size : 0) + batch_row;
            states_before[i].value = is_there ? hidden.at(initial, from) : 0.0f;
          }
        } else {
          receive(clock + index, states_before, looked, places(clock + index, from_row));
        }
#pragma unroll
        for (unsigned i = 0; i < LETTERS; i++) states[chunk * DEPTH + i * WARP + lane] = states_before[i].value;
        warp_barrier();
        const Next next(index, wave, chunk, share);
        looked = next.may_be_there;
        if (looked) look_at(clock + next.step, states_before, places(clock + next.step, next.first_row));
        float products[CHUNK][COLUMNS] = {};
        weights.template multiply<DEPTH>(states + chunk * DEPTH, products);
#pragma unroll
        for (unsigned i = 0; i < CHUNK * COLUMNS; i++)
          of_warps[((warp * ROWS + chunk) * COLUMNS + i) * WARP + lane] = products[i / COLUMNS][i % COLUMNS];
      }
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

// Joins what SPLITS lanes have of COUNT sums, in pairs, pairs of pairs and so on: those whose remainder is `split` become the
// lane's own, and stand at the multiples of SPLITS.
template <unsigned SPLITS, unsigned COUNT>
DEVICE void join(unsigned split, float (&sums)[COUNT]) {
#pragma unroll
  for (unsigned bit = 1; bit < SPLITS; bit *= 2) {
    const bool upper = (split & bit) != 0;
#pragma unroll
    for (unsigned i = 0; i < COUNT; i += 2 * bit) {
      const float own = upper ? sums[i + bit] : sums[i], other = upper ? sums[i] : sums[i + bit];
      sums[i] = own + exchange(other, bit * (WARP / SPLITS));
    }
  }
}

// The mirror: from the gradients of the output and of the final state to those of the pre-activations and of the initial
// state. A warp multiplies the slice's gates for an eighth of the layer's units. A lane has four of these for each part of the
// slice, so that a number that is read from shared memory serves as many sums, and its split of k. PARTS threads, of which the
// first has a unit of the slice, add up what the slices have posted for it.
KERNEL(256) spread_backward(Matrix weight, Extent extent, unsigned waves, Letter* letters, unsigned* clocks, Matrix gates,
                            Matrix hidden, Matrix cell, Matrix candidate, Matrix output, Matrix d_gates,
                            Matrix d_candidate, Matrix d_hidden, Matrix d_cell) {
  constexpr unsigned LENGTH = GATES * SLICE_UNITS, SLICES = UNITS / SLICE_UNITS;
  constexpr unsigned OUTPUTS = 4 * (SLICE_UNITS / PART_UNITS), SPLITS = OUTPUTS * THREADS / UNITS;
  constexpr unsigned LANES = WARP / SPLITS, DEPTH = LENGTH / SPLITS;
  // four numbers between splits keep them in different banks
  constexpr unsigned SPLIT_PITCH = SPLITS == 1 ? DEPTH : DEPTH + 4, PITCH = SPLITS * SPLIT_PITCH;
  constexpr unsigned PARTS = THREADS / (ROWS * SLICE_UNITS), LETTERS = SLICES / PARTS;
  const Share share = {waves, letters, clocks};
  const unsigned h = extent.hidden_size, part = thread_index() % PARTS;
  float* products = static_cast<float*>(shared_memory());
  const unsigned lane = thread_index() % WARP, split = lane / LANES;
  const unsigned first_unit = thread_index() / WARP * (UNITS / WARPS);
  Weights<OUTPUTS, DEPTH, 2 * ROWS * PITCH> weights;
#pragma unroll
  for (unsigned k = 0; k < DEPTH; k++) {
    unsigned row;
    const bool exists = weight_row<PART_UNITS>(split * DEPTH + k, share, h, row);
#pragma unroll
    for (unsigned i = 0; i < OUTPUTS; i++) {
      const unsigned unit = first_unit + i * LANES + lane % LANES;
      weights.set(i, k, exists && unit < h ? weight.at(row, unit) : 0.0f);
    }
  }

  Unit at(thread_index() / PARTS, share, extent);
  const unsigned clock = share.clock();
  Letter of_slices[LETTERS];
  const auto places = [&](unsigned stamp, unsigned from_row) {
    const Letter* first = share.place(stamp, from_row + at.row, SLICES * UNITS) + part * LETTERS * UNITS + at.unit;
    return [=](unsigned i) -> const Letter* {
      const bool is_there = part * LETTERS + i < num_blocks().x && at.has_unit;
      return is_there ? first + i * UNITS : nullptr;
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
      float* of_wave = products + turn * ROWS * PITCH;
      if (part == 0) {
#pragma unroll
        for (unsigned gate = 0; gate < GATES; gate++) {
          const unsigned k = (at.of_slice / PART_UNITS * GATES + gate) * PART_UNITS + at.of_slice % PART_UNITS;
          of_wave[at.row * PITCH + k / DEPTH * SPLIT_PITCH + k % DEPTH] = u.products[gate];
        }
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
      const Next next(count, wave, ROWS - CHUNK, share);
      looked = next.may_be_there && LETTERS <= 8;
      if (looked) look_at(clock + next.step, of_slices, places(clock + next.step, next.first_row));
#pragma unroll 1
      for (unsigned chunk = 0; chunk < ROWS; chunk += CHUNK) {
        float sums[CHUNK][OUTPUTS] = {};
        weights.template multiply<PITCH>(of_wave + chunk * PITCH + split * SPLIT_PITCH, sums);
        const unsigned first_own = first_unit + lane;
        Letter* to =
            share.place(clock + count + 1, first_row + chunk, SLICES * UNITS) + share.slice() * UNITS + first_own;
#pragma unroll
        for (unsigned row = 0; row < CHUNK; row++) {
          join<SPLITS>(split, sums[row]);
#pragma unroll
          for (unsigned i = 0; i < OUTPUTS / SPLITS; i++) {
            if (first_own + i * WARP < h)
              post(to + (row * SLICES * UNITS + i * WARP), {sums[row][i * SPLITS], clock + count + 1});
          }
        }
      }
    }
  }
  if (thread_index() == 0) share.clock() = clock + extent.num_steps;
}
