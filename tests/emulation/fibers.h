// Stacks that can be left and entered again, beside the walk: a thread of a kernel waits at a barrier by leaving its
// fiber.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <memory>
#include <vector>

namespace emulation {

// A stack with a function that never returns; it ends by being left for good, or is begun again from its top.
class Fiber {
 public:
  // `body` runs at the first `enter`. A guard page below the stack is a mapping of its own, of which a process has some
  // tens of thousands.
  Fiber(void (*body)(), bool guarded);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Goes on where the fiber was last left, or at the top of `body`.
  [[noreturn]] void enter();
  // Whatever it was doing, the next `enter` begins `body` again.
  void rewind() { begun_ = false; }
  // Where to come back to.
  jmp_buf& place() { return place_; }

 private:
  static void trampoline(unsigned high, unsigned low);
  void (*body_)();
  char* stack_;
  std::size_t shift_;
  bool begun_ = false, has_top_ = false;
  jmp_buf place_, top_;
};

// Leaves `from` so that entering it returns here. Evaluates to nothing; `go` must not return.
#define EMULATION_LEAVE(from, go) \
  do {                            \
    if (_setjmp(from) == 0) {     \
      go;                         \
    }                             \
  } while (0)

}  // namespace emulation
