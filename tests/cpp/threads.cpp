// rnnfast_threads: kernels on real threads against the same kernels on one, bit by bit. Long
// runs of gangs of 2, 3 and 8, groups and parts on several threads, and callers that share packed
// weights. Made to be run under ThreadSanitizer.
#include <cstdio>
#include <iterator>

#include "dispatch.hpp"
#include "new_threads.hpp"
#include "parallel/pool.hpp"
#include "stacks.hpp"

namespace test {
namespace {

// The library's own pool, which one caller has to itself and the others do without.
rnnfast::Control the_pool(int* threads) {
  rnnfast::Control control = control_of(*threads);
  control.team = threads;
  control.parallel = [](void* team, idx tasks, void (*task)(void*, idx, int), void* context) {
    rnnfast::run_tasks(tasks, *static_cast<int*>(team), rnnfast::Ask::always, task, context,
                       nullptr, nullptr);
  };
  control.gang = [](void* team, int most, double, void (*task)(void*, int, int), void* context) {
    rnnfast::run_gang(std::min(most, *static_cast<int*>(team)), rnnfast::Ask::always,
                      std::chrono::milliseconds(5), std::chrono::nanoseconds::max(), task, context);
  };
  return control;
}

template <class R>
using Kernels = rnnfast::CellKernels<R>;

// One training step; the weights are packed first, unless `shared` has them.
template <class R>
Arrays train(const Kernels<R>& kernels, const Case& c, const Setting& setting,
             const rnnfast::Control& control, void* shared = nullptr) {
  auto step = [&](const Kernels<R>& k, const rnnfast::Stack<R>& stack, const rnnfast::Control&,
                  unsigned char* work, unsigned char* back_work) {
    if (shared == nullptr) k.pack(stack, control);
    k.forward(stack, control, work);
    k.backward(stack, control, back_work);
  };
  return Layer<R>(kernels, c, setting).run_with(step, shared);
}

template <class R>
Arrays on_one_thread(const Kernels<R>& kernels, const Case& c, Setting setting) {
  setting.threads = 1;
  return train(kernels, c, setting, control_of(1));
}

// `times` steps, since a race shows only now and then.
template <class R>
void test_same_bits(const Kernels<R>& kernels, const Case& c, const Setting& setting, int times,
                    Report& report) {
  const std::string where = c.name + (sizeof(R) == 4 ? " float32" : " float64") + name_of(setting);
  const Arrays expected = on_one_thread(kernels, c, setting);
  int threads = setting.threads;
  for (int i = 0; i < times; ++i)
    report.expect(train(kernels, c, setting, new_threads(&threads)) == expected, where,
                  "threads change bits");
}

// Callers with weights that were packed once, and each with results of its own.
template <class R>
void test_callers(const Kernels<R>& kernels, const Case& c, const Setting& setting,
                  Report& report) {
  const Arrays expected = on_one_thread(kernels, c, setting);
  Layer<R>(kernels, c, setting)
      .run_with([&](const Kernels<R>& k, const rnnfast::Stack<R>& stack,
                    const rnnfast::Control& one, unsigned char*, unsigned char*) {
        k.pack(stack, one);
        Arrays got[3];
        std::vector<std::thread> callers;
        for (Arrays& mine : got)
          callers.emplace_back([&] {
            int threads = setting.threads;
            for (int i = 0; i < 3; ++i)
              mine = train(kernels, c, setting, the_pool(&threads), stack.problem[0].packed);
          });
        for (std::thread& caller : callers) caller.join();
        for (const Arrays& mine : got)
          report.expect(mine == expected, c.name + name_of(setting), "callers disturb each other");
      });
}

template <class R>
void test_cell(const Kernels<R>& k, Report& report) {
  auto make = [&](idx T, idx B, idx I, idx H) {
    return random_case(k.name, {k.gates, k.states, k.params}, T, B, I, H);
  };
  test_same_bits(k, make(500, 1, 5, 121), {1, 500, 2}, 2, report);
  Case three = make(100, 4, 3, 197);
  test_same_bits(k, three, {4, 100, 3, true}, 1, report);
  three.arrays["lengths"] = {70, 3, 0, 33};
  test_same_bits(k, three, {4, 10, 3}, 1, report);
  Case eight = make(12, 3, 4, 517);
  eight.arrays["lengths"] = {3, 9, 5};
  test_same_bits(k, eight, {3, 12, 8}, 1, report);
  const Case groups = make(20, 21, 7, 37), few = make(50, 3, 40, 35);
  test_same_bits(k, groups, {6, 5, 3}, 2, report);
  test_same_bits(k, few, {3, 50, 3}, 2, report);
  test_same_bits(k, make(6, 9, 5, 161), {4, 6, 3}, 1, report);  // parts of one dW
  test_callers(k, make(40, 3, 5, 121), {3, 40, 2}, report);
  test_callers(k, groups, {6, 20, 2}, report);
}

template <class R>
void test_tier(const rnnfast::Isa& tier, Report& report) {
  const char* const cells[] = {"rnn_tanh", "lstm", "lstm_peephole", "gru_after", "gru_before"};
  std::size_t found = 0;
  for (int i = 0; i < tier.of<R>().count; ++i) {
    const Kernels<R>& k = tier.of<R>().cells[i];
    for (const std::string name : cells)
      if (name == k.name) ++found, test_cell(k, report);
  }
  report.expect(found == std::size(cells), tier.name, "a cell is missing");
  test_stacks<R>(tier, report);
}

}  // namespace
}  // namespace test

int main() {
  const rnnfast::Isa& tier = rnnfast::isa();
  test::Report report(tier.name);
  test::test_tier<float>(tier, report);
  test::test_tier<double>(tier, report);
  std::printf("%s: %lu results compared, %d failures\n", tier.name, report.comparisons(),
              report.failures());
  return report.failures() == 0 ? 0 : 1;
}
