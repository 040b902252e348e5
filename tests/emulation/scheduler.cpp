// Runs a kernel on one core. Fibers switch at barriers and shuffles, and where a block waits for a message of another
// block. An error that shows on a GPU in one run of a thousand shows here for some seed: a missing barrier, a stale
// buffer, a deadlock.
#include "scheduler.h"

#include <algorithm>
#include <csignal>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "fibers.h"
#include "memory.h"

namespace emulation {

namespace {

enum class State { ready, at_barrier, in_shuffle, waiting, returned };

struct Thread {
  State state;
  // Its block's index among the running ones.
  unsigned block;
  // Null until the thread first runs, and after it has returned.
  Fiber* fiber;
  // The arguments of its shuffle; `bits` becomes the result.
  std::uint32_t bits;
  unsigned mask;
};

// A running block.
struct Block {
  Dim3 index;
  // Its first thread's index among the running ones.
  unsigned first;
  // How many threads have reached the barrier.
  unsigned at_barrier;
  // How many threads of each warp have reached the shuffle.
  std::vector<unsigned> in_shuffle;
  void* shared;
};

// Fibers with a guard page: as many as the largest block has threads.
constexpr std::size_t GUARDED_FIBERS = 1024;

// A shuffle's result for a lane that does not exist; a NaN.
constexpr std::uint32_t POISON = 0xffffffff;

// Runs one launch at a time: block after block, or all blocks together.
class Scheduler {
 public:
  Outcome run(const Launch& launch, std::string& message);
  void block_barrier();
  std::uint32_t shuffle(std::uint32_t bits, unsigned mask);
  void wait(const void* address);
  void notify(const void* address);
  [[noreturn]] void fail(Outcome outcome, std::string message);
  // The current thread, in words.
  std::string location() const;

  ThreadContext context{};
  void* shared = nullptr;

 private:
  static void fiber_body();
  void run_blocks(const unsigned* numbers, unsigned count);
  void suspend();
  void wake(unsigned thread);
  unsigned take_ready();
  // Makes a thread the current one, and returns it.
  Thread& switch_to(unsigned thread);
  Thread& current() { return threads_[block_->first + context.thread]; }
  // An index of the ring buffer; `index` is less than twice its size.
  unsigned wrap(unsigned index) const { return index < ready_.size() ? index : index - ready_.size(); }
  [[noreturn]] void dispatch();
  [[noreturn]] void stop();
  std::string deadlock() const;
  unsigned random(unsigned bound);

  const Launch* launch_ = nullptr;
  std::uint64_t random_ = 0;
  // The threads of all running blocks, block after block.
  std::vector<Thread> threads_;
  std::vector<Block> blocks_;
  // The current thread's block.
  Block* block_ = nullptr;
  // A ring buffer of the threads that can run.
  std::vector<unsigned> ready_;
  unsigned first_ready_ = 0, num_ready_ = 0;
  unsigned num_returned_ = 0;
  // The threads that wait at an address.
  std::unordered_map<const void*, std::vector<unsigned>> waiting_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  std::vector<std::unique_ptr<GuardedMemory>> shared_memories_;
  jmp_buf caller_;
  Outcome outcome_ = Outcome::completed;
  std::string message_;
};

// The scheduler of this host thread.
thread_local std::unique_ptr<Scheduler> scheduler;
// The same while it runs a kernel, else null.
thread_local Scheduler* running = nullptr;

struct sigaction previous_segv, previous_bus, previous_fpe;

// Ends the launch if a kernel caused the signal; else calls the previous handler.
void on_signal(int signal, siginfo_t* info, void* context) {
  if (running) {
    const std::string what = signal == SIGFPE ? "divides an integer by zero" : "accesses " + describe(info->si_addr);
    running->fail(Outcome::invalid_address, running->location() + " " + what);
  }
  struct sigaction* previous = signal == SIGSEGV ? &previous_segv : signal == SIGBUS ? &previous_bus : &previous_fpe;
  if (previous->sa_flags & SA_SIGINFO) return previous->sa_sigaction(signal, info, context);
  if (previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN) return previous->sa_handler(signal);
  // repeats the instruction without a handler
  sigaction(signal, previous, nullptr);
}

void install_handlers() {
  struct sigaction action{};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &previous_segv);
  sigaction(SIGBUS, &action, &previous_bus);
  sigaction(SIGFPE, &action, &previous_fpe);
}

// A random number below `bound`, from xorshift64*, whose state must not be 0.
unsigned Scheduler::random(unsigned bound) {
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  // the upper bits are of better quality, and a multiplication is faster than a division
  return static_cast<unsigned>((random_ * 0x2545f4914f6cdd1dULL >> 32) * bound >> 32);
}

Outcome Scheduler::run(const Launch& launch, std::string& message) {
  launch_ = &launch;
  // consecutive seeds must not give similar orders
  random_ = launch.seed * 0x9e3779b97f4a7c15ULL;
  outcome_ = Outcome::completed;
  std::vector<unsigned> order(launch.num_blocks.x * launch.num_blocks.y * launch.num_blocks.z);
  for (unsigned block = 0; block < order.size(); block++) order[block] = block;
  for (unsigned left = order.size(); launch.seed && left > 1; left--) std::swap(order[left - 1], order[random(left)]);
  const unsigned concurrent = launch.cooperative ? order.size() : 1;
  while (shared_memories_.size() < concurrent) shared_memories_.push_back(std::make_unique<GuardedMemory>());
  for (unsigned i = 0; i < concurrent; i++) shared_memories_[i]->resize(launch.shared_bytes);
  for (unsigned next = 0; next < order.size() && outcome_ == Outcome::completed; next += concurrent) {
    run_blocks(order.data() + next, concurrent);
    for (unsigned i = 0; i < concurrent && outcome_ == Outcome::completed; i++) {
      if (shared_memories_[i]->is_intact()) continue;
      switch_to(blocks_[i].first);
      outcome_ = Outcome::invalid_address;
      message_ = location() + " or another thread of the block writes past the end of shared memory";
    }
  }
  message = std::move(message_);
  message_.clear();
  return outcome_;
}

void Scheduler::run_blocks(const unsigned* numbers, unsigned count) {
  const unsigned size = launch_->block_size;
  const Dim3 grid = launch_->num_blocks;
  threads_.resize(count * size);
  blocks_.resize(count);
  for (unsigned i = 0; i < count; i++) {
    shared_memories_[i]->poison();
    const unsigned number = numbers[i];
    std::fill_n(threads_.begin() + i * size, size, Thread{State::ready, i, nullptr, 0, 0});
    blocks_[i].index = {number % grid.x, number / grid.x % grid.y, number / grid.x / grid.y};
    blocks_[i].first = i * size;
    blocks_[i].at_barrier = 0;
    blocks_[i].in_shuffle.assign((size + WARP - 1) / WARP, 0);
    blocks_[i].shared = shared_memories_[i]->data();
  }
  ready_.resize(threads_.size());
  for (unsigned thread = 0; thread < ready_.size(); thread++) ready_[thread] = thread;
  first_ready_ = num_returned_ = 0;
  num_ready_ = ready_.size();
  waiting_.clear();
  context = {0, size, {}, grid};
  running = this;
  EMULATION_SUSPEND(caller_, dispatch());
  running = nullptr;
  if (num_returned_ == threads_.size()) return;
  // abandons the fibers that are suspended within the kernel
  idle_.clear();
  for (auto& fiber : fibers_) {
    fiber->rewind();
    idle_.push_back(fiber.get());
  }
}

// Runs one thread after another to its end.
void Scheduler::fiber_body() {
  Scheduler& self = *scheduler;
  for (;;) {
    self.launch_->kernel->run(self.launch_->arguments);
    Thread& ended = self.current();
    Fiber* fiber = ended.fiber;
    ended.state = State::returned;
    ended.fiber = nullptr;
    if (++self.num_returned_ == self.threads_.size()) {
      fiber->rewind();
      self.idle_.push_back(fiber);
      self.stop();
    }
    if (self.num_ready_ == 0) self.fail(Outcome::deadlock, self.deadlock());
    Thread& next = self.switch_to(self.take_ready());
    if (next.fiber == nullptr) {
      next.fiber = fiber;
      continue;
    }
    fiber->rewind();
    self.idle_.push_back(fiber);
    next.fiber->enter();
  }
}

unsigned Scheduler::take_ready() {
  if (launch_->seed) std::swap(ready_[first_ready_], ready_[wrap(first_ready_ + random(num_ready_))]);
  const unsigned thread = ready_[first_ready_];
  first_ready_ = wrap(first_ready_ + 1);
  num_ready_--;
  return thread;
}

Thread& Scheduler::switch_to(unsigned thread) {
  Thread& next = threads_[thread];
  block_ = &blocks_[next.block];
  context.thread = thread - block_->first;
  context.block = block_->index;
  shared = block_->shared;
  return next;
}

void Scheduler::wake(unsigned thread) {
  threads_[thread].state = State::ready;
  ready_[wrap(first_ready_ + num_ready_++)] = thread;
}

// Runs the next thread that can run.
void Scheduler::dispatch() {
  if (num_ready_ == 0) fail(Outcome::deadlock, deadlock());
  Thread& next = switch_to(take_ready());
  if (next.fiber == nullptr) {
    if (idle_.empty()) {
      // a kernel that overflows its stack does so in one of the first fibers, so only these have guard pages
      fibers_.push_back(std::make_unique<Fiber>(fiber_body, fibers_.size() < GUARDED_FIBERS));
      idle_.push_back(fibers_.back().get());
    }
    next.fiber = idle_.back();
    idle_.pop_back();
  }
  next.fiber->enter();
}

// Suspends the current thread until it is woken and scheduled.
void Scheduler::suspend() { EMULATION_SUSPEND(current().fiber->resume_point(), dispatch()); }

void Scheduler::block_barrier() {
  current().state = State::at_barrier;
  if (++block_->at_barrier == launch_->block_size) {
    block_->at_barrier = 0;
    for (unsigned thread = 0; thread < launch_->block_size; thread++) wake(block_->first + thread);
  }
  suspend();
}

std::uint32_t Scheduler::shuffle(std::uint32_t bits, unsigned mask) {
  Thread& self = current();
  const unsigned warp = context.thread / WARP;
  const unsigned first = block_->first + warp * WARP;
  const unsigned lanes = std::min(WARP, launch_->block_size - warp * WARP);
  self.state = State::in_shuffle;
  self.bits = bits;
  self.mask = mask;
  if (++block_->in_shuffle[warp] == lanes) {
    block_->in_shuffle[warp] = 0;
    std::uint32_t results[WARP];
    std::uint32_t ballot = lanes < WARP ? POISON : 0;
    for (unsigned lane = 0; lane < lanes; lane++) ballot |= (threads_[first + lane].bits & 1) << lane;
    for (unsigned lane = 0; lane < lanes; lane++) {
      const unsigned mask = threads_[first + lane].mask;
      const unsigned from = lane ^ mask;
      results[lane] = mask == ALL_LANES ? ballot : from < lanes ? threads_[first + from].bits : POISON;
    }
    for (unsigned lane = 0; lane < lanes; lane++) {
      threads_[first + lane].bits = results[lane];
      wake(first + lane);
    }
  }
  suspend();
  return self.bits;
}

void Scheduler::wait(const void* address) {
  current().state = State::waiting;
  waiting_[address].push_back(block_->first + context.thread);
  suspend();
}

void Scheduler::notify(const void* address) {
  const auto found = waiting_.find(address);
  if (found == waiting_.end()) return;
  for (const unsigned thread : found->second) wake(thread);
  waiting_.erase(found);
}

void Scheduler::stop() { _longjmp(caller_, 1); }

void Scheduler::fail(Outcome outcome, std::string message) {
  outcome_ = outcome;
  message_ = std::move(message);
  stop();
}

std::string Scheduler::location() const {
  const Dim3 block = context.block;
  return "block (" + std::to_string(block.x) + ", " + std::to_string(block.y) + ", " + std::to_string(block.z) +
         "), thread " + std::to_string(context.thread);
}

std::string Scheduler::deadlock() const {
  const auto count = [this](State state) {
    return std::to_string(std::count_if(threads_.begin(), threads_.end(),
                                        [state](const Thread& thread) { return thread.state == state; }));
  };
  return "deadlock, last in " + location() + ": of " + std::to_string(threads_.size()) + " threads " +
         count(State::at_barrier) + " wait at a block barrier, " + count(State::in_shuffle) + " in a shuffle, " +
         count(State::waiting) + " for another block, " + count(State::returned) + " have returned";
}

}  // namespace

Outcome run(const Launch& launch, std::string& message) {
  static std::once_flag once;
  std::call_once(once, install_handlers);
  if (!scheduler) scheduler = std::make_unique<Scheduler>();
  return scheduler->run(launch, message);
}

const Primitives& primitives_table() {
  static const Primitives table = {
      []() -> const ThreadContext& { return running->context; },
      [] { return running->shared; },
      [] { running->block_barrier(); },
      [](std::uint32_t bits, unsigned mask) { return running->shuffle(bits, mask); },
      [](const void* address) { running->wait(address); },
      [](const void* address) { running->notify(address); },
  };
  return table;
}

}  // namespace emulation
