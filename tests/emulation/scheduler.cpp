// Runs a kernel on one core, beside the walk: the fibers of a block take turns at its barriers and exchanges. What goes
// wrong on a GPU in one run of a thousand goes wrong here for a seed: a missing barrier, a stale buffer, a thread that
// waits for ever.
#include "scheduler.h"

#include <algorithm>
#include <csignal>
#include <memory>
#include <mutex>
#include <vector>

#include "fibers.h"
#include "memory.h"

namespace emulation {

namespace {

enum class State { ready, at_barrier, in_exchange, returned };

struct Thread {
  State state;
  // Null until it first runs, and after it has returned.
  Fiber* fiber;
  // What it hands to its warp and from which lane it takes, then what it took.
  std::uint32_t bits;
  unsigned mask;
};

// What a lane takes from a lane that is not there; a NaN.
constexpr std::uint32_t POISON = 0xffffffff;

// One core's emulated multiprocessor: one block at a time.
class Machine {
 public:
  Ending run(const Launch& launch, std::string& message);
  void block_barrier();
  std::uint32_t exchange(std::uint32_t bits, unsigned mask);
  [[noreturn]] void fail(Ending ending, std::string message);
  std::string where() const;

  Place place{};
  void* shared = nullptr;

 private:
  static void fiber_body();
  void run_block(unsigned block);
  void wait();
  void wake(unsigned thread);
  unsigned take_ready();
  // A place of the ring, of which `index` is at most one round ahead.
  unsigned wrap(unsigned index) const { return index < launch_->block_size ? index : index - launch_->block_size; }
  [[noreturn]] void dispatch();
  [[noreturn]] void stop();
  std::string deadlock() const;
  unsigned draw(unsigned bound);

  const Launch* launch_ = nullptr;
  std::uint64_t random_ = 0;
  std::vector<Thread> threads_;
  // A ring: the first to run, how many there are, their numbers.
  std::vector<unsigned> ready_;
  unsigned first_ready_ = 0, num_ready_ = 0;
  unsigned num_returned_ = 0, at_barrier_ = 0;
  std::vector<unsigned> in_exchange_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Guarded shared_memory_;
  jmp_buf caller_;
  Ending ending_ = Ending::done;
  std::string message_;
};

// Each host thread has a machine of its own.
thread_local std::unique_ptr<Machine> machine;
// The machine whose kernel is running on this host thread, if one is.
thread_local Machine* running = nullptr;

struct sigaction previous_segv, previous_bus, previous_fpe;

// A kernel's fault ends its launch; any other is whoever's it was before.
void on_fault(int signal, siginfo_t* info, void* context) {
  if (running) {
    const std::string what = signal == SIGFPE ? "divides an integer by zero" : "touches " + describe(info->si_addr);
    running->fail(Ending::bad_address, running->where() + " " + what);
  }
  struct sigaction* previous = signal == SIGSEGV ? &previous_segv : signal == SIGBUS ? &previous_bus : &previous_fpe;
  if (previous->sa_flags & SA_SIGINFO) return previous->sa_sigaction(signal, info, context);
  if (previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN) return previous->sa_handler(signal);
  // the instruction is tried again, without a handler
  sigaction(signal, previous, nullptr);
}

void catch_faults() {
  struct sigaction action{};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &previous_segv);
  sigaction(SIGBUS, &action, &previous_bus);
  sigaction(SIGFPE, &action, &previous_fpe);
}

// A number below `bound`. xorshift64*: any state but 0 goes round all others.
unsigned Machine::draw(unsigned bound) {
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  // the upper bits are the better ones, and a product is faster than a division
  return static_cast<unsigned>((random_ * 0x2545f4914f6cdd1dULL >> 32) * bound >> 32);
}

Ending Machine::run(const Launch& launch, std::string& message) {
  launch_ = &launch;
  // seeds that are near each other shall not give orders that are
  random_ = launch.seed * 0x9e3779b97f4a7c15ULL;
  ending_ = Ending::done;
  shared_memory_.resize(launch.shared_bytes);
  shared = shared_memory_.data();
  std::vector<unsigned> order(launch.num_blocks.x * launch.num_blocks.y * launch.num_blocks.z);
  for (unsigned block = 0; block < order.size(); block++) order[block] = block;
  for (unsigned left = order.size(); launch.seed && left > 1; left--) std::swap(order[left - 1], order[draw(left)]);
  for (unsigned block : order) {
    run_block(block);
    if (ending_ == Ending::done && !shared_memory_.is_whole())
      message_ = where() + " or another writes past its shared memory", ending_ = Ending::bad_address;
    if (ending_ != Ending::done) break;
  }
  message = std::move(message_);
  message_.clear();
  return ending_;
}

void Machine::run_block(unsigned block) {
  const unsigned size = launch_->block_size;
  shared_memory_.poison();
  threads_.assign(size, Thread{State::ready, nullptr, 0, 0});
  in_exchange_.assign((size + WARP - 1) / WARP, 0);
  ready_.resize(size);
  for (unsigned thread = 0; thread < size; thread++) ready_[thread] = thread;
  first_ready_ = num_returned_ = at_barrier_ = 0;
  num_ready_ = size;
  const Index grid = launch_->num_blocks;
  place = {0, size, {block % grid.x, block / grid.x % grid.y, block / grid.x / grid.y}, grid};
  running = this;
  EMULATION_LEAVE(caller_, dispatch());
  running = nullptr;
  if (num_returned_ == size) return;
  // fibers that were left in the middle of a kernel
  idle_.clear();
  for (auto& fiber : fibers_) {
    fiber->rewind();
    idle_.push_back(fiber.get());
  }
}

// What every fiber does: thread after thread from beginning to end.
void Machine::fiber_body() {
  Machine& self = *machine;
  for (;;) {
    self.launch_->kernel->run(self.launch_->arguments);
    Thread& ended = self.threads_[self.place.thread];
    Fiber* own = ended.fiber;
    ended.state = State::returned;
    ended.fiber = nullptr;
    if (++self.num_returned_ == self.launch_->block_size) {
      own->rewind();
      self.idle_.push_back(own);
      self.stop();
    }
    if (self.num_ready_ == 0) self.fail(Ending::deadlock, self.deadlock());
    self.place.thread = self.take_ready();
    Thread& next = self.threads_[self.place.thread];
    if (next.fiber == nullptr) {
      next.fiber = own;
      continue;
    }
    own->rewind();
    self.idle_.push_back(own);
    next.fiber->enter();
  }
}

unsigned Machine::take_ready() {
  if (launch_->seed) std::swap(ready_[first_ready_], ready_[wrap(first_ready_ + draw(num_ready_))]);
  const unsigned thread = ready_[first_ready_];
  first_ready_ = wrap(first_ready_ + 1);
  num_ready_--;
  return thread;
}

void Machine::wake(unsigned thread) {
  threads_[thread].state = State::ready;
  ready_[wrap(first_ready_ + num_ready_++)] = thread;
}

// Runs whatever is ready.
void Machine::dispatch() {
  if (num_ready_ == 0) fail(Ending::deadlock, deadlock());
  place.thread = take_ready();
  Thread& next = threads_[place.thread];
  if (next.fiber == nullptr) {
    if (idle_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>(fiber_body));
      idle_.push_back(fibers_.back().get());
    }
    next.fiber = idle_.back();
    idle_.pop_back();
  }
  next.fiber->enter();
}

// Leaves the current thread until it is woken and its turn comes.
void Machine::wait() { EMULATION_LEAVE(threads_[place.thread].fiber->place(), dispatch()); }

void Machine::block_barrier() {
  threads_[place.thread].state = State::at_barrier;
  if (++at_barrier_ == launch_->block_size) {
    at_barrier_ = 0;
    for (unsigned thread = 0; thread < launch_->block_size; thread++) wake(thread);
  }
  wait();
}

std::uint32_t Machine::exchange(std::uint32_t bits, unsigned mask) {
  const unsigned self = place.thread, warp = self / WARP, first = warp * WARP;
  const unsigned lanes = std::min(WARP, launch_->block_size - first);
  threads_[self].state = State::in_exchange;
  threads_[self].bits = bits;
  threads_[self].mask = mask;
  if (++in_exchange_[warp] == lanes) {
    in_exchange_[warp] = 0;
    std::uint32_t taken[WARP];
    for (unsigned lane = 0; lane < lanes; lane++) {
      const unsigned from = lane ^ threads_[first + lane].mask;
      taken[lane] = from < lanes ? threads_[first + from].bits : POISON;
    }
    for (unsigned lane = 0; lane < lanes; lane++) {
      threads_[first + lane].bits = taken[lane];
      wake(first + lane);
    }
  }
  wait();
  return threads_[self].bits;
}

void Machine::stop() { _longjmp(caller_, 1); }

void Machine::fail(Ending ending, std::string message) {
  ending_ = ending;
  message_ = std::move(message);
  stop();
}

std::string Machine::where() const {
  const Index at = place.block;
  return "block (" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + "), thread " +
         std::to_string(place.thread);
}

std::string Machine::deadlock() const {
  unsigned exchanging = 0;
  for (const Thread& thread : threads_) exchanging += thread.state == State::in_exchange;
  return "deadlock, last in " + where() + ": of " + std::to_string(launch_->block_size) + " threads " +
         std::to_string(at_barrier_) + " wait at the block barrier, " + std::to_string(exchanging) +
         " in an exchange, " + std::to_string(num_returned_) + " have returned";
}

}  // namespace

Ending run(const Launch& launch, std::string& message) {
  static std::once_flag once;
  std::call_once(once, catch_faults);
  if (!machine) machine = std::make_unique<Machine>();
  return machine->run(launch, message);
}

const Primitives& primitives_table() {
  static const Primitives table = {
      []() -> const Place& { return running->place; },
      [] { return running->shared; },
      [] { running->block_barrier(); },
      [](std::uint32_t bits, unsigned mask) { return running->exchange(bits, mask); },
  };
  return table;
}

}  // namespace emulation
