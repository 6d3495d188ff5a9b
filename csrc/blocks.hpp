// Working memory for the kernels.
#pragma once
#include <cstddef>
#include <utility>

namespace rnnfast {

// 64-byte aligned memory, not initialised. Throws std::bad_alloc. Blocks given back are kept for
// the next calls, up to a fixed total: the pages of a fresh block cost more time than many a kernel
// that fills it.
class Memory {
 public:
  Memory() = default;
  explicit Memory(std::size_t bytes);
  Memory(Memory&& other) noexcept : p_(std::exchange(other.p_, nullptr)), bytes_(other.bytes_) {}
  Memory& operator=(Memory&& other) noexcept {
    std::swap(p_, other.p_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Memory();

  void* get() const { return p_; }
  explicit operator bool() const { return p_ != nullptr; }

 private:
  void* p_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace rnnfast
