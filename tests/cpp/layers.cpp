// Every cell of every tier: against golden files, with arguments absent, at empty sizes, and over a
// sweep of sizes around the widths of vectors and the heights of tiles.
#include "layer.hpp"
#include "tests.hpp"

namespace test {
namespace {

// The bound of an error in units of eps of its array's largest value: twice the square root of the
// terms in the longest sum. Over all tiers the errors reach 0.85 of it.
double rounding(const Case& c) {
  return 2 * std::sqrt(static_cast<double>(std::max(c.I + c.H, c.T * c.B)));
}

template <class R>
const rnnfast::CellKernels<R>* find_cell(const rnnfast::Isa& tier, const std::string& name) {
  const rnnfast::Kernels<R>& kernels = tier.of<R>();
  for (int i = 0; i < kernels.count; ++i)
    if (name == kernels.cells[i].name) return &kernels.cells[i];
  return nullptr;
}

template <class R>
void golden_case(const rnnfast::CellKernels<R>& kernels, const Case& c, Report& report) {
  const Setting settings[] = {
      {c.B, c.T},
      {1, c.T},
      {2, 2, 2, true, true},
      {3, 7, 3, false, true},
      {2, c.T, 1, false, false, true},
  };
  for (const Setting& setting : settings) {
    Arrays expected;
    const Arrays got = run_layer(kernels, c, setting, report);
    for (const auto& [key, values] : got) {
      report.expect(c.has(key), c.name, "the golden file lacks a result");
      if (c.has(key)) expected[key] = c.arrays.at(key);
    }
    expect_arrays_near<R>(report, got, expected, rounding(c), c.name + name_of(setting));
  }
}

template <class R>
void test_golden(const rnnfast::Isa& tier, const std::vector<Case>& golden, Report& report) {
  std::set<std::string> covered;
  for (const Case& c : golden) {
    covered.insert(c.cell);
    const auto* kernels = find_cell<R>(tier, c.cell);
    if (kernels == nullptr)
      report.fail(c.name, "there is no such cell");
    else
      golden_case(*kernels, c, report);
  }
  const rnnfast::Kernels<R>& all = tier.of<R>();
  for (int i = 0; i < all.count; ++i)
    report.expect(covered.count(all.cells[i].name) != 0, all.cells[i].name,
                  "has no golden files: run tests/cpp/make_golden.py");
}

template <class R>
CellSizes sizes_of(const rnnfast::CellKernels<R>& k) {
  return {k.gates, k.states, k.params};
}

// An absent input equals zeros; a gradient that is not wanted changes no other.
template <class R>
void test_absent(const rnnfast::CellKernels<R>& k, Report& report) {
  const Case whole = random_case(k.name, sizes_of(k), 4, 3, 2, 9);
  const Setting setting = {2, 4};
  for (const char* key : {"b_a", "b_aa", "peephole", "a0", "c0", "da", "da_T", "dc_T"}) {
    if (!whole.has(key)) continue;
    Case absent = whole, zero = whole;
    absent.name = zero.name = whole.name + " without " + key;
    absent.arrays.erase(key);
    std::fill(zero.arrays[key].begin(), zero.arrays[key].end(), 0.0);
    expect_arrays_near<R>(report, run_layer(k, zero, setting, report),
                          run_layer(k, absent, setting, report), 0, absent.name);
  }
  const Arrays all = run_layer(k, whole, setting, report);
  for (const auto& [key, values] : all) {
    if (key[0] != 'd') continue;
    const Setting without = {2, 4, 1, false, false, false, {key}};
    const Arrays others = run_layer(k, whole, without, report);
    report.expect(others.size() == all.size() - 1, whole.name, "wrote an unwanted gradient");
    expect_arrays_near<R>(report, all, others, 0, whole.name + " without " + key);
  }
}

bool is_zero(const Values& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return v == 0; });
}

// No steps or no rows: the state passes through both ways, gradients of weights are zero.
template <class R>
void test_nothing_to_do(const rnnfast::CellKernels<R>& k, idx T, idx B, Report& report) {
  const Case c = random_case(k.name, sizes_of(k), T, B, 3, 5);
  const Arrays got = run_layer(k, c, {4, T}, report);
  const char* through[][2] = {{"a_T", "a0"}, {"c_T", "c0"}, {"da0", "da_T"}, {"dc0", "dc_T"}};
  for (const auto& [result, argument] : through) {
    if (!c.has(argument)) continue;
    const std::vector<R> rounded(c.arrays.at(argument).begin(), c.arrays.at(argument).end());
    report.expect_near(got.at(result), Values(rounded.begin(), rounded.end()), 0, c.name);
  }
  for (const char* key : {"dW_ax", "dW_aa", "db_a", "db_aa"})
    report.expect(is_zero(got.at(key)), c.name, "a gradient of weights is not zero");
}

// No inputs equals one input that is zero.
template <class R>
void test_no_inputs(const rnnfast::CellKernels<R>& k, Report& report) {
  Case one = random_case(k.name, sizes_of(k), 3, 2, 1, 5), none = one;
  std::fill(one.arrays["x"].begin(), one.arrays["x"].end(), 0.0);
  none.name += " without inputs";
  none.I = 0;
  none.arrays["x"].clear();
  none.arrays["W_ax"].clear();
  Arrays expected = run_layer(k, one, {2, 3}, report);
  for (const char* key : {"dx", "dW_ax"}) expected[key].clear();
  expect_arrays_near<R>(report, run_layer(k, none, {2, 3}, report), expected, 0, none.name);
}

// Rows of `tier` in one group against the same rows one by one on the baseline tier.
template <class R>
void compare_grouping(const rnnfast::Isa& tier, const Case& c, const Setting& setting,
                      Report& report) {
  const rnnfast::Isa baseline = rnnfast::isa_baseline();
  const Arrays expected = run_layer(*find_cell<R>(baseline, c.cell), c, {1, c.T}, report);
  const Arrays got = run_layer(*find_cell<R>(tier, c.cell), c, setting, report);
  expect_arrays_near<R>(report, got, expected, rounding(c), c.name);
}

template <class R>
void test_sizes(const rnnfast::Isa& tier, const rnnfast::CellKernels<R>& k, Report& report) {
  constexpr idx widest = 64 / sizeof(R);
  for (idx H = 1; H <= 2 * widest + 1; ++H)
    for (idx B : {2, 3, 5, 8, 9}) {
      const idx T = 2, I = (H + B) % (widest + 2);
      Case c = random_case(k.name, sizes_of(k), T, B, I, H);
      c.reverse = B % 2 == 0;
      for (idx b = 0; b < B && B > 3; ++b) c.arrays["lengths"].push_back(b * 7 % (T + 1));
      compare_grouping<R>(tier, c, {B, T}, report);
      compare_grouping<R>(tier, c, {B, T, 1, false, false, true}, report);
    }
  // Weights so large that their gradients are one product over all groups, split over threads; and
  // that threads share a single group, each with a slice of its units.
  const Case large = random_case(k.name, sizes_of(k), 3, 5, 3, k.gates == 1 ? 264 : 160);
  compare_grouping<R>(tier, large, {2, 3, 2}, report);
  compare_grouping<R>(tier, large, {5, 3, 3}, report);
  compare_grouping<R>(tier, large, {5, 2, 2, true}, report);
}

// Sequences that all end well before T, some at once, of a group whose units threads share.
template <class R>
void test_short(const rnnfast::Isa& tier, const rnnfast::CellKernels<R>& k, Report& report) {
  const std::vector<Values> all_lengths = {
      {0, 0, 0, 0}, {1, 1, 1, 1}, {30, 30, 30, 30}, {0, 1, 33, 2}};
  Case c = random_case(k.name, sizes_of(k), 50, 4, 9, k.gates == 1 ? 264 : 96);
  for (const Values& lengths : all_lengths) {
    c.arrays["lengths"] = lengths;
    for (idx segment : {50, 8}) compare_grouping<R>(tier, c, {4, segment, 2}, report);
  }
}

template <class R>
void test_tier(const rnnfast::Isa& tier, const std::vector<Case>& golden, Report& report) {
  test_golden<R>(tier, golden, report);
  const rnnfast::Kernels<R>& kernels = tier.of<R>();
  for (int i = 0; i < kernels.count; ++i) {
    const rnnfast::CellKernels<R>& k = kernels.cells[i];
    test_absent(k, report);
    test_nothing_to_do(k, 0, 3, report);
    test_nothing_to_do(k, 3, 0, report);
    test_nothing_to_do(k, 0, 0, report);
    test_no_inputs(k, report);
    test_sizes(tier, k, report);
    test_short(tier, k, report);
  }
}

}  // namespace

void test_layers(const rnnfast::Isa& tier, const std::vector<Case>& golden, Report& report) {
  test_tier<float>(tier, golden, report);
  test_tier<double>(tier, golden, report);
}

}  // namespace test
