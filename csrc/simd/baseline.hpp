// The tier every machine has: 128-bit vectors (SSE2, NEON) through vector extensions alone.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace rnnfast {
namespace {

constexpr int vector_bytes = 16;
constexpr int vector_registers = 16;

// Without a fused multiply-add this is two roundings, not a slow library call.
template <class V>
[[gnu::always_inline]] inline V fma(V a, V b, V c) {
  return a * b + c;
}

// x, or the bound beyond it. NaN in x stays NaN: it makes the comparison false.
template <class V>
[[gnu::always_inline]] inline V at_most(V x, V bound) {
  return bound < x ? bound : x;
}
template <class V>
[[gnu::always_inline]] inline V at_least(V x, V bound) {
  return bound > x ? bound : x;
}

}  // namespace
}  // namespace rnnfast

#include "vector.hpp"

namespace rnnfast {
namespace {

template <class V>
[[gnu::always_inline]] inline V first_lanes(V v, std::ptrdiff_t n) {
  V first = {};
  for (std::ptrdiff_t i = 0; i < n; ++i) first[i] = v[i];
  return first;
}
template <class R>
[[gnu::always_inline]] inline Vec<R> load_first(const R* p, std::ptrdiff_t n) {
  return load_first_by_copy(p, n);
}
template <class R>
[[gnu::always_inline]] inline void store_first(R* p, Vec<R> v, std::ptrdiff_t n) {
  store_first_by_copy(p, v, n);
}

}  // namespace
}  // namespace rnnfast
