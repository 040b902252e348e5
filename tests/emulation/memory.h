// Memory that detects accesses outside its bounds: it ends at an inaccessible page, and unwritten bytes read as NaNs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace emulation {

// The value of every byte that has not been written.
constexpr unsigned char UNWRITTEN = 0xff;

// A range of memory that ends, up to alignment, where its pages end.
class GuardedMemory {
 public:
  GuardedMemory() = default;
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  // Sets the size; the contents are lost.
  void resize(std::size_t bytes);
  // Marks every byte as unwritten.
  void poison();
  // Whether the alignment padding after the end is unwritten.
  bool is_intact() const;
  void* data() const { return data_; }

 private:
  char* pages_ = nullptr;
  char* data_ = nullptr;
  std::size_t capacity_ = 0, bytes_ = 0;
};

// Allocates memory of a device, given by number. An address is never reused: accesses after `release` are detected.
std::uint64_t allocate(int device, std::size_t bytes);
// False if there is no such allocation or its padding was written.
bool release(std::uint64_t address, std::string& message);
// Whether `bytes` bytes at `address` are within one allocation of this device.
bool is_inside(int device, std::uint64_t address, std::size_t bytes);
// Whether the padding of all allocations of this device is unwritten.
bool all_are_intact(int device, std::string& message);
// Allocated bytes of this device.
std::size_t allocated_bytes(int device);
// An address in words, relative to an allocation.
std::string describe(const void* address);

}  // namespace emulation
