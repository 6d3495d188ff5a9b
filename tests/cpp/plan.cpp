// rnnfast_plan: how a batch is divided into groups, and units into panels, whatever the number of
// threads.
#include "plan.hpp"

#include <algorithm>
#include <cstdio>

#include "simd/baseline.hpp"  // a tier's vectors, for what follows

#include "gemm/pack.hpp"
#include "gemm/panels.hpp"

namespace {

using rnnfast::idx;

idx groups_of(idx B, idx H) {
  rnnfast::Problem<float> p = {};
  p.T = 10, p.B = B, p.I = 8, p.H = H;
  rnnfast::make_plan(p, 4, {}, false, false);
  return p.groups;
}

idx rows_of(idx B, idx groups, idx group) { return B * (group + 1) / groups - B * group / groups; }

// The most rows that one of so many threads gets, each taking the next group when it has ended one.
idx most_rows(idx B, idx groups, idx threads) {
  std::vector<idx> rows(static_cast<std::size_t>(threads));
  for (idx group = 0; group < groups; ++group)
    *std::min_element(rows.begin(), rows.end()) += rows_of(B, groups, group);
  return *std::max_element(rows.begin(), rows.end());
}

// Whether so many threads end together, but for a row or two of each group.
bool is_even(idx B, idx groups, idx threads) {
  return most_rows(B, groups, threads) - B / threads <= 1 + groups / threads;
}

bool expect(bool right, const char* what, idx B) {
  if (!right) std::printf("FAILED: %s, B = %td\n", what, B);
  return right;
}

bool test_small_weights(idx B) {
  const idx groups = groups_of(B, 64), largest = (B + groups - 1) / groups;
  bool right = expect(largest <= 16 && groups <= B, "groups are too large or too many", B);
  for (idx group = 0; group < groups; ++group)
    right = expect(largest - rows_of(B, groups, group) <= 1, "sizes differ", B) && right;
  right = expect(B < 8 || is_even(B, groups, 2), "two threads do not end together", B) && right;
  return expect(B < 17 || is_even(B, groups, 4), "four threads do not end together", B) && right;
}

bool test_large_weights(idx B) {
  const idx groups = groups_of(B, 512), largest = (B + groups - 1) / groups;
  const bool right = expect(largest <= 64, "groups are too large", B);
  return expect(B <= 64 ? groups == 1 : is_even(B, groups, 2), "threads do not end together", B) &&
         right;
}

// A few rows in all are multiplied with the weights where they lie, unless those are packed
// already.
bool test_direct() {
  bool right = true;
  for (idx T = 1; T <= 6; ++T)
    for (bool packed : {false, true}) {
      rnnfast::Problem<float> p = {};
      p.T = T, p.B = 1, p.I = 8, p.H = 64;
      rnnfast::make_plan(p, 4, {}, false, packed);
      right = expect(p.direct == (T <= 4 && !packed), "weights are not read where they are", 1) &&
              right;
    }
  return right;
}

// Neighbours that cover all blocks, of widths that differ by one at most.
bool test_panels(idx blocks, idx widest, idx multiple) {
  const rnnfast::Panels panels(blocks, widest, multiple);
  idx next = 0, least = widest, most = 0;
  rnnfast::for_each_panel(panels, 0, panels.count, false, [&](idx first, int width) {
    next = first == next ? first + width : -1;
    least = std::min<idx>(least, width), most = std::max<idx>(most, width);
  });
  const idx half = panels.first_block(panels.count / 2);
  const bool right = next == blocks && most <= widest && (most - least <= 1 || blocks == 0) &&
                     least > 0 && (panels.count % multiple == 0 || panels.count == blocks);
  return expect(right, "panels that differ", blocks) &&
         expect(multiple != 2 || blocks - 2 * half <= panels.count / 2 + 1, "unequal halves",
                blocks);
}

// A panel has the vectors that its real units need, each gate of which has as many.
bool test_panel_vectors(idx H) {
  constexpr idx W = rnnfast::lanes<float>;
  const idx last = (H - 1) / W, rest = H - last * W;
  bool right = rnnfast::panel_vectors<float>(H, 4, last, 1) == (4 * rest + W - 1) / W;
  for (idx block = 0; block < last; ++block)
    right = right && rnnfast::panel_vectors<float>(H, 4, block, 1) == 4;
  return expect(right, "vectors of a panel", H);
}

}  // namespace

int main() {
  bool right = expect(groups_of(0, 64) == 0 && groups_of(0, 512) == 0, "groups of nothing", 0);
  for (idx B = 1; B <= 300; ++B) right = test_small_weights(B) && test_large_weights(B) && right;
  right = test_direct() && right;
  for (idx blocks = 0; blocks < 70; ++blocks)
    for (idx widest : {1, 2, 4})
      for (idx multiple : {1, 2}) right = test_panels(blocks, widest, multiple) && right;
  for (idx H = 1; H < 40; ++H) right = test_panel_vectors(H) && right;
  return right ? 0 : 1;
}
