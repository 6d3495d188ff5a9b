// Weights and operands rearranged into panels: [panel][k][vector of the panel][lane].
#pragma once
#include "tile.hpp"

namespace rnnfast {
namespace {

// Columns of a matrix as lanes: out[k][lane] = w[lane][k] for `valid` rows, lanes<R> at most; lanes
// up to `room` become 0. Rows of w are K long; k's in `out` are out_step apart.
template <class R>
void pack_rows_as_lanes(const R* w, idx K, idx valid, R* out, idx out_step, idx room) {
  constexpr idx W = lanes<R>;
  auto put = [room](R* to, Vec<R> v) {
    if (room >= W)
      store(to, v);
    else
      store_first(to, v, room);
  };
  for (idx k = 0; k < K; k += W) {
    idx width = K - k < W ? K - k : W;
    Vec<R> block[W];
#pragma GCC unroll 16
    for (idx i = 0; i < W; ++i)
      block[i] = i >= valid   ? Vec<R>{}
                 : width == W ? load(w + i * K + k)
                              : load_first(w + i * K + k, width);
    transpose<R>(block);
    if (width == W) {
#pragma GCC unroll 16
      for (idx i = 0; i < W; ++i) put(out + (k + i) * out_step, block[i]);
    } else {
      R whole[W * W];
      for (idx i = 0; i < W; ++i) store(whole + i * W, block[i]);
      for (idx i = 0; i < width; ++i) put(out + (k + i) * out_step, load(whole + i * W));
    }
  }
}

// In the last block of units, which may not be full, the gates stand as close as those units: what
// lies beyond H is then no part of a product.
template <class R>
constexpr idx block_units(idx H, idx block) {
  const idx rest = H - block * lanes<R>;
  return rest < lanes<R> ? rest : lanes<R>;
}
// Vectors of a panel of some blocks with all gates of a stage.
template <class R>
constexpr int panel_vectors(idx H, int gates, idx first_block, int blocks) {
  const idx rest = H - first_block * lanes<R>, whole = blocks * lanes<R>;
  return static_cast<int>(round_up<R>(gates * (rest < whole ? rest : whole)) / lanes<R>);
}

// The gate-interleaved panel of `blocks` blocks of units of a (G*H, K) matrix, for one stage of a
// cell: for each k, [block][gate of the stage][unit]. gate[j] is the gate that stands j-th.
template <class R>
void pack_gates(const R* w, idx H, idx K, const int* gate, int gates, idx first_block, int blocks,
                R* out) {
  const idx out_step = panel_vectors<R>(H, gates, first_block, blocks) * lanes<R>;
  for (int b = 0; b < blocks; ++b)
    for (int j = 0; j < gates; ++j) {
      const idx unit = (first_block + b) * lanes<R>, units = block_units<R>(H, first_block + b);
      const idx at = b * gates * lanes<R> + j * units;
      pack_rows_as_lanes(w + (gate[j] * H + unit) * K, K, units, out + at, out_step, out_step - at);
    }
}

// The panel of `blocks` blocks of columns of a (G*H, N) matrix, for products that sum over gates
// and units: k runs over [gate][H].
template <class R>
void pack_transposed(const R* w, idx H, idx N, const int* gate, int gates, idx first_block,
                     int blocks, R* out) {
  constexpr idx W = lanes<R>;
  for (int j = 0; j < gates; ++j)
    for (idx u = 0; u < H; ++u)
      for (int b = 0; b < blocks; ++b, out += W) {
        idx column = (first_block + b) * W;
        idx valid = N - column < W ? N - column : W;
        const R* from = w + (gate[j] * H + u) * N + column;
        store(out, valid == W ? load(from) : load_first(from, valid));
      }
}

// Rows given one by one, as panels of at most max_vectors vectors: out[panel][row][vector].
template <class R>
void pack_panel(const R* const* row, idx rows, idx column, idx columns, int vectors, R* out) {
  constexpr idx W = lanes<R>;
  for (idx k = 0; k < rows; ++k)
    for (int v = 0; v < vectors; ++v, out += W) {
      idx from = column + v * W;
      idx valid = columns - from < W ? columns - from : W;
      store(out, valid == W ? load(row[k] + from) : load_first(row[k] + from, valid));
    }
}

}  // namespace
}  // namespace rnnfast
