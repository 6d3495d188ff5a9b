// rnnfast_pool_jobs: each task of a job runs once, who comes late gets no place, and what a call
// asks of threads and of its caller.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "parallel/offer.hpp"
#include "parallel/pool.hpp"
#include "parallel/processors.hpp"
#include "run.hpp"

namespace {

using rnnfast::Ask;
using rnnfast::idx;

bool expect(bool right, const char* what) {
  if (!right) std::printf("FAILED: %s\n", what);
  return right;
}

bool late_threads_get_no_place() {
  rnnfast::Offer offer;
  offer.open(1, 3);
  bool right = offer.take(1) == 3 && offer.take(2) == 0 && offer.close() == 2;
  right = right && offer.left() == 0 && offer.take(1) == 0;
  offer.open(2, 2);
  right = right && offer.take(1) == 0 && offer.take(2) == 2 && offer.take(2) == 1;
  return expect(right && offer.take(2) == 0 && offer.left() == 0, "places of a job");
}

struct Tally {
  std::vector<std::atomic<int>> times = std::vector<std::atomic<int>>(40);
  std::atomic<int> largest_slot{0};
};

// More threads than processors, and numbers of them that change from job to job.
bool each_task_runs_once() {
  bool right = true;
  for (int i = 0; i < 20'000; ++i) {
    const int threads = i % 9 + 1;
    const idx tasks = i % 40;
    Tally tally;
    auto task = [](void* context, idx index, int slot) {
      Tally& t = *static_cast<Tally*>(context);
      ++t.times[static_cast<std::size_t>(index)];
      int largest = t.largest_slot;
      while (slot > largest && !t.largest_slot.compare_exchange_weak(largest, slot)) {
      }
    };
    const int took_part = rnnfast::run_tasks(tasks, threads, i % 3 == 0 ? Ask::awake : Ask::always,
                                             task, &tally, nullptr, nullptr);
    for (idx k = 0; k < 40; ++k)
      right = right && tally.times[static_cast<std::size_t>(k)] == (k < tasks ? 1 : 0);
    right = right && took_part >= 1 && took_part <= threads && tally.largest_slot < threads &&
            (tasks == 0 || tally.largest_slot < tasks);
  }
  return expect(right, "each task runs once, on a slot below threads and tasks");
}

// A look that had to wait is followed by twenty times as long without one, a tenth of a second at
// most.
bool looks_cost_little() {
  std::atomic<int> looks{0};
  auto look = [](void* context) {
    ++*static_cast<std::atomic<int>*>(context);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return false;
  };
  rnnfast::Runner runner(1e9, look, &looks);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(600);
  const bool whole = runner.run([&](const rnnfast::Control& control) {
    while (std::chrono::steady_clock::now() < end) control.interrupted(control.team);
  });
  return expect(whole && looks >= 1 && looks <= 6, "how often a call looks for a stop");
}

bool threads_have_work() {
  rnnfast::set_num_threads(64);
  const int processors = rnnfast::processors();
  bool right = rnnfast::Runner(1e6).threads() == 1 &&
               rnnfast::Runner(1e12).threads() == std::min(processors, 64);
  for (double millions : {2, 3, 7, 40}) {
    const int threads = rnnfast::Runner(millions * 1e6).threads();
    right = right && threads >= std::min(2, processors) && threads <= millions;
  }
  return expect(right, "a call has no more threads than processors and millions of operations");
}

}  // namespace

int main() {
  bool right = late_threads_get_no_place();
  right = each_task_runs_once() && right;
  right = looks_cost_little() && right;
  return threads_have_work() && right ? 0 : 1;
}
