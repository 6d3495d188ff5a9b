// The product with weights as they lie in memory, row-major, for a few rows that would not repay
// packing them: each result is a dot product of two contiguous rows.
#pragma once
#include "../simd/vector.hpp"

namespace rnnfast {
namespace {

// The gates of some blocks of units, as a panel of the same blocks gives them:
// out[m][block][j][unit] = init[m][...] + sum over k of left[m][k] * w[gate[j] * H + unit][k].
template <class R>
struct Dots {
  const R* left;
  const idx* offset;  // of each row in left
  const R* w;         // (G*H, K)
  idx K, H;
  const int* gate;
  int gates;
  idx first_block;
  int blocks;
  const R* init;
  idx init_step;
  R* out;
  idx out_step;
};

// One vector of results: `valid` neighbouring rows of w times x.
template <class R>
[[gnu::always_inline]] inline Vec<R> dot(const R* w, const R* x, idx K, idx valid) {
  constexpr idx W = lanes<R>;
  Vec<R> sum[W] = {};
  idx k = 0;
  for (; k + W <= K && valid == W; k += W) {
    const Vec<R> v = load(x + k);
#pragma GCC unroll 16
    for (idx i = 0; i < W; ++i) sum[i] = fma(load(w + i * K + k), v, sum[i]);
  }
  for (; k < K; k += W) {
    const idx n = K - k < W ? K - k : W;
    const Vec<R> v = load_first(x + k, n);
#pragma GCC unroll 16
    for (idx i = 0; i < W; ++i)
      if (i < valid) sum[i] = fma(load_first(w + i * K + k, n), v, sum[i]);
  }
  transpose<R>(sum);
#pragma GCC unroll 16
  for (idx width = W / 2; width >= 1; width /= 2)
#pragma GCC unroll 16
    for (idx i = 0; i < width; ++i) sum[i] += sum[i + width];
  return sum[0];
}

template <class R>
void dots(const Dots<R>& d, idx rows) noexcept {
  constexpr idx W = lanes<R>;
  for (idx m = 0; m < rows; ++m)
    for (int b = 0; b < d.blocks; ++b) {
      const idx unit = (d.first_block + b) * W;
      const idx valid = d.H - unit < W ? d.H - unit : W;
      for (int j = 0; j < d.gates; ++j) {
        const idx at = b * d.gates * W + j * valid;
        const Vec<R> sum =
            dot(d.w + (d.gate[j] * d.H + unit) * d.K, d.left + d.offset[m], d.K, valid);
        store(d.out + m * d.out_step + at, load(d.init + m * d.init_step + at) + sum);
      }
    }
}

}  // namespace
}  // namespace rnnfast
