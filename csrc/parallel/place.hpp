// Where a thread runs.
#pragma once
#include <sched.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace rnnfast {

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

}  // namespace rnnfast
