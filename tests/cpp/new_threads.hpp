// Threads that are started for each task.
#pragma once
#include <atomic>

#include "layer.hpp"

namespace test {

// Every task on one of several threads that are started for it.
inline void parallel_on_new_threads(void* team, idx tasks, void (*task)(void*, idx, int),
                                    void* context) {
  std::atomic<idx> next{0};
  auto work = [&](int slot) {
    for (idx i; (i = next++) < tasks;) task(context, i, slot);
  };
  std::vector<std::thread> others;
  const idx slots = std::min<idx>(tasks, *static_cast<int*>(team));
  for (int slot = 1; slot < slots; ++slot) others.emplace_back(work, slot);
  work(0);
  for (std::thread& thread : others) thread.join();
}

inline rnnfast::Control new_threads(int* threads) {
  rnnfast::Control control = control_of(*threads);
  control.team = threads;
  control.parallel = parallel_on_new_threads;
  return control;
}

}  // namespace test
