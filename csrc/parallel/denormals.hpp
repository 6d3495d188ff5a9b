// Denormal numbers take the processor a hundred times as long as others.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace rnnfast {

// Sets the processor to treat denormal numbers as zero, on this thread while it lives.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }
#else
  FlushDenormals() = default;
  ~FlushDenormals() = default;
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

  // The setting of before, while it lives: for foreign code that is called in between.
  class Pause {
   public:
#if defined(__x86_64__)
    explicit Pause(const FlushDenormals& flush) : during_(_mm_getcsr()) {
      _mm_setcsr(flush.before_);
    }
    ~Pause() { _mm_setcsr(during_); }
#else
    explicit Pause(const FlushDenormals&) {}
    ~Pause() = default;
#endif
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    unsigned during_ = 0;
  };

 private:
  unsigned before_ = 0;
};

}  // namespace rnnfast
