// A stop is asked for often, in every phase, and ends the work.
#include <atomic>

#include "layer.hpp"
#include "tests.hpp"

namespace test {
namespace {

std::atomic<int> looks, stop_at;

bool interrupted(void*) { return looks++ >= stop_at; }

constexpr int never = std::numeric_limits<int>::max();

// How often a function looked for a stop, when the one after `stop_after` looks found it.
template <class F>
int count_looks(int stop_after, F&& f) {
  looks = 0;
  stop_at = stop_after;
  f();
  return looks;
}

// The least number of looks that a problem's packing and its backward pass owe.
struct Expected {
  int pack, backward;
};

// Every result of a step whose backward pass is stopped after so many looks, and how often it and
// the packing looked.
template <class R>
Arrays stopped_step(const rnnfast::CellKernels<R>& kernels, const Case& c, const Setting& setting,
                    int stop_after, Expected& seen) {
  return Layer<R>(kernels, c, setting)
      .run_with([&](const rnnfast::CellKernels<R>& k, const rnnfast::Stack<R>& stack,
                    rnnfast::Control control, unsigned char* work, unsigned char* back_work) {
        control.interrupted = interrupted;
        seen.pack = count_looks(never, [&] { k.pack(stack, control); });
        count_looks(never, [&] { k.forward(stack, control, work); });
        seen.backward = count_looks(stop_after, [&] { k.backward(stack, control, back_work); });
      });
}

bool is_whole(const Values& values) {
  return std::none_of(values.begin(), values.end(), [](double v) { return std::isnan(v); });
}

template <class R>
void test_stops(const rnnfast::CellKernels<R>& k, const Case& c, const Setting& setting,
                const Expected& least, Report& report) {
  const std::string where = c.name + name_of(setting);
  Expected seen;
  const Arrays whole = stopped_step(k, c, setting, never, seen);
  for (const auto& [key, values] : whole)
    report.expect(is_whole(values), where + " " + key, "is not whole without a stop");
  report.expect(seen.pack >= least.pack, where, "packing looks too seldom for a stop");
  report.expect(seen.backward >= least.backward, where, "backward looks too seldom for a stop");
  const int all = seen.backward;
  for (int after = 0; after < all - 2; after += 1 + all / 12) {
    const Arrays got = stopped_step(k, c, setting, after, seen);
    report.expect(got != whole, where, "a stop was not obeyed");
    if (after == 0)
      for (const char* key : {"dx", "dW_ax", "dW_aa"})
        report.expect(std::isnan(got.at(key).at(0)), where, "worked on after a stop");
    report.expect(seen.backward <= all, where, "looked more often after a stop");
  }
}

}  // namespace

void test_stops(const rnnfast::Isa& tier, Report& report) {
  const rnnfast::Kernels<float>& kernels = *tier.f32;
  for (int i = 0; i < kernels.count; ++i) {
    const rnnfast::CellKernels<float>& k = kernels.cells[i];
    const std::string name = k.name;
    if (name != "rnn_tanh" && name != "lstm" && name != "gru_before") continue;
    // at least 12 panels of W_ax; dx is formed in pieces of 60 / B or 128 / B steps
    const idx T = 60, I = 12 * 64, H = k.gates == 1 ? 264 : 160;
    const int panels = static_cast<int>(H / 64);
    const Case large = random_case(name, {k.gates, k.states, k.params}, T, 5, I, H);
    test_stops(k, large, {5, T, 3}, {panels, 12 * 3}, report);
    test_stops(k, large, {5, 8, 2}, {panels, 12 * 8}, report);
    test_stops(k, large, {2, T, 2}, {panels, 12 * 3}, report);
    const Case small = random_case(name, {k.gates, k.states, k.params}, T, 4, I, 20);
    test_stops(k, small, {4, T, 3}, {1, 12 * 4}, report);
  }
}

}  // namespace test
