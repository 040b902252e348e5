// What the parts of `libcuda.so`'s stand-in share, beside the walk: results, devices, streams, and work that waits in a
// graph. The numbers are those of CUDA's own `cuda.h`.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace emulation {

// CUresult.
enum Result : int {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  INVALID_CONTEXT = 201,
  INVALID_HANDLE = 400,
  NOT_FOUND = 500,
  ILLEGAL_ADDRESS = 700,
  LAUNCH_OUT_OF_RESOURCES = 701,
  LAUNCH_FAILED = 719,
  COOPERATIVE_LAUNCH_TOO_LARGE = 720,
  NOT_SUPPORTED = 801,
  STREAM_CAPTURE_UNSUPPORTED = 900,
  STREAM_CAPTURE_ISOLATION = 905,
};

// A device is a schedule: the first of a set runs every thread in order, each of the others draws from a seed of its own.
// There is a set for each number of multiprocessors that is asked for.
struct Device {
  int number;
  std::uint64_t seed;
  int multiprocessors;
  // One launch or copy at a time.
  std::recursive_mutex busy;
  std::uint64_t launches = 0;
};

using Work = std::function<Result()>;

// Captured work, in the order in which it was handed in.
struct Graph {
  std::vector<Work> nodes;
};

struct Stream {
  Device* device;
  // Not null while work is captured instead of done.
  Graph* capture = nullptr;
};

// The calling thread's context is a device, or null.
Device* current_device();
// The stream behind a handle; null stands for the device's own. Null without a device.
Stream* stream_of(void* handle);
// Does the work on the calling thread, or captures it.
Result submit(Stream* stream, const Work& work);
// Keeps the words for the error that is returned, so that `cuGetErrorString` can say more than its number.
Result refuse(Result result, const std::string& message);
// The refusal of what no captured stream may do.
Result not_while_capturing(const std::string& what);

// What the emulated device has.
namespace limits {
constexpr unsigned THREADS_PER_BLOCK = 1024;
constexpr unsigned THREADS_PER_MULTIPROCESSOR = 2048;
constexpr unsigned BLOCKS_PER_MULTIPROCESSOR = 32;
constexpr unsigned BLOCKS = 2147483647;
constexpr unsigned BLOCKS_YZ = 65535;
constexpr unsigned REGISTERS = 65536;
constexpr int SHARED_BYTES = 48 << 10;
// Less than any GPU has: what the largest fused configuration takes without its weights, and a kilobyte.
constexpr int LITTLE_SHARED_BYTES = 37 << 10;
constexpr std::size_t MEMORY_BYTES = std::size_t{4} << 30;
// The architecture as NVRTC writes it, `90` for compute capability 9.0.
int architecture();
// Shared memory that a block may ask for, and what a multiprocessor has.
int opt_in_shared_bytes(const Device& device);
int multiprocessor_shared_bytes();
}  // namespace limits

}  // namespace emulation
