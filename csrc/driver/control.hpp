// How a kernel runs its tasks and learns that it should stop. Filled by the caller of the kernels.
#pragma once
#include <cstddef>

namespace rnnfast {

struct Control {
  int threads;  // how many tasks may run at once
  void* team;
  // Runs task(context, index, slot) for every index below `tasks`, in any order. Tasks that run at
  // once have slots of their own, below `threads` and below `tasks`.
  void (*parallel)(void* team, std::ptrdiff_t tasks,
                   void (*task)(void* context, std::ptrdiff_t index, int slot), void* context);
  // Asked every few milliseconds of work at least; the results are then discarded.
  bool (*interrupted)(void* team);
  // Runs task(context, rank, size) once for each rank below a size of its choice, `most` at most,
  // all at the same time, so that they may wait for each other. One thread would take about
  // `between` nanoseconds from one meeting to the next: where meeting takes long beside that, the
  // size is 1. Null: as if by one thread.
  void (*gang)(void* team, int most, double between,
               void (*task)(void* context, int rank, int size), void* context);
  // Lets another thread run: for a thread that has waited long. Null: there is nothing to do.
  void (*yield)();
};

}  // namespace rnnfast
