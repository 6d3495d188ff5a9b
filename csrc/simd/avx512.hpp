// 512-bit vectors with fused multiply-add and lane masks.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace rnnfast {
namespace {

constexpr int vector_bytes = 64;
constexpr int vector_registers = 32;

[[gnu::always_inline]] inline __m512 fma(__m512 a, __m512 b, __m512 c) {
  return _mm512_fmadd_ps(a, b, c);
}
[[gnu::always_inline]] inline __m512d fma(__m512d a, __m512d b, __m512d c) {
  return _mm512_fmadd_pd(a, b, c);
}

// x, or the bound beyond it. NaN in x stays NaN: these instructions give their second operand then.
// (gcc 12 warns about the forms without a mask.)
constexpr __mmask16 every32 = 0xffff;
constexpr __mmask8 every64 = 0xff;
[[gnu::always_inline]] inline __m512 at_most(__m512 x, __m512 bound) {
  return _mm512_maskz_min_ps(every32, bound, x);
}
[[gnu::always_inline]] inline __m512 at_least(__m512 x, __m512 bound) {
  return _mm512_maskz_max_ps(every32, bound, x);
}
[[gnu::always_inline]] inline __m512d at_most(__m512d x, __m512d bound) {
  return _mm512_maskz_min_pd(every64, bound, x);
}
[[gnu::always_inline]] inline __m512d at_least(__m512d x, __m512d bound) {
  return _mm512_maskz_max_pd(every64, bound, x);
}

}  // namespace
}  // namespace rnnfast

#include "vector.hpp"

namespace rnnfast {
namespace {

// Bit i is set for i below n.
[[gnu::always_inline]] inline unsigned first(std::ptrdiff_t n) { return (1u << n) - 1u; }

[[gnu::always_inline]] inline Vec<float> first_lanes(Vec<float> v, std::ptrdiff_t n) {
  return _mm512_maskz_mov_ps(static_cast<__mmask16>(first(n)), v);
}
[[gnu::always_inline]] inline Vec<double> first_lanes(Vec<double> v, std::ptrdiff_t n) {
  return _mm512_maskz_mov_pd(static_cast<__mmask8>(first(n)), v);
}
[[gnu::always_inline]] inline Vec<float> load_first(const float* p, std::ptrdiff_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>(first(n)), p);
}
[[gnu::always_inline]] inline Vec<double> load_first(const double* p, std::ptrdiff_t n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>(first(n)), p);
}
[[gnu::always_inline]] inline void store_first(float* p, Vec<float> v, std::ptrdiff_t n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>(first(n)), v);
}
[[gnu::always_inline]] inline void store_first(double* p, Vec<double> v, std::ptrdiff_t n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(first(n)), v);
}

}  // namespace
}  // namespace rnnfast
