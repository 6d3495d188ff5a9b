// probe: what this machine can do on one thread, measured with the kernels' own loops.
#include <atomic>
#include <chrono>
#include <vector>

#include "../parallel/pool.hpp"
#include "call.hpp"

namespace rnnfast {
namespace {

using Clock = std::chrono::steady_clock;

// Seconds that f takes: the least of several runs.
template <class F>
double least_time(F&& f, int runs = 7) {
  double least = 1e9;
  for (int i = 0; i < runs; ++i) {
    const auto start = Clock::now();
    f();
    least = std::min(least, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return least;
}

template <class R>
double peak() {
  std::vector<R> memory(8192, R(1e-3));
  double operations = 0;
  const double time =
      least_time([&] { operations = isa().of<R>().fma_loop(memory.data(), 20000); });
  return operations / time / 1e9;
}

double bandwidth(std::size_t bytes) {
  const Memory memory(bytes);
  const idx n = static_cast<idx>(bytes / sizeof(float) / 128 * 128);
  float* p = static_cast<float*>(memory.get());
  std::fill_n(p, n, 1.0f);
  const idx repeats = std::max<idx>(1, static_cast<idx>((std::size_t(64) << 20) / bytes));
  volatile double sink = 0;
  const double time = least_time([&] { sink = isa().of<float>().read_loop(p, n, repeats); });
  (void)sink;
  return static_cast<double>(n * repeats) * sizeof(float) / time / 1e9;
}

template <class R>
py::dict chains() {
  constexpr idx steps = 20000;
  py::dict result;
  const Kernels<R>& k = isa().of<R>();
  for (int i = 0; i < k.count; ++i) {
    std::vector<R> memory(1024, R(0.1));
    const double time = least_time([&] { k.cells[i].chain_loop(memory.data(), steps); });
    result[k.cells[i].name] = time / steps * 1e9;
  }
  return result;
}

py::dict probe() {
  const FlushDenormals flush;
  py::dict result, peaks, bandwidths, chain;
  peaks["float32"] = peak<float>();
  peaks["float64"] = peak<double>();
  bandwidths["L1"] = bandwidth(24 << 10);
  bandwidths["L2"] = bandwidth(384 << 10);
  bandwidths["L3"] = bandwidth(6 << 20);
  bandwidths["memory"] = bandwidth(256 << 20);
  chain["float32"] = chains<float>();
  chain["float64"] = chains<double>();
  result["peak_gflops"] = peaks;
  result["bandwidth_gbs"] = bandwidths;
  result["chain_ns"] = chain;
  return result;
}

// Nanoseconds in which two threads hand a number over and back, or None if there is one processor.
// It depends on where a virtual machine's processors are just then, and threads that share a layer
// do it in every step. The least of three goes: a thread may have to wake first.
py::object handover() {
  constexpr idx turns = 1000;
  constexpr auto patience = std::chrono::milliseconds(10);
  struct Table {
    alignas(128) std::atomic<idx> there{0};
    alignas(128) std::atomic<idx> back{0};
    double seconds = 0;
  } table;
  auto task = [](void* context, int rank, int size) {
    if (size != 2) return;
    Table& t = *static_cast<Table*>(context);
    const auto start = Clock::now();
    for (idx i = 1; i <= turns; ++i) {
      if (rank == 0) t.there.store(i, std::memory_order_release);
      const std::atomic<idx>& other = rank == 0 ? t.back : t.there;
      while (other.load(std::memory_order_acquire) < i) {
      }
      if (rank == 1) t.back.store(i, std::memory_order_release);
    }
    if (rank == 0) t.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  };
  double least = 1e9;
  for (int go = 0; go < 3; ++go) {
    table.there = table.back = 0;
    if (run_gang(2, Ask::always, patience, std::chrono::nanoseconds::max(), task, &table) != 2)
      return py::none();
    least = std::min(least, table.seconds / turns);
  }
  return py::float_(1e9 * least);
}

}  // namespace

void define_probe(py::module_& m) {
  m.def("probe", &probe);
  m.def("handover", &handover);
}

}  // namespace rnnfast
