// The device primitives that kernels use besides plain C++17. The host puts this file before a kernel's source and
// passes the text to NVRTC; `tests/emulation/` compiles the same text for the CPU, where `emulation.h` defines the same
// names.
//
// A kernel is one entry function, KERNEL(max threads) name(…), or KERNEL_MIN_BLOCKS(max threads, blocks per
// multiprocessor) name(…). Blocks have one dimension, and shared memory is dynamic. No thread returns before a barrier
// that other threads reach.
#pragma once

// A value sent from one block to another block that runs at the same time, with the sequence number of the message.
// Both are stored and loaded as one 64-bit word, so that a matching sequence number implies that the value is there
// (compare NCCL's LL protocol).
struct alignas(8) Message {
  float value;
  unsigned sequence;
};

#ifdef RNNLM_EMULATION

#include "emulation.h"
using namespace emulation;
#define KERNEL(max_threads) extern "C" emulation::entry<max_threads>
#define KERNEL_MIN_BLOCKS(max_threads, blocks) KERNEL(max_threads)
#define DEVICE static inline
#define DEVICE_MEMBER inline

#else

#define KERNEL(max_threads) extern "C" __global__ void __launch_bounds__(max_threads)
#define KERNEL_MIN_BLOCKS(max_threads, blocks) extern "C" __global__ void __launch_bounds__(max_threads, blocks)
#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__

// A block's index in the grid, or the size of the grid.
struct Dim3 {
  unsigned x, y, z;
};

DEVICE unsigned thread_index() { return threadIdx.x; }
DEVICE unsigned block_size() { return blockDim.x; }
DEVICE Dim3 block_index() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
DEVICE Dim3 num_blocks() { return {gridDim.x, gridDim.y, gridDim.z}; }

// The block's dynamic shared memory, aligned for any access.
DEVICE void* shared_memory() {
  extern __shared__ __align__(16) unsigned char memory[];
  return memory;
}

// Waits for every thread of the block; their writes are visible afterwards.
DEVICE void block_barrier() { __syncthreads(); }

// Waits for every thread of the warp; their writes are visible afterwards.
DEVICE void warp_barrier() { __syncwarp(); }

// Stores a message for another block.
DEVICE void send(Message* to, Message message) {
  const unsigned long long bits = (unsigned long long)message.sequence << 32 | __float_as_uint(message.value);
  asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(__cvta_generic_to_global(to)), "l"(bits) : "memory");
}

// Loads the message that is there now, from the L2 cache: L1 caches are not coherent.
DEVICE Message load_message(const Message* from) {
  unsigned long long bits;
  asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(bits) : "l"(__cvta_generic_to_global(from)) : "memory");
  return {__uint_as_float((unsigned)bits), (unsigned)(bits >> 32)};
}

// Called between two polls of a message. A GPU polls again immediately; the emulation suspends the thread until the
// next `send` to this address.
DEVICE void wait_for_message(const Message*) {}

// The value of the lane `lane ^ mask` of this warp. All lanes call it together.
template <class Value>
DEVICE Value shuffle_xor(Value value, unsigned mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

// One bit for each lane of this warp, set if the lane's value is true. All lanes call it together.
DEVICE unsigned ballot(bool value) { return __ballot_sync(0xffffffffu, value); }

// The number of set bits.
DEVICE unsigned popcount(unsigned bits) { return __popc(bits); }

#endif

// Lanes of a warp.
constexpr unsigned WARP = 32;

// A matrix with the host's `Layout`: element (r, c) is `data[r * stride + c]`.
struct Matrix {
  float* data;
  unsigned rows, cols, stride;

  DEVICE_MEMBER float& at(unsigned row, unsigned col) const { return data[(size_t)row * stride + col]; }
};

// An element of a matrix; `exists` is false past the last one.
struct Element {
  unsigned row, col;
  bool exists;
};

DEVICE Element element_at(size_t index, const Matrix& out) {
  const bool exists = index < (size_t)out.rows * out.cols;
  // a 64-bit division takes longer than the rest of an elementwise kernel
  if (index <= 0xffffffffu) return {(unsigned)index / out.cols, (unsigned)index % out.cols, exists};
  return {(unsigned)(index / out.cols), (unsigned)(index % out.cols), exists};
}

// The element with this thread's index in the grid.
DEVICE Element thread_element(const Matrix& out) {
  return element_at((size_t)block_index().x * block_size() + thread_index(), out);
}

// The sum over a warp, with the same bits in every lane: each step adds the same two values in either order.
template <class Value>
DEVICE Value warp_sum(Value value) {
  for (unsigned mask = WARP / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

// The maximum over a warp; a NaN counts as the largest value.
DEVICE float warp_max(float value) {
  for (unsigned mask = WARP / 2; mask > 0; mask /= 2) {
    const float other = shuffle_xor(value, mask);
    value = other > value || other != other ? other : value;
  }
  return value;
}

// The sum over a block of up to 1024 threads in a fixed order, returned to every thread. `shared` has one element per
// warp.
template <class Value>
DEVICE Value block_sum(Value value, Value* shared) {
  const unsigned warps = (block_size() + WARP - 1) / WARP;
  value = warp_sum(value);
  if (thread_index() % WARP == 0) shared[thread_index() / WARP] = value;
  block_barrier();
  Value sum = 0;
  for (unsigned warp = 0; warp < warps; warp++) sum += shared[warp];
  block_barrier();
  return sum;
}

// Loads that a thread issues before it uses the first of them.
constexpr unsigned LOADS_IN_FLIGHT = 16;

// `sum + term(0) + … + term(COUNT − 1)`, added in this order. All terms are loaded before the first is added.
template <unsigned COUNT = LOADS_IN_FLIGHT, class Value, class Term>
DEVICE Value add_prefetched(Value sum, Term term) {
  Value terms[COUNT];
#pragma unroll
  for (unsigned i = 0; i < COUNT; i++) terms[i] = term(i);
#pragma unroll
  for (unsigned i = 0; i < COUNT; i++) sum += terms[i];
  return sum;
}

// Loads the messages at COUNT addresses once, whether or not they have arrived. A null address yields 0 with the
// expected sequence number.
template <unsigned COUNT, class Address>
DEVICE void poll(unsigned sequence, Message (&messages)[COUNT], Address address) {
#pragma unroll
  for (unsigned i = 0; i < COUNT; i++)
    messages[i] = address(i) ? load_message(address(i)) : Message{0.0f, sequence};
}

// Receives the messages with this sequence number from COUNT addresses, polling until all have arrived. If
// `prefetched`, `messages` already holds the result of a poll; it is false afterwards.
template <unsigned COUNT, class Address>
DEVICE void receive(unsigned sequence, Message (&messages)[COUNT], bool& prefetched, Address address) {
  if (!prefetched) poll(sequence, messages, address);
  for (bool is_new = !prefetched;; is_new = true) {
    unsigned missing = COUNT;
#pragma unroll
    for (unsigned i = 0; i < COUNT; i++)
      if (messages[i].sequence != sequence) missing = i;
    if (missing == COUNT) break;
    if (is_new) wait_for_message(address(missing));
    poll(sequence, messages, address);
  }
  prefetched = false;
}
