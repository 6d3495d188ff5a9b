// The product of the weight gradients: C[m][n] += sum over k of left[k][m] * right[k][n], where k
// runs over the rows of a batch at many steps.
#pragma once

namespace rnnfast {
namespace {

// Blocks of this many k are summed in registers before they are added to C.
constexpr idx sum_block = 512;
constexpr int right_vectors = 3;
constexpr int strip_rows = tile_rows(right_vectors);

template <class R>
struct Transposed {
  const R* const* left;   // [k]: rows of deltas, from the first slot of the side on
  const R* const* right;  // [k]: rows of N
  idx K, N;
  idx units;          // m runs over [gate][units], of which H are real
  idx H;
  const int* gate;    // row block of C that the gate-th block of m adds to
  idx m_first, m_last;
  R* C;               // (G*H, N)
};

// Memory for the packed blocks of both operands.
template <class R>
struct TransposedScratch {
  R* strip;  // (sum_block, strip_rows)
  R* panel;  // (panels, sum_block, right_vectors * lanes)
  idx* offset;

  TransposedScratch(Arena& arena, idx N)
      : strip(arena.take<R>(sum_block * strip_rows)),
        panel(arena.take<R>(sum_block * (round_up<R>(N) + right_vectors * lanes<R>))),
        offset(arena.take<idx>(strip_rows)) {}
};

// Adds the real part of a finished tile to C.
template <class R>
void add_tile(const Transposed<R>& t, idx m, int height, idx column, int vectors, const R* tile) {
  const idx width = vectors * lanes<R>;
  const idx valid = t.N - column < width ? t.N - column : width;
  for (int i = 0; i < height; ++i) {
    const idx unit = (m + i) % t.units;
    if (unit >= t.H) continue;
    R* c = t.C + (t.gate[(m + i) / t.units] * t.H + unit) * t.N + column;
    idx n = 0;
    for (; n + lanes<R> <= valid; n += lanes<R>)
      store(c + n, load(c + n) + load(tile + i * width + n));
    if (n < valid)
      store_first(c + n, load_first(c + n, valid - n) + load(tile + i * width + n), valid - n);
  }
}

template <class R>
void add_transposed(const Transposed<R>& t, const TransposedScratch<R>& scratch) {
  constexpr idx W = lanes<R>;
  for (int i = 0; i < strip_rows; ++i) scratch.offset[i] = i;
  R tile[strip_rows * right_vectors * W];
  for (idx k = 0; k < t.K; k += sum_block) {
    const idx block = t.K - k < sum_block ? t.K - k : sum_block;
    for (idx column = 0; column < t.N; column += right_vectors * W) {
      idx left = (t.N - column + W - 1) / W;
      pack_panel(t.right + k, block, column, t.N,
                 static_cast<int>(left < right_vectors ? left : right_vectors),
                 scratch.panel + column * sum_block);
    }
    for (idx m = t.m_first; m < t.m_last; m += strip_rows) {
      const int height = static_cast<int>(t.m_last - m < strip_rows ? t.m_last - m : strip_rows);
      for (idx i = 0; i < block; ++i)
        for (int j = 0; j < height; ++j) scratch.strip[i * strip_rows + j] = t.left[k + i][m + j];
      for (idx column = 0; column < t.N; column += right_vectors * W) {
        idx left = (t.N - column + W - 1) / W;
        int vectors = static_cast<int>(left < right_vectors ? left : right_vectors);
        Tile<R> q = {scratch.strip, scratch.offset, strip_rows, scratch.panel + column * sum_block,
                     vectors * W, block, nullptr, 0, tile, vectors * W};
        find_tile<R>(height, vectors)(q);
        add_tile(t, m, height, column, vectors, tile);
      }
    }
  }
}

// The same sum against a right operand of ones: the gradient of a bias.
template <class R>
void add_column_sums(const R* const* left, idx K, idx units, idx H, const int* gate, int gates,
                     R* C) {
  for (int g = 0; g < gates; ++g)
    for (idx u = 0; u < H; u += lanes<R>)
      for (idx k = 0; k < K; k += sum_block) {
        const idx end = K - k < sum_block ? K : k + sum_block;
        Vec<R> sum = {};
        for (idx i = k; i < end; ++i) sum += load(left[i] + g * units + u);
        R* c = C + gate[g] * H + u;
        idx n = H - u < lanes<R> ? H - u : lanes<R>;
        store_first(c, load_first(c, n) + sum, n);
      }
}

}  // namespace
}  // namespace rnnfast
