// Stand-in for `libcuda.so`, beside the walk: modules, functions and launches. A "cubin" of the compiler's stand-in is
// the path of a shared object; loading it is `dlopen`, and a launch is handed to the scheduler.
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "driver.h"
#include "memory.h"
#include "scheduler.h"

namespace emulation {

namespace {

struct Module {
  void* library;
  const Kernel* kernels;
  std::size_t num_kernels;
};

struct Function {
  const Kernel* kernel;
  // What `cuFuncSetAttribute` has allowed.
  int shared_bytes = limits::SHARED_BYTES;
};

// The arguments of a launch, copied when it is handed in, as the driver does.
struct Arguments {
  std::vector<std::vector<char>> values;
  std::vector<void*> pointers;

  Arguments(const Kernel& kernel, void** from) {
    for (std::size_t i = 0; i < kernel.num_arguments; i++) {
      const char* value = static_cast<const char*>(from[i]);
      values.emplace_back(value, value + kernel.argument_sizes[i]);
    }
    for (auto& value : values) pointers.push_back(value.data());
  }
};

Result launch(Device& device, const Kernel& kernel, Arguments& arguments, Index num_blocks, unsigned block_size,
              unsigned shared_bytes, bool cooperative) {
  // no two launches of a device draw the same order
  const std::uint64_t seed = device.seed ? device.seed << 32 | ++device.launches : 0;
  std::string message;
  Ending ending =
      run({&kernel, arguments.pointers.data(), num_blocks, block_size, shared_bytes, cooperative, seed}, message);
  if (ending == Ending::done && !all_are_whole(device.number, message)) ending = Ending::bad_address;
  if (ending == Ending::done) return SUCCESS;
  const std::string order = device.seed ? "under schedule " + std::to_string(device.seed) : "in order";
  return refuse(ending == Ending::deadlock ? LAUNCH_FAILED : ILLEGAL_ADDRESS,
                "kernel `" + std::string(kernel.name) + "` " + order + ": " + message);
}

// The grid of a launch; if the environment asks for that fault of this kernel, one block shorter along x.
Index with_fault(Index grid, const Kernel& kernel) {
  const char* name = std::getenv("RNNLM_EMULATION_FAULT_SHORT");
  if (name && std::strcmp(name, kernel.name) == 0) grid.x--;
  return grid;
}

std::string sizes(Index num_blocks, unsigned block_size, unsigned shared_bytes) {
  return std::to_string(num_blocks.x) + "×" + std::to_string(num_blocks.y) + "×" + std::to_string(num_blocks.z) +
         " blocks of " + std::to_string(block_size) + " threads with " + std::to_string(shared_bytes) +
         " bytes of shared memory";
}

// Blocks of this size that a multiprocessor runs at the same time; a block takes a kilobyte more than it asks for.
unsigned blocks_at_once(unsigned block_size, std::size_t shared_bytes) {
  const unsigned by_memory = limits::multiprocessor_shared_bytes() / (shared_bytes + 1024);
  return std::min(by_memory, limits::THREADS_PER_MULTIPROCESSOR / block_size);
}

// Looks at a launch, copies its arguments, and hands it in.
Result queue(void* handle, Index grid, Index threads, unsigned shared_bytes, void* stream_handle, void** parameters,
             bool cooperative) {
  const Function& function = *static_cast<Function*>(handle);
  const Kernel& kernel = *function.kernel;
  const std::string what = "kernel `" + std::string(kernel.name) + "`: " + sizes(grid, threads.x, shared_bytes);
  if (threads.y != 1 || threads.z != 1) return refuse(NOT_SUPPORTED, what + ", with blocks of more than one dimension");
  const bool too_large = grid.x > limits::BLOCKS || grid.y > limits::BLOCKS_YZ || grid.z > limits::BLOCKS_YZ ||
                         threads.x > limits::THREADS_PER_BLOCK ||
                         shared_bytes > static_cast<unsigned>(function.shared_bytes);
  if (too_large || grid.x == 0 || grid.y == 0 || grid.z == 0 || threads.x == 0) return refuse(INVALID_VALUE, what);
  if (threads.x > kernel.max_threads) return refuse(LAUNCH_OUT_OF_RESOURCES, what + ", against its launch bounds");
  Stream* stream = stream_of(stream_handle);
  if (!stream) return refuse(INVALID_CONTEXT, "no context is current on this thread");
  Device* device = stream->device;
  const std::size_t room = std::size_t{blocks_at_once(threads.x, shared_bytes)} * device->multiprocessors;
  if (cooperative && std::size_t{grid.x} * grid.y * grid.z > room)
    return refuse(COOPERATIVE_LAUNCH_TOO_LARGE, what + ", of which " + std::to_string(room) + " run at the same time");
  const auto arguments = std::make_shared<Arguments>(kernel, parameters);
  const Index blocks = with_fault(grid, kernel);
  return submit(stream, [=, &kernel] {
    return launch(*device, kernel, *arguments, blocks, threads.x, shared_bytes, cooperative);
  });
}

}  // namespace

}  // namespace emulation

using namespace emulation;

extern "C" {

Result cuModuleLoadData(void** handle, const void* image) {
  const char* path = static_cast<const char*>(image);
  if (path[0] != '/') return refuse(INVALID_IMAGE, "the image is not one of the emulation's compiler");
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return refuse(INVALID_IMAGE, dlerror());
  using Attach = const Kernel* (*)(const Primitives*, std::size_t*);
  const auto* architecture = static_cast<const unsigned*>(dlsym(library, "emulation_architecture"));
  if (!architecture || static_cast<int>(*architecture) != limits::architecture())
    return refuse(INVALID_IMAGE, "the image is for another architecture than the device's");
  const auto attach = reinterpret_cast<Attach>(dlsym(library, "emulation_attach"));
  if (!attach) return refuse(INVALID_IMAGE, dlerror());
  auto module = std::make_unique<Module>();
  module->library = library;
  module->kernels = attach(&primitives_table(), &module->num_kernels);
  *handle = module.release();
  return SUCCESS;
}

// The code stays: functions of the module may outlive it.
Result cuModuleUnload(void* module) {
  delete static_cast<Module*>(module);
  return SUCCESS;
}

Result cuModuleGetFunction(void** handle, void* module_handle, const char* name) {
  const Module& module = *static_cast<Module*>(module_handle);
  for (std::size_t i = 0; i < module.num_kernels; i++) {
    if (std::strcmp(module.kernels[i].name, name) != 0) continue;
    // a function lives as long as the process, as the code does
    *handle = new Function{&module.kernels[i]};
    return SUCCESS;
  }
  return refuse(NOT_FOUND, "the module has no kernel `" + std::string(name) + "`");
}

// CUfunction_attribute: what no host compiler knows of a kernel is 0.
Result cuFuncGetAttribute(int* value, int attribute, void* handle) {
  const Function& function = *static_cast<Function*>(handle);
  switch (attribute) {
    case 0: *value = static_cast<int>(function.kernel->max_threads); return SUCCESS;
    case 8: *value = function.shared_bytes; return SUCCESS;
    case 1:
    case 2:
    case 3:
    case 4: *value = 0; return SUCCESS;
    default: return refuse(NOT_SUPPORTED, "function attribute " + std::to_string(attribute));
  }
}

Result cuFuncSetAttribute(void* handle, int attribute, int value) {
  if (attribute != 8) return refuse(NOT_SUPPORTED, "function attribute " + std::to_string(attribute));
  const Device* device = current_device();
  if (!device) return refuse(INVALID_CONTEXT, "no context is current on this thread");
  if (value > limits::opt_in_shared_bytes(*device))
    return refuse(INVALID_VALUE, std::to_string(value) + " bytes of shared memory");
  static_cast<Function*>(handle)->shared_bytes = value;
  return SUCCESS;
}

Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void*, int block_size, std::size_t shared_bytes) {
  *blocks = static_cast<int>(blocks_at_once(static_cast<unsigned>(block_size), shared_bytes));
  return SUCCESS;
}

Result cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, void* function, int block_size,
                                                            std::size_t shared_bytes, unsigned) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, block_size, shared_bytes);
}

Result cuLaunchKernel(void* handle, unsigned blocks_x, unsigned blocks_y, unsigned blocks_z, unsigned threads_x,
                      unsigned threads_y, unsigned threads_z, unsigned shared_bytes, void* stream, void** parameters,
                      void** extra) {
  if (extra) return refuse(NOT_SUPPORTED, "a launch with packed arguments");
  const Index blocks{blocks_x, blocks_y, blocks_z}, threads{threads_x, threads_y, threads_z};
  return queue(handle, blocks, threads, shared_bytes, stream, parameters, false);
}

Result cuLaunchCooperativeKernel(void* handle, unsigned blocks_x, unsigned blocks_y, unsigned blocks_z,
                                 unsigned threads_x, unsigned threads_y, unsigned threads_z, unsigned shared_bytes,
                                 void* stream, void** parameters) {
  const Index blocks{blocks_x, blocks_y, blocks_z}, threads{threads_x, threads_y, threads_z};
  return queue(handle, blocks, threads, shared_bytes, stream, parameters, true);
}

}  // extern "C"
