// Tests the emulation with small kernels, most of which have one error that it must detect. They are compiled and
// launched through the emulated libraries as by the host code. Prints failed expectations; exit code 1 if there are
// any.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

using Address = std::uint64_t;

extern "C" {
int cuDeviceGetCount(int*);
int cuDevicePrimaryCtxRetain(void**, int);
int cuCtxSetCurrent(void*);
int cuStreamCreate(void**, unsigned);
int cuMemAlloc_v2(Address*, std::size_t);
int cuMemFree_v2(Address);
int cuMemcpyHtoDAsync_v2(Address, const void*, std::size_t, void*);
int cuMemcpyDtoHAsync_v2(void*, Address, std::size_t, void*);
int cuModuleLoadData(void**, const void*);
int cuModuleGetFunction(void**, void*, const char*);
int cuLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
int cuLaunchCooperativeKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*,
                              void**);
int cuStreamBeginCapture_v2(void*, int);
int cuStreamEndCapture(void*, void**);
int cuGraphInstantiateWithFlags(void**, void*, unsigned long long);
int cuGraphLaunch(void*, void*);
int cuGetErrorString(int, const char**);
int nvrtcCreateProgram(void**, const char*, const char*, int, const char* const*, const char* const*);
int nvrtcCompileProgram(void*, int, const char* const*);
int nvrtcGetProgramLogSize(void*, std::size_t*);
int nvrtcGetProgramLog(void*, char*);
int nvrtcGetCUBINSize(void*, std::size_t*);
int nvrtcGetCUBIN(void*, char*);
}

namespace {

int failures = 0;

void expect(bool condition, const std::string& description) {
  if (condition) return;
  std::printf("self-test failed: %s\n", description.c_str());
  failures++;
}

std::string error_string(int result) {
  const char* text = "";
  cuGetErrorString(result, &text);
  return text;
}

constexpr unsigned THREADS = 64, BLOCKS = 5;
constexpr std::size_t VALUES = THREADS * BLOCKS;

// The beginning of each kernel, which has one thread for each value of `out`.
const char* const HEAD = R"(
#include "emulation.h"
using namespace emulation;
extern "C" emulation::entry<64> NAME(float* out, const float* in, int size) {
  const unsigned thread = thread_index(), threads = block_size();
  const unsigned index = block_index().x * threads + thread;
  float* shared = static_cast<float*>(shared_memory());
)";

// Compiles a kernel. On an error the image is empty and `log` has the compiler's output.
std::string compile(const std::string& statements, std::string& log, const char* option = "-DNAME=kernel") {
  void* program = nullptr;
  const char* options[] = {"--gpu-architecture=sm_90", "-std=c++17", option};
  nvrtcCreateProgram(&program, (HEAD + statements + "\n}\n").c_str(), "kernel.cu", 0, nullptr, nullptr);
  const int result = nvrtcCompileProgram(program, 3, options);
  std::size_t size = 0;
  nvrtcGetProgramLogSize(program, &size);
  log.assign(size, '\0');
  nvrtcGetProgramLog(program, &log[0]);
  if (result) return "";
  nvrtcGetCUBINSize(program, &size);
  std::string image(size, '\0');
  nvrtcGetCUBIN(program, &image[0]);
  return image;
}

struct Outcome {
  int result;
  std::string message;
  std::vector<float> out;
};

enum class Mode { plain, captured, cooperative };

// Runs a kernel on the current device with inputs 0, 1, 2, …
Outcome launch(const std::string& statements, Mode mode = Mode::plain, unsigned threads = THREADS,
               unsigned blocks = BLOCKS) {
  const bool captured = mode == Mode::captured;
  std::string log;
  const std::string image = compile(statements, log);
  void *module = nullptr, *function = nullptr, *stream = nullptr;
  if (cuModuleLoadData(&module, image.c_str()) || cuModuleGetFunction(&function, module, "kernel"))
    return {-1, log, {}};
  cuStreamCreate(&stream, 1);
  std::vector<float> values(VALUES);
  for (std::size_t i = 0; i < VALUES; i++) values[i] = static_cast<float>(i);
  Address in = 0, out = 0;
  cuMemAlloc_v2(&in, VALUES * sizeof(float));
  cuMemAlloc_v2(&out, VALUES * sizeof(float));
  cuMemcpyHtoDAsync_v2(in, values.data(), VALUES * sizeof(float), stream);
  int size = VALUES;
  void* arguments[] = {&out, &in, &size};
  if (captured) cuStreamBeginCapture_v2(stream, 1);
  int result = mode == Mode::cooperative
                   ? cuLaunchCooperativeKernel(function, blocks, 1, 1, threads, 1, 1, 256, stream, arguments)
                   : cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, 256, stream, arguments, nullptr);
  if (captured) {
    void *graph = nullptr, *instance = nullptr;
    size = 0;  // the captured launch has its own copy of the arguments
    cuStreamEndCapture(stream, &graph);
    cuGraphInstantiateWithFlags(&instance, graph, 0);
    for (int i = 0; i < 3 && result == 0; i++) result = cuGraphLaunch(instance, stream);
  }
  Outcome outcome{result, result ? error_string(result) : "", values};
  cuMemcpyDtoHAsync_v2(outcome.out.data(), out, VALUES * sizeof(float), stream);
  cuMemFree_v2(in);
  cuMemFree_v2(out);
  return outcome;
}

bool equals(const Outcome& outcome, const std::function<float(std::size_t)>& expected) {
  for (std::size_t i = 0; i < VALUES; i++)
    if (!(outcome.out[i] == expected(i))) return false;
  return outcome.result == 0;
}

// Expects an error whose message contains `message`.
void expect_error(const char* description, const std::string& statements, const char* message,
                  Mode mode = Mode::plain) {
  const Outcome outcome = launch(statements, mode);
  expect(outcome.result > 0 && outcome.message.find(message) != std::string::npos,
         std::string(description) + ": " + std::to_string(outcome.result) + " " + outcome.message);
}

const char* const REVERSE = "shared[thread] = in[index]; block_barrier(); out[index] = shared[threads - 1 - thread];";

float reversed(std::size_t i) { return static_cast<float>(i / THREADS * THREADS + (THREADS - 1 - i % THREADS)); }

void correct_kernels_give_correct_results() {
  expect(equals(launch("out[index] = in[index] + 1;"), [](std::size_t i) { return i + 1.0f; }),
         "an elementwise kernel");
  expect(equals(launch(REVERSE), reversed), "a barrier");
  expect(equals(launch("out[index] = shuffle_xor(in[index], 5);"), [](std::size_t i) { return float(i ^ 5); }),
         "a shuffle");
  expect(equals(launch("out[index] = ballot(in[index] < 7);"), [](std::size_t i) { return i < 32 ? 127.0f : 0.0f; }),
         "a ballot");
  const char* sum =
      "float sum = in[index]; for (unsigned mask = 16; mask; mask /= 2) sum += shuffle_xor(sum, mask);"
      "out[index] = sum;";
  expect(equals(launch(sum), [](std::size_t i) { return float(i / 32 * 32 * 32 + 496); }), "a sum over a warp");
  const char* twice =
      "for (int i = 0; i < 9; i++) { shared[thread] = in[index] + i; block_barrier();"
      "out[index] = shared[(thread + 1) % threads]; block_barrier(); }";
  expect(equals(launch(twice), [](std::size_t i) { return float(i / THREADS * THREADS + (i + 1) % THREADS + 8); }),
         "nine barriers");
  // the first launch replaces the NaN of unwritten memory by 0
  const char* count = "out[index] = (out[index] == out[index] ? out[index] : 0) + (index < size);";
  expect(equals(launch(count, Mode::captured), [](std::size_t) { return 3.0f; }), "a graph launched three times");
}

void errors_are_detected() {
  expect(!equals(launch("shared[thread] = in[index]; out[index] = shared[threads - 1 - thread];"), reversed),
         "a missing barrier");
  expect_error("a barrier that half of the threads reach", "if (thread < 32) block_barrier(); out[index] = 0;",
               "deadlock");
  expect_error("a return before a barrier", "if (thread == 7) return; block_barrier(); out[index] = 0;", "deadlock");
  expect_error("a shuffle that one lane does not call", "out[index] = thread ? shuffle_xor(in[index], 1) : 0;",
               "deadlock");
  expect_error("a store past the end", "out[index + 64] = 0;", "an allocation of 1280 bytes");
  expect_error("a load past the end", "out[index] = in[index + 320];", "an allocation of 1280 bytes");
  expect_error("a store before the beginning", "out[(int)index - 1] = 0;", "outside an allocation of 1280 bytes");
  expect_error("a store past the end of shared memory", "shared[thread + 1] = 0; out[index] = 0;", "accesses");
  expect_error("a null pointer", "out = nullptr; out[index] = 0;", "memory that does not belong to the device");
  expect_error("a division by zero", "out[index] = static_cast<int>(index) / (size - 320);", "divides");
  expect(launch("out[index] = 0;", Mode::plain, 96).result == 701, "more threads than the launch bounds");
  expect(!equals(launch("out[index] = shared[thread];"), [](std::size_t) { return 0.0f; }), "unwritten shared memory");
  expect(equals(launch(REVERSE), reversed), "a kernel after failed ones");
}

// Each block but `silent` sends its index, and waits for the message of the next block.
std::string ring(const char* silent) {
  return "struct Message { float value; unsigned sequence; }; const unsigned block = block_index().x;"
         "Message* messages = reinterpret_cast<Message*>(out);"
         "const Message* from = messages + (block + 1) % num_blocks().x;"
         "if (thread == 0 && block != " +
         std::string(silent) +
         ") send(messages + block, Message{float(block), 7});"
         "if (thread == 0) while (load_message(from).sequence != 7) wait_for_message(from);"
         "block_barrier(); if (thread == 1) out[64 + block] = load_message(from).value;";
}

void blocks_of_a_cooperative_launch_can_wait_for_each_other() {
  const Outcome outcome = launch(ring("5"), Mode::cooperative);
  for (unsigned block = 0; block < BLOCKS; block++)
    expect(outcome.out[64 + block] == (block + 1) % BLOCKS, "a ring of blocks: " + outcome.message);
  expect(equals(launch(REVERSE, Mode::cooperative), reversed), "shared memory in a cooperative launch");
  expect_error("a ring in which one block sends nothing", ring("2"), "1 for another block", Mode::cooperative);
  expect_error("a ring of blocks in a plain launch", ring("5"), "1 for another block");
  expect_error("a barrier that no block reaches", "if (thread) block_barrier(); out[index] = 0;",
               "315 wait at a block barrier", Mode::cooperative);
  // 132 multiprocessors with 32 blocks each
  expect(launch(ring("5"), Mode::cooperative, THREADS, 132 * 32 + 1).result == 720,
         "more blocks than the device runs at the same time");
}

void compile_errors_are_reported() {
  std::string log;
  expect(compile("out[index] = nonsense;", log).empty() && log.find("nonsense") != std::string::npos, "log: " + log);
  expect(compile("", log, "--no-such-option").empty() && log.find("no-such-option") != std::string::npos,
         "log: " + log);
  std::string first, second;
  expect(compile("out[index] = VALUE;", log, "-DVALUE=1") != compile("out[index] = VALUE;", log, "-DVALUE=2"), "cache");
}

// A race shows under some schedule: the result is that of the thread that writes last.
void schedules_differ() {
  int count = 0;
  int different = 0;
  cuDeviceGetCount(&count);
  std::vector<float> in_order;
  for (int device = 0; device < count; device++) {
    void* context = nullptr;
    cuDevicePrimaryCtxRetain(&context, device);
    cuCtxSetCurrent(context);
    expect(equals(launch(REVERSE), reversed), "a barrier under schedule " + std::to_string(device));
    blocks_of_a_cooperative_launch_can_wait_for_each_other();
    const Outcome race = launch("out[index] = 0; block_barrier(); out[0] = index;");
    if (device == 0) in_order = race.out;
    different += race.out != in_order;
  }
  expect(in_order[0] == VALUES - 1, "in order the last thread writes last");
  expect(different > count / 2, "schedules that differ from the order of threads: " + std::to_string(different));
}

}  // namespace

int main() {
  void* context = nullptr;
  cuDevicePrimaryCtxRetain(&context, 0);
  cuCtxSetCurrent(context);
  correct_kernels_give_correct_results();
  errors_are_detected();
  compile_errors_are_reported();
  schedules_differ();
  std::printf("self-test of the emulation: %s\n", failures ? "FAILED" : "passed");
  return failures != 0;
}
