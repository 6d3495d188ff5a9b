#include "processors.hpp"

#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace rnnfast {
namespace {

int count_processors() {
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

int default_threads(int cores) {
  for (const char* name : {"RNNFAST_NUM_THREADS", "OMP_NUM_THREADS"})
    if (const int n = from_environment(name)) return n < cores ? n : cores;
  return cores;
}

// Found when the library is loaded: at the first call another thread may be about to fork, and the
// child would wait for it for ever.
const int processors_at_start = count_processors();
const int threads_at_start = default_threads(processors_at_start);
std::atomic<int> chosen_threads{0};

}  // namespace

int processors() { return processors_at_start; }

int num_threads() {
  const int n = chosen_threads.load();
  return n > 0 ? n : threads_at_start;
}

void set_num_threads(int n) { chosen_threads = n; }

}  // namespace rnnfast
