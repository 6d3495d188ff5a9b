// Running kernels: how many threads take part in a call, how long it waits for them, and whether it
// has been cancelled. Knows nothing of who calls.
#pragma once
#include <atomic>
#include <chrono>
#include <thread>

#include "driver/control.hpp"
#include "parallel/denormals.hpp"
#include "parallel/pool.hpp"

namespace rnnfast {

// For tests, which let threads take part in the smallest of calls.
struct RunSettings {
  // Work below this stays on the calling thread, and each thread has half of it at least. 0: as
  // many threads as were wanted, for anything, and more than there are processors too.
  double parallel_operations = 2e6;
  bool any_handover = false;  // threads share units however long their hand-over takes
};
RunSettings run_settings();
void set_run_settings(const RunSettings& settings);

// A thread alone, for work that is too short for anything else.
extern const Control one_thread;

// Whether so many operations are over before a second thread, or letting go of a lock, gains
// anything: they can do without a Runner.
bool is_short(double operations);

int last_threads();  // how many threads took part in the last call

// One call. `cancelled(context)`, unless null, is asked now and then while a long call runs, on the
// calling thread and with the caller's own handling of denormals; once it says yes, the call ends
// soon and its results are worth nothing.
class Runner {
 public:
  explicit Runner(double operations, bool (*cancelled)(void*) = nullptr, void* context = nullptr);

  int threads() const { return threads_; }
  // Long enough for the caller to let go of a lock meanwhile.
  bool is_long() const;

  // f(control) is the work. Returns whether it was done to its end.
  template <class F>
  bool run(F&& f) {
    const FlushDenormals flush;
    flush_ = &flush;
    const Control control = {threads_, this, parallel, interrupted, gang, wait_long_in_gang};
    f(control);
    flush_ = nullptr;
    return !stop_;
  }

 private:
  static void parallel(void* team, std::ptrdiff_t tasks, void (*task)(void*, std::ptrdiff_t, int),
                       void* context);
  static bool interrupted(void* team);
  static void gang(void* team, int most, double between, void (*task)(void*, int, int),
                   void* context);

  double operations_;
  bool (*cancelled_)(void*);
  void* context_;
  int threads_;
  const FlushDenormals* flush_ = nullptr;
  std::thread::id caller_ = std::this_thread::get_id();
  std::chrono::steady_clock::time_point next_look_;
  std::atomic<bool> stop_{false};
};

}  // namespace rnnfast
