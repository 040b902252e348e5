// Runs a kernel on one core. Every thread of a block is a fiber. Blocks run one after another, or all at the same time
// in a cooperative launch. A seed determines the order of blocks and threads: with seed 0 that of their indices, else a
// random one.
#pragma once

#include <cstdint>
#include <string>

#include "emulation.h"

namespace emulation {

// One launch of one kernel.
struct Launch {
  const Kernel* kernel;
  void** arguments;
  Dim3 num_blocks;
  unsigned block_size;
  std::size_t shared_bytes;
  // Whether all blocks run at the same time.
  bool cooperative;
  std::uint64_t seed;
};

// How a launch ended.
enum class Outcome {
  completed,
  // All threads that have not returned wait for each other.
  deadlock,
  // A thread accessed memory that is not the kernel's.
  invalid_address,
};

// Threads of a warp.
constexpr unsigned WARP = 32;

// Runs a launch on the calling thread until it ends. `message` receives the error and where it occurred.
Outcome run(const Launch& launch, std::string& message);

// The table of functions that compiled kernels call.
const Primitives& primitives_table();

}  // namespace emulation
