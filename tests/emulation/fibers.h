// Fibers: stacks that can be suspended and resumed. A thread of a kernel waits at a barrier by suspending its fiber.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <memory>
#include <vector>

namespace emulation {

// A stack that runs a function which never returns. It is suspended for good, or restarted from the top of its stack.
class Fiber {
 public:
  // `body` starts at the first `enter`. A guard page below the stack costs one memory mapping, of which a process has
  // some tens of thousands.
  Fiber(void (*body)(), bool guarded);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Resumes the fiber, or starts `body`.
  [[noreturn]] void enter();
  // The next `enter` starts `body` again.
  void rewind() { started_ = false; }
  // Where `enter` resumes.
  jmp_buf& resume_point() { return resume_point_; }

 private:
  static void trampoline(unsigned high, unsigned low);
  void (*body_)();
  char* stack_;
  std::size_t shift_;
  bool started_ = false, has_top_ = false;
  jmp_buf resume_point_, top_;
};

// Saves the current position in `from`, so that a jump to it continues after this statement, and then evaluates `go`,
// which must not return.
#define EMULATION_SUSPEND(from, go) \
  do {                              \
    if (_setjmp(from) == 0) {       \
      go;                           \
    }                               \
  } while (0)

}  // namespace emulation
