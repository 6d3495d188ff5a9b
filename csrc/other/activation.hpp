// The activations of a dense layer over rows of any length, and their gradients.
#pragma once
#include "../kernels.hpp"
#include "../simd/math.hpp"

namespace rnnfast {
namespace {

template <class R, class F>
[[gnu::always_inline]] inline void map_row(const R* from, R* to, idx n, F&& f) {
  idx i = 0;
  for (; i + lanes<R> <= n; i += lanes<R>) store(to + i, f(load(from + i)));
  if (i < n) store_first(to + i, f(load_first(from + i, n - i)), n - i);
}

// The larger one of each lane: NaN where the first is NaN.
template <class R>
[[gnu::always_inline]] inline Vec<R> larger_lanes(Vec<R> a, Vec<R> b) {
  return (a > b) | (a != a) ? a : b;
}

// What a softmax takes from its logits. NaN or any of them if one is NaN: the sum then is NaN. n is
// at least 1.
template <class R>
R largest(const R* z, idx n) {
  using V = Vec<R>;
  R most = z[0];
  idx i = 0;
  if (n >= lanes<R>) {
    V v = load(z);
    for (i = lanes<R>; i + lanes<R> <= n; i += lanes<R>) v = larger_lanes<R>(v, load(z + i));
    R lane[lanes<R>];
    store(lane, v);
    for (R x : lane) most = x > most || x != x ? x : most;
  }
  for (; i < n; ++i) most = z[i] > most || z[i] != z[i] ? z[i] : most;
  return most;
}

// e = exp(z - most); returns its sum, of four short chains a lane: the error of a sum grows with
// its chain.
template <class R>
R exp_row(const R* z, R most, R* e, idx n) {
  using V = Vec<R>;
  constexpr idx W = lanes<R>, chains = 4;
  const V shift = splat<V>(most);
  V sum[chains] = {};
  idx i = 0;
  for (; i + chains * W <= n; i += chains * W)
#pragma GCC unroll 4
    for (idx j = 0; j < chains; ++j) {
      const V v = exp<R>(load(z + i + j * W) - shift);
      store(e + i + j * W, v);
      sum[j] += v;
    }
  for (; i < n; i += W) {
    const idx valid = n - i < W ? n - i : W;
    const V v = first_lanes(exp<R>(load_first(z + i, valid) - shift), valid);
    store_first(e + i, v, valid);
    sum[0] += v;
  }
  R lane[W];
  store(lane, (sum[0] + sum[1]) + (sum[2] + sum[3]));
  for (idx width = W / 2; width > 0; width /= 2)
    for (idx j = 0; j < width; ++j) lane[j] += lane[j + width];
  return lane[0];
}

template <class R>
void softmax_row(const R* z, R* y, idx n) {
  const R sum = exp_row(z, largest(z, n), y, n);
  map_row(y, y, n, [&](Vec<R> v) { return v / splat<Vec<R>>(sum); });
}

template <class R>
void activate(Activation g, const R* z, R* y, idx n) {
  using V = Vec<R>;
  switch (g) {
    case Activation::identity:
      return map_row(z, y, n, [](V v) { return v; });
    case Activation::tanh:
      return map_row(z, y, n, [](V v) { return tanh<R>(v); });
    case Activation::relu:
      return map_row(z, y, n, [](V v) { return relu<R>(v); });
    case Activation::sigmoid:
      return map_row(z, y, n, [](V v) { return sigmoid<R>(v); });
    case Activation::exp:
      return map_row(z, y, n, [](V v) { return exp<R>(v); });
    case Activation::softmax:
      if (n > 0) softmax_row(z, y, n);
  }
}

// dz from dy and y = g2(z).
template <class R>
void activate_back(Activation g, const R* y, const R* dy, R* dz, idx n) {
  R mean = 0;  // of dy under softmax's weights
  for (idx i = 0; i < n && g == Activation::softmax; ++i) mean += y[i] * dy[i];
  for (idx i = 0; i < n; ++i) {
    R slope = g == Activation::tanh      ? 1 - y[i] * y[i]
              : g == Activation::sigmoid ? y[i] * (1 - y[i])
              : g == Activation::softmax ? y[i]
                                         : R(1);
    dz[i] = g == Activation::relu && y[i] <= 0 ? R(0) : (dy[i] - mean) * slope;
  }
}

}  // namespace
}  // namespace rnnfast
