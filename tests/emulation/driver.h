// Declarations shared by the parts of the emulated `libcuda.so`: results, devices, streams and graphs. The numbers are
// those of `cuda.h`.
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

// A device runs one schedule: the first device of a set runs threads in order, each of the others in a random order
// from its own seed. There is one set per requested number of multiprocessors.
struct Device {
  int number;
  std::uint64_t seed;
  int multiprocessors;
  // Held during a launch or a copy.
  std::recursive_mutex busy;
  std::uint64_t launches = 0;
};

using Work = std::function<Result()>;

// Captured work in the order of its submission.
struct Graph {
  std::vector<Work> nodes;
};

struct Stream {
  Device* device;
  // Not null while work is captured.
  Graph* capture = nullptr;
};

// The device of the calling thread's context, or null.
Device* current_device();
// The stream of a handle, or the current device's default stream for a null handle. Null without a device.
Stream* stream_of(void* handle);
// Does the work on the calling thread, or captures it.
Result submit(Stream* stream, const Work& work);
// Returns the error and stores its message for `cuGetErrorString`.
Result error(Result result, const std::string& message);
// The error of an operation that a capturing stream does not support.
Result error_while_capturing(const std::string& operation);

// The properties of the emulated device.
namespace limits {
constexpr unsigned THREADS_PER_BLOCK = 1024;
constexpr unsigned THREADS_PER_MULTIPROCESSOR = 2048;
constexpr unsigned BLOCKS_PER_MULTIPROCESSOR = 32;
constexpr unsigned BLOCKS = 2147483647;
constexpr unsigned BLOCKS_YZ = 65535;
constexpr unsigned REGISTERS = 65536;
constexpr int SHARED_BYTES = 48 << 10;
// Less than any GPU has: what the largest persistent configuration needs without weights, and 1 KiB.
constexpr int SMALL_SHARED_BYTES = 37 << 10;
constexpr std::size_t MEMORY_BYTES = std::size_t{4} << 30;
// The architecture as NVRTC writes it: `90` for compute capability 9.0.
int architecture();
// The opt-in maximum of shared memory per block, and the shared memory of a multiprocessor.
int opt_in_shared_bytes(const Device& device);
int multiprocessor_shared_bytes();
}  // namespace limits

}  // namespace emulation
