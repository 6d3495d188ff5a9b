// What is decided about a problem before any kernel runs, from its sizes alone and never from the
// number of threads: the order of the rows, the groups, the segments of a checkpointed pass.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include "problem.hpp"

namespace rnnfast {

using idx = std::ptrdiff_t;

// Rows, longest sequence first (rows of equal length keep their order), and their lengths.
struct RowOrder {
  std::vector<idx> row, length;

  RowOrder(idx T, idx B, const std::vector<idx>& lengths) : row(B), length(B, T) {
    std::iota(row.begin(), row.end(), idx(0));
    if (lengths.empty()) return;
    std::stable_sort(row.begin(), row.end(), [&](idx a, idx b) { return lengths[a] > lengths[b]; });
    for (idx i = 0; i < B; ++i) length[i] = lengths[row[i]];
  }
};

// Enough rows that a group makes use of each weight it reads; but several groups, since threads
// take whole ones, unless the weights are so large that threads rather share them: each then reads
// a part of them for many rows.
inline idx group_rows(idx B, idx weight_bytes) {
  const bool large = weight_bytes > (idx(2) << 20);
  if (large) {
    const idx groups = (B + 63) / 64;
    return groups == 0 ? 0 : (B + groups - 1) / groups;
  }
  if (B >= 128) return 16;
  if (B >= 16) return 8;
  if (B >= 8) return (B + 1) / 2;
  return B;
}

// Packing the weights costs about as much as using them for this many rows.
constexpr idx direct_rows = 4;

// Steps between the states that a checkpointed pass keeps: they and one segment's tape grow as
// sqrt(T) together.
inline idx segment_steps(idx T, bool checkpoint) {
  if (!checkpoint || T < 4) return std::max(T, idx(1));
  return static_cast<idx>(std::ceil(std::sqrt(static_cast<double>(T))));
}

// Multiplications and additions of a forward pass.
inline double operations(idx steps, idx I, idx H, int gates) {
  return 2.0 * static_cast<double>(gates) * static_cast<double>(steps) * static_cast<double>(H) *
         static_cast<double>(I + H);
}

}  // namespace rnnfast
