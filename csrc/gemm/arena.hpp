// Memory handed out piece by piece. Every layout is written once, as a constructor that takes its
// arrays from an Arena; an Arena without memory only adds up the size.
#pragma once
#include "../problem.hpp"

namespace rnnfast {
namespace {

class Arena {
 public:
  explicit Arena(void* memory) : base_(static_cast<char*>(memory)) {}

  template <class T>
  T* take(idx n) {
    char* start = base_ == nullptr ? nullptr : base_ + used_;
    used_ += (static_cast<std::size_t>(n) * sizeof(T) + 63) / 64 * 64;
    return reinterpret_cast<T*>(start);
  }
  std::size_t used() const { return used_; }

 private:
  char* base_;
  std::size_t used_ = 0;
};

}  // namespace
}  // namespace rnnfast
