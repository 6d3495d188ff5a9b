// exp, tanh and sigmoid over one vector of the tier being compiled.
//
//   function   range        error, float32       error, float64   NaN, Inf
//   exp        all          2 ULP                4 ULP            NaN; 0 and Inf at the ends
//   tanh       all          3 ULP                4 ULP            NaN; -1 and 1, sign of 0 kept
//   sigmoid    all          3 ULP                4 ULP            NaN; 0 and 1
//
// One ULP more where fma is two roundings. Results below the smallest normal number may be 0.
#pragma once
#include "vector.hpp"

namespace rnnfast {
namespace {

// What differs between the two precisions. exp(x) = 2^n exp(r), |r| <= ln(2)/2: `magic` rounds to
// an integer that stands in the low bits of the sum; ln2_high has enough trailing zeros for
// n * ln2_high to be exact.
template <class R>
struct ExpOf;

template <>
struct ExpOf<float> {
  using Bits = std::int32_t;
  static constexpr int mantissa = 23, bias = 127;
  static constexpr float magic = 12582912.0f, log2e = 1.44269504f;
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  static constexpr float lowest = -104.0f, highest = 89.0f;  // exp is 0 and Inf beyond
  static constexpr float tanh_end = 18.4f;                   // expm1(-18.4) rounds to -1
  static constexpr float sigmoid_end = 88.0f;                // exp(88) is finite, 1/exp(88) is 0

  // (exp(r) - 1 - r) / r^2 for r = sign * y, minimax.
  template <int sign, class V>
  [[gnu::always_inline]] static V quotient(V y, V r2) {
    V low = fma(y, splat<V>(sign * 0.166665435f), splat<V>(0.49999997f));
    V high = fma(y, splat<V>(sign * 0.00836655218f), splat<V>(0.0416672006f));
    return fma(r2, fma(r2, splat<V>(0.00138825295f), high), low);
  }
};

template <>
struct ExpOf<double> {
  using Bits = std::int64_t;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double magic = 6755399441055744.0, log2e = 1.4426950408889634;
  static constexpr double ln2_high = 0.69314718036912382, ln2_low = 1.9082149292705877e-10;
  static constexpr double lowest = -746.0, highest = 710.0;
  static constexpr double tanh_end = 38.0, sigmoid_end = 709.0;

  // (exp(r) - 1 - r) / r^2 for r = sign * y by its Taylor series, 1/2! + r/3! + ...: the first term
  // left out is below 2^-57 of the sum.
  template <int sign, class V>
  [[gnu::always_inline]] static V quotient(V y, V r2) {
    V c0 = fma(y, splat<V>(sign * 1.0 / 6), splat<V>(0.5));
    V c2 = fma(y, splat<V>(sign * 1.0 / 120), splat<V>(1.0 / 24));
    V c4 = fma(y, splat<V>(sign * 1.0 / 5040), splat<V>(1.0 / 720));
    V c6 = fma(y, splat<V>(sign * 1.0 / 362880), splat<V>(1.0 / 40320));
    V c8 = fma(y, splat<V>(sign * 1.0 / 39916800), splat<V>(1.0 / 3628800));
    V c10 = fma(y, splat<V>(sign * 1.0 / 6227020800), splat<V>(1.0 / 479001600));
    V r4 = r2 * r2;
    V low = fma(r2, c2, c0), middle = fma(r2, c6, c4), high = fma(r2, c10, c8);
    return fma(r4, fma(r4, high, middle), low);
  }
};

// exp(sign * x) = 2^n (1 + expm1_r); `shifted` carries n in its low bits.
template <class V>
struct Reduced {
  V shifted, expm1_r;
};
template <int sign, class R, class V = Vec<R>>
[[gnu::always_inline]] inline Reduced<V> reduce(V x) {
  using E = ExpOf<R>;
  V shifted = fma(x, splat<V>(sign * E::log2e), splat<V>(E::magic));
  V n = shifted - splat<V>(E::magic);
  V y = fma(n, splat<V>(-sign * E::ln2_high), x);  // r = sign * y
  y = fma(n, splat<V>(-sign * E::ln2_low), y);
  V r2 = y * y;
  return {shifted, fma(r2, E::template quotient<sign>(y, r2), sign > 0 ? y : -y)};
}

// 2^n for n in the range of normal numbers.
template <class R, class V = Vec<R>>
[[gnu::always_inline]] inline V power_of_two(V shifted) {
  using E = ExpOf<R>;
  using Bits = Vec<typename E::Bits>;
  Bits one = splat<Bits>(static_cast<typename E::Bits>(E::bias) << E::mantissa);
  return (V)(((Bits)shifted << E::mantissa) + one);
}

template <class R, class V = Vec<R>>
[[gnu::always_inline]] inline V exp(V x) {
  using E = ExpOf<R>;
  V bounded = at_least(at_most(x, splat<V>(E::highest)), splat<V>(E::lowest));
  auto [shifted, p] = reduce<1, R>(bounded);
  // 2^n in two factors, since n can be one more than the largest exponent
  V n = shifted - splat<V>(E::magic);
  V half = fma(n, splat<V>(R(0.5)), splat<V>(E::magic));
  V rest = (n - (half - splat<V>(E::magic))) + splat<V>(E::magic);
  V s = power_of_two<R>(half);
  return fma(s, p, s) * power_of_two<R>(rest);
}

template <class R, class V = Vec<R>>
[[gnu::always_inline]] inline V sigmoid(V x) {
  using E = ExpOf<R>;
  V bounded = at_least(at_most(x, splat<V>(E::sigmoid_end - 1)), splat<V>(-E::sigmoid_end));
  auto [shifted, p] = reduce<-1, R>(bounded);
  V s = power_of_two<R>(shifted), one = splat<V>(R(1));
  return one / (one + fma(s, p, s));
}

template <class R, class V = Vec<R>>
[[gnu::always_inline]] inline V magnitude(V x) {
  using Bits = Vec<typename ExpOf<R>::Bits>;
  return (V)((Bits)x & ~(Bits)splat<V>(R(-0.0)));
}
template <class R, class V = Vec<R>>
[[gnu::always_inline]] inline V with_sign_of(V sign, V x) {
  using Bits = Vec<typename ExpOf<R>::Bits>;
  return (V)((Bits)magnitude<R>(x) | ((Bits)sign & (Bits)splat<V>(R(-0.0))));
}

// tanh(|x|) = -e / (e + 2) with e = expm1(-2|x|): no cancellation, and e is never large.
template <class R, class V = Vec<R>>
[[gnu::always_inline]] inline V tanh(V x) {
  V size = magnitude<R>(x);
  auto [shifted, p] = reduce<-1, R>(at_most(size + size, splat<V>(ExpOf<R>::tanh_end)));
  V s = power_of_two<R>(shifted);
  V e = fma(s, p, s - splat<V>(R(1)));
  return with_sign_of<R>(x, e / (e + splat<V>(R(2))));
}

template <class R, class V = Vec<R>>
[[gnu::always_inline]] inline V relu(V x) {
  return x < V{} ? V{} : x;
}

}  // namespace
}  // namespace rnnfast
