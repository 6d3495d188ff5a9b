// 256-bit vectors with fused multiply-add.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace rnnfast {
namespace {

constexpr int vector_bytes = 32;
constexpr int vector_registers = 16;

[[gnu::always_inline]] inline __m256 fma(__m256 a, __m256 b, __m256 c) {
  return _mm256_fmadd_ps(a, b, c);
}
[[gnu::always_inline]] inline __m256d fma(__m256d a, __m256d b, __m256d c) {
  return _mm256_fmadd_pd(a, b, c);
}

// x, or the bound beyond it. NaN in x stays NaN: these instructions give their second operand then.
[[gnu::always_inline]] inline __m256 at_most(__m256 x, __m256 bound) {
  return _mm256_min_ps(bound, x);
}
[[gnu::always_inline]] inline __m256 at_least(__m256 x, __m256 bound) {
  return _mm256_max_ps(bound, x);
}
[[gnu::always_inline]] inline __m256d at_most(__m256d x, __m256d bound) {
  return _mm256_min_pd(bound, x);
}
[[gnu::always_inline]] inline __m256d at_least(__m256d x, __m256d bound) {
  return _mm256_max_pd(bound, x);
}

}  // namespace
}  // namespace rnnfast

#include "vector.hpp"

namespace rnnfast {
namespace {

// Lane i is below n.
[[gnu::always_inline]] inline __m256i first32(std::ptrdiff_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
[[gnu::always_inline]] inline __m256i first64(std::ptrdiff_t n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
[[gnu::always_inline]] inline Vec<float> first_lanes(Vec<float> v, std::ptrdiff_t n) {
  return _mm256_and_ps(v, _mm256_castsi256_ps(first32(n)));
}
[[gnu::always_inline]] inline Vec<double> first_lanes(Vec<double> v, std::ptrdiff_t n) {
  return _mm256_and_pd(v, _mm256_castsi256_pd(first64(n)));
}
[[gnu::always_inline]] inline Vec<float> load_first(const float* p, std::ptrdiff_t n) {
  return _mm256_maskload_ps(p, first32(n));
}
[[gnu::always_inline]] inline Vec<double> load_first(const double* p, std::ptrdiff_t n) {
  return _mm256_maskload_pd(p, first64(n));
}
[[gnu::always_inline]] inline void store_first(float* p, Vec<float> v, std::ptrdiff_t n) {
  _mm256_maskstore_ps(p, first32(n), v);
}
[[gnu::always_inline]] inline void store_first(double* p, Vec<double> v, std::ptrdiff_t n) {
  _mm256_maskstore_pd(p, first64(n), v);
}

}  // namespace
}  // namespace rnnfast
