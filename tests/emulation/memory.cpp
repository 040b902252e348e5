// Memory that notices who leaves it, beside the walk. A buffer's end is aligned to the end of its pages, so that the
// first element behind it is in a page without rights, or, for the few bytes that alignment leaves, in a pattern that
// is looked at after every launch.
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

// What the driver promises of an address; half a vector load more would do.
constexpr std::size_t ALIGNMENT = 256;

std::size_t page() {
  static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

// Pages for `bytes` with one without rights on either side.
char* map_pages(std::size_t bytes) {
  const std::size_t all = bytes + 2 * page();
  void* memory = mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  char* pages = static_cast<char*>(memory) + page();
  if (bytes && mprotect(pages, bytes, PROT_READ | PROT_WRITE)) throw std::bad_alloc();
  return pages;
}

// Whether nothing has written these bytes; a word at a time, since every launch asks for every allocation.
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
  std::size_t room, bytes;

  // Looks at what alignment leaves behind the end, and at as much before the beginning.
  bool is_whole(const char* data) const {
    const char* before = std::max<const char*>(pages, data - ALIGNMENT);
    return is_unwritten(before, data) && is_unwritten(data + bytes, pages + room);
  }
};

// By address; those that were released only to name them.
using Allocations = std::map<std::uint64_t, Allocation>;

std::mutex mutex;
Allocations live, released;

// The last allocation that begins at or below `address`.
Allocations::iterator below(Allocations& allocations, std::uint64_t address) {
  auto next = allocations.upper_bound(address);
  return next == allocations.begin() ? allocations.end() : std::prev(next);
}

std::string written_around(const Allocation& allocation) {
  return "something was written beside an allocation of " + std::to_string(allocation.bytes) + " bytes";
}

}  // namespace

Guarded::~Guarded() {
  if (pages_) munmap(pages_ - page(), room_ + 2 * page());
}

void Guarded::resize(std::size_t bytes) {
  if (pages_ == nullptr || bytes > room_) {
    if (pages_) munmap(pages_ - page(), room_ + 2 * page());
    room_ = round_up(bytes, page());
    pages_ = map_pages(room_);
  }
  bytes_ = bytes;
  // shared memory is aligned as its widest access
  data_ = pages_ + room_ - round_up(bytes, 16);
}

void Guarded::poison() { std::memset(data_, UNWRITTEN, static_cast<std::size_t>(pages_ + room_ - data_)); }

bool Guarded::is_whole() const { return is_unwritten(data_ + bytes_, pages_ + room_); }

std::uint64_t allocate(int device, std::size_t bytes) {
  const std::size_t taken = std::max<std::size_t>(bytes, 1);
  Allocation allocation{device, nullptr, round_up(taken, page()), bytes};
  allocation.pages = map_pages(allocation.room);
  std::memset(allocation.pages, UNWRITTEN, allocation.room);
  const char* data = allocation.pages + allocation.room - round_up(taken, ALIGNMENT);
  std::lock_guard<std::mutex> lock(mutex);
  live[reinterpret_cast<std::uint64_t>(data)] = allocation;
  return reinterpret_cast<std::uint64_t>(data);
}

bool release(std::uint64_t address, std::string& message) {
  std::lock_guard<std::mutex> lock(mutex);
  const auto found = live.find(address);
  if (found == live.end()) {
    message = "no allocation begins there, or it was released before";
    return false;
  }
  const Allocation allocation = found->second;
  const bool whole = allocation.is_whole(reinterpret_cast<char*>(address));
  if (!whole) message = written_around(allocation);
  // the pages go back, their addresses do not
  mmap(allocation.pages, allocation.room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  live.erase(found);
  released[address] = allocation;
  return whole;
}

bool is_inside(int device, std::uint64_t address, std::size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  const auto found = below(live, address);
  if (found == live.end() || found->second.device != device) return false;
  const std::size_t offset = address - found->first;
  return offset <= found->second.bytes && bytes <= found->second.bytes - offset;
}

bool all_are_whole(int device, std::string& message) {
  std::lock_guard<std::mutex> lock(mutex);
  for (const auto& [address, allocation] : live) {
    if (allocation.device != device || allocation.is_whole(reinterpret_cast<const char*>(address))) continue;
    message = written_around(allocation);
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
    const auto found = below(*allocations, address);
    if (found == allocations->end() || address - found->first >= found->second.bytes + 2 * page()) continue;
    return "byte " + std::to_string(address - found->first) + " of an allocation of " +
           std::to_string(found->second.bytes) + " bytes" + (allocations == &live ? "" : " that was released");
  }
  return "memory that is not the device's";
}

}  // namespace emulation
