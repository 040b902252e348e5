// All that a kernel may use of the device besides plain C++17, beside the walk. The host pastes this file before a kernel
// and hands the text to NVRTC; `tests/emulation/` compiles the same text for the CPU, where `emulation.h` has the same names.
//
// A kernel is one entry function, KERNEL(largest block) name(…), or KERNEL_BESIDE(largest block, blocks that a multiprocessor
// has registers for) name(…), with blocks of one dimension and dynamic shared memory alone. No thread returns before a barrier
// that others wait at.
#pragma once

// A number on its way from one block to another that runs at the same time, and a stamp that says which it is. Both are
// written and read at once, so that who finds the stamp has the number.
struct alignas(8) Letter {
  float value;
  unsigned stamp;
};

#ifdef RNNLM_EMULATION

#include "emulation.h"
using namespace emulation;
#define KERNEL(max_threads) extern "C" emulation::entry<max_threads>
#define KERNEL_BESIDE(max_threads, blocks) KERNEL(max_threads)
#define DEVICE static inline
#define DEVICE_MEMBER inline

#else

#define KERNEL(max_threads) extern "C" __global__ void __launch_bounds__(max_threads)
#define KERNEL_BESIDE(max_threads, blocks) extern "C" __global__ void __launch_bounds__(max_threads, blocks)
#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__

// A place in a grid, or its size.
struct Index {
  unsigned x, y, z;
};

DEVICE unsigned thread_index() { return threadIdx.x; }
DEVICE unsigned block_size() { return blockDim.x; }
DEVICE Index block_index() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
DEVICE Index num_blocks() { return {gridDim.x, gridDim.y, gridDim.z}; }

// The block's dynamic shared memory, aligned for any access.
DEVICE void* shared_memory() {
  extern __shared__ __align__(16) unsigned char memory[];
  return memory;
}

// Returns when every thread of the block has called it; what they have written is then seen by all.
DEVICE void block_barrier() { __syncthreads(); }

// Returns when every thread of the warp has called it; what they have written is then seen by all of them.
DEVICE void warp_barrier() { __syncwarp(); }

// Puts a letter where another block looks for it.
DEVICE void post(Letter* to, Letter letter) {
  const unsigned long long bits = (unsigned long long)letter.stamp << 32 | __float_as_uint(letter.value);
  asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(__cvta_generic_to_global(to)), "l"(bits) : "memory");
}

// The letter that stands there now: from the L2 cache, since a multiprocessor's own does not hear of another's.
DEVICE Letter look(const Letter* from) {
  unsigned long long bits;
  asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(bits) : "l"(__cvta_generic_to_global(from)) : "memory");
  return {__uint_as_float((unsigned)bits), (unsigned)(bits >> 32)};
}

// What a thread does that has found no letter there: nothing, it looks again.
DEVICE void wait_for(const Letter*) {}

// The value that the lane `lane ^ mask` of this warp hands in at the same call.
template <class Value>
DEVICE Value exchange(Value value, unsigned mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

// A bit for each lane of this warp that hands in true at the same call, the same in every lane.
DEVICE unsigned warp_bits(bool value) { return __ballot_sync(0xffffffffu, value); }

// How many bits are set.
DEVICE unsigned count_bits(unsigned bits) { return __popc(bits); }

#endif

// Lanes of a warp.
constexpr unsigned WARP = 32;

// A matrix of the host's `Layout`: element (r, c) stands at `data[r * stride + c]`.
struct Matrix {
  float* data;
  unsigned rows, cols, stride;

  DEVICE_MEMBER float& at(unsigned row, unsigned col) const { return data[(size_t)row * stride + col]; }
};

// The element of this thread: its row and column, or none behind the end.
struct Element {
  unsigned row, col;
  bool exists;
};

DEVICE Element element_at(size_t index, const Matrix& out) {
  const bool exists = index < (size_t)out.rows * out.cols;
  // a division of 64 bits takes longer than all else that is done with an element
  if (index <= 0xffffffffu) return {(unsigned)index / out.cols, (unsigned)index % out.cols, exists};
  return {(unsigned)(index / out.cols), (unsigned)(index % out.cols), exists};
}

DEVICE Element element_of(const Matrix& out) {
  return element_at((size_t)block_index().x * block_size() + thread_index(), out);
}

// The sum over a warp, the same bits in every lane: each step adds two numbers in either order.
template <class Value>
DEVICE Value warp_sum(Value value) {
  for (unsigned mask = WARP / 2; mask > 0; mask /= 2) value += exchange(value, mask);
  return value;
}

// The largest over a warp; a NaN is larger than any number.
DEVICE float warp_max(float value) {
  for (unsigned mask = WARP / 2; mask > 0; mask /= 2) {
    const float other = exchange(value, mask);
    value = other > value || other != other ? other : value;
  }
  return value;
}

// The sum over a block of up to 1024 threads in one fixed order, in every thread; `shared` lends a place for each warp.
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

// Terms that are on their way at once, while a sum waits for the first of them.
constexpr unsigned AHEAD = 16;

// `sum + term(0) + … + term(COUNT − 1)`, in this order; all terms are read before the first is added.
template <unsigned COUNT = AHEAD, class Value, class Term>
DEVICE Value add_ahead(Value sum, Term term) {
  Value terms[COUNT];
#pragma unroll
  for (unsigned i = 0; i < COUNT; i++) terms[i] = term(i);
#pragma unroll
  for (unsigned i = 0; i < COUNT; i++) sum += terms[i];
  return sum;
}

// The letters that stand at COUNT places now; a null place has 0 at any stamp.
template <unsigned COUNT, class Place>
DEVICE void look_at(unsigned stamp, Letter (&letters)[COUNT], Place place) {
#pragma unroll
  for (unsigned i = 0; i < COUNT; i++) letters[i] = place(i) ? look(place(i)) : Letter{0.0f, stamp};
}

// The letters that are posted with `stamp` at COUNT places. `looked` says that `letters` are what stood there before, and is
// false from then on; whatever has not come is looked for until it has.
template <unsigned COUNT, class Place>
DEVICE void receive(unsigned stamp, Letter (&letters)[COUNT], bool& looked, Place place) {
  if (!looked) look_at(stamp, letters, place);
  for (bool is_new = !looked;; is_new = true) {
    unsigned missing = COUNT;
#pragma unroll
    for (unsigned i = 0; i < COUNT; i++)
      if (letters[i].stamp != stamp) missing = i;
    if (missing == COUNT) break;
    if (is_new) wait_for(place(missing));
    look_at(stamp, letters, place);
  }
  looked = false;
}
