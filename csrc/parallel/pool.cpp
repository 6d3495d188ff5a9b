#include "pool.hpp"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "denormals.hpp"
#include "place.hpp"
#include "processors.hpp"

namespace rnnfast {
namespace {

// How long a worker looks out for the next job before it sleeps. Waking takes longer than a small
// job, up to a third of a millisecond: where the last sleep was shorter than the long time, as
// between the calls of a training loop, spinning for it would have been better, and is next.
constexpr auto spin_time = std::chrono::microseconds(30);
constexpr auto long_spin_time = std::chrono::microseconds(1000);

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// One turn of a loop that waits for another thread. After many, that thread may be waiting for this
// one's processor.
inline void wait_a_turn(int turn) {
  relax();
  if (turn % 1024 == 1023) std::this_thread::yield();
}

// No signal is delivered to a thread that is started while this lives.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// Marks the thread as one that works for the pool: what it calls meanwhile, a signal handler too,
// must not wait for the pool.
class Inside {
 public:
  Inside() { now = true; }
  ~Inside() { now = false; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  static thread_local bool now;
};
thread_local bool Inside::now = false;

class Pool {
 public:
  int run(idx tasks, int threads, void (*task)(void*, idx, int), void* context, bool (*poll)(void*),
          void* poll_context) {
    std::unique_lock<std::mutex> busy(busy_, std::defer_lock);
    if (threads > tasks) threads = static_cast<int>(tasks);
    if (threads <= 1 || Inside::now || !busy.try_lock()) {
      for (idx i = 0; i < tasks; ++i) task(context, i, 0);
      return 1;
    }
    const Inside inside;
    announce({threads, context, tasks, task, nullptr});
    work(0);
    door_.fetch_or(closed, std::memory_order_acq_rel);
    wait_for_others(poll, poll_context);
    return took_part_.load(std::memory_order_relaxed);
  }

  int run_gang(int threads, std::chrono::microseconds patience, std::chrono::nanoseconds longest,
               void (*task)(void*, int, int), void* context) {
    std::unique_lock<std::mutex> busy(busy_, std::defer_lock);
    threads = std::min(threads, processors());
    if (threads <= 1 || Inside::now || !busy.try_lock()) {
      task(context, 0, 1);
      return 1;
    }
    gang_size_.store(0, std::memory_order_relaxed);
    const Inside inside;
    threads = announce({threads, context, 0, nullptr, task});
    const auto since = std::chrono::steady_clock::now();
    while (took_part_.load(std::memory_order_acquire) < threads &&
           std::chrono::steady_clock::now() - since < patience)
      relax();
    // whoever is inside counts; the few that only looked in leave by themselves
    door_.fetch_or(closed, std::memory_order_acq_rel);
    int size;
    do {
      relax();
      size = took_part_.load(std::memory_order_acquire);
    } while ((door_.load(std::memory_order_acquire) & ~closed) !=
             static_cast<std::uint32_t>(size - 1));
    if (size > 1 && gangs_++ % gangs_per_measurement == 0) measure_handover();
    if (handover_ > longest) size = 1;
    gang_size_.store(size, std::memory_order_release);
    task(context, 0, size);
    wait_for_others(nullptr, nullptr);
    return size;
  }

 private:
  struct Job {
    int threads;
    void* context;
    idx tasks;
    void (*task)(void*, idx, int);
    void (*gang)(void*, int, int);  // instead of tasks
  };

  // door_ counts the workers inside the current job; `closed` keeps late ones out, so that the
  // caller need not wait for a sleeping thread that the job can do without.
  static constexpr std::uint32_t closed = 1u << 31;
  static constexpr unsigned gangs_per_measurement = 16;

  // Starts threads up to that number, or as many as the system gives.
  void start(int threads) noexcept {
    if (started_ >= threads) return;
    const SignalsBlocked blocked;  // they are for the threads that the program knows
    try {
      {
        std::lock_guard<std::mutex> lock(sleep_);
        sleepers_.reserve(static_cast<std::size_t>(threads));
      }
      for (; started_ < threads; ++started_) std::thread(&Pool::serve, this, started_ + 1).detach();
    } catch (const std::exception&) {  // the next call tries again
    }
  }

  // Opens the door to a new job and wakes the sleepers. Returns how many threads may come.
  int announce(const Job& job) {
    start(job.threads - 1);
    const int threads = std::min(job.threads, started_ + 1);
    job_ = job;
    threads_.store(threads, std::memory_order_relaxed);
    next_.store(0, std::memory_order_relaxed);
    took_part_.store(1, std::memory_order_relaxed);
    door_.fetch_and(~closed, std::memory_order_acq_rel);  // a late one may still be leaving
    generation_.fetch_add(1);
    if (asleep_.load() == 0) return threads;
    {
      std::lock_guard<std::mutex> lock(sleep_);
      for (Place* sleeper : sleepers_) sleeper->avoid_this_processor();
    }
    wake_.notify_all();
    return threads;
  }

  void work(int slot) {
    for (idx i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < job_.tasks;)
      job_.task(job_.context, i, slot);
  }

  void join_gang(int rank) {
    int size, seen = back_.load(std::memory_order_relaxed);
    for (int turn = 0; (size = gang_size_.load(std::memory_order_acquire)) == 0; ++turn) {
      const int number = there_.load(std::memory_order_acquire);
      if (rank == 1 && number != seen) back_.store(seen = number, std::memory_order_release);
      wait_a_turn(turn);
    }
    if (rank < size) job_.gang(job_.context, rank, size);
  }

  // How long the caller and the thread of rank 1, which both wait in the gang, take to pass a
  // number there and back. It depends on where they run just then: on a virtual machine, or where
  // the processors do not all share a cache, it may grow fivefold from one moment to the next.
  void measure_handover() {
    constexpr int goes = 2, turns = 3;
    handover_ = std::chrono::nanoseconds::max();
    for (int go = 0; go < goes; ++go) {
      const auto since = std::chrono::steady_clock::now();
      for (int turn = 0; turn < turns; ++turn) {
        const int number = there_.load(std::memory_order_relaxed) + 1;
        there_.store(number, std::memory_order_release);
        for (int wait = 0; back_.load(std::memory_order_acquire) != number; ++wait)
          wait_a_turn(wait);
      }
      const std::chrono::nanoseconds taken = std::chrono::steady_clock::now() - since;
      handover_ = std::min(handover_, taken / turns);
    }
  }

  void wait_for_others(bool (*poll)(void*), void* poll_context) {
    auto since = std::chrono::steady_clock::now();
    for (int turn = 0; door_.load(std::memory_order_acquire) != closed; ++turn) {
      relax();
      if (turn % 1024 != 1023) continue;
      if (poll != nullptr) poll(poll_context);
      if (std::chrono::steady_clock::now() - since > spin_time) std::this_thread::yield();
    }
  }

  [[noreturn]] void serve(int slot) {
    const FlushDenormals flush;
    const Inside inside;
    std::uint64_t seen = 0;
    Place place;
    place.begin();
    auto spin = spin_time;
    for (;;) {
      if (!may_spin(slot) || !spin_for_job(seen, spin))
        spin = sleep_for_job(seen, place) < long_spin_time ? long_spin_time : spin_time;
      seen = generation_.load();
      const bool in_time = (door_.fetch_add(1, std::memory_order_acq_rel) & closed) == 0;
      if (in_time && slot < job_.threads) {
        const int rank = took_part_.fetch_add(1, std::memory_order_acq_rel);
        if (job_.gang != nullptr)
          join_gang(rank);
        else
          work(slot);
      }
      door_.fetch_sub(1, std::memory_order_acq_rel);
    }
  }

  // Threads beyond the number of processors, or in a job that has more of them, would by spinning
  // keep others from their work.
  bool may_spin(int slot) const {
    return slot < processors() && threads_.load(std::memory_order_relaxed) <= processors();
  }

  // Whether there was one in that time.
  bool spin_for_job(std::uint64_t seen, std::chrono::microseconds time) {
    const auto since = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - since < time)
      for (int turn = 0; turn < 64; ++turn) {
        if (generation_.load(std::memory_order_acquire) != seen) return true;
        relax();
      }
    return false;
  }

  // How long it took.
  std::chrono::steady_clock::duration sleep_for_job(std::uint64_t seen, Place& place) {
    const auto since = std::chrono::steady_clock::now();
    std::unique_lock<std::mutex> lock(sleep_);
    asleep_.fetch_add(1);
    sleepers_.push_back(&place);
    wake_.wait(lock, [&] { return generation_.load() != seen; });
    sleepers_.erase(std::find(sleepers_.begin(), sleepers_.end(), &place));
    asleep_.fetch_sub(1);
    place.restore();
    return std::chrono::steady_clock::now() - since;
  }

  std::mutex busy_;
  int started_ = 0;
  Job job_ = {};
  alignas(64) std::atomic<idx> next_{0};
  alignas(64) std::atomic<std::uint32_t> door_{closed};
  alignas(64) std::atomic<std::uint64_t> generation_{0};
  std::atomic<int> took_part_{0};
  std::atomic<int> threads_{1};  // of the last job
  std::atomic<int> gang_size_{0};
  alignas(64) std::atomic<int> there_{0};
  alignas(64) std::atomic<int> back_{0};
  unsigned gangs_ = 0;
  std::chrono::nanoseconds handover_{0};
  std::atomic<int> asleep_{0};
  std::mutex sleep_;
  std::condition_variable wake_;
  std::vector<Place*> sleepers_;
};

// Never destroyed: its threads may outlive every static object. A forked child has none of the
// threads, and locks in any state: it starts with a new pool. Made when the library is loaded,
// since at the first call another thread may be about to fork.
std::atomic<Pool*> pool{[] {
  pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
  return new Pool;
}()};

}  // namespace

int run_tasks(idx tasks, int threads, void (*task)(void*, idx, int), void* context,
              bool (*poll)(void*), void* poll_context) noexcept {
  return pool.load()->run(tasks, threads, task, context, poll, poll_context);
}

int run_gang(int threads, std::chrono::microseconds patience, std::chrono::nanoseconds handover,
             void (*task)(void*, int, int), void* context) noexcept {
  return pool.load()->run_gang(threads, patience, handover, task, context);
}

}  // namespace rnnfast
