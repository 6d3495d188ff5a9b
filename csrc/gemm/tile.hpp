// The register tile: the one inner loop that every product runs.
//
//   out[m][n] = init[m][n] + sum over k of left[m][k] * panel[k][n]
//
// (the sum first: its terms would lose their low bits beside a large init) for `rows` rows m and
// `vectors` vectors of columns n. A row of the left operand starts at left + offset[m] and its next
// k lies k_step further on: 1 for a row, the leading dimension for a column (a transposed operand).
// The panel's next k lies panel_step further on: packed panels and plain row-major matrices are the
// same to it.
#pragma once
#include "../simd/vector.hpp"

namespace rnnfast {
namespace {

template <class R>
struct Tile {
  const R* left;
  const idx* offset;
  idx k_step;
  const R* panel;
  idx panel_step;
  idx K;
  const R* init;  // null: zero
  idx init_step;  // between rows; 0 repeats one row (a bias)
  R* out;
  idx out_step;
};

// Three quarters of the registers hold sums, the others the panel's row and a broadcast value.
// Taller tiles would leave no register for the column (of 16), or hide no more of an FMA's latency
// (of 32).
constexpr int max_vectors = 4;
constexpr int tile_rows(int vectors) {
  int accumulators = vector_registers == 32 ? 24 : 12;
  int most = vector_registers == 32 ? 8 : 6;
  return accumulators / vectors < most ? accumulators / vectors : most;
}

// A tile with few accumulators would wait for each FMA's result: it sums over K in this many
// interleaved parts.
constexpr int partial_sums(int rows, int vectors) {
  int n = rows * vectors;
  return n >= 8 ? 1 : n >= 4 ? 2 : n >= 2 ? 4 : 8;
}

// How many bytes of the panel ahead a tile asks for. Few rows wait for the weights, but asking for
// what is near costs them more than it gives: only where the weights are `far`, beyond L2.
constexpr idx prefetch_ahead(int rows, bool far) { return rows >= 4 ? 4096 : far ? 2048 : 0; }

// One k: accumulate the outer product of a column of the left operand and a row of the panel.
template <class R, int rows, int vectors>
[[gnu::always_inline]] inline void accumulate(const R* const (&left)[rows], idx k, const R* panel,
                                              Vec<R> (&sum)[rows][vectors]) {
  using V = Vec<R>;
  if constexpr (vector_registers == 32) {  // hold the panel's row
    V p[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) p[v] = load(panel + v * lanes<R>);
#pragma GCC unroll 8
    for (int m = 0; m < rows; ++m) {
      V x = splat<V>(left[m][k]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sum[m][v] = fma(x, p[v], sum[m][v]);
    }
  } else {  // hold the column
    V x[rows];
#pragma GCC unroll 8
    for (int m = 0; m < rows; ++m) x[m] = splat<V>(left[m][k]);
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      V p = load(panel + v * lanes<R>);
#pragma GCC unroll 8
      for (int m = 0; m < rows; ++m) sum[m][v] = fma(x[m], p, sum[m][v]);
    }
  }
}

// sum[0] becomes the sum of the parts. (By recursion: an array that a loop indexes before it is
// unrolled would lie in memory.)
template <class V, int parts, int rows, int vectors, int width = parts / 2>
[[gnu::always_inline]] inline void add_parts(V (&sum)[parts][rows][vectors]) {
  if constexpr (width > 0) {
#pragma GCC unroll 8
    for (int part = 0; part < width; ++part)
#pragma GCC unroll 8
      for (int m = 0; m < rows; ++m)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) sum[part][m][v] += sum[part + width][m][v];
    add_parts<V, parts, rows, vectors, width / 2>(sum);
  }
}

template <class R, int rows, int vectors, idx ahead>
void tile(const Tile<R>& t) noexcept {
  using V = Vec<R>;
  constexpr int parts = partial_sums(rows, vectors);
  const R* left[rows];
  V sum[parts][rows][vectors];
#pragma GCC unroll 8
  for (int part = 0; part < parts; ++part)
#pragma GCC unroll 8
    for (int m = 0; m < rows; ++m)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sum[part][m][v] = V{};
#pragma GCC unroll 8
  for (int m = 0; m < rows; ++m) left[m] = t.left + t.offset[m];
  const R* panel = t.panel;
  const idx k_step = t.k_step, panel_step = t.panel_step;
  idx k = 0, whole = t.K - t.K % parts;
  for (idx i = 0; i < whole; i += parts) {
#pragma GCC unroll 8
    for (int part = 0; part < parts; ++part) {
      if constexpr (ahead > 0)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v)
          __builtin_prefetch(reinterpret_cast<const char*>(panel + v * lanes<R>) + ahead);
      accumulate<R, rows, vectors>(left, k, panel, sum[part]);
      k += k_step;
      panel += panel_step;
    }
  }
  if constexpr (parts > 1)
    for (idx i = whole; i < t.K; ++i) {
      accumulate<R, rows, vectors>(left, k, panel, sum[0]);
      k += k_step;
      panel += panel_step;
    }
  add_parts(sum);
  R* const out = t.out;
  const R* const init = t.init;
  const idx out_step = t.out_step, init_step = t.init_step;
  if (init != nullptr) {
#pragma GCC unroll 8
    for (int m = 0; m < rows; ++m)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sum[0][m][v] += load(init + m * init_step + v * lanes<R>);
  }
#pragma GCC unroll 8
  for (int m = 0; m < rows; ++m)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(out + m * out_step + v * lanes<R>, sum[0][m][v]);
}

// The tiles of one width: of_height[far][rows - 1].
template <class R>
struct Tiles {
  int most_rows;
  void (*of_height[2][8])(const Tile<R>&) noexcept;
};
template <class R, int vectors, int... m>
constexpr Tiles<R> tiles_of_width(std::integer_sequence<int, m...>) {
  return {tile_rows(vectors),
          {{tile<R, m + 1, vectors, prefetch_ahead(m + 1, false)>...},
           {tile<R, m + 1, vectors, prefetch_ahead(m + 1, true)>...}}};
}
template <class R, int vectors>
constexpr Tiles<R> tiles =
    tiles_of_width<R, vectors>(std::make_integer_sequence<int, tile_rows(vectors)>());
template <class R>
constexpr Tiles<R> tiles_by_width[max_vectors] = {tiles<R, 1>, tiles<R, 2>, tiles<R, 3>,
                                                  tiles<R, 4>};

// So many terms are summed in one chain: the error of a sum grows with its chain.
constexpr idx sum_chain = 256;

// The same product for any number of rows, in tiles of nearly equal height. All tiles go through
// one chain's part of the panel before the next, so that it is read from the first or second-level
// cache.
template <class R>
void product(const Tile<R>& t, idx rows, int vectors) noexcept {
  if (rows == 0) return;
  const Tiles<R>& kind = tiles_by_width<R>[vectors - 1];
  const auto& of_height = kind.of_height[t.K > sum_chain];
  if (rows <= kind.most_rows && t.K <= sum_chain) return of_height[rows - 1](t);
  const idx count = (rows + kind.most_rows - 1) / kind.most_rows;
  const idx height = rows / count, taller = rows % count;
  idx k = 0;
  do {
    const idx K = t.K - k < sum_chain ? t.K - k : sum_chain;
    idx row = 0;
    for (idx i = 0; i < count; ++i) {
      const idx here = height + (i < taller);
      R* const out = t.out + row * t.out_step;
      // Number by number: a copy of what was just written with a wider load than the stores would
      // wait until they, and all before them, have left the pipeline.
      const Tile<R> part = {t.left + k * t.k_step,
                            t.offset + row,
                            t.k_step,
                            t.panel + k * t.panel_step,
                            t.panel_step,
                            K,
                            k > 0               ? out
                            : t.init == nullptr ? nullptr
                                                : t.init + row * t.init_step,
                            k > 0 ? t.out_step : t.init_step,
                            out,
                            t.out_step};
      of_height[here - 1](part);
      row += here;
    }
    k += K;
  } while (k < t.K);
}

}  // namespace
}  // namespace rnnfast
