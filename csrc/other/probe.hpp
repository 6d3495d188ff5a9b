// Loops that show what this machine can do: the floor that the benchmarks compare with.
#pragma once
#include "../driver/forward.hpp"

namespace rnnfast {
namespace {

// Runs the widest register tile over operands in the first-level cache; returns the operations.
// `memory` holds 8192 numbers.
template <class R>
double fma_loop(R* memory, idx repeats) {
  constexpr int vectors = max_vectors, rows = tile_rows(vectors);
  constexpr idx K = 64;
  idx offset[rows];
  for (idx m = 0; m < rows; ++m) offset[m] = m * K;
  const idx width = vectors * lanes<R>;
  const Tile<R> t = {
      memory, offset, 1, memory + rows * K, width, K, nullptr, 0, memory + rows * K + K * width,
      width};
  for (idx i = 0; i < repeats; ++i) tile<R, rows, vectors, prefetch_ahead(rows, false)>(t);
  return 2.0 * static_cast<double>(repeats * K * rows * width);
}

// Reads n numbers (a multiple of eight vectors) again and again; returns something that depends on
// all of them.
template <class R>
double read_loop(const R* memory, idx n, idx repeats) {
  constexpr idx W = lanes<R>;
  Vec<R> sum[8] = {};
  for (idx r = 0; r < repeats; ++r)
    for (idx i = 0; i < n; i += 8 * W)
#pragma GCC unroll 8
      for (idx j = 0; j < 8; ++j) sum[j] += load(memory + i + j * W);
  for (idx j = 1; j < 8; ++j) sum[0] += sum[j];
  return static_cast<double>(sum[0][0]);
}

// Steps of one block of units, each waiting for the one before: its output is the sum of the first
// gate. `memory` holds 1024 numbers.
template <class Cell, class R>
void chain_loop(R* memory, idx steps) {
  constexpr idx W = lanes<R>;
  StepRows<R> rows = {};
  rows.count = rows.blocks = 1;
  rows.H = rows.units = W;
  R* sums = memory;
  rows.sums = rows.input = sums;
  rows.param = sums + 8 * W;
  rows.saved = Cell::stages > 1 ? sums + 16 * W : nullptr;
  for (int i = 0; i < Cell::states; ++i) {
    rows.prev[i] = i == 0 ? sums : sums + (24 + i) * W;
    rows.next[i] = const_cast<R*>(rows.prev[i]);
  }
  for (idx i = 0; i < steps; ++i)
    for_each_stage<Cell>([&](auto s) { forward_rows<Cell, s>(rows); });
}

}  // namespace
}  // namespace rnnfast
