// rnnfast_pool: gangs of the thread pool, with and without a bound for their hand-over.
#include "parallel/pool.hpp"

#include <atomic>
#include <cstdio>
#include <vector>

namespace {

// How often each rank ran, and in a gang of which size.
struct Seen {
  std::vector<std::atomic<int>> times = std::vector<std::atomic<int>>(8);
  std::atomic<int> size{0};
};

bool run_once(std::chrono::nanoseconds handover, int most) {
  Seen seen;
  auto task = [](void* context, int rank, int size) {
    Seen& s = *static_cast<Seen*>(context);
    ++s.times[static_cast<std::size_t>(rank)];
    s.size = size;
  };
  const int size = rnnfast::run_gang(4, rnnfast::Ask::always, std::chrono::milliseconds(50),
                                     handover, task, &seen);
  bool right = size >= 1 && size <= most && seen.size == size;
  for (int rank = 0; rank < 8; ++rank)
    right = right && seen.times[static_cast<std::size_t>(rank)] == (rank < size ? 1 : 0);
  if (!right) std::printf("FAILED: a gang of %d\n", size);
  return right;
}

}  // namespace

int main() {
  bool right = true;
  for (int i = 0; i < 200; ++i) {  // more than one measurement of the hand-over
    right = run_once(std::chrono::nanoseconds::max(), 4) && right;
    right = run_once(std::chrono::nanoseconds(0), 1) && right;  // nothing is that fast
  }
  return right ? 0 : 1;
}
