// One optimiser step over an array, in place, in one pass. Plain loops: the compiler makes vectors
// of them.
#pragma once
#include "../kernels.hpp"
#include "../simd/vector.hpp"

namespace rnnfast {
namespace {

[[gnu::always_inline]] inline float square_root(float x) { return __builtin_sqrtf(x); }
[[gnu::always_inline]] inline double square_root(double x) { return __builtin_sqrt(x); }

template <class R>
void sgd_step(const SgdStep& s, R* __restrict p, const R* __restrict g, R* __restrict velocity,
              idx n) {
  const R lr = R(s.lr), momentum = R(s.momentum), decay = R(s.weight_decay);
  if (velocity == nullptr) {
    for (idx i = 0; i < n; ++i) p[i] -= lr * (g[i] + decay * p[i]);
    return;
  }
  for (idx i = 0; i < n; ++i) {
    velocity[i] = momentum * velocity[i] + (g[i] + decay * p[i]);
    p[i] -= lr * velocity[i];
  }
}

template <class R>
void adam_step(const AdamStep& s, R* __restrict p, const R* __restrict g, R* __restrict m,
               R* __restrict v, idx n) {
  const R rate = R(s.lr / s.correction1), root = R(1 / __builtin_sqrt(s.correction2));
  const R beta1 = R(s.beta1), rest1 = R(1 - s.beta1), beta2 = R(s.beta2), rest2 = R(1 - s.beta2);
  const R eps = R(s.eps), decay = R(s.decoupled ? 0 : s.weight_decay);
  const R shrink = R(s.decoupled ? s.lr * s.weight_decay : 0);
  for (idx i = 0; i < n; ++i) {
    const R d = g[i] + decay * p[i];
    m[i] = beta1 * m[i] + rest1 * d;
    v[i] = beta2 * v[i] + rest2 * d * d;
    p[i] -= shrink * p[i] + rate * m[i] / (square_root(v[i]) * root + eps);
  }
}

template <class R>
void rmsprop_step(const RmspropStep& s, R* __restrict p, const R* __restrict g, R* __restrict v,
                  idx n) {
  const R lr = R(s.lr), alpha = R(s.alpha), rest = R(1 - s.alpha);
  const R eps = R(s.eps), decay = R(s.weight_decay);
  for (idx i = 0; i < n; ++i) {
    const R d = g[i] + decay * p[i];
    v[i] = alpha * v[i] + rest * d * d;
    p[i] -= lr * d / (square_root(v[i]) + eps);
  }
}

// Summed in double, in eight parts.
template <class R>
double sum_of_squares(const R* x, idx n) {
  double part[8] = {};
  idx i = 0;
  for (; i + 8 <= n; i += 8)
    for (idx j = 0; j < 8; ++j) part[j] += static_cast<double>(x[i + j]) * x[i + j];
  for (; i < n; ++i) part[0] += static_cast<double>(x[i]) * x[i];
  return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

template <class R>
void scale(R* x, idx n, double factor) {
  for (idx i = 0; i < n; ++i) x[i] *= R(factor);
}

}  // namespace
}  // namespace rnnfast
