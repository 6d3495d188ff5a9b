// Threads that share one group of rows: each owns a slice of the hidden units through all steps,
// and they wait for each other after every stage of a step.
#pragma once
#include "../problem.hpp"
#include "control.hpp"

namespace rnnfast {
namespace {

// What the threads of a gang share; zero at the start. Nothing else lies in its cache lines: they
// are written by one thread while the others look at them.
struct alignas(64) Meeting {
  idx arrived;
  idx stop;  // `arrived` at the meeting that decides to stop; 0: none has
  char apart[128 - 2 * sizeof(idx)];
};

// One turn of a loop that waits for another thread. Every so many it lets others run, who may be
// waiting for this processor, and returns true.
inline bool wait_a_turn(const Control& control, idx turn) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
  if (turn % 1024 != 0) return false;
  if (control.yield != nullptr) control.yield();
  return true;
}

class Gang {
 public:
  // A gang of one: no meeting is needed.
  explicit Gang(const Control& control) : control_(&control) {}
  Gang(const Control& control, int rank, int size, Meeting* meeting)
      : control_(&control), rank_(rank), size_(size), meeting_(meeting) {}

  bool leads() const { return rank_ == 0; }
  int rank() const { return rank_; }
  int size() const { return size_; }

  // The panels of units that this thread owns: [first, last) of so many.
  idx first(idx panels) const { return panels * rank_ / size_; }
  idx last(idx panels) const { return panels * (rank_ + 1) / size_; }

  // Returns when every thread of the gang has called it as often.
  void wait() {
    if (size_ == 1) return;
    round_ += size_;
    __atomic_add_fetch(&meeting_->arrived, 1, __ATOMIC_ACQ_REL);
    for (idx turn = 1; __atomic_load_n(&meeting_->arrived, __ATOMIC_ACQUIRE) < round_; ++turn)
      wait_a_turn(*control_, turn);
  }

  // Whether to stop, as the leading thread finds; all threads get the same answer. It is that of
  // one meeting: the leader may be on its way to the next before another thread has read it.
  bool stopped() {
    if (size_ == 1) return control_->interrupted(control_->team);
    if (leads() && !stop_found_ && control_->interrupted(control_->team)) {
      stop_found_ = true;
      __atomic_store_n(&meeting_->stop, round_ + size_, __ATOMIC_RELEASE);
    }
    wait();
    const idx stop = __atomic_load_n(&meeting_->stop, __ATOMIC_ACQUIRE);
    return stop != 0 && stop <= round_;
  }

 private:
  const Control* control_;
  int rank_ = 0, size_ = 1;
  Meeting* meeting_ = nullptr;
  idx round_ = 0;
  bool stop_found_ = false;  // by the leader
};

// How the threads of a call are divided among its chains, where these share out no rows.
struct Teams {
  idx count, size;
};

// A thread or more to each chain that may run at the same time. But where one thread's part of the
// weights is `far`, beyond its cache, teams as large as is worth while, which then go through the
// chains one after the other.
inline Teams divide_threads(idx threads, idx chains, idx most_threads, bool far) {
  const idx most = far ? threads / most_threads : threads;
  const idx count = most < 1 ? 1 : most < chains ? most : chains;
  const idx size = threads / count;
  return {count, size < most_threads ? size : most_threads};
}

}  // namespace
}  // namespace rnnfast
