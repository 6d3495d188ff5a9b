// Stacks of layers and both directions, on real threads against one: a layer follows the one that
// it reads from, and the gradients of both directions are added.
#pragma once
#include <random>

#include "dispatch.hpp"
#include "new_threads.hpp"
#include "plan.hpp"

namespace test {

struct StackSizes {
  idx layers, directions, T, B, I, H;
  bool checkpoint = false;
};

// A stack with arrays of its own, all between guards.
template <class R>
class StackOfLayers {
 public:
  StackOfLayers(const rnnfast::CellKernels<R>& kernels, const StackSizes& sizes)
      : k_(kernels),
        s_(sizes),
        problems_(static_cast<std::size_t>(sizes.layers * sizes.directions)) {
    const idx columns = s_.directions * s_.H;
    std::vector<R*> a, da;  // of all layers but the last
    for (idx layer = 0; layer < s_.layers; ++layer) {
      a.push_back(result(s_.T * s_.B * columns));
      da.push_back(layer + 1 < s_.layers ? result(s_.T * s_.B * columns)
                                         : input(s_.T * s_.B * columns));
    }
    R* const x = input(s_.T * s_.B * s_.I);
    R* const dx = result(s_.T * s_.B * s_.I);
    R* const mask = input(s_.T * s_.B * columns);
    for (idx k = 0; k < s_.layers * s_.directions; ++k) {
      rnnfast::Problem<R>& p = problems_[static_cast<std::size_t>(k)];
      const idx layer = k / s_.directions, d = k % s_.directions;
      p.T = s_.T, p.B = s_.B, p.H = s_.H, p.I = layer == 0 ? s_.I : columns;
      p.reverse = d == 1;
      p.x = layer == 0 ? x : a[static_cast<std::size_t>(layer - 1)];
      p.dx = layer == 0 ? dx : da[static_cast<std::size_t>(layer - 1)];
      if (d == 1) p.dx_sum = p.dx, p.dx = result(s_.T * s_.B * p.I);
      p.a = a[static_cast<std::size_t>(layer)] + d * s_.H;
      p.da = da[static_cast<std::size_t>(layer)] + d * s_.H;
      if (layer + 1 < s_.layers) p.mask = mask + d * s_.H;
      p.x_t = p.dx_t = s_.B * p.I, p.x_b = p.dx_b = p.I;
      p.a_t = p.da_t = s_.B * columns, p.a_b = p.da_b = columns;
      add_weights(p);
    }
    std::vector<idx> lengths;
    for (idx b = 0; b < s_.B; ++b) lengths.push_back(b % 3 == 1 ? 0 : s_.T - b);
    plan_ = rnnfast::make_plan(problems_[0], k_.gates, lengths, s_.checkpoint, false);
    rnnfast::plan_stack(plan_, problems_, s_.directions, k_.gates);
  }

  // Every result of a training step, or of inference.
  std::vector<R> run(const rnnfast::Control& control, bool training) {
    for (auto& buffer : results_)
      std::fill_n(buffer->data(), buffer->size(), std::numeric_limits<R>::quiet_NaN());
    std::vector<std::unique_ptr<Guarded<unsigned char>>> memory;
    auto take = [&](std::size_t bytes) {
      memory.push_back(std::make_unique<Guarded<unsigned char>>(bytes, garbage, 64));
      return memory.back()->data();
    };
    for (rnnfast::Problem<R>& p : problems_) {
      p.unpacked = true;
      p.packed = take(k_.packed_size(p));
      p.tape = training ? take(k_.tape_size(p)) : nullptr;
    }
    const rnnfast::Stack<R> stack = {s_.layers, s_.directions, problems_.data()};
    k_.forward(stack, control, take(k_.forward_work(stack, control.threads)));
    if (training) k_.backward(stack, control, take(k_.backward_work(stack, control.threads)));
    std::vector<R> found;
    for (const auto& m : memory) intact_ = intact_ && m->guards_intact();
    for (const auto& buffer : results_) {
      intact_ = intact_ && buffer->guards_intact();
      found.insert(found.end(), buffer->data(), buffer->data() + buffer->size());
    }
    return found;
  }

  bool intact() const { return intact_; }

 private:
  R* input(idx n) {
    inputs_.push_back(std::make_unique<Guarded<R>>(static_cast<std::size_t>(n)));
    R* const data = inputs_.back()->data();
    for (idx i = 0; i < n; ++i) data[i] = std::uniform_real_distribution<R>(-1, 1)(random_);
    return data;
  }
  R* result(idx n) {
    results_.push_back(std::make_unique<Guarded<R>>(static_cast<std::size_t>(n)));
    return results_.back()->data();
  }
  void add_weights(rnnfast::Problem<R>& p) {
    const idx rows = k_.gates * p.H, states = p.B * p.H;
    p.W_ax = input(rows * p.I), p.dW_ax = result(rows * p.I);
    p.W_aa = input(rows * p.H), p.dW_aa = result(rows * p.H);
    p.b_a = input(rows), p.db_a = result(rows);
    p.b_aa = input(rows), p.db_aa = result(rows);
    if (k_.params > 0) p.param = input(k_.params * p.H), p.dparam = result(k_.params * p.H);
    for (int i = 0; i < k_.states; ++i) {
      p.state0[i] = input(states), p.dstate_T[i] = input(states);
      p.state_T[i] = result(states), p.dstate0[i] = result(states);
    }
  }

  const rnnfast::CellKernels<R>& k_;
  const StackSizes s_;
  std::mt19937 random_{1};
  std::vector<rnnfast::Problem<R>> problems_;
  rnnfast::Plan plan_;
  std::vector<std::unique_ptr<Guarded<R>>> inputs_, results_;
  bool intact_ = true;
};

template <class R>
void test_stacks(const rnnfast::Isa& tier, Report& report) {
  const StackSizes all[] = {
      {3, 1, 40, 2, 3, 7},    // one group, which passes through the layers
      {2, 1, 30, 19, 5, 9},   // several
      {2, 2, 30, 10, 5, 9},   // both directions
      {4, 1, 25, 3, 4, 130},  // large weights: threads that share the units too
      {2, 2, 25, 2, 4, 130}, {2, 2, 25, 9, 4, 12, true},
  };
  for (int i = 0; i < tier.of<R>().count; ++i) {
    const rnnfast::CellKernels<R>& k = tier.of<R>().cells[i];
    for (const StackSizes& sizes : all) {
      StackOfLayers<R> stack(k, sizes);
      const std::string where = std::string("stack of ") + k.name +
                                ", H = " + std::to_string(sizes.H) + ", " +
                                std::to_string(sizes.directions) + " directions";
      auto same_bits = [&](const std::vector<R>& got, const std::vector<R>& expected) {
        return std::memcmp(got.data(), expected.data(), got.size() * sizeof(R)) == 0;
      };
      for (bool training : {false, true}) {
        const std::vector<R> expected = stack.run(control_of(1), training);
        for (int threads : {2, 3, 8})
          report.expect(same_bits(stack.run(new_threads(&threads), training), expected), where,
                        "threads change bits");
      }
      report.expect(stack.intact(), where, "wrote outside its memory");
    }
  }
}

}  // namespace test
