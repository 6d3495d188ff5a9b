// The library's own threads: started when first needed, waiting for work with a short spin and then
// asleep, and new in a forked child. Where the system gives no more threads, the work is done by
// those there are. A forked child must not go on with a call that was under way: a signal handler
// that forks has to end the child itself.
#pragma once
#include <chrono>
#include <cstddef>

namespace rnnfast {

using idx = std::ptrdiff_t;

// Runs task(context, index, slot) for every index below `tasks`, on the calling thread (slot 0) and
// up to threads - 1 others. Runs them all on the calling thread if the pool is busy: with another
// caller, or because this call comes from inside a task. `poll`, unless null, is called now and
// then while the caller waits for the others. Returns the number of threads that took part.
int run_tasks(idx tasks, int threads, void (*task)(void* context, idx index, int slot),
              void* context, bool (*poll)(void*), void* poll_context) noexcept;

// Runs task(context, rank, size) once for each rank below a size that is at most `threads` and the
// number of processors: all at the same time, so that they may wait for each other. The size is
// that of the threads that are there within `patience`, since they may have to wake; 1 if the pool
// is busy, or if two threads now take longer than `handover` to pass a number there and back, which
// is measured now and then. Returns the size.
int run_gang(int threads, std::chrono::microseconds patience, std::chrono::nanoseconds handover,
             void (*task)(void* context, int rank, int size), void* context) noexcept;

}  // namespace rnnfast
