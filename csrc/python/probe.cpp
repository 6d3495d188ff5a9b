// probe: what this machine can do on one thread, measured with the kernels' own loops.
#include <vector>

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

}  // namespace

void define_probe(py::module_& m) { m.def("probe", &probe); }

}  // namespace rnnfast
