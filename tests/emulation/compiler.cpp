// Emulated `libnvrtc.so`: the host's C++ compiler compiles the unchanged source with the host code's -D options and
// with RNNLM_EMULATION defined. The result is a shared object with a table of its kernels, cached under a hash of its
// inputs. Its path is the "cubin".
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

// Defined by `cargo xtask emulation`.
#ifndef EMULATION_HEADERS
#error "EMULATION_HEADERS must be defined: the folder of emulation.h"
#endif
#ifndef EMULATION_COMPILER
#error "EMULATION_COMPILER must be defined: a C++17 compiler"
#endif

namespace {

// nvrtcResult.
enum Result : int { SUCCESS = 0, INVALID_INPUT = 3, INVALID_PROGRAM = 4, INVALID_OPTION = 5, COMPILATION = 6 };

// Options without a meaning for a host compiler.
const char* const IGNORED[] = {
    "--ptxas-options=",     "--fmad=",        "--std=", "-std=", "--ftz=", "--prec-div=", "--prec-sqrt=", "-lineinfo",
    "--generate-line-info", "-default-device"};

// The spellings of the architecture option.
const char* const ARCHITECTURE[] = {"--gpu-architecture=", "-arch="};

struct Program {
  std::string source, log, image;
};

// The parsed options.
struct Options {
  std::vector<std::string> definitions;
  std::string architecture = "75";
};

extern "C" char** environ;

bool starts_with(const std::string& text, const char* prefix) {
  return text.compare(0, std::strlen(prefix), prefix) == 0;
}

// The number after `sm_` or `compute_`; empty if there is none.
std::string target_number(const std::string& target) {
  const std::size_t at = target.find('_');
  return at == std::string::npos ? "" : target.substr(at + 1);
}

// False for an option that is not supported here.
bool parse(const std::string& option, Options& options) {
  for (const char* prefix : ARCHITECTURE)
    if (starts_with(option, prefix)) return !(options.architecture = target_number(option)).empty();
  if (starts_with(option, "-D")) return options.definitions.push_back(option), true;
  if (starts_with(option, "--define-macro=")) return options.definitions.push_back("-D" + option.substr(15)), true;
  for (const char* prefix : IGNORED)
    if (starts_with(option, prefix)) return true;
  return false;
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  return static_cast<bool>(file.flush());
}

// Two 64-bit FNV-1a hashes with different offset bases.
std::string hash(const std::string& text) {
  std::uint64_t first = 0xcbf29ce484222325, second = 0x84222325cbf29ce4;
  for (const unsigned char byte : text) {
    first = (first ^ byte) * 0x100000001b3;
    second = (second ^ byte ^ 0x5a) * 0x100000001b3;
  }
  char digits[33];
  std::snprintf(digits, sizeof digits, "%016llx%016llx", static_cast<unsigned long long>(first),
                static_cast<unsigned long long>(second));
  return digits;
}

// Runs a command with its output in the file `log`. Returns its exit status, or -1 if it cannot be started.
int run(const std::vector<std::string>& command, const std::string& log) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child;
  const int failure = posix_spawnp(&child, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  if (failure || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

// Mutation test: replaces the text that the environment names, if the source has it.
std::string mutate_source(std::string source) {
  const char* from = std::getenv("RNNLM_EMULATION_MUTATE_FROM");
  const char* to = std::getenv("RNNLM_EMULATION_MUTATE_TO");
  const std::size_t at = from && *from && to ? source.find(from) : std::string::npos;
  return at == std::string::npos ? source : source.replace(at, std::strlen(from), to);
}

// The source of the kernel table. In the preprocessed source an entry function is `emulation::entry<threads> name(`.
std::string table(const std::string& source, const std::string& architecture) {
  const std::string marker = "emulation::entry<";
  std::string entries;
  for (std::size_t at = 0; (at = source.find(marker, at)) != std::string::npos;) {
    at += marker.size();
    const std::size_t close = source.find('>', at);
    const std::size_t name = source.find_first_not_of(" \t\n", close + 1);
    const std::size_t end = source.find_first_of(" \t\n(", name);
    if (close == std::string::npos || end == std::string::npos) break;
    const std::string kernel = source.substr(name, end - name);
    entries +=
        "    emulation::Call<" + kernel + ">::describe(\"" + kernel + "\", " + source.substr(at, close - at) + "),\n";
  }
  return "\nextern \"C\" const unsigned emulation_architecture = " + architecture + ";\n" +
         "extern \"C\" const emulation::Kernel* emulation_attach(const emulation::Primitives* table, std::size_t* "
         "count) {\n"
         "  static const emulation::Kernel kernels[] = {\n" +
         entries +
         "    {}};\n  emulation::primitives = table;\n  *count = sizeof kernels / sizeof *kernels - 1;\n"
         "  return kernels;\n}\n";
}

// Compiles `source` into the shared object `path`. On failure returns false and the compiler's output in `log`.
bool build(const std::string& source, const Options& options, const std::string& path, std::string& log) {
  static std::atomic<unsigned> count{0};
  const std::string scratch = path + "." + std::to_string(getpid()) + "." + std::to_string(count++);
  const std::string written = scratch + ".cu", expanded = scratch + ".ii", object = scratch + ".so",
                    output = scratch + ".log";
  std::vector<std::string> preprocess = {EMULATION_COMPILER, "-std=c++17",       "-E", "-x", "c++", "-I",
                                         EMULATION_HEADERS,  "-DRNNLM_EMULATION"};
  preprocess.insert(preprocess.end(), options.definitions.begin(), options.definitions.end());
  preprocess.insert(preprocess.end(), {written, "-o", expanded});
  const std::vector<std::string> compile = {EMULATION_COMPILER,
                                            "-std=c++17",
                                            "-O3",
                                            "-march=native",
                                            "-fno-math-errno",
                                            "-fno-strict-aliasing",
                                            "-fPIC",
                                            "-shared",
                                            "-w",
                                            "-x",
                                            "c++-cpp-output",
                                            expanded,
                                            "-o",
                                            object};
  bool done = write(written, source) && run(preprocess, output) == 0;
  done = done && write(expanded, read(expanded) + table(read(expanded), options.architecture));
  done = done && run(compile, output) == 0 && std::rename(object.c_str(), path.c_str()) == 0;
  if (!done) log = read(output);
  for (const std::string& file : {written, expanded, object, output}) std::remove(file.c_str());
  return done;
}

}  // namespace

extern "C" {

Result nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 0;
  return SUCCESS;
}

const char* nvrtcGetErrorString(Result result) {
  switch (result) {
    case SUCCESS: return "NVRTC_SUCCESS";
    case INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
    case INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
    case INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
    default: return "NVRTC_ERROR_COMPILATION";
  }
}

Result nvrtcGetNumSupportedArchs(int* count) {
  *count = 6;
  return SUCCESS;
}

Result nvrtcGetSupportedArchs(int* architectures) {
  const int known[] = {75, 80, 86, 89, 90, 100};
  std::memcpy(architectures, known, sizeof known);
  return SUCCESS;
}

Result nvrtcCreateProgram(Program** program, const char* source, const char*, int num_headers, const char* const*,
                          const char* const*) {
  // the host code's programs include no headers
  if (num_headers != 0) return INVALID_INPUT;
  *program = new Program{mutate_source(source), "", ""};
  return SUCCESS;
}

Result nvrtcDestroyProgram(Program** program) {
  delete *program;
  *program = nullptr;
  return SUCCESS;
}

Result nvrtcCompileProgram(Program* program, int num_options, const char* const* options) {
  Options parsed;
  std::string key = read(EMULATION_HEADERS "/emulation.h") + EMULATION_COMPILER + program->source;
  for (int i = 0; i < num_options; i++) {
    if (!parse(options[i], parsed)) {
      program->log = "the emulation does not support the option `" + std::string(options[i]) + "`\n";
      return INVALID_OPTION;
    }
  }
  parsed.definitions.push_back("-D__CUDA_ARCH__=" + parsed.architecture + "0");
  for (const std::string& definition : parsed.definitions) key += '\0' + definition;
  const char* cache = std::getenv("RNNLM_EMULATION_CACHE");
  if (!cache || cache[0] != '/') {
    program->log = "RNNLM_EMULATION_CACHE must be the absolute path of a folder\n";
    return COMPILATION;
  }
  const std::string path = std::string(cache) + "/" + hash(key) + ".so";
  if (access(path.c_str(), R_OK) != 0 && !build(program->source, parsed, path, program->log)) return COMPILATION;
  program->image = path;
  return SUCCESS;
}

Result nvrtcGetProgramLogSize(const Program* program, std::size_t* size) {
  *size = program->log.size() + 1;
  return SUCCESS;
}

Result nvrtcGetProgramLog(const Program* program, char* log) {
  std::memcpy(log, program->log.c_str(), program->log.size() + 1);
  return SUCCESS;
}

Result nvrtcGetCUBINSize(const Program* program, std::size_t* size) {
  if (program->image.empty()) return INVALID_PROGRAM;
  *size = program->image.size() + 1;
  return SUCCESS;
}

Result nvrtcGetCUBIN(const Program* program, char* image) {
  if (program->image.empty()) return INVALID_PROGRAM;
  std::memcpy(image, program->image.c_str(), program->image.size() + 1);
  return SUCCESS;
}

}  // extern "C"
