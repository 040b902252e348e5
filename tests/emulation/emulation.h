// The emulation's side of the device primitives. `primitives.cuh` includes this file when a C++ compiler compiles a
// kernel for the emulation. Each primitive is a call through one table of functions, which the emulated `libcuda.so`
// sets when it loads the compiled kernel. The functions are in `scheduler.cpp`.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace emulation {

// A block's index in the grid, or the size of the grid.
struct Dim3 {
  unsigned x, y, z;
};

// The indices of a thread. Blocks have one dimension, grids up to three.
struct ThreadContext {
  unsigned thread, block_size;
  Dim3 block, num_blocks;
};

// Selects a ballot instead of a shuffle; not a valid lane mask.
constexpr unsigned ALL_LANES = 32;

// What the scheduler does for a thread of a kernel. A call may run other threads before it returns.
struct Primitives {
  const ThreadContext& (*context)();
  // The block's dynamic shared memory; every byte is 0xff when the block starts.
  void* (*shared_memory)();
  // Returns when every thread of the block has called it.
  void (*block_barrier)();
  // The 32 bits that the lane `lane ^ mask` of this warp passes in the same call. With ALL_LANES, a mask of the lowest
  // bit of every lane.
  std::uint32_t (*shuffle)(std::uint32_t bits, unsigned mask);
  // Returns when another thread has called `notify` with the same address.
  void (*wait)(const void* address);
  void (*notify)(const void* address);
};

// An entry of a compiled kernel's table.
struct Kernel {
  const char* name;
  // The launch bounds: the most threads of a block.
  unsigned max_threads;
  const std::size_t* argument_sizes;
  std::size_t num_arguments;
  // Calls the kernel for one thread; each pointer points to an argument.
  void (*run)(void** arguments);
};

// The result type of an entry function. The emulated compiler finds entry functions by this name.
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

// The functions for the kernel that includes this file; null until the kernel is loaded.
static const Primitives* primitives = nullptr;

static inline unsigned thread_index() { return primitives->context().thread; }
static inline unsigned block_size() { return primitives->context().block_size; }
static inline Dim3 block_index() { return primitives->context().block; }
static inline Dim3 num_blocks() { return primitives->context().num_blocks; }
static inline void* shared_memory() { return primitives->shared_memory(); }
static inline void block_barrier() { primitives->block_barrier(); }
static inline unsigned popcount(unsigned bits) { return static_cast<unsigned>(__builtin_popcount(bits)); }

// Shuffles a value 32 bits at a time.
template <class Value>
static inline Value shuffle_xor(Value value, unsigned mask) {
  std::uint32_t words[sizeof value / sizeof(std::uint32_t)];
  static_assert(sizeof words == sizeof value, "the size must be a multiple of 32 bits");
  std::memcpy(words, &value, sizeof value);
  for (std::uint32_t& word : words) word = primitives->shuffle(word, mask);
  std::memcpy(&value, words, sizeof value);
  return value;
}

static inline void warp_barrier() { shuffle_xor(0u, 0); }

static inline unsigned ballot(bool value) { return primitives->shuffle(value, ALL_LANES); }

// Stores a message and wakes the threads that wait at its address.
template <class Message>
static inline void send(Message* to, Message message) {
  *to = message;
  primitives->notify(to);
}

template <class Message>
static inline Message load_message(const Message* from) {
  return *from;
}

static inline void wait_for_message(const void* address) { primitives->wait(address); }

}  // namespace emulation
