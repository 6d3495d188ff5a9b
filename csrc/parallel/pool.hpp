// The library's own threads: started when first needed, waiting for work with a short spin and then
// asleep, and new in a forked child. Where the system gives no more threads, the work is done by
// those there are. A forked child must not go on with a call that was under way: a signal handler
// that forks has to end the child itself.
#pragma once
#include <chrono>
#include <cstddef>

namespace rnnfast {

using idx = std::ptrdiff_t;

// Who is asked to take part in a job.
enum class Ask {
  awake,   // it is short: those that sleep only where jobs follow each other closely, since waking
           // one takes the caller as long
  asleep,  // those that sleep too
  always,  // also just after other work on their processors has held up a job: for tests
};

// Runs task(context, index, slot) for every index below `tasks`, on the calling thread (slot 0) and
// up to threads - 1 others; no more than there are tasks. Threads that are late, or put aside
// before they have begun a task, hold up nobody: the others do the work. Runs all tasks on the
// calling thread if the pool is busy: with another caller, or because this call comes from inside a
// task. `poll`, unless null, is called now and then while the caller waits for the others. Returns
// the number of threads that took part.
int run_tasks(idx tasks, int threads, Ask ask, void (*task)(void* context, idx index, int slot),
              void* context, bool (*poll)(void*), void* poll_context) noexcept;

// Runs task(context, rank, size) once for each rank below a size, all at the same time, so that
// they may wait for each other. Any size from 1 to the lesser of `threads` and the number of
// processors may come out (all of 16 threads where there are 16 processors): it is that of the
// threads that are there within `patience`, since they may have to wake. It is 1 if the pool is
// busy, or if two threads now take longer than `handover` to pass a number there and back, which
// is measured now and then. Returns the size.
int run_gang(int threads, Ask ask, std::chrono::microseconds patience,
             std::chrono::nanoseconds handover, void (*task)(void* context, int rank, int size),
             void* context) noexcept;

// For a thread in a gang that has waited some 20 microseconds for the others: lets another thread
// run.
void wait_long_in_gang() noexcept;

}  // namespace rnnfast
