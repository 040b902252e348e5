// What a kernel sees in place of the GPU, beside the walk: `prim.cuh` includes this file when a C++ compiler reads the
// kernel for the emulation. Each primitive is a call through one table, which `libcuda.so`'s stand-in fills when it
// loads the compiled kernel; the other half is in `scheduler.cpp`.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace emulation {

// A place in a grid, or its size.
struct Index {
  unsigned x, y, z;
};

// The place of a thread. Blocks have one dimension, grids up to three.
struct Place {
  unsigned thread, block_size;
  Index block, num_blocks;
};

// A mask that no lane has: no exchange with one other, but with all.
constexpr unsigned ALL_LANES = 32;

// What the scheduler does for a thread of a kernel. A call may run other threads before it returns.
struct Primitives {
  const Place& (*place)();
  // The block's dynamic shared memory, every byte 0xff when the block starts.
  void* (*shared_memory)();
  // Returns when every thread of the block has called it.
  void (*block_barrier)();
  // The 32 bits that the lane `lane ^ mask` of this warp hands in at the same call, or the lowest bit of what each lane does,
  // for a mask of ALL_LANES.
  std::uint32_t (*exchange)(std::uint32_t bits, unsigned mask);
  // Returns when another thread has called `tell` with the same address.
  void (*wait_for)(const void* address);
  void (*tell)(const void* address);
};

// An entry of a compiled kernel's table.
struct Kernel {
  const char* name;
  // The most threads that a block may have: the kernel's launch bounds.
  unsigned max_threads;
  const std::size_t* argument_sizes;
  std::size_t num_arguments;
  // Calls the kernel once, for one thread; each pointer leads to an argument.
  void (*run)(void** arguments);
};

// The result type of an entry function. The compiler's stand-in finds entry functions by this name.
template <unsigned max_threads>
using entry = void;

template <auto function>
struct Call;

template <class... Arguments, void (*function)(Arguments...)>
struct Call<function> {
  static constexpr std::size_t sizes[] = {sizeof(Arguments)..., 0};

  template <std::size_t... index>
  static void with(void** arguments, std::integer_sequence<std::size_t, index...>) {
    function(*static_cast<Arguments*>(arguments[index])...);
  }
  static void run(void** arguments) { with(arguments, std::index_sequence_for<Arguments...>{}); }

  static constexpr Kernel describe(const char* name, unsigned max_threads) {
    return {name, max_threads, sizes, sizeof...(Arguments), run};
  }
};

// The table of the compiled kernel that includes this file; null until it is loaded.
static const Primitives* primitives = nullptr;

static inline unsigned thread_index() { return primitives->place().thread; }
static inline unsigned block_size() { return primitives->place().block_size; }
static inline Index block_index() { return primitives->place().block; }
static inline Index num_blocks() { return primitives->place().num_blocks; }
static inline void* shared_memory() { return primitives->shared_memory(); }
static inline void block_barrier() { primitives->block_barrier(); }
static inline unsigned count_bits(unsigned bits) { return static_cast<unsigned>(__builtin_popcount(bits)); }

// The value of another lane, 32 bits at a time.
template <class Value>
static inline Value exchange(Value value, unsigned mask) {
  std::uint32_t words[sizeof value / sizeof(std::uint32_t)];
  static_assert(sizeof words == sizeof value, "a lane hands over whole words");
  std::memcpy(words, &value, sizeof value);
  for (std::uint32_t& word : words) word = primitives->exchange(word, mask);
  std::memcpy(&value, words, sizeof value);
  return value;
}

static inline void warp_barrier() { exchange(0u, 0); }

static inline unsigned warp_bits(bool value) { return primitives->exchange(value, ALL_LANES); }

// A place that threads of other blocks look at: who has found nothing new there waits for the next to post.
template <class Letter>
static inline void post(Letter* to, Letter letter) {
  *to = letter;
  primitives->tell(to);
}

template <class Letter>
static inline Letter look(const Letter* from) {
  return *from;
}

static inline void wait_for(const void* address) { primitives->wait_for(address); }

}  // namespace emulation
