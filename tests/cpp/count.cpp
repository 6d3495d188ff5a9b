// rnnfast_count: the names of all cells. rnnfast_count TIER CELL: one training step of a small
// fixed case in run_case, under a tool that counts the instructions of that function
// (tests/guard/instructions.py).
#include <cstdio>
#include <string>

#include "dispatch.hpp"
#include "layer.hpp"

namespace {

constexpr test::idx T = 20, B = 6, I = 24, H = 40;

}  // namespace

// A name of its own for the counter to look for.
extern "C" [[gnu::noinline]] void run_case(const rnnfast::CellKernels<float>& kernels,
                                           const rnnfast::Stack<float>& stack,
                                           const rnnfast::Control& control, unsigned char* work,
                                           unsigned char* back_work) {
  kernels.pack(stack, control);
  kernels.forward(stack, control, work);
  kernels.backward(stack, control, back_work);
}

int main(int count, char** arguments) {
  if (count == 1) {
    const rnnfast::Kernels<float>& kernels = *rnnfast::isa_baseline().f32;
    for (int i = 0; i < kernels.count; ++i) std::printf("%s\n", kernels.cells[i].name);
    return 0;
  }
  if (count != 3) {
    std::fprintf(stderr, "usage: rnnfast_count [TIER CELL]\n");
    return 2;
  }
  for (const rnnfast::Isa& tier : rnnfast::available_isas()) {
    if (std::string(tier.name) != arguments[1]) continue;
    for (int i = 0; i < tier.f32->count; ++i) {
      const rnnfast::CellKernels<float>& k = tier.f32->cells[i];
      if (std::string(k.name) != arguments[2]) continue;
      const test::Case c = test::random_case(k.name, {k.gates, k.states, k.params}, T, B, I, H);
      test::Layer<float>(k, c, {B, T}).run_with(run_case);
      return 0;
    }
  }
  std::fprintf(stderr, "%s: no cell %s in the tiers of this machine\n", arguments[1], arguments[2]);
  return 1;
}
