// Emulated `libcuda.so`: the devices, contexts and memory of the driver API, as far as the project's host code uses
// them. A function that is not defined here is a missing symbol, which cudarc reports by name.
#include "driver.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>

#include "memory.h"

namespace emulation {

namespace {

// Defaults of environment variables: the devices with a random schedule in each set, and the number of multiprocessors
// of each set.
constexpr int SCHEDULES = 10;
constexpr const char* MULTIPROCESSORS = "132";

int environment_number(const char* variable, int default_value) {
  const char* text = std::getenv(variable);
  return text && *text ? std::atoi(text) : default_value;
}

std::vector<std::unique_ptr<Device>> make_devices() {
  const char* text = std::getenv("RNNLM_EMULATION_MULTIPROCESSORS");
  std::istringstream numbers(text && *text ? text : MULTIPROCESSORS);
  std::vector<std::unique_ptr<Device>> devices;
  for (int multiprocessors; numbers >> multiprocessors;) {
    for (int seed = 0; seed <= environment_number("RNNLM_EMULATION_SCHEDULES", SCHEDULES); seed++) {
      devices.push_back(std::make_unique<Device>());
      devices.back()->number = static_cast<int>(devices.size()) - 1;
      devices.back()->seed = seed;
      // every other device has half as many, so that both groupings of rows are tested
      devices.back()->multiprocessors = multiprocessors / (1 + seed % 2);
    }
  }
  return devices;
}

std::vector<std::unique_ptr<Device>>& devices() {
  static auto all = make_devices();
  return all;
}

Device* device(int number) {
  return number >= 0 && number < static_cast<int>(devices().size()) ? devices()[number].get() : nullptr;
}

thread_local Device* current = nullptr;
thread_local std::string last_error;

bool is_inside(const Stream* stream, std::uint64_t address, std::size_t bytes) {
  return emulation::is_inside(stream->device->number, address, bytes);
}

Result out_of_range(const char* operation, std::uint64_t address, std::size_t bytes) {
  return error(INVALID_VALUE, std::string(operation) + " of " + std::to_string(bytes) + " bytes at " +
                                  describe(reinterpret_cast<void*>(address)));
}

// The value of a CUdevice_attribute.
bool attribute(int number, const Device& device, int* value) {
  const int architecture = limits::architecture();
  switch (number) {
    case 1:
    case 2: *value = limits::THREADS_PER_BLOCK; return true;
    case 5: *value = limits::BLOCKS; return true;
    case 6:
    case 7: *value = limits::BLOCKS_YZ; return true;
    case 8: *value = limits::SHARED_BYTES; return true;
    case 10: *value = 32; return true;
    case 12:
    case 82: *value = limits::REGISTERS; return true;
    case 16: *value = device.multiprocessors; return true;
    case 39: *value = limits::THREADS_PER_MULTIPROCESSOR; return true;
    case 75: *value = architecture / 10; return true;
    case 76: *value = architecture % 10; return true;
    case 81: *value = limits::multiprocessor_shared_bytes(); return true;
    case 95: *value = 1; return true;
    case 97: *value = limits::opt_in_shared_bytes(device); return true;
    case 106: *value = limits::BLOCKS_PER_MULTIPROCESSOR; return true;
    case 115: *value = 1; return true;
    case 120: *value = 0; return true;
    default: return false;
  }
}

const char* error_name(int result) {
  switch (result) {
    case SUCCESS: return "CUDA_SUCCESS";
    case INVALID_VALUE: return "CUDA_ERROR_INVALID_VALUE";
    case OUT_OF_MEMORY: return "CUDA_ERROR_OUT_OF_MEMORY";
    case INVALID_DEVICE: return "CUDA_ERROR_INVALID_DEVICE";
    case INVALID_IMAGE: return "CUDA_ERROR_INVALID_IMAGE";
    case INVALID_CONTEXT: return "CUDA_ERROR_INVALID_CONTEXT";
    case INVALID_HANDLE: return "CUDA_ERROR_INVALID_HANDLE";
    case NOT_FOUND: return "CUDA_ERROR_NOT_FOUND";
    case ILLEGAL_ADDRESS: return "CUDA_ERROR_ILLEGAL_ADDRESS";
    case LAUNCH_OUT_OF_RESOURCES: return "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES";
    case LAUNCH_FAILED: return "CUDA_ERROR_LAUNCH_FAILED";
    case COOPERATIVE_LAUNCH_TOO_LARGE: return "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE";
    case NOT_SUPPORTED: return "CUDA_ERROR_NOT_SUPPORTED";
    case STREAM_CAPTURE_UNSUPPORTED: return "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED";
    case STREAM_CAPTURE_ISOLATION: return "CUDA_ERROR_STREAM_CAPTURE_ISOLATION";
    default: return "CUDA_ERROR_UNKNOWN";
  }
}

}  // namespace

Device* current_device() { return current; }

Stream* stream_of(void* handle) {
  if (handle) return static_cast<Stream*>(handle);
  if (!current) return nullptr;
  thread_local std::vector<Stream> own;
  while (own.size() < devices().size()) own.push_back({devices()[own.size()].get()});
  return &own[current->number];
}

Result submit(Stream* stream, const Work& work) {
  if (!stream) return error(INVALID_CONTEXT, "no context is current on this thread");
  if (stream->capture) {
    stream->capture->nodes.push_back(work);
    return SUCCESS;
  }
  std::lock_guard<std::recursive_mutex> lock(stream->device->busy);
  return work();
}

Result error(Result result, const std::string& message) {
  last_error = std::string(error_name(result)) + ": " + message;
  return result;
}

Result error_while_capturing(const std::string& operation) {
  return error(STREAM_CAPTURE_UNSUPPORTED, operation + " while the stream captures");
}

namespace limits {
int architecture() { return environment_number("RNNLM_EMULATION_ARCHITECTURE", 90); }
int multiprocessor_shared_bytes() {
  switch (architecture()) {
    case 75: return 64 << 10;
    case 86:
    case 89: return 100 << 10;
    case 80: return 164 << 10;
    default: return 228 << 10;
  }
}
// The system reserves 1 KiB of each block from sm_80 on. Every other device has little, so that the host code is tested
// with both.
int opt_in_shared_bytes(const Device& device) {
  return device.seed % 2 ? SMALL_SHARED_BYTES : multiprocessor_shared_bytes() - (architecture() >= 80 ? 1 << 10 : 0);
}
}  // namespace limits

}  // namespace emulation

using namespace emulation;
using Address = std::uint64_t;

extern "C" {

Result cuInit(unsigned) { return SUCCESS; }

Result cuDriverGetVersion(int* version) {
  *version = 13000;
  return SUCCESS;
}

Result cuGetErrorName(int result, const char** text) {
  *text = error_name(result);
  return SUCCESS;
}

// The message of this thread's last error, if it has this number.
Result cuGetErrorString(int result, const char** text) {
  const std::string name = error_name(result);
  *text = last_error.compare(0, name.size(), name) == 0 ? last_error.c_str() : error_name(result);
  return SUCCESS;
}

// Devices

Result cuDeviceGetCount(int* count) {
  *count = static_cast<int>(devices().size());
  return SUCCESS;
}

Result cuDeviceGet(int* handle, int number) {
  if (!device(number)) return error(INVALID_DEVICE, "there is no device " + std::to_string(number));
  *handle = number;
  return SUCCESS;
}

Result cuDeviceGetName(char* text, int capacity, int number) {
  const std::uint64_t seed = device(number)->seed;
  const std::string name = seed ? "emulated, schedule " + std::to_string(seed) : "emulated";
  std::snprintf(text, static_cast<std::size_t>(capacity), "%s", name.c_str());
  return SUCCESS;
}

Result cuDeviceGetUuid_v2(unsigned char* uuid, int number) {
  std::memset(uuid, 0, 16);
  uuid[15] = static_cast<unsigned char>(number);
  return SUCCESS;
}

Result cuDeviceTotalMem_v2(std::size_t* bytes, int) {
  *bytes = limits::MEMORY_BYTES;
  return SUCCESS;
}

Result cuDeviceGetAttribute(int* value, int number, int device_number) {
  if (attribute(number, *device(device_number), value)) return SUCCESS;
  return error(NOT_SUPPORTED, "the emulated device has no attribute " + std::to_string(number));
}

// Contexts

Result cuDevicePrimaryCtxRetain(void** context, int number) {
  *context = device(number);
  return SUCCESS;
}

Result cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }

Result cuCtxGetCurrent(void** context) {
  *context = current;
  return SUCCESS;
}

Result cuCtxSetCurrent(void* context) {
  current = static_cast<Device*>(context);
  return SUCCESS;
}

Result cuCtxSynchronize() { return SUCCESS; }

// Memory

Result cuMemAlloc_v2(Address* address, std::size_t bytes) {
  if (!current) return error(INVALID_CONTEXT, "an allocation without a context");
  if (bytes == 0) return error(INVALID_VALUE, "an allocation of 0 bytes");
  if (bytes > limits::MEMORY_BYTES - allocated_bytes(current->number))
    return error(OUT_OF_MEMORY, std::to_string(bytes) + " bytes are not available");
  *address = allocate(current->number, bytes);
  return SUCCESS;
}

Result cuMemFree_v2(Address address) {
  std::string message;
  return release(address, message) ? SUCCESS : error(INVALID_VALUE, message);
}

Result cuMemAllocAsync(Address* address, std::size_t bytes, void* stream) {
  if (stream_of(stream) && stream_of(stream)->capture) return error_while_capturing("an allocation");
  return cuMemAlloc_v2(address, bytes);
}

Result cuMemFreeAsync(Address address, void* stream) {
  if (stream_of(stream) && stream_of(stream)->capture) return error_while_capturing("a deallocation");
  return cuMemFree_v2(address);
}

Result cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  *total = limits::MEMORY_BYTES;
  *free = limits::MEMORY_BYTES - (current ? allocated_bytes(current->number) : 0);
  return SUCCESS;
}

Result cuMemHostAlloc(void** memory, std::size_t bytes, unsigned) {
  *memory = std::malloc(bytes);
  return *memory ? SUCCESS : OUT_OF_MEMORY;
}

Result cuMemFreeHost(void* memory) {
  std::free(memory);
  return SUCCESS;
}

Result cuMemsetD8Async(Address to, unsigned char value, std::size_t bytes, void* handle) {
  Stream* stream = stream_of(handle);
  if (stream && !is_inside(stream, to, bytes)) return out_of_range("a fill", to, bytes);
  return submit(stream, [=] {
    std::memset(reinterpret_cast<void*>(to), value, bytes);
    return SUCCESS;
  });
}

Result cuMemsetD32Async(Address to, unsigned value, std::size_t count, void* handle) {
  Stream* stream = stream_of(handle);
  if (stream && !is_inside(stream, to, count * 4)) return out_of_range("a fill", to, count * 4);
  return submit(stream, [=] {
    for (std::size_t i = 0; i < count; i++) reinterpret_cast<unsigned*>(to)[i] = value;
    return SUCCESS;
  });
}

Result cuMemcpyHtoDAsync_v2(Address to, const void* from, std::size_t bytes, void* handle) {
  Stream* stream = stream_of(handle);
  if (stream && !is_inside(stream, to, bytes)) return out_of_range("a copy to the device", to, bytes);
  return submit(stream, [=] {
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return SUCCESS;
  });
}

Result cuMemcpyDtoHAsync_v2(void* to, Address from, std::size_t bytes, void* handle) {
  Stream* stream = stream_of(handle);
  if (stream && !is_inside(stream, from, bytes)) return out_of_range("a copy to the host", from, bytes);
  return submit(stream, [=] {
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return SUCCESS;
  });
}

Result cuMemcpyDtoDAsync_v2(Address to, Address from, std::size_t bytes, void* handle) {
  Stream* stream = stream_of(handle);
  if (stream && !is_inside(stream, to, bytes)) return out_of_range("a copy", to, bytes);
  if (stream && !is_inside(stream, from, bytes)) return out_of_range("a copy", from, bytes);
  return submit(stream, [=] {
    std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    return SUCCESS;
  });
}

}  // extern "C"
