// Fibers: stacks that can be suspended and resumed. `makecontext` prepares each stack once; after that a switch is a
// pair of `_setjmp` and `_longjmp`, without a system call.
#include "fibers.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <new>

namespace emulation {

namespace {
constexpr std::size_t STACK_BYTES = 256 << 10;
constexpr std::size_t GUARD_BYTES = 4 << 10;
// Stacks that all start at the same offset in a page compete for the same cache sets. Each stack starts SHIFT_BYTES
// lower than the previous one, modulo MAX_SHIFT_BYTES.
constexpr std::size_t SHIFT_BYTES = 5 * 64;
constexpr std::size_t MAX_SHIFT_BYTES = 32 << 10;
}  // namespace

Fiber::Fiber(void (*body)(), bool guarded) : body_(body) {
  void* memory = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<char*>(memory);
  if (guarded) mprotect(stack_, GUARD_BYTES, PROT_NONE);
  static thread_local std::size_t shift = 0;
  shift_ = shift = (shift + SHIFT_BYTES) % MAX_SHIFT_BYTES;
}

Fiber::~Fiber() { munmap(stack_, STACK_BYTES); }

void Fiber::enter() {
  if (started_) _longjmp(resume_point_, 1);
  started_ = true;
  if (has_top_) _longjmp(top_, 1);
  has_top_ = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = stack_;
  context.uc_stack.ss_size = STACK_BYTES - shift_;
  context.uc_link = nullptr;
  const auto address = reinterpret_cast<std::uintptr_t>(this);
  makecontext(&context, reinterpret_cast<void (*)()>(trampoline), 2, static_cast<unsigned>(address >> 32),
              static_cast<unsigned>(address));
  setcontext(&context);
  __builtin_unreachable();
}

void Fiber::trampoline(unsigned high, unsigned low) {
  const auto address = static_cast<std::uintptr_t>(high) << 32 | low;
  auto* fiber = reinterpret_cast<Fiber*>(address);
  _setjmp(fiber->top_);
  fiber->body_();
}

}  // namespace emulation
