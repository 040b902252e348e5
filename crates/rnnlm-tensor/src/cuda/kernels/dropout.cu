// Dropout masks: the random bits of `philox.rs`, a function of key and counter.

// Philox4x32-10: replaces the four counter words by random words.
DEVICE void philox(unsigned key0, unsigned key1, unsigned counter[4]) {
  for (unsigned round = 0; round < 10; round++) {
    const unsigned long long first = 0xD2511F53ull * counter[0];
    const unsigned long long second = 0xCD9E8D57ull * counter[2];
    counter[0] = (unsigned)(second >> 32) ^ counter[1] ^ key0;
    counter[1] = (unsigned)second;
    counter[2] = (unsigned)(first >> 32) ^ counter[3] ^ key1;
    counter[3] = (unsigned)first;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

// `out = out ∘ mask`. One thread per counter, which covers four elements of a row.
KERNEL(256) dropout(unsigned key0, unsigned key1, unsigned layer, unsigned step_low, unsigned step_high,
                    unsigned threshold, float scale, Matrix out) {
  const unsigned counters = (out.cols + 3) / 4;
  const size_t index = (size_t)block_index().x * block_size() + thread_index();
  if (index >= (size_t)out.rows * counters) return;
  unsigned words[4] = {(unsigned)index, layer, step_low, step_high};
  philox(key0, key1, words);
  const unsigned row = (unsigned)(index / counters);
  const unsigned first = (unsigned)(index % counters) * 4;
  for (unsigned word = 0; word < 4 && first + word < out.cols; word++)
    out.at(row, first + word) *= words[word] < threshold ? 0.0f : scale;
}
