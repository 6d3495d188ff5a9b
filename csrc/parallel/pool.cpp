#include "pool.hpp"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "denormals.hpp"
#include "offer.hpp"
#include "processors.hpp"
#include "worker.hpp"

namespace rnnfast {
namespace {

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
  int run(idx tasks, int threads, Ask ask, void (*task)(void*, idx, int), void* context,
          bool (*poll)(void*), void* poll_context) {
    std::unique_lock<std::mutex> busy(busy_, std::defer_lock);
    if (threads > tasks) threads = static_cast<int>(tasks);
    if (threads <= 1 || tasks > Offer::most || !is_free(busy, ask)) {
      busy = {};
      for (idx i = 0; i < tasks; ++i) task(context, i, 0);
      return 1;
    }
    const Inside inside;
    announce({threads, context, tasks, task, nullptr});
    const idx mine = work(number_, 0);
    const auto waited = wait_for_others(tasks - mine, poll, poll_context);
    // of tasks that are alike, the last is half of the time at most
    if (waited > (Clock::now() - began_) * 3 / 4) leave_alone(waited);
    return 1 + took_part_.load(std::memory_order_relaxed);
  }

  int run_gang(int threads, Ask ask, std::chrono::microseconds patience,
               std::chrono::nanoseconds longest, void (*task)(void*, int, int), void* context) {
    std::unique_lock<std::mutex> busy(busy_, std::defer_lock);
    threads = std::min(threads, processors());
    if (threads <= 1 || !is_free(busy, ask) || is_far(longest)) {
      busy = {};
      task(context, 0, 1);
      return 1;
    }
    const Inside inside;
    gang_size_.store(0, std::memory_order_relaxed);
    long_waits_.store(0, std::memory_order_relaxed);
    const int called = announce({threads, context, 0, nullptr, task});
    const int not_called = job_.threads - 1 - called;
    while (offer_.left() > not_called && Clock::now() - began_ < patience) relax();
    const int there = job_.threads - static_cast<int>(offer_.close());
    Clock::duration waited{0};
    if (there > 1 && until_measurement_-- == 0) waited = measure_handover();
    const int size = handover_ > longest ? 1 : there;
    gang_size_.store(size, std::memory_order_release);
    task(context, 0, size);
    waited += wait_for_others(there - 1, nullptr, nullptr);
    // each thread's, which slices of unequal size make a quarter of the time
    waited += Clock::duration(long_waits_.load(std::memory_order_relaxed) / size);
    if (waited > (Clock::now() - began_) / 3) leave_alone(waited);
    return size;
  }

  // Its calls in one wait follow each other closely, after 25 to 40 microseconds.
  void wait_long() {
    static thread_local Clock::time_point last;
    const auto now = Clock::now();
    if (now - last < std::chrono::microseconds(100)) long_waits_.fetch_add((now - last).count());
    last = now;
    std::this_thread::yield();
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Job {
    int threads;
    void* context;
    idx tasks;
    void (*task)(void*, idx, int);
    void (*gang)(void*, int, int);  // instead of tasks
  };

  static constexpr int gangs_per_measurement = 16;

  // Whether a job may use other threads; `busy` is then locked.
  bool is_free(std::unique_lock<std::mutex>& busy, Ask ask) {
    if (Inside::now || !busy.try_lock()) return false;
    const auto now = Clock::now();
    wake_ = ask != Ask::awake || now - began_ < long_spin_time;
    began_ = now;
    return ask == Ask::always || now >= alone_until_;
  }

  // Whether the hand-over took longer than that when it was last measured, not long ago.
  bool is_far(std::chrono::nanoseconds longest) {
    if (handover_ <= longest || until_measurement_ == 0) return false;
    --until_measurement_;
    return true;
  }

  // A thread that shares its processor with other work is put aside for milliseconds now and then,
  // in the middle of a task too. After that the caller works alone for a while, which doubles where
  // it goes on like this: once in a while nothing is lost, and beside a busy process not much.
  void leave_alone(Clock::duration held_up) {
    if (held_up < std::chrono::microseconds(500)) return;
    const auto now = Clock::now();
    const Clock::duration most = std::chrono::milliseconds(100);
    alone_for_ = now - alone_until_ < 4 * alone_for_ ? 2 * alone_for_ : 2 * std::min(held_up, most);
    alone_for_ = std::min(alone_for_, most);
    alone_until_ = now + alone_for_;
  }

  // Starts workers up to that number, or as many as the system gives.
  void start(int workers) noexcept {
    if (number_of_workers() >= workers) return;
    const SignalsBlocked blocked;  // they are for the threads that the program knows
    try {
      workers_.reserve(static_cast<std::size_t>(workers));
      while (number_of_workers() < workers) {
        auto worker = std::make_unique<Worker>(number_of_workers() + 1);
        std::thread(&Pool::serve, this, std::ref(*worker)).detach();
        workers_.push_back(std::move(worker));
      }
    } catch (const std::exception&) {  // the next call tries again
    }
  }
  int number_of_workers() const { return static_cast<int>(workers_.size()); }

  // Offers a new job, and calls no more workers than it has threads: returns how many.
  int announce(const Job& job) {
    start(job.threads - 1);
    const int threads = std::min(job.threads, number_of_workers() + 1);
    job_ = job;
    job_.threads = threads;
    threads_.store(threads, std::memory_order_relaxed);
    took_part_.store(0, std::memory_order_relaxed);
    finished_.store(0, std::memory_order_relaxed);
    offer_.open(++number_, job.gang == nullptr ? job.tasks : threads - 1);
    int called = 0;
    for (std::size_t i = 0; i + 1 < static_cast<std::size_t>(threads); ++i)
      called += workers_[i]->call(number_, wake_);
    return called;
  }

  // Runs tasks of that job until none is left. Returns how many.
  idx work(std::uint32_t number, int slot) {
    idx done = 0;
    for (idx left; (left = offer_.take(number)) > 0; ++done)
      job_.task(job_.context, job_.tasks - left, slot);
    return done;
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
  // Returns how long that took.
  Clock::duration measure_handover() {
    constexpr int goes = 2, turns = 3;
    const auto begin = Clock::now();
    until_measurement_ = gangs_per_measurement - 1;
    handover_ = std::chrono::nanoseconds::max();
    for (int go = 0; go < goes; ++go) {
      const auto since = Clock::now();
      for (int turn = 0; turn < turns; ++turn) {
        const int number = there_.load(std::memory_order_relaxed) + 1;
        there_.store(number, std::memory_order_release);
        for (int wait = 0; back_.load(std::memory_order_acquire) != number; ++wait)
          wait_a_turn(wait);
      }
      const std::chrono::nanoseconds taken = Clock::now() - since;
      handover_ = std::min(handover_, taken / turns);
    }
    return Clock::now() - begin;
  }

  // For those that took a place: the only ones that may hold up the caller. Returns how long.
  Clock::duration wait_for_others(idx places, bool (*poll)(void*), void* poll_context) {
    if (finished_.load(std::memory_order_acquire) >= places) return {};
    const auto since = Clock::now();
    for (int turn = 0; finished_.load(std::memory_order_acquire) < places; ++turn) {
      relax();
      if (turn % 1024 != 1023) continue;
      if (poll != nullptr) poll(poll_context);
      if (Clock::now() - since > spin_time) std::this_thread::yield();
    }
    return Clock::now() - since;
  }

  // What a worker that was called does. The job is read only by who holds a place in it.
  void take_part(std::uint32_t number, int slot) {
    const idx left = offer_.take(number);
    if (left == 0) return;
    took_part_.fetch_add(1, std::memory_order_relaxed);
    idx done = 1;
    if (job_.gang != nullptr) {
      join_gang(job_.threads - static_cast<int>(left));
    } else {
      job_.task(job_.context, job_.tasks - left, slot);
      done += work(number, slot);
    }
    finished_.fetch_add(done, std::memory_order_release);
  }

  [[noreturn]] void serve(Worker& worker) {
    const FlushDenormals flush;
    const Inside inside;
    worker.begin();
    for (;;) take_part(worker.next_call(may_spin(worker.slot)), worker.slot);
  }

  // Threads beyond the number of processors, or in a job that has more of them, would by spinning
  // keep others from their work.
  bool may_spin(int slot) const {
    return slot < processors() && threads_.load(std::memory_order_relaxed) <= processors();
  }

  std::mutex busy_;
  std::vector<std::unique_ptr<Worker>> workers_;
  Clock::time_point began_;        // the last job
  Clock::time_point alone_until_;  // the caller works alone until then,
  Clock::duration alone_for_{0};   // and so long
  bool wake_ = false;              // for this job
  Job job_ = {};
  std::uint32_t number_ = 0;  // of the job
  Offer offer_;
  alignas(128) std::atomic<idx> finished_{0};
  std::atomic<int> took_part_{0};
  std::atomic<int> threads_{1};  // of the last job
  std::atomic<int> gang_size_{0};
  alignas(128) std::atomic<int> there_{0};
  alignas(128) std::atomic<int> back_{0};
  std::atomic<Clock::rep> long_waits_{0};  // how long they took, of all threads of a gang
  int until_measurement_ = 0;              // gangs
  std::chrono::nanoseconds handover_{0};
};

// Never destroyed: its threads may outlive every static object. A forked child has none of the
// threads, and locks in any state: it starts with a new pool. Made when the library is loaded,
// since at the first call another thread may be about to fork.
std::atomic<Pool*> pool{[] {
  pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
  return new Pool;
}()};

}  // namespace

int run_tasks(idx tasks, int threads, Ask ask, void (*task)(void*, idx, int), void* context,
              bool (*poll)(void*), void* poll_context) noexcept {
  return pool.load()->run(tasks, threads, ask, task, context, poll, poll_context);
}

int run_gang(int threads, Ask ask, std::chrono::microseconds patience,
             std::chrono::nanoseconds handover, void (*task)(void*, int, int),
             void* context) noexcept {
  return pool.load()->run_gang(threads, ask, patience, handover, task, context);
}

void wait_long_in_gang() noexcept { pool.load()->wait_long(); }

}  // namespace rnnfast
