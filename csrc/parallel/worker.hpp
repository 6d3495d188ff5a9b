// One thread of the pool between two jobs: it spins for the next call, or sleeps.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "place.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace rnnfast {

// How long a worker looks out for the next call before it sleeps. Waking takes longer than a small
// job, up to a third of a millisecond: where the last sleep was shorter than the long time, as
// between the calls of a training loop, spinning for it would have been better, and is next.
constexpr auto spin_time = std::chrono::microseconds(30);
constexpr auto long_spin_time = std::chrono::microseconds(1000);

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// One turn of a loop that waits for another thread. After many, that thread may be waiting for this
// one's processor.
inline void wait_a_turn(int turn) {
  relax();
  if (turn % 1024 == 1023) std::this_thread::yield();
}

// Each worker is called by itself, so that those whom a job does not need sleep on. Nothing else
// lies in the cache lines that it looks at.
class alignas(128) Worker {
 public:
  explicit Worker(int slot) : slot(slot) {}
  const int slot;

  // By the thread that offers a job: if it sleeps, the worker is woken or left alone. Returns
  // whether it was called.
  bool call(std::uint32_t job, bool wake) {
    if (!wake && asleep_.load()) return false;
    called_.store(job);
    if (!asleep_.load()) return true;  // it looks at called_ again after it has said so
    {
      std::lock_guard<std::mutex> lock(mutex_);  // no other worker's
      if (!asleep_.load()) return true;
      asleep_.store(false);
      place_.avoid_this_processor();
    }
    bell_.notify_one();
    return true;
  }

  // By the worker itself, first of all.
  void begin() { place_.begin(); }

  // By the worker itself: the next job that it is called to.
  std::uint32_t next_call(bool may_spin) {
    if (!may_spin || !spin()) sleep();
    return seen_ = called_.load();
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Whether there was a call in that time.
  bool spin() {
    const auto since = Clock::now();
    while (Clock::now() - since < spin_)
      for (int turn = 0; turn < 64; ++turn) {
        if (called_.load(std::memory_order_acquire) != seen_) return true;
        relax();
      }
    return false;
  }

  void sleep() {
    const auto since = Clock::now();
    std::unique_lock<std::mutex> lock(mutex_);
    asleep_.store(true);
    bell_.wait(lock, [&] { return called_.load() != seen_; });
    asleep_.store(false);
    place_.restore();
    spin_ = Clock::now() - since < long_spin_time ? long_spin_time : spin_time;
  }

  std::atomic<std::uint32_t> called_{0};
  std::atomic<bool> asleep_{false};
  std::uint32_t seen_ = 0;
  std::chrono::microseconds spin_ = spin_time;
  Place place_;
  std::mutex mutex_;
  std::condition_variable bell_;
};

}  // namespace rnnfast
