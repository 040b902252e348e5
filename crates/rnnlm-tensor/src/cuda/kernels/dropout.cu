// Dropout masks: the random bits of `philox.rs`, a function of key and counter.

// A mask as `launch.rs` declares it.
struct DropoutMask {
  unsigned key[2], layer, step_low, step_high, period, first, len, batch_size, threshold;
  float scale;

  // The row of a mask without a period.
  DEVICE_MEMBER unsigned row(unsigned row) const {
    if (len > 0) row = row / len * batch_size + first + row % len;
    return period > 0 ? row % period : row;
  }

  // The factor of an element with these random bits.
  DEVICE_MEMBER float factor(unsigned word) const { return word < threshold ? 0.0f : scale; }

  // Philox4x32-10: the random words of counter `counter`.
  DEVICE_MEMBER void words(unsigned counter, unsigned words[4]) const {
    unsigned key0 = key[0], key1 = key[1];
    words[0] = counter;
    words[1] = layer;
    words[2] = step_low;
    words[3] = step_high;
    for (unsigned round = 0; round < 10; round++) {
      const unsigned long long first = 0xD2511F53ull * words[0];
      const unsigned long long second = 0xCD9E8D57ull * words[2];
      words[0] = (unsigned)(second >> 32) ^ words[1] ^ key0;
      words[1] = (unsigned)second;
      words[2] = (unsigned)(first >> 32) ^ words[3] ^ key1;
      words[3] = (unsigned)first;
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
  }
};

// `out = out ∘ mask`. One thread per counter, which covers four elements of a row.
KERNEL(256) dropout(DropoutMask mask, Matrix out) {
  const unsigned counters = (out.cols + 3) / 4;
  const size_t index = (size_t)block_index().x * block_size() + thread_index();
  if (index >= (size_t)out.rows * counters) return;
  const unsigned row = (unsigned)(index / counters);
  const unsigned first = (unsigned)(index % counters) * 4;
  unsigned words[4];
  mask.words(mask.row(row) * counters + first / 4, words);
  for (unsigned word = 0; word < 4 && first + word < out.cols; word++)
    out.at(row, first + word) *= mask.factor(words[word]);
}

// `out[r, :] *= m` with the element `(ids[r], 0)` of the mask of a matrix with one column. One thread per element.
KERNEL(256) dropout_rows(DropoutMask mask, const unsigned* ids, Matrix out) {
  const Element e = thread_element(out);
  if (!e.exists) return;
  unsigned words[4];
  mask.words(mask.row(ids[e.row]), words);
  out.at(e.row, e.col) *= mask.factor(words[0]);
}
