// How a kernel runs its tasks and learns that it should stop. Filled by the caller of the kernels.
#pragma once
#include <cstddef>

namespace rnnfast {

struct Control {
  int threads;  // how many tasks may run at once; each has a slot below this
  void* team;
  void (*parallel)(void* team, std::ptrdiff_t tasks,
                   void (*task)(void* context, std::ptrdiff_t index, int slot), void* context);
  bool (*interrupted)(void* team);  // asked between chunks of steps; the results are then discarded
};

}  // namespace rnnfast
