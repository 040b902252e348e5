// Memory that notices who leaves it, beside the walk: it ends at a page that nothing may touch, and what is not written
// yet is a NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace emulation {

// Every byte of memory that nothing has written.
constexpr unsigned char UNWRITTEN = 0xff;

// A stretch that ends, but for alignment, where the pages end.
class Guarded {
 public:
  Guarded() = default;
  ~Guarded();
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  // Makes it `bytes` long; what was in it is gone.
  void resize(std::size_t bytes);
  // Nothing is written any more.
  void poison();
  // Whether the bytes that alignment leaves behind the end are untouched.
  bool is_whole() const;
  void* data() const { return data_; }

 private:
  char* pages_ = nullptr;
  char* data_ = nullptr;
  std::size_t room_ = 0, bytes_ = 0;
};

// The memory of a device, which is a number. An address belongs to one allocation for ever: after `release` nothing may
// touch it.
std::uint64_t allocate(int device, std::size_t bytes);
// Whether there was such an allocation, and nothing was written around it.
bool release(std::uint64_t address, std::string& message);
// Whether `bytes` from `address` on lie in one allocation of this device.
bool is_inside(int device, std::uint64_t address, std::size_t bytes);
// Whether nothing has been written around any allocation of this device.
bool all_are_whole(int device, std::string& message);
// Bytes that are allocated on this device.
std::size_t allocated_bytes(int device);
// An address in words: where it lies in or beside which allocation.
std::string describe(const void* address);

}  // namespace emulation
