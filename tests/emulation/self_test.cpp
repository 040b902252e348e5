// What the emulation must notice, beside the walk: small kernels, most of them wrong in one way, compiled and launched
// through the stand-ins as the host code would. Prints what is not as it should be; exit code 1 if there is anything.
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
int cuLaunchCooperativeKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**);
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

void expect(bool holds, const std::string& what) {
  if (holds) return;
  std::printf("self-test: %s\n", what.c_str());
  failures++;
}

std::string words(int result) {
  const char* text = "";
  cuGetErrorString(result, &text);
  return text;
}

constexpr unsigned THREADS = 64, BLOCKS = 5;
constexpr std::size_t VALUES = THREADS * BLOCKS;

// Kernels over `out` with one thread for each of its values. HEAD comes before the statements of each.
const char* const HEAD = R"(
#include "emulation.h"
using namespace emulation;
extern "C" emulation::entry<64> NAME(float* out, const float* in, int size) {
  const unsigned thread = thread_index(), threads = block_size();
  const unsigned place = block_index().x * threads + thread;
  float* shared = static_cast<float*>(shared_memory());
)";

// Compiles; an empty image means that the compiler refused, and `log` says why.
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
  std::string words;
  std::vector<float> out;
};

// How a kernel is launched; together is all blocks at the same time.
enum class Way { one_by_one, captured, together };

// Runs a kernel on the device that is current, over inputs 0, 1, 2, …
Outcome launch(const std::string& statements, Way way = Way::one_by_one, unsigned threads = THREADS,
               unsigned blocks = BLOCKS) {
  const bool captured = way == Way::captured;
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
  int result = way == Way::together
                   ? cuLaunchCooperativeKernel(function, blocks, 1, 1, threads, 1, 1, 256, stream, arguments)
                   : cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, 256, stream, arguments, nullptr);
  if (captured) {
    void *graph = nullptr, *instance = nullptr;
    size = 0;  // the launch has its own copy of the arguments
    cuStreamEndCapture(stream, &graph);
    cuGraphInstantiateWithFlags(&instance, graph, 0);
    for (int i = 0; i < 3 && result == 0; i++) result = cuGraphLaunch(instance, stream);
  }
  Outcome outcome{result, result ? words(result) : "", values};
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

// Something of the words must be in the message of a kernel that fails.
void fails(const char* what, const std::string& statements, const char* message, Way way = Way::one_by_one) {
  const Outcome outcome = launch(statements, way);
  expect(outcome.result > 0 && outcome.words.find(message) != std::string::npos,
         std::string(what) + ": " + std::to_string(outcome.result) + " " + outcome.words);
}

const char* const REVERSE = "shared[thread] = in[place]; block_barrier(); out[place] = shared[threads - 1 - thread];";

float reversed(std::size_t i) { return static_cast<float>(i / THREADS * THREADS + (THREADS - 1 - i % THREADS)); }

void what_is_right_is_right() {
  expect(equals(launch("out[place] = in[place] + 1;"), [](std::size_t i) { return i + 1.0f; }), "an element each");
  expect(equals(launch(REVERSE), reversed), "a barrier");
  expect(equals(launch("out[place] = exchange(in[place], 5);"), [](std::size_t i) { return float(i ^ 5); }),
         "an exchange");
  expect(equals(launch("out[place] = warp_bits(in[place] < 7);"), [](std::size_t i) { return i < 32 ? 127.0f : 0.0f; }),
         "a bit of each lane");
  const char* sum =
      "float sum = in[place]; for (unsigned mask = 16; mask; mask /= 2) sum += exchange(sum, mask); out[place] = sum;";
  expect(equals(launch(sum), [](std::size_t i) { return float(i / 32 * 32 * 32 + 496); }), "a sum over a warp");
  const char* twice =
      "for (int i = 0; i < 9; i++) { shared[thread] = in[place] + i; block_barrier();"
      "out[place] = shared[(thread + 1) % threads]; block_barrier(); }";
  expect(equals(launch(twice), [](std::size_t i) { return float(i / THREADS * THREADS + (i + 1) % THREADS + 8); }),
         "nine barriers");
  // initialised once by a copy to itself, then three times by the graph
  const char* count = "out[place] = (out[place] == out[place] ? out[place] : 0) + (place < size);";
  expect(equals(launch(count, Way::captured), [](std::size_t) { return 3.0f; }), "a graph launched three times");
}

void what_is_wrong_is_noticed() {
  expect(!equals(launch("shared[thread] = in[place]; out[place] = shared[threads - 1 - thread];"), reversed),
         "a missing barrier");
  fails("a barrier that half of them reach", "if (thread < 32) block_barrier(); out[place] = 0;", "deadlock");
  fails("a return before a barrier", "if (thread == 7) return; block_barrier(); out[place] = 0;", "deadlock");
  fails("an exchange that one lane leaves out", "out[place] = thread ? exchange(in[place], 1) : 0;", "deadlock");
  fails("a store behind the end", "out[place + 64] = 0;", "an allocation of 1280 bytes");
  fails("a load behind the end", "out[place] = in[place + 320];", "an allocation of 1280 bytes");
  fails("a store before the beginning", "out[(int)place - 1] = 0;", "beside an allocation of 1280 bytes");
  fails("a store behind the end of shared memory", "shared[thread + 1] = 0; out[place] = 0;", "touches");
  fails("a null pointer", "out = nullptr; out[place] = 0;", "memory that is not the device's");
  fails("a division by zero", "out[place] = static_cast<int>(place) / (size - 320);", "divides");
  expect(launch("out[place] = 0;", Way::one_by_one, 96).result == 701, "more threads than the launch bounds");
  expect(!equals(launch("out[place] = shared[thread];"), [](std::size_t) { return 0.0f; }),
         "shared memory that nobody wrote");
  expect(equals(launch(REVERSE), reversed), "a kernel after those that failed");
}

// Each block but `silent` posts its number, and waits for the next block's.
std::string ring(const char* silent) {
  return "struct Letter { float value; unsigned stamp; }; const unsigned block = block_index().x;"
         "Letter* letters = reinterpret_cast<Letter*>(out); const Letter* from = letters + (block + 1) % num_blocks().x;"
         "if (thread == 0 && block != " +
         std::string(silent) +
         ") post(letters + block, Letter{float(block), 7});"
         "if (thread == 0) while (look(from).stamp != 7) wait_for(from);"
         "block_barrier(); if (thread == 1) out[64 + block] = look(from).value;";
}

void blocks_that_run_together_can_wait_for_each_other() {
  const Outcome outcome = launch(ring("5"), Way::together);
  for (unsigned block = 0; block < BLOCKS; block++)
    expect(outcome.out[64 + block] == (block + 1) % BLOCKS, "a ring of blocks: " + outcome.words);
  expect(equals(launch(REVERSE, Way::together), reversed), "shared memory of blocks that run together");
  fails("a ring of which one block posts nothing", ring("2"), "1 for another block", Way::together);
  fails("a ring of blocks that run one after another", ring("5"), "1 for another block");
  fails("a barrier that no block reaches", "if (thread) block_barrier(); out[place] = 0;", "315 wait at a block barrier",
        Way::together);
  // 132 multiprocessors of 2048 threads
  expect(launch(ring("5"), Way::together, THREADS, 132 * 32 + 1).result == 720, "more blocks than there is room for");
}

void a_program_that_does_not_compile_says_why() {
  std::string log;
  expect(compile("out[place] = nonsense;", log).empty() && log.find("nonsense") != std::string::npos, "log: " + log);
  expect(compile("", log, "--no-such-option").empty() && log.find("no-such-option") != std::string::npos,
         "log: " + log);
  std::string first, second;
  expect(compile("out[place] = VALUE;", log, "-DVALUE=1") != compile("out[place] = VALUE;", log, "-DVALUE=2"), "cache");
}

// A race shows under some schedule: the last thread of a block to write wins.
void schedules_differ() {
  int count = 0, different = 0;
  cuDeviceGetCount(&count);
  std::vector<float> in_order;
  for (int device = 0; device < count; device++) {
    void* context = nullptr;
    cuDevicePrimaryCtxRetain(&context, device);
    cuCtxSetCurrent(context);
    expect(equals(launch(REVERSE), reversed), "a barrier under schedule " + std::to_string(device));
    blocks_that_run_together_can_wait_for_each_other();
    const Outcome race = launch("out[place] = 0; block_barrier(); out[0] = place;");
    if (device == 0) in_order = race.out;
    different += race.out != in_order;
  }
  expect(in_order[0] == VALUES - 1, "in order the last thread is the last");
  expect(different > count / 2, "schedules that are no schedules: " + std::to_string(different));
}

}  // namespace

int main() {
  void* context = nullptr;
  cuDevicePrimaryCtxRetain(&context, 0);
  cuCtxSetCurrent(context);
  what_is_right_is_right();
  what_is_wrong_is_noticed();
  a_program_that_does_not_compile_says_why();
  schedules_differ();
  std::printf("self-test of the emulation: %s\n", failures ? "FAILED" : "passed");
  return failures != 0;
}
