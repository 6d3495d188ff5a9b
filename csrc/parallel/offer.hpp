// The places of a job, which the threads that are called to it take one by one.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace rnnfast {

// Job and places left are one number: a thread that comes late, or that is put aside just before it
// takes a place, finds that the job is another by now, and nobody has to wait for it.
class Offer {
 public:
  static constexpr std::ptrdiff_t most = 0xFFFFFFFF;

  // Publishes what was written before to those who take a place.
  void open(std::uint32_t job, std::ptrdiff_t places) {
    state_.store(std::uint64_t(job) << 32 | std::uint64_t(places), std::memory_order_release);
  }

  // How many there were before this one was taken; 0: none is left, or the job is over.
  std::ptrdiff_t take(std::uint32_t job) {
    std::uint64_t state = state_.load(std::memory_order_relaxed);
    do {
      if (state >> 32 != job || left(state) == 0) return 0;
    } while (!state_.compare_exchange_weak(state, state - 1, std::memory_order_acq_rel,
                                           std::memory_order_relaxed));
    return left(state);
  }

  std::ptrdiff_t left() const { return left(state_.load(std::memory_order_relaxed)); }

  // Takes all that are left: how many.
  std::ptrdiff_t close() { return left(state_.exchange(0, std::memory_order_acq_rel)); }

 private:
  static std::ptrdiff_t left(std::uint64_t state) {
    return static_cast<std::ptrdiff_t>(state & 0xFFFFFFFF);
  }

  alignas(128) std::atomic<std::uint64_t> state_{0};
};

}  // namespace rnnfast
