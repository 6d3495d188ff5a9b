// Runs the kernels of one cell on a Case, every buffer between guards.
#pragma once
#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "case.hpp"
#include "check.hpp"
#include "guarded.hpp"
#include "kernels.hpp"

namespace test {

// The kernels' free choices: none of them may change more than the rounding of a result.
struct Setting {
  idx group_rows;  // at most
  idx segment;     // steps kept for the backward pass at a time
  int threads = 1;
  bool keep_saved = false;          // run backward twice
  bool batch_first = false;         // the sequences' layout
  bool direct = false;              // read the weights where they lie
  std::set<std::string> skip = {};  // gradients that are not wanted
};

inline std::string name_of(const Setting& s) {
  return " groups of " + std::to_string(s.group_rows) + ", segments of " +
         std::to_string(s.segment) + ", " + std::to_string(s.threads) + " threads" +
         (s.keep_saved ? ", kept" : "") + (s.batch_first ? ", batch first" : "") +
         (s.direct ? ", direct" : "");
}

// Tasks one after another, on changing slots; but a gang on real threads, which wait for each
// other.
inline rnnfast::Control control_of(int threads) {
  static thread_local int slots;
  slots = threads;
  rnnfast::Control control = {};
  control.threads = threads;
  control.team = &slots;
  control.parallel = [](void* team, idx tasks, void (*task)(void*, idx, int), void* context) {
    for (idx i = 0; i < tasks; ++i)
      task(context, i, static_cast<int>(i % *static_cast<int*>(team)));
  };
  control.interrupted = [](void*) { return false; };
  control.gang = [](void* team, int most, double, void (*task)(void*, int, int), void* context) {
    const int size = std::min(most, *static_cast<int*>(team));
    std::vector<std::thread> others;
    for (int rank = 1; rank < size; ++rank) others.emplace_back(task, context, rank, size);
    task(context, 0, size);
    for (std::thread& thread : others) thread.join();
  };
  control.yield = std::this_thread::yield;
  return control;
}

// What the kernels may not read before they have written it.
constexpr unsigned char garbage = 0xFF;

template <class R>
class Layer {
 public:
  Layer(const rnnfast::CellKernels<R>& kernels, const Case& c, const Setting& setting)
      : k_(kernels), case_(c), setting_(setting), rows_(c.B), lengths_(c.B) {
    order_rows();
    describe_inputs();
    describe_results();
  }

  // Forward as in inference, forward for training, backward; all results by name.
  Arrays run(Report& report, const std::string& where) {
    const rnnfast::Control control = control_of(setting_.threads);
    const Memory memory(k_, p_, setting_.threads);
    const rnnfast::Stack<R> stack = {1, 1, &p_};
    p_.packed = memory.packed.data();
    k_.pack(stack, control);
    k_.forward(stack, control, memory.work.data());
    const Arrays inference = results();
    spoil_results();
    p_.tape = memory.tape.data();
    k_.forward(stack, control, memory.work.data());
    for (const char* key : {"a", "a_T", "c_T"})
      if (inference.count(key) != 0)
        report.expect(inference.at(key) == results().at(key), where,
                      "inference and training differ");
    k_.backward(stack, control, memory.back_work.data());
    const Arrays once = results();
    if (setting_.keep_saved) {
      k_.backward(stack, control, memory.back_work.data());
      report.expect(once == results(), where, "a second backward pass differs from the first");
    }
    const bool intact = memory.guards_intact() && guards_intact();
    report.expect(intact, where, "wrote outside its memory");
    report.expect(inputs_unchanged(), where, "changed an input");
    return once;
  }

  // One training step, made by `train`; its results by name. The weights may be packed in `shared`.
  template <class F>
  Arrays run_with(F&& train, void* shared = nullptr) {
    const Memory memory(k_, p_, setting_.threads);
    p_.packed = shared == nullptr ? memory.packed.data() : shared;
    p_.tape = memory.tape.data();
    train(k_, rnnfast::Stack<R>{1, 1, &p_}, control_of(setting_.threads), memory.work.data(),
          memory.back_work.data());
    return results();
  }

 private:
  using Buffer = std::unique_ptr<Guarded<R>>;

  // What the caller of the kernels allocates.
  struct Memory {
    Guarded<unsigned char> packed, tape, work, back_work;

    Memory(const rnnfast::CellKernels<R>& k, const rnnfast::Problem<R>& p, int threads)
        : packed(k.packed_size(p), garbage, 64),
          tape(k.tape_size(p), garbage, 64),
          work(k.forward_work({1, 1, &p}, threads), garbage, 64),
          back_work(k.backward_work({1, 1, &p}, threads), garbage, 64) {}
    bool guards_intact() const {
      return packed.guards_intact() && tape.guards_intact() && work.guards_intact() &&
             back_work.guards_intact();
    }
  };

  void order_rows() {
    Values lengths(static_cast<std::size_t>(case_.B), static_cast<double>(case_.T));
    if (case_.has("lengths")) lengths = case_.arrays.at("lengths");
    std::vector<idx> order(lengths.size());
    std::iota(order.begin(), order.end(), idx(0));
    std::stable_sort(order.begin(), order.end(),
                     [&](idx a, idx b) { return lengths[a] > lengths[b]; });
    for (std::size_t i = 0; i < order.size(); ++i) {
      rows_.data()[i] = order[i];
      lengths_.data()[i] = static_cast<idx>(lengths[order[i]]);
    }
  }

  // Where row b of step t of a sequence of n features starts in the kernels' memory.
  idx offset(idx t, idx b, idx n) const {
    return (setting_.batch_first ? b * case_.T + t : t * case_.B + b) * n;
  }

  idx length_of(idx b) const {
    const idx* row = rows_.data();
    return lengths_.data()[std::find(row, row + case_.B, b) - row];
  }

  // An argument, null where the case has none. Of a sequence, what lies past the end becomes NaN.
  const R* input(const std::string& key, idx features = 0) {
    if (!case_.has(key)) return nullptr;
    const Values& values = case_.arrays.at(key);
    Buffer buffer = std::make_unique<Guarded<R>>(values.size());
    if (features == 0) std::copy(values.begin(), values.end(), buffer->data());
    for (idx t = 0; features > 0 && t < case_.T; ++t)
      for (idx b = 0; b < case_.B; ++b)
        for (idx i = 0; i < features; ++i)
          buffer->data()[offset(t, b, features) + i] =
              t < length_of(b) ? static_cast<R>(values[(t * case_.B + b) * features + i])
                               : std::numeric_limits<R>::quiet_NaN();
    const R* data = buffer->data();
    before_[key] = std::vector<R>(data, data + values.size());
    inputs_[key] = std::move(buffer);
    return data;
  }

  R* result(const std::string& key, idx n) {
    if (setting_.skip.count(key) != 0) return nullptr;
    results_[key] = std::make_unique<Guarded<R>>(static_cast<std::size_t>(n),
                                                 std::numeric_limits<R>::quiet_NaN());
    return results_[key]->data();
  }

  void describe_inputs() {
    p_.T = case_.T, p_.B = case_.B, p_.I = case_.I, p_.H = case_.H;
    p_.reverse = case_.reverse;
    p_.row = rows_.data();
    p_.length = lengths_.data();
    p_.groups = (case_.B + setting_.group_rows - 1) / setting_.group_rows;
    p_.segment = std::max<idx>(1, std::min(setting_.segment, case_.T));
    p_.keep_saved = setting_.keep_saved;
    p_.direct = setting_.direct;
    p_.x = input("x", case_.I);
    p_.W_ax = input("W_ax");
    p_.W_aa = input("W_aa");
    p_.b_a = input("b_a");
    p_.b_aa = input("b_aa");
    p_.param = input("peephole");
    p_.da = input("da", case_.H);
    const char* initial[] = {"a0", "c0"};
    const char* final_gradient[] = {"da_T", "dc_T"};
    for (int i = 0; i < k_.states; ++i) {
      p_.state0[i] = input(initial[i]);
      p_.dstate_T[i] = input(final_gradient[i]);
    }
    p_.x_t = p_.dx_t = offset(1, 0, case_.I), p_.x_b = p_.dx_b = offset(0, 1, case_.I);
    p_.a_t = p_.da_t = offset(1, 0, case_.H), p_.a_b = p_.da_b = offset(0, 1, case_.H);
  }

  void describe_results() {
    const idx states = case_.B * case_.H, rows = k_.gates * case_.H;
    p_.a = result("a", case_.T * states);
    p_.dx = result("dx", case_.T * case_.B * case_.I);
    const char* final_state[] = {"a_T", "c_T"};
    const char* initial_gradient[] = {"da0", "dc0"};
    for (int i = 0; i < k_.states; ++i) {
      p_.state_T[i] = result(final_state[i], states);
      p_.dstate0[i] = result(initial_gradient[i], states);
    }
    p_.dW_ax = result("dW_ax", rows * case_.I);
    p_.dW_aa = result("dW_aa", rows * case_.H);
    if (p_.b_a != nullptr) p_.db_a = result("db_a", rows);
    if (p_.b_aa != nullptr) p_.db_aa = result("db_aa", rows);
    if (p_.param != nullptr) p_.dparam = result("dpeephole", k_.params * case_.H);
  }

  void spoil_results() {
    for (auto& [key, buffer] : results_)
      std::fill_n(buffer->data(), buffer->size(), std::numeric_limits<R>::quiet_NaN());
  }

  // Sequences in the order (T, B, features), whatever the kernels' layout.
  Arrays results() const {
    Arrays found;
    for (const auto& [key, buffer] : results_) {
      const R* data = buffer->data();
      found[key].assign(data, data + buffer->size());
      const idx features = key == "a" ? case_.H : key == "dx" ? case_.I : 0;
      for (idx t = 0; features > 0 && t < case_.T; ++t)
        for (idx b = 0; b < case_.B; ++b)
          std::copy_n(data + offset(t, b, features), features,
                      found[key].begin() + (t * case_.B + b) * features);
    }
    return found;
  }

  bool guards_intact() const {
    bool intact = rows_.guards_intact() && lengths_.guards_intact();
    for (const auto* buffers : {&inputs_, &results_})
      for (const auto& [key, buffer] : *buffers) intact = intact && buffer->guards_intact();
    return intact;
  }

  bool inputs_unchanged() const {
    for (const auto& [key, buffer] : inputs_)
      if (buffer->size() > 0 &&
          std::memcmp(buffer->data(), before_.at(key).data(), buffer->size() * sizeof(R)) != 0)
        return false;
    return true;
  }

  const rnnfast::CellKernels<R>& k_;
  const Case& case_;
  const Setting setting_;
  Guarded<idx> rows_, lengths_;
  std::map<std::string, Buffer> inputs_, results_;
  std::map<std::string, std::vector<R>> before_;
  rnnfast::Problem<R> p_ = {};
};

template <class R>
Arrays run_layer(const rnnfast::CellKernels<R>& kernels, const Case& c, const Setting& setting,
                 Report& report) {
  const std::string where = c.name + (sizeof(R) == 4 ? " float32" : " float64") + name_of(setting);
  return Layer<R>(kernels, c, setting).run(report, where);
}

}  // namespace test
