// Rows of a table by their numbers, and the sum of rows by theirs: an embedding and its gradient.
#pragma once
#include "../driver/packing.hpp"

namespace rnnfast {
namespace {

// Bytes that a task copies: some microseconds of work.
constexpr idx rows_task_bytes = 64 * 1024;
// Columns of a table that one thread sums: whole lines of the cache, and several.
constexpr idx least_sum_bytes = 256;

// to[n] = from[row[n]]
template <class R>
void take_rows(const RowsProblem<R>& p, const Control& control) {
  const auto bytes = static_cast<std::size_t>(p.E) * sizeof(R);
  const idx rows = larger(1, rows_task_bytes / larger(1, static_cast<idx>(bytes)));
  parallel(control, (p.N + rows - 1) / rows, [&](idx task, int) {
    if (control.interrupted(control.team)) return;
    const idx end = smaller(p.N, (task + 1) * rows);
    for (idx n = task * rows; n < end; ++n)
      std::memcpy(p.to + n * p.E, p.from + static_cast<idx>(p.row[n]) * p.E, bytes);
  });
}

// to[r] = sum of from[n] over the n, in order, whose row is r. Threads take columns: the same work
// for each, however often a row occurs.
template <class R>
void sum_rows(const RowsProblem<R>& p, const Control& control) {
  const idx most = p.E * static_cast<idx>(sizeof(R)) / least_sum_bytes;
  const idx parts = larger(1, smaller(most, control.threads));
  parallel(control, parts, [&](idx part, int) {
    const idx first = p.E * part / parts, columns = p.E * (part + 1) / parts - first;
    auto stopped = [&](idx row) { return row % 1024 == 0 && control.interrupted(control.team); };
    for (idx r = 0; r < p.rows && !stopped(r); ++r) clear_row(p.to + r * p.E + first, columns);
    for (idx n = 0; n < p.N && !stopped(n); ++n) {
      R* const to = p.to + static_cast<idx>(p.row[n]) * p.E + first;
      const R* const from = p.from + n * p.E + first;
      for (idx e = 0; e < columns; ++e) to[e] += from[e];
    }
  });
}

}  // namespace
}  // namespace rnnfast
