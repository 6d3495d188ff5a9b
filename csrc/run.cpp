#include "run.hpp"

#include <algorithm>

#include "parallel/pool.hpp"
#include "parallel/processors.hpp"

namespace rnnfast {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;

// 2e6 operations take about 20 microseconds: less is over before a second thread has begun.
std::atomic<double> parallel_operations{RunSettings().parallel_operations};
std::atomic<bool> any_handover{RunSettings().any_handover};
std::atomic<int> threads_of_last_call{1};

// About 5 to 10 microseconds: letting go of a lock that others want costs as much.
constexpr double long_operations = 5e5;

// A look may have to wait for that lock, where others are busy several milliseconds: then it is
// some time until the next. Nobody notices a tenth of a second between a key and its answer, and
// chunks of steps come in between.
constexpr auto look_every = std::chrono::milliseconds(30);
constexpr auto most_between = std::chrono::milliseconds(100);
constexpr int waits_between_looks = 20;

// How long to wait for threads to join a gang. A thread takes 60 microseconds and more to wake. For
// a long call that and an eighth of what it would take one thread alone, at 10^11 operations a
// second, is worth waiting for, but not seconds: where the other processors are busy, none will
// come. A short call does not wait longer than a quarter of its time for what may not come.
constexpr double waking_microseconds = 60, most_patience_microseconds = 1e4;
constexpr double operations_per_microsecond = 1e5, patient_part = 1.0 / 8, short_part = 1.0 / 4;

std::chrono::microseconds patience(double operations) {
  const double alone = operations / operations_per_microsecond;
  double wait = std::min(waking_microseconds + patient_part * alone, most_patience_microseconds);
  if (!any_handover) wait = std::min(wait, short_part * alone);
  return microseconds(static_cast<microseconds::rep>(wait));
}

// Waking a thread takes the caller up to 60 microseconds too, on a virtual machine; it must be able
// to save as much.
constexpr double waking_operations = 2e7;

Ask whom_to_ask(double operations) {
  if (any_handover) return Ask::always;
  return operations < waking_operations ? Ask::awake : Ask::asleep;
}

// No more than there are processors, and than each has something to do.
int useful_threads(double operations) {
  const double least = parallel_operations;
  if (operations < least) return 1;
  if (least == 0) return num_threads();
  const int most = std::min(num_threads(), processors());
  return static_cast<int>(std::min(operations / (least / 2), static_cast<double>(most)));
}

}  // namespace

RunSettings run_settings() { return {parallel_operations, any_handover}; }
void set_run_settings(const RunSettings& settings) {
  parallel_operations = settings.parallel_operations;
  any_handover = settings.any_handover;
}

const Control one_thread = {
    1,
    nullptr,
    [](void*, std::ptrdiff_t tasks, void (*task)(void*, std::ptrdiff_t, int), void* context) {
      for (std::ptrdiff_t i = 0; i < tasks; ++i) task(context, i, 0);
    },
    [](void*) { return false; },
    nullptr,
    nullptr,
};

bool is_short(double operations) {
  return operations < long_operations && operations < parallel_operations;
}

int last_threads() { return threads_of_last_call; }

Runner::Runner(double operations, bool (*cancelled)(void*), void* context)
    : operations_(operations),
      cancelled_(cancelled),
      context_(context),
      threads_(useful_threads(operations)),
      next_look_(std::chrono::steady_clock::now() + look_every) {
  threads_of_last_call = 1;
}

bool Runner::is_long() const { return operations_ >= long_operations; }

void Runner::parallel(void* team, std::ptrdiff_t tasks, void (*task)(void*, std::ptrdiff_t, int),
                      void* context) {
  auto* self = static_cast<Runner*>(team);
  const int took_part = run_tasks(tasks, self->threads_, whom_to_ask(self->operations_), task,
                                  context, interrupted, team);
  if (took_part > threads_of_last_call) threads_of_last_call = took_part;
}

void Runner::gang(void* team, int most, double between, void (*task)(void*, int, int),
                  void* context) {
  auto* self = static_cast<Runner*>(team);
  // two threads save half of the time between two meetings
  const auto longest =
      any_handover ? nanoseconds::max() : nanoseconds(static_cast<nanoseconds::rep>(between / 2));
  const int size = run_gang(std::min(self->threads_, most), whom_to_ask(self->operations_),
                            patience(self->operations_), longest, task, context);
  if (size > threads_of_last_call) threads_of_last_call = size;
}

bool Runner::interrupted(void* team) {
  auto* self = static_cast<Runner*>(team);
  if (self->stop_) return true;
  if (self->cancelled_ == nullptr || !self->is_long() ||
      std::this_thread::get_id() != self->caller_)
    return false;
  const auto before = std::chrono::steady_clock::now();
  if (before < self->next_look_) return false;
  const FlushDenormals::Pause pause(*self->flush_);
  if (self->cancelled_(self->context_)) self->stop_ = true;
  const auto after = std::chrono::steady_clock::now();
  self->next_look_ = after + std::clamp<std::chrono::steady_clock::duration>(
                                 waits_between_looks * (after - before), look_every, most_between);
  return self->stop_;
}

}  // namespace rnnfast
