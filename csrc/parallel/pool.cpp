#include "pool.hpp"

#include <pthread.h>
#include <sched.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

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

// Processors by affinity, and no more than the control group's quota.
int processors() {
  int n = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");
  double quota = 0, period = 0;
  if (quota_file >> quota >> period && period > 0) {
    const int whole = static_cast<int>(quota / period + 0.5);
    if (whole >= 1 && whole < n) n = whole;
  }
#endif
  return n < 1 ? 1 : n;
}

int from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return 0;
  char* end;
  const long n = std::strtol(text, &end, 10);
  return end != text && n >= 1 && n < 100000 ? static_cast<int>(n) : 0;
}

int default_threads() {
  const int cores = processors();
  for (const char* name : {"RNNFAST_NUM_THREADS", "OMP_NUM_THREADS"})
    if (const int n = from_environment(name)) return n < cores ? n : cores;
  return cores;
}

std::atomic<int> chosen_threads{0};

// A sleeping thread's place. The kernel may wake it on the processor of the thread that wakes it,
// although another is idle (Linux looks for an idle one only while it believes that the cache's
// processors have time), and there it would wait until its caller has done all the work alone. So
// it is kept off that processor until it has woken.
class Place {
 public:
#if defined(__linux__)
  void begin() { thread_ = static_cast<pid_t>(syscall(SYS_gettid)); }
  void avoid_this_processor() {
    if (!moved_ && sched_getaffinity(thread_, sizeof home_, &home_) != 0) return;
    cpu_set_t others = home_;
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE) return;
    CPU_CLR(here, &others);
    if (CPU_COUNT(&others) > 0) moved_ = sched_setaffinity(thread_, sizeof others, &others) == 0;
  }
  void restore() {
    if (moved_) sched_setaffinity(0, sizeof home_, &home_);
    moved_ = false;
  }

 private:
  pid_t thread_ = 0;
  cpu_set_t home_;
  bool moved_ = false;
#else
  void begin() {}
  void avoid_this_processor() {}
  void restore() {}
#endif
};

class Pool {
 public:
  int run(idx tasks, int threads, void (*task)(void*, idx, int), void* context, bool (*poll)(void*),
          void* poll_context) {
    std::unique_lock<std::mutex> busy(busy_, std::defer_lock);
    if (threads > tasks) threads = static_cast<int>(tasks);
    if (threads <= 1 || inside_task || !busy.try_lock()) {
      for (idx i = 0; i < tasks; ++i) task(context, i, 0);
      return 1;
    }
    announce({threads, context, tasks, task, nullptr});
    work(0);
    door_.fetch_or(closed, std::memory_order_acq_rel);
    wait_for_others(poll, poll_context);
    return took_part_.load(std::memory_order_relaxed);
  }

  int run_gang(int threads, std::chrono::microseconds patience, std::chrono::nanoseconds longest,
               void (*task)(void*, int, int), void* context) {
    static const int cores = processors();
    std::unique_lock<std::mutex> busy(busy_, std::defer_lock);
    if (threads > cores) threads = cores;
    if (threads <= 1 || inside_task || !busy.try_lock()) {
      task(context, 0, 1);
      return 1;
    }
    gang_size_.store(0, std::memory_order_relaxed);
    announce({threads, context, 0, nullptr, task});
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
    inside_task = true;
    task(context, 0, size);
    inside_task = false;
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

  // Opens the door to a new job and wakes the sleepers.
  void announce(const Job& job) {
    for (; started_ < job.threads - 1; ++started_)
      std::thread(&Pool::serve, this, started_ + 1).detach();
    job_ = job;
    next_.store(0, std::memory_order_relaxed);
    took_part_.store(1, std::memory_order_relaxed);
    door_.fetch_and(~closed, std::memory_order_acq_rel);  // a late one may still be leaving
    generation_.fetch_add(1);
    if (asleep_.load() == 0) return;
    {
      std::lock_guard<std::mutex> lock(sleep_);
      for (Place* sleeper : sleepers_) sleeper->avoid_this_processor();
    }
    wake_.notify_all();
  }

  void work(int slot) {
    inside_task = true;
    for (idx i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < job_.tasks;)
      job_.task(job_.context, i, slot);
    inside_task = false;
  }

  void join_gang(int rank) {
    int size, seen = back_.load(std::memory_order_relaxed);
    while ((size = gang_size_.load(std::memory_order_acquire)) == 0) {
      const int number = there_.load(std::memory_order_acquire);
      if (rank == 1 && number != seen) back_.store(seen = number, std::memory_order_release);
    }
    if (rank >= size) return;
    inside_task = true;
    job_.gang(job_.context, rank, size);
    inside_task = false;
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
        while (back_.load(std::memory_order_acquire) != number) {
        }
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
    const bool may_spin = slot < processors();
    std::uint64_t seen = 0;
    Place place;
    place.begin();
    auto spin = spin_time;
    for (;;) {
      if (!may_spin || !spin_for_job(seen, spin))
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

  static thread_local bool inside_task;

  std::mutex busy_;
  int started_ = 0;
  Job job_ = {};
  alignas(64) std::atomic<idx> next_{0};
  alignas(64) std::atomic<std::uint32_t> door_{closed};
  alignas(64) std::atomic<std::uint64_t> generation_{0};
  std::atomic<int> took_part_{0};
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

thread_local bool Pool::inside_task = false;

// Never destroyed: its threads may outlive every static object. A forked child has none of the
// threads, and locks in any state: it starts with a new pool.
std::atomic<Pool*> pool{nullptr};

Pool& the_pool() {
  static const bool ready = [] {
    pool = new Pool;
    pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
    return true;
  }();
  (void)ready;
  return *pool.load();
}

}  // namespace

int num_threads() {
  if (const int n = chosen_threads.load()) return n;
  static const int n = default_threads();
  return n;
}

void set_num_threads(int n) { chosen_threads = n; }

int run_tasks(idx tasks, int threads, void (*task)(void*, idx, int), void* context,
              bool (*poll)(void*), void* poll_context) {
  return the_pool().run(tasks, threads, task, context, poll, poll_context);
}

int run_gang(int threads, std::chrono::microseconds patience, std::chrono::nanoseconds handover,
             void (*task)(void*, int, int), void* context) {
  return the_pool().run_gang(threads, patience, handover, task, context);
}

#if defined(__x86_64__)
FlushDenormals::FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
FlushDenormals::~FlushDenormals() { _mm_setcsr(before_); }
#else
FlushDenormals::FlushDenormals() = default;
FlushDenormals::~FlushDenormals() = default;
#endif

}  // namespace rnnfast
