// Runs a kernel on one core, beside the walk: every thread of a block is a fiber, the blocks come one after another, or
// all at once where they may wait for each other, and a seed says in which order. Seed 0 is the order of their numbers;
// any other draws the next block and the next thread.
#pragma once

#include <cstdint>
#include <string>

#include "emulation.h"

namespace emulation {

// One launch of one kernel.
struct Launch {
  const Kernel* kernel;
  void** arguments;
  Index num_blocks;
  unsigned block_size;
  std::size_t shared_bytes;
  // Whether all blocks run at the same time.
  bool cooperative;
  std::uint64_t seed;
};

// How a launch ended.
enum class Ending {
  done,
  // Threads wait for others that will never come.
  deadlock,
  // A thread touched memory that is not the kernel's.
  bad_address,
};

// Threads in a warp.
constexpr unsigned WARP = 32;

// Runs a launch to its end on the calling thread. `message` receives what went wrong, with its place.
Ending run(const Launch& launch, std::string& message);

// What compiled kernels call; one table for all.
const Primitives& primitives_table();

}  // namespace emulation
