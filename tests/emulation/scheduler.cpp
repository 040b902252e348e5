// Runs a kernel on one core, beside the walk: the fibers of a block take turns at its barriers and exchanges, and those of
// blocks that run at the same time where one waits for what another tells. What goes wrong on a GPU in one run of a thousand
// goes wrong here for a seed: a missing barrier, a stale buffer, a thread that waits for ever.
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

enum class State { ready, at_barrier, in_exchange, waiting, returned };

struct Thread {
  State state;
  // Its place among the blocks that run.
  unsigned block;
  // Null until it first runs, and after it has returned.
  Fiber* fiber;
  // What it hands to its warp and from which lane it takes, or that it takes a bit of each; then what it took.
  std::uint32_t bits;
  unsigned mask;
};

// A block that runs.
struct Block {
  Index index;
  // The number of its first thread among all that run.
  unsigned first;
  unsigned at_barrier;
  // How many threads of each warp are in an exchange.
  std::vector<unsigned> in_exchange;
  void* shared;
};

// As many as the largest block has threads.
constexpr std::size_t GUARDED_FIBERS = 1024;

// What a lane takes from a lane that is not there; a NaN.
constexpr std::uint32_t POISON = 0xffffffff;

// One core's emulated multiprocessors: one block at a time, or all of them.
class Machine {
 public:
  Ending run(const Launch& launch, std::string& message);
  void block_barrier();
  std::uint32_t exchange(std::uint32_t bits, unsigned mask);
  void wait_for(const void* address);
  void tell(const void* address);
  [[noreturn]] void fail(Ending ending, std::string message);
  std::string where() const;

  Place place{};
  void* shared = nullptr;

 private:
  static void fiber_body();
  void run_blocks(const unsigned* numbers, unsigned count);
  void wait();
  void wake(unsigned thread);
  unsigned take_ready();
  // Makes a thread the one that runs, and returns it.
  Thread& turn_to(unsigned thread);
  Thread& own() { return threads_[block_->first + place.thread]; }
  // A place of the ring, of which `index` is at most one round ahead.
  unsigned wrap(unsigned index) const { return index < ready_.size() ? index : index - ready_.size(); }
  [[noreturn]] void dispatch();
  [[noreturn]] void stop();
  std::string deadlock() const;
  unsigned draw(unsigned bound);

  const Launch* launch_ = nullptr;
  std::uint64_t random_ = 0;
  // Of all blocks that run, block after block.
  std::vector<Thread> threads_;
  std::vector<Block> blocks_;
  // The block of the thread that runs.
  Block* block_ = nullptr;
  // A ring: the first to run, how many there are, their numbers.
  std::vector<unsigned> ready_;
  unsigned first_ready_ = 0, num_ready_ = 0;
  unsigned num_returned_ = 0;
  // Who waits for what is told at an address.
  std::unordered_map<const void*, std::vector<unsigned>> waiting_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  std::vector<std::unique_ptr<Guarded>> shared_memories_;
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
  std::vector<unsigned> order(launch.num_blocks.x * launch.num_blocks.y * launch.num_blocks.z);
  for (unsigned block = 0; block < order.size(); block++) order[block] = block;
  for (unsigned left = order.size(); launch.seed && left > 1; left--) std::swap(order[left - 1], order[draw(left)]);
  const unsigned at_once = launch.cooperative ? order.size() : 1;
  while (shared_memories_.size() < at_once) shared_memories_.push_back(std::make_unique<Guarded>());
  for (unsigned i = 0; i < at_once; i++) shared_memories_[i]->resize(launch.shared_bytes);
  for (unsigned next = 0; next < order.size() && ending_ == Ending::done; next += at_once) {
    run_blocks(order.data() + next, at_once);
    for (unsigned i = 0; i < at_once && ending_ == Ending::done; i++) {
      if (shared_memories_[i]->is_whole()) continue;
      turn_to(blocks_[i].first);
      message_ = where() + " or another writes past its shared memory", ending_ = Ending::bad_address;
    }
  }
  message = std::move(message_);
  message_.clear();
  return ending_;
}

void Machine::run_blocks(const unsigned* numbers, unsigned count) {
  const unsigned size = launch_->block_size;
  const Index grid = launch_->num_blocks;
  threads_.resize(count * size);
  blocks_.resize(count);
  for (unsigned i = 0; i < count; i++) {
    shared_memories_[i]->poison();
    const unsigned number = numbers[i];
    std::fill_n(threads_.begin() + i * size, size, Thread{State::ready, i, nullptr, 0, 0});
    blocks_[i].index = {number % grid.x, number / grid.x % grid.y, number / grid.x / grid.y};
    blocks_[i].first = i * size;
    blocks_[i].at_barrier = 0;
    blocks_[i].in_exchange.assign((size + WARP - 1) / WARP, 0);
    blocks_[i].shared = shared_memories_[i]->data();
  }
  ready_.resize(threads_.size());
  for (unsigned thread = 0; thread < ready_.size(); thread++) ready_[thread] = thread;
  first_ready_ = num_returned_ = 0;
  num_ready_ = ready_.size();
  waiting_.clear();
  place = {0, size, {}, grid};
  running = this;
  EMULATION_LEAVE(caller_, dispatch());
  running = nullptr;
  if (num_returned_ == threads_.size()) return;
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
    Thread& ended = self.own();
    Fiber* own = ended.fiber;
    ended.state = State::returned;
    ended.fiber = nullptr;
    if (++self.num_returned_ == self.threads_.size()) {
      own->rewind();
      self.idle_.push_back(own);
      self.stop();
    }
    if (self.num_ready_ == 0) self.fail(Ending::deadlock, self.deadlock());
    Thread& next = self.turn_to(self.take_ready());
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

Thread& Machine::turn_to(unsigned thread) {
  Thread& next = threads_[thread];
  block_ = &blocks_[next.block];
  place.thread = thread - block_->first;
  place.block = block_->index;
  shared = block_->shared;
  return next;
}

void Machine::wake(unsigned thread) {
  threads_[thread].state = State::ready;
  ready_[wrap(first_ready_ + num_ready_++)] = thread;
}

// Runs whatever is ready.
void Machine::dispatch() {
  if (num_ready_ == 0) fail(Ending::deadlock, deadlock());
  Thread& next = turn_to(take_ready());
  if (next.fiber == nullptr) {
    if (idle_.empty()) {
      // what is too much for one thread's stack is so for the first ones' too
      fibers_.push_back(std::make_unique<Fiber>(fiber_body, fibers_.size() < GUARDED_FIBERS));
      idle_.push_back(fibers_.back().get());
    }
    next.fiber = idle_.back();
    idle_.pop_back();
  }
  next.fiber->enter();
}

// Leaves the current thread until it is woken and its turn comes.
void Machine::wait() { EMULATION_LEAVE(own().fiber->place(), dispatch()); }

void Machine::block_barrier() {
  own().state = State::at_barrier;
  if (++block_->at_barrier == launch_->block_size) {
    block_->at_barrier = 0;
    for (unsigned thread = 0; thread < launch_->block_size; thread++) wake(block_->first + thread);
  }
  wait();
}

std::uint32_t Machine::exchange(std::uint32_t bits, unsigned mask) {
  Thread& self = own();
  const unsigned warp = place.thread / WARP, first = block_->first + warp * WARP;
  const unsigned lanes = std::min(WARP, launch_->block_size - warp * WARP);
  self.state = State::in_exchange;
  self.bits = bits;
  self.mask = mask;
  if (++block_->in_exchange[warp] == lanes) {
    block_->in_exchange[warp] = 0;
    std::uint32_t taken[WARP], of_all = lanes < WARP ? POISON : 0;
    for (unsigned lane = 0; lane < lanes; lane++) of_all |= (threads_[first + lane].bits & 1) << lane;
    for (unsigned lane = 0; lane < lanes; lane++) {
      const unsigned mask = threads_[first + lane].mask, from = lane ^ mask;
      taken[lane] = mask == ALL_LANES ? of_all : from < lanes ? threads_[first + from].bits : POISON;
    }
    for (unsigned lane = 0; lane < lanes; lane++) {
      threads_[first + lane].bits = taken[lane];
      wake(first + lane);
    }
  }
  wait();
  return self.bits;
}

void Machine::wait_for(const void* address) {
  own().state = State::waiting;
  waiting_[address].push_back(block_->first + place.thread);
  wait();
}

void Machine::tell(const void* address) {
  const auto found = waiting_.find(address);
  if (found == waiting_.end()) return;
  for (const unsigned thread : found->second) wake(thread);
  waiting_.erase(found);
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
  const auto count = [this](State state) {
    return std::to_string(std::count_if(threads_.begin(), threads_.end(),
                                        [state](const Thread& thread) { return thread.state == state; }));
  };
  return "deadlock, last in " + where() + ": of " + std::to_string(threads_.size()) + " threads " +
         count(State::at_barrier) + " wait at a block barrier, " + count(State::in_exchange) + " in an exchange, " +
         count(State::waiting) + " for another block, " + count(State::returned) + " have returned";
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
      [](const void* address) { running->wait_for(address); },
      [](const void* address) { running->tell(address); },
  };
  return table;
}

}  // namespace emulation
