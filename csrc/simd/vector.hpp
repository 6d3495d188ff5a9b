// The vector type of the tier being compiled, and what every tier writes the same way.
// Included by the tier's own header, which defines vector_bytes, vector_registers and fma.
#pragma once
#include <utility>

#include "../problem.hpp"

namespace rnnfast {
namespace {

template <class R>
struct VecOf {
  typedef R type __attribute__((vector_size(vector_bytes)));
  typedef R in_memory __attribute__((vector_size(vector_bytes), aligned(alignof(R)), may_alias));
};
template <class R>
using Vec = typename VecOf<R>::type;

template <class R>
constexpr idx lanes = vector_bytes / sizeof(R);

template <class R>
constexpr idx round_up(idx n) {
  return (n + lanes<R> - 1) / lanes<R> * lanes<R>;
}

template <class R>
[[gnu::always_inline]] inline Vec<R> load(const R* p) {
  return *reinterpret_cast<const typename VecOf<R>::in_memory*>(p);
}
template <class R>
[[gnu::always_inline]] inline void store(R* p, Vec<R> v) {
  *reinterpret_cast<typename VecOf<R>::in_memory*>(p) = v;
}
template <class V, class R>
[[gnu::always_inline]] inline V splat(R value) {
  return value - V{};
}

// The first n lanes (0 <= n <= lanes) of memory; the others are 0, or left alone in memory. (Every
// tier has load_first, store_first and first_lanes, which makes the others 0 in a vector.)
template <class R>
[[gnu::always_inline]] inline Vec<R> load_first_by_copy(const R* p, idx n) {
  R lane[lanes<R>] = {};
  for (idx i = 0; i < n; ++i) lane[i] = p[i];
  return load(lane);
}
template <class R>
[[gnu::always_inline]] inline void store_first_by_copy(R* p, Vec<R> v, idx n) {
  R lane[lanes<R>];
  store(lane, v);
  for (idx i = 0; i < n; ++i) p[i] = lane[i];
}

// a[0] b[0] a[1] b[1] ... of the lower (half 0) or upper (half 1) halves.
template <int half, class V, std::size_t... i>
[[gnu::always_inline]] inline V interleave_lanes(V a, V b, std::index_sequence<i...>) {
  constexpr std::size_t n = sizeof...(i);
  return __builtin_shufflevector(a, b, (half * n / 2 + i / 2 + (i % 2) * n)...);
}
template <int half, class R>
[[gnu::always_inline]] inline Vec<R> interleave(Vec<R> a, Vec<R> b) {
  return interleave_lanes<half>(a, b, std::make_index_sequence<lanes<R>>());
}

// Transposes a square block held in lanes<R> vectors: each round interleaves row i with row
// i + n/2, and log2(n) such rounds are the transpose.
template <class R>
[[gnu::always_inline]] inline void transpose(Vec<R> (&row)[lanes<R>]) {
  constexpr idx n = lanes<R>;
#pragma GCC unroll 8
  for (idx width = 1; width < n; width *= 2) {
    Vec<R> next[n];
#pragma GCC unroll 16
    for (idx i = 0; i < n / 2; ++i) {
      next[2 * i] = interleave<0, R>(row[i], row[i + n / 2]);
      next[2 * i + 1] = interleave<1, R>(row[i], row[i + n / 2]);
    }
#pragma GCC unroll 16
    for (idx i = 0; i < n; ++i) row[i] = next[i];
  }
}

}  // namespace
}  // namespace rnnfast
