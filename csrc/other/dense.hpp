// y = g2(W x + b) over the rows of a matrix, and its gradients: product, bias and activation in one
// pass over blocks of rows that stay in the cache.
#pragma once
#include "../gemm/panels.hpp"
#include "../gemm/weight_product.hpp"
#include "../kernels.hpp"
#include "../simd/math.hpp"

namespace rnnfast {
namespace {

// Rows whose inputs, outputs and deltas stay in the first two levels of cache, and enough of them
// to make use of each weight that is read.
constexpr idx dense_rows = 64;

template <class R, class F>
[[gnu::always_inline]] inline void map_row(const R* from, R* to, idx n, F&& f) {
  idx i = 0;
  for (; i + lanes<R> <= n; i += lanes<R>) store(to + i, f(load(from + i)));
  if (i < n) store_first(to + i, f(load_first(from + i, n - i)), n - i);
}

template <class R>
void softmax_row(const R* z, R* y, idx n) {
  R most = z[0], sum = 0;
  for (idx i = 1; i < n; ++i) most = z[i] > most || z[i] != z[i] ? z[i] : most;
  map_row(z, y, n, [&](Vec<R> v) { return exp<R>(v - splat<Vec<R>>(most)); });
  for (idx i = 0; i < n; ++i) sum += y[i];
  for (idx i = 0; i < n; ++i) y[i] /= sum;
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

template <class R>
struct DenseMemory {
  idx outputs, inputs;  // padded to whole vectors
  R* W;                 // panels of the weights
  R* bias;              // (outputs)
  R* rows;              // (dense_rows, outputs): pre-activations, or their gradients
  R* tile;              // (dense_rows, max_vectors * lanes)
  idx* offset;
  const R **left, **right;
  WeightProductScratch<R> product;

  DenseMemory(Arena& arena, const DenseProblem<R>& p)
      : outputs(round_up<R>(p.O)),
        inputs(round_up<R>(p.I)),
        W(arena.take<R>(outputs * inputs)),
        bias(arena.take<R>(outputs)),
        rows(arena.take<R>(dense_rows * outputs)),
        tile(arena.take<R>(dense_rows * max_vectors * lanes<R>)),
        offset(arena.take<idx>(dense_rows)),
        left(arena.take<const R*>(dense_rows)),
        right(arena.take<const R*>(dense_rows)),
        product(arena, p.I) {}
};

template <class R>
std::size_t dense_size(const DenseProblem<R>& p) {
  Arena arena(nullptr);
  DenseMemory<R>(arena, p);
  return arena.used();
}

constexpr int only_gate[] = {0};

template <class R>
void dense_forward(const DenseProblem<R>& p, const Control& control, void* memory) {
  Arena arena(memory);
  const DenseMemory<R> m(arena, p);
  for_each_panel(0, m.outputs / lanes<R>, max_vectors, [&](idx block, int blocks) {
    pack_gates(p.W, p.O, p.I, only_gate, 1, block, blocks, m.W + block * lanes<R> * p.I);
  });
  for (idx o = 0; o < m.outputs; ++o) m.bias[o] = p.b != nullptr && o < p.O ? p.b[o] : R(0);
  for (idx first = 0; first < p.N; first += dense_rows) {
    if (control.interrupted(control.team)) return;
    const idx rows = p.N - first < dense_rows ? p.N - first : dense_rows;
    for (idx r = 0; r < rows; ++r) m.offset[r] = r * p.I;
    for_each_panel(0, m.outputs / lanes<R>, max_vectors, [&](idx block, int vectors) {
      const idx o = block * lanes<R>;
      product(Tile<R>{p.x + first * p.I, m.offset, 1, m.W + o * p.I, vectors * lanes<R>, p.I,
                      m.bias + o, 0, m.rows + o, m.outputs},
              rows, vectors);
    });
    for (idx r = 0; r < rows; ++r)
      activate(p.g2, m.rows + r * m.outputs, p.y + (first + r) * p.O, p.O);
  }
}

template <class R>
void dense_backward(const DenseProblem<R>& p, const Control& control, void* memory) {
  Arena arena(memory);
  const DenseMemory<R> m(arena, p);
  if (p.N == 0) std::memset(p.dW, 0, static_cast<std::size_t>(p.O * p.I) * sizeof(R));
  if (p.db != nullptr) std::memset(p.db, 0, static_cast<std::size_t>(p.O) * sizeof(R));
  for_each_panel(0, m.inputs / lanes<R>, max_vectors, [&](idx block, int blocks) {
    pack_transposed(p.W, p.O, p.I, only_gate, 1, block, blocks, m.W + block * lanes<R> * p.O);
  });
  for (idx i = 0; i < dense_rows * m.outputs; ++i) m.rows[i] = 0;
  for (idx first = 0; first < p.N; first += dense_rows) {
    if (control.interrupted(control.team)) return;
    const idx rows = p.N - first < dense_rows ? p.N - first : dense_rows;
    for (idx r = 0; r < rows; ++r) {
      const idx at = first + r;
      activate_back(p.g2, p.y + at * p.O, p.dy + at * p.O, m.rows + r * m.outputs, p.O);
      m.offset[r] = r * m.outputs;
      m.left[r] = m.rows + r * m.outputs;
      m.right[r] = p.x + at * p.I;
    }
    if (p.db != nullptr) add_column_sums(m.left, rows, p.O, only_gate, 1, p.db);
    add_product(
        WeightProduct<R>{m.left, m.right, rows, p.I, p.O, only_gate, 0, p.O, p.dW, first == 0},
        m.product);
    if (p.dx == nullptr) continue;
    for_each_panel(0, m.inputs / lanes<R>, max_vectors, [&](idx block, int vectors) {
      const idx i = block * lanes<R>, width = vectors * lanes<R>;
      const idx valid = p.I - i < width ? p.I - i : width;
      product(Tile<R>{m.rows, m.offset, 1, m.W + i * p.O, width, p.O, nullptr, 0, m.tile, width},
              rows, vectors);
      for (idx r = 0; r < rows; ++r)
        std::memcpy(p.dx + (first + r) * p.I + i, m.tile + r * width,
                    static_cast<std::size_t>(valid) * sizeof(R));
    });
  }
}

}  // namespace
}  // namespace rnnfast
