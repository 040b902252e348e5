// Emulated `libcuda.so`: modules, functions and launches. A "cubin" of the emulated compiler is the path of a shared
// object, which is loaded with `dlopen`. The scheduler runs launches.
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
  // Set by `cuFuncSetAttribute`.
  int shared_bytes = limits::SHARED_BYTES;
};

// The arguments of a launch, copied at submission, as by the driver.
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

Result launch(Device& device, const Kernel& kernel, Arguments& arguments, Dim3 num_blocks, unsigned block_size,
              unsigned shared_bytes, bool cooperative) {
  // every launch of a device has another order
  const std::uint64_t seed = device.seed ? device.seed << 32 | ++device.launches : 0;
  std::string message;
  Outcome outcome =
      run({&kernel, arguments.pointers.data(), num_blocks, block_size, shared_bytes, cooperative, seed}, message);
  if (outcome == Outcome::completed && !all_are_intact(device.number, message)) outcome = Outcome::invalid_address;
  if (outcome == Outcome::completed) return SUCCESS;
  const std::string order = device.seed ? "under schedule " + std::to_string(device.seed) : "in order";
  return error(outcome == Outcome::deadlock ? LAUNCH_FAILED : ILLEGAL_ADDRESS,
               "kernel `" + std::string(kernel.name) + "` " + order + ": " + message);
}

// Mutation test: removes the last block along x if the environment names this kernel.
Dim3 mutate_grid(Dim3 grid, const Kernel& kernel) {
  const char* name = std::getenv("RNNLM_EMULATION_MUTATE_GRID");
  if (name && std::strcmp(name, kernel.name) == 0) grid.x--;
  return grid;
}

std::string sizes(Dim3 num_blocks, unsigned block_size, unsigned shared_bytes) {
  return std::to_string(num_blocks.x) + "×" + std::to_string(num_blocks.y) + "×" + std::to_string(num_blocks.z) +
         " blocks of " + std::to_string(block_size) + " threads with " + std::to_string(shared_bytes) +
         " bytes of shared memory";
}

// Blocks of this size that a multiprocessor runs at the same time; the system reserves 1 KiB of shared memory per
// block.
unsigned resident_blocks(unsigned block_size, std::size_t shared_bytes) {
  const unsigned by_memory = limits::multiprocessor_shared_bytes() / (shared_bytes + 1024);
  return std::min(by_memory, limits::THREADS_PER_MULTIPROCESSOR / block_size);
}

// Checks a launch, copies its arguments, and submits it.
Result queue(void* handle, Dim3 grid, Dim3 threads, unsigned shared_bytes, void* stream_handle, void** parameters,
             bool cooperative) {
  const Function& function = *static_cast<Function*>(handle);
  const Kernel& kernel = *function.kernel;
  const std::string description = "kernel `" + std::string(kernel.name) + "`: " + sizes(grid, threads.x, shared_bytes);
  if (threads.y != 1 || threads.z != 1)
    return error(NOT_SUPPORTED, description + ", with blocks of more than one dimension");
  const bool is_too_large = grid.x > limits::BLOCKS || grid.y > limits::BLOCKS_YZ || grid.z > limits::BLOCKS_YZ ||
                            threads.x > limits::THREADS_PER_BLOCK ||
                            shared_bytes > static_cast<unsigned>(function.shared_bytes);
  const bool is_empty = grid.x == 0 || grid.y == 0 || grid.z == 0 || threads.x == 0;
  if (is_too_large || is_empty) return error(INVALID_VALUE, description);
  if (threads.x > kernel.max_threads)
    return error(LAUNCH_OUT_OF_RESOURCES, description + ", more than its launch bounds");
  Stream* stream = stream_of(stream_handle);
  if (!stream) return error(INVALID_CONTEXT, "no context is current on this thread");
  Device* device = stream->device;
  const std::size_t resident = std::size_t{resident_blocks(threads.x, shared_bytes)} * device->multiprocessors;
  if (cooperative && std::size_t{grid.x} * grid.y * grid.z > resident)
    return error(COOPERATIVE_LAUNCH_TOO_LARGE,
                 description + ", of which " + std::to_string(resident) + " run at the same time");
  const auto arguments = std::make_shared<Arguments>(kernel, parameters);
  const Dim3 blocks = mutate_grid(grid, kernel);
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
  if (path[0] != '/') return error(INVALID_IMAGE, "the image is not from the emulated compiler");
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return error(INVALID_IMAGE, dlerror());
  using Attach = const Kernel* (*)(const Primitives*, std::size_t*);
  const auto* architecture = static_cast<const unsigned*>(dlsym(library, "emulation_architecture"));
  if (!architecture || static_cast<int>(*architecture) != limits::architecture())
    return error(INVALID_IMAGE, "the image is for another architecture");
  const auto attach = reinterpret_cast<Attach>(dlsym(library, "emulation_attach"));
  if (!attach) return error(INVALID_IMAGE, dlerror());
  auto module = std::make_unique<Module>();
  module->library = library;
  module->kernels = attach(&primitives_table(), &module->num_kernels);
  *handle = module.release();
  return SUCCESS;
}

// The library stays loaded, since functions may be used after their module is unloaded.
Result cuModuleUnload(void* module) {
  delete static_cast<Module*>(module);
  return SUCCESS;
}

Result cuModuleGetFunction(void** handle, void* module_handle, const char* name) {
  const Module& module = *static_cast<Module*>(module_handle);
  for (std::size_t i = 0; i < module.num_kernels; i++) {
    if (std::strcmp(module.kernels[i].name, name) != 0) continue;
    // never freed, like the library
    *handle = new Function{&module.kernels[i]};
    return SUCCESS;
  }
  return error(NOT_FOUND, "the module has no kernel `" + std::string(name) + "`");
}

// The value of a CUfunction_attribute; 0 for registers, local memory and other properties of device code.
Result cuFuncGetAttribute(int* value, int attribute, void* handle) {
  const Function& function = *static_cast<Function*>(handle);
  switch (attribute) {
    case 0: *value = static_cast<int>(function.kernel->max_threads); return SUCCESS;
    case 8: *value = function.shared_bytes; return SUCCESS;
    case 1:
    case 2:
    case 3:
    case 4: *value = 0; return SUCCESS;
    default: return error(NOT_SUPPORTED, "function attribute " + std::to_string(attribute));
  }
}

Result cuFuncSetAttribute(void* handle, int attribute, int value) {
  if (attribute != 8) return error(NOT_SUPPORTED, "function attribute " + std::to_string(attribute));
  const Device* device = current_device();
  if (!device) return error(INVALID_CONTEXT, "no context is current on this thread");
  if (value > limits::opt_in_shared_bytes(*device))
    return error(INVALID_VALUE, std::to_string(value) + " bytes of shared memory");
  static_cast<Function*>(handle)->shared_bytes = value;
  return SUCCESS;
}

Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void*, int block_size, std::size_t shared_bytes) {
  *blocks = static_cast<int>(resident_blocks(static_cast<unsigned>(block_size), shared_bytes));
  return SUCCESS;
}

Result cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, void* function, int block_size,
                                                            std::size_t shared_bytes, unsigned) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, block_size, shared_bytes);
}

Result cuLaunchKernel(void* handle, unsigned blocks_x, unsigned blocks_y, unsigned blocks_z, unsigned threads_x,
                      unsigned threads_y, unsigned threads_z, unsigned shared_bytes, void* stream, void** parameters,
                      void** extra) {
  if (extra) return error(NOT_SUPPORTED, "a launch with packed arguments");
  const Dim3 blocks{blocks_x, blocks_y, blocks_z}, threads{threads_x, threads_y, threads_z};
  return queue(handle, blocks, threads, shared_bytes, stream, parameters, false);
}

Result cuLaunchCooperativeKernel(void* handle, unsigned blocks_x, unsigned blocks_y, unsigned blocks_z,
                                 unsigned threads_x, unsigned threads_y, unsigned threads_z, unsigned shared_bytes,
                                 void* stream, void** parameters) {
  const Dim3 blocks{blocks_x, blocks_y, blocks_z}, threads{threads_x, threads_y, threads_z};
  return queue(handle, blocks, threads, shared_bytes, stream, parameters, true);
}

}  // extern "C"
