// Memory that detects accesses outside its bounds. The end of a buffer is aligned to the end of its pages, so that the
// first element after it is in an inaccessible page, or in alignment padding whose contents are checked after every
// launch.
#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

namespace emulation {

namespace {

// The alignment that the CUDA driver guarantees.
constexpr std::size_t ALIGNMENT = 256;

std::size_t page_bytes() {
  static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

// Maps pages for `bytes` bytes between two inaccessible pages.
char* map_pages(std::size_t bytes) {
  const std::size_t total = bytes + 2 * page_bytes();
  void* memory = mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  char* pages = static_cast<char*>(memory) + page_bytes();
  if (bytes && mprotect(pages, bytes, PROT_READ | PROT_WRITE)) throw std::bad_alloc();
  return pages;
}

// Whether these bytes are unwritten. Compares words, because every launch checks every allocation.
bool is_unwritten(const char* from, const char* to) {
  for (; to - from >= 8; from += 8) {
    std::uint64_t word;
    std::memcpy(&word, from, sizeof word);
    if (word != ~std::uint64_t{0}) return false;
  }
  return std::all_of(from, to, [](char byte) { return static_cast<unsigned char>(byte) == UNWRITTEN; });
}

struct Allocation {
  int device;
  char* pages;
  std::size_t capacity, bytes;

  // Checks the alignment padding after the end, and as many bytes before the beginning.
  bool is_intact(const char* data) const {
    const char* before = std::max<const char*>(pages, data - ALIGNMENT);
    return is_unwritten(before, data) && is_unwritten(data + bytes, pages + capacity);
  }
};

// By address.
using Allocations = std::map<std::uint64_t, Allocation>;

std::mutex mutex;
// `released` is for messages only.
Allocations live, released;

// The last allocation that begins at or below `address`.
Allocations::iterator find_below(Allocations& allocations, std::uint64_t address) {
  auto next = allocations.upper_bound(address);
  return next == allocations.begin() ? allocations.end() : std::prev(next);
}

std::string written_outside(const Allocation& allocation) {
  return "a write outside an allocation of " + std::to_string(allocation.bytes) + " bytes";
}

}  // namespace

GuardedMemory::~GuardedMemory() {
  if (pages_) munmap(pages_ - page_bytes(), capacity_ + 2 * page_bytes());
}

void GuardedMemory::resize(std::size_t bytes) {
  if (pages_ == nullptr || bytes > capacity_) {
    if (pages_) munmap(pages_ - page_bytes(), capacity_ + 2 * page_bytes());
    capacity_ = round_up(bytes, page_bytes());
    pages_ = map_pages(capacity_);
  }
  bytes_ = bytes;
  // 16 bytes is the widest access to shared memory
  data_ = pages_ + capacity_ - round_up(bytes, 16);
}

void GuardedMemory::poison() { std::memset(data_, UNWRITTEN, static_cast<std::size_t>(pages_ + capacity_ - data_)); }

bool GuardedMemory::is_intact() const { return is_unwritten(data_ + bytes_, pages_ + capacity_); }

std::uint64_t allocate(int device, std::size_t bytes) {
  const std::size_t nonzero = std::max<std::size_t>(bytes, 1);
  Allocation allocation{device, nullptr, round_up(nonzero, page_bytes()), bytes};
  allocation.pages = map_pages(allocation.capacity);
  std::memset(allocation.pages, UNWRITTEN, allocation.capacity);
  const char* data = allocation.pages + allocation.capacity - round_up(nonzero, ALIGNMENT);
  std::lock_guard<std::mutex> lock(mutex);
  live[reinterpret_cast<std::uint64_t>(data)] = allocation;
  return reinterpret_cast<std::uint64_t>(data);
}

bool release(std::uint64_t address, std::string& message) {
  std::lock_guard<std::mutex> lock(mutex);
  const auto found = live.find(address);
  if (found == live.end()) {
    message = "no allocation begins at this address, or it was released already";
    return false;
  }
  const Allocation allocation = found->second;
  const bool is_intact = allocation.is_intact(reinterpret_cast<char*>(address));
  if (!is_intact) message = written_outside(allocation);
  // frees the memory but keeps the addresses reserved
  mmap(allocation.pages, allocation.capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
       0);
  live.erase(found);
  released[address] = allocation;
  return is_intact;
}

bool is_inside(int device, std::uint64_t address, std::size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  const auto found = find_below(live, address);
  if (found == live.end() || found->second.device != device) return false;
  const std::size_t offset = address - found->first;
  return offset <= found->second.bytes && bytes <= found->second.bytes - offset;
}

bool all_are_intact(int device, std::string& message) {
  std::lock_guard<std::mutex> lock(mutex);
  for (const auto& [address, allocation] : live) {
    if (allocation.device != device || allocation.is_intact(reinterpret_cast<const char*>(address))) continue;
    message = written_outside(allocation);
    return false;
  }
  return true;
}

std::size_t allocated_bytes(int device) {
  std::lock_guard<std::mutex> lock(mutex);
  std::size_t bytes = 0;
  for (const auto& entry : live) bytes += entry.second.device == device ? entry.second.bytes : 0;
  return bytes;
}

std::string describe(const void* pointer) {
  const auto address = reinterpret_cast<std::uint64_t>(pointer);
  std::lock_guard<std::mutex> lock(mutex);
  for (Allocations* allocations : {&live, &released}) {
    const auto found = find_below(*allocations, address);
    if (found == allocations->end() || address - found->first >= found->second.bytes + 2 * page_bytes()) continue;
    return "byte " + std::to_string(address - found->first) + " of an allocation of " +
           std::to_string(found->second.bytes) + " bytes" + (allocations == &live ? "" : " that was released");
  }
  return "memory that does not belong to the device";
}

}  // namespace emulation
