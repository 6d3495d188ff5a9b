// The product of the weight gradients: C[m][n] += sum over k of left[k][m] * right[k][n] (or =
// where C is `fresh`), where k runs over the rows of a batch at many steps.
#pragma once
#include "arena.hpp"
#include "pack.hpp"

namespace rnnfast {
namespace {

// So many k are packed at once; so many are summed in one chain, since the error of a sum grows
// with its chain.
constexpr idx packed_block = 512;
constexpr idx sum_block = 128;
// Of full height these tiles use all registers that there are for sums.
constexpr int right_vectors = 3;
constexpr int strip_rows = tile_rows(right_vectors);
// Rows of C whose part of the left operand is packed at once: it stays in the second-level cache
// while the panels of the right operand pass by.
constexpr idx left_block = 16 * strip_rows;

template <class R>
struct WeightProduct {
  const R* const* left;   // [k]: rows of deltas, from the first slot of the side on
  const R* const* right;  // [k]: rows of N
  idx K, N;
  idx H;            // m runs over [gate][H]
  const int* gate;  // row block of C that the gate-th block of m adds to
  idx m_first, m_last;
  R* C;  // (G*H, N)
  bool fresh;
};

// The numbers in a strip of K terms. A strip may be a multiple of 4 KB long, and all strips would
// then share few cache sets: each has one vector more.
template <class R>
constexpr idx strip_size(idx K) {
  return K * strip_rows + lanes<R>;
}

// Memory for the packed blocks of both operands.
template <class R>
struct WeightProductScratch {
  R* strips;  // (left_block / strip_rows, strip_size)
  R* panel;   // (panels, packed_block, right_vectors * lanes)
  idx* offset;

  WeightProductScratch(Arena& arena, idx N)
      : strips(arena.take<R>(left_block / strip_rows * strip_size<R>(packed_block))),
        panel(arena.take<R>(packed_block * (round_up<R>(N) + right_vectors * lanes<R>))),
        offset(arena.take<idx>(strip_rows)) {}
};

// Whether rows m up to m + height of the product are neighbours in C.
template <class R>
bool are_neighbours(const WeightProduct<R>& t, idx m, int height) {
  const idx first = m / t.H, last = (m + height - 1) / t.H;
  for (idx gate = first; gate < last; ++gate)
    if (t.gate[gate + 1] != t.gate[gate] + 1) return false;
  return true;
}

// Adds a finished tile to C, or writes it, where it crosses an edge of C or goes to rows apart.
template <class R>
void add_tile(const WeightProduct<R>& t, bool fresh, idx m, int height, idx column, int vectors,
              const R* tile) {
  const idx width = vectors * lanes<R>;
  const idx valid = t.N - column < width ? t.N - column : width;
  idx gate = m / t.H, unit = m % t.H;
  for (int i = 0; i < height; ++i, ++unit) {
    if (unit == t.H) ++gate, unit = 0;
    R* c = t.C + (t.gate[gate] * t.H + unit) * t.N + column;
    for (idx n = 0; n < valid; n += lanes<R>) {
      const Vec<R> sum = load(tile + i * width + n);
      const idx rest = valid - n;
      if (rest >= lanes<R>)
        store(c + n, fresh ? sum : load(c + n) + sum);
      else
        store_first(c + n, fresh ? sum : load_first(c + n, rest) + sum, rest);
    }
  }
}

// left[k][m] for rows m of one block, in strips of strip_rows: strip by strip [k][row].
template <class R>
void pack_strips(const R* const* left, idx K, idx m, idx rows, R* out) {
  for (idx k = 0; k < K; ++k) {
    const R* from = left[k] + m;
    R* to = out + k * strip_rows;
    idx i = 0;
    for (; i + strip_rows <= rows; i += strip_rows, to += strip_size<R>(K))
      std::memcpy(to, from + i, strip_rows * sizeof(R));
    for (idx j = i; j < rows; ++j) to[j - i] = from[j];
  }
}

// Asks `stopped` between blocks, and returns early if so.
template <class R, class F>
void add_product(const WeightProduct<R>& t, const WeightProductScratch<R>& scratch, F&& stopped) {
  constexpr idx W = lanes<R>;
  for (int i = 0; i < strip_rows; ++i) scratch.offset[i] = i;
  R tile[strip_rows * right_vectors * W];
  for (idx k = 0; k < t.K; k += packed_block) {
    const idx K = t.K - k < packed_block ? t.K - k : packed_block;
    // a panel of one vector would be slow: the last four are two and two
    auto vectors_at = [&](idx column) {
      const idx left = (t.N - column + W - 1) / W;
      return static_cast<int>(left == right_vectors + 1 ? 2
                              : left < right_vectors    ? left
                                                        : right_vectors);
    };
    for (idx column = 0; column < t.N; column += vectors_at(column) * W)
      pack_panel(t.right + k, K, column, t.N, vectors_at(column), scratch.panel + column * K);
    for (idx block = t.m_first; block < t.m_last; block += left_block) {
      if (stopped()) return;
      const idx rows = t.m_last - block < left_block ? t.m_last - block : left_block;
      pack_strips(t.left + k, K, block, rows, scratch.strips);
      for (idx column = 0; column < t.N;) {
        const int vectors = vectors_at(column);
        for (idx m = 0; m < rows; m += strip_rows) {
          const int height = static_cast<int>(rows - m < strip_rows ? rows - m : strip_rows);
          const idx gate = (block + m) / t.H, unit = (block + m) % t.H;
          const bool inside = column + vectors * W <= t.N && are_neighbours(t, block + m, height);
          R* const out = inside ? t.C + (t.gate[gate] * t.H + unit) * t.N + column : tile;
          const idx out_step = inside ? t.N : vectors * W;
          for (idx i = 0; i < K; i += sum_block) {
            const bool fresh = t.fresh && k + i == 0;
            tiles_by_width<R>[vectors - 1].of_height[false][height - 1](
                {scratch.strips + m / strip_rows * strip_size<R>(K) + i * strip_rows,
                 scratch.offset, strip_rows, scratch.panel + column * K + i * vectors * W,
                 vectors * W, K - i < sum_block ? K - i : sum_block,
                 inside && !fresh ? out : nullptr, out_step, out, out_step});
            if (!inside) add_tile(t, fresh, block + m, height, column, vectors, tile);
          }
        }
        column += vectors * W;
      }
    }
  }
}

template <class R>
void add_product(const WeightProduct<R>& t, const WeightProductScratch<R>& scratch) {
  add_product(t, scratch, [] { return false; });
}

// The same sum against a right operand of ones: the gradient of a bias, in two levels of short
// sums.
template <class R>
void add_column_sums(const R* const* left, idx K, idx H, const int* gate, int gates, R* C) {
  constexpr idx short_sum = 16;
  for (int g = 0; g < gates; ++g)
    for (idx u = 0; u < H; u += lanes<R>) {
      Vec<R> total = {};
      for (idx k = 0; k < K; k += short_sum) {
        const idx end = K - k < short_sum ? K : k + short_sum;
        Vec<R> sum = {};
        for (idx i = k; i < end; ++i) sum += load(left[i] + g * H + u);
        total += sum;
      }
      R* c = C + gate[g] * H + u;
      const idx n = H - u < lanes<R> ? H - u : lanes<R>;
      store_first(c, load_first(c, n) + total, n);
    }
}

}  // namespace
}  // namespace rnnfast
