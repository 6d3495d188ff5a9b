// The processors that this process may use, and the number of threads that a user wants.
#pragma once

namespace rnnfast {

// By affinity, and no more than the control group's quota, as they were when the library was
// loaded.
int processors();

// The number of threads to use: set_num_threads, else RNNFAST_NUM_THREADS, else OMP_NUM_THREADS,
// else the processors; the environment as it was when the library was loaded.
int num_threads();
void set_num_threads(int n);  // n >= 1

}  // namespace rnnfast
