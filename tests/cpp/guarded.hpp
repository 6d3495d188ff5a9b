// A buffer between guard bytes. A write into the guards is found when the buffer is checked, in any
// build; under AddressSanitizer a read of them stops the program at once.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace test {

template <class R>
class Guarded {
 public:
  // Aligned to 8 bytes and no more unless asked for: kernels may assume nothing of a caller's
  // arrays.
  explicit Guarded(std::size_t n, R fill = R(), std::size_t alignment = 8)
      : n_(n), memory_(new unsigned char[guard + 72 + n * sizeof(R) + guard]) {
    auto first = reinterpret_cast<std::uintptr_t>(memory_.get()) + guard;
    data_ = reinterpret_cast<R*>((first + 63) / 64 * 64 + alignment % 64);
    std::memset(before(), pattern, guard);
    std::memset(after(), pattern, guard);
    std::fill_n(data_, n, fill);
    poison();
  }
  ~Guarded() { unpoison(); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  R* data() const { return data_; }
  std::size_t size() const { return n_; }

  bool guards_intact() const {
    unpoison();
    auto whole = [](const unsigned char* p) {
      return std::all_of(p, p + guard, [](unsigned char byte) { return byte == pattern; });
    };
    const bool intact = whole(before()) && whole(after());
    poison();
    return intact;
  }

 private:
  static constexpr std::size_t guard = 128;  // two of the widest vectors
  static constexpr unsigned char pattern = 0xAB;

  unsigned char* before() const { return reinterpret_cast<unsigned char*>(data_) - guard; }
  unsigned char* after() const { return reinterpret_cast<unsigned char*>(data_ + n_); }

  void poison() const {
    ASAN_POISON_MEMORY_REGION(before(), guard);
    ASAN_POISON_MEMORY_REGION(after(), guard);
  }
  void unpoison() const {
    ASAN_UNPOISON_MEMORY_REGION(before(), guard);
    ASAN_UNPOISON_MEMORY_REGION(after(), guard);
  }

  std::size_t n_;
  R* data_;
  std::unique_ptr<unsigned char[]> memory_;
};

}  // namespace test
