// Gated recurrent unit (Cho et al. 2014). Gates r z n; r and z are sigmoids of their sums.
//
//   reset after the product:   n = tanh(x_n + r h_n)   with h_n = W_aa,n a_prev + b_aa,n
//   reset before the product:  n = tanh(x_n + W_aa,n q + b_aa,n)   with q = r a_prev
//   a = (1 - z) n + z a_prev
#pragma once
#include "cell.hpp"

namespace rnnfast {
namespace {

struct GruAfter : CellOf<3> {
  static constexpr const char* name = "gru_after";
  static constexpr int states = 1;
  static constexpr int saved = 4;   // h_n r z n
  static constexpr int deltas = 4;  // of h_n, r, z, x_n: each side is three neighbours
  static constexpr int x_slot[] = {1, 2, 3};
  static constexpr int r_slot[] = {1, 2, 0};

  template <int stage, class R, class S>
  [[gnu::always_inline]] static void forward(S& s) {
    auto a_prev = s.prev[0], h_n = s.z[2];
    auto r = sigmoid<R>(s.z[0]), z = sigmoid<R>(s.z[1]);
    auto n = tanh<R>(fma(r, h_n, s.x[2]));
    s.next[0] = fma(z, a_prev - n, n);
    s.saved[0] = h_n;
    s.saved[1] = r;
    s.saved[2] = z;
    s.saved[3] = n;
  }

  template <int stage, class R, class S>
  [[gnu::always_inline]] static void backward(S& s) {
    auto h_n = s.saved[0], r = s.saved[1], z = s.saved[2], n = s.saved[3];
    auto a_prev = s.prev[0], da = s.dstate[0];
    auto one = splat<typename S::Vector>(R(1));
    auto dx_n = da * (one - z) * (one - n * n);  // a = (1 - z) n + ..., n = tanh(x_n + ...)
    s.delta[3] = dx_n;
    s.delta[1] = dx_n * h_n * r * (one - r);         // n = tanh(x_n + r h_n)
    s.delta[2] = da * (a_prev - n) * z * (one - z);  // a = n + z (a_prev - n)
    s.delta[0] = dx_n * r;                           // n = tanh(x_n + r h_n)
    s.dstate[0] = da * z;                            // a = ... + z a_prev
  }
};

struct GruBefore : CellOf<3> {
  static constexpr const char* name = "gru_before";
  static constexpr int states = 1;
  static constexpr int saved = 4;  // r z n q
  static constexpr int stages = 2;
  static constexpr int stage_begin[] = {0, 2, 3};
  static constexpr int operand[] = {-1, 3};
  static constexpr int saved_by[] = {0, 0, 1, 0};
  static constexpr int delta_by[] = {0, 1, 1};  // of z too: n's place holds its delta afterwards

  template <int stage, class R, class S>
  [[gnu::always_inline]] static void forward(S& s) {
    auto a_prev = s.prev[0];
    if constexpr (stage == 0) {
      s.saved[0] = sigmoid<R>(s.z[0]);
      s.saved[1] = sigmoid<R>(s.z[1]);
      s.saved[3] = s.saved[0] * a_prev;
    } else {
      auto n = tanh<R>(s.z[2]);
      s.next[0] = fma(s.saved[1], a_prev - n, n);
      s.saved[2] = n;
    }
  }

  template <int stage, class R, class S>
  [[gnu::always_inline]] static void backward(S& s) {
    auto a_prev = s.prev[0], da = s.dstate[0];
    auto one = splat<typename S::Vector>(R(1));
    if constexpr (stage == 1) {
      auto z = s.saved[1], n = s.saved[2];
      s.delta[1] = da * (a_prev - n) * z * (one - z);  // a = n + z (a_prev - n)
      s.delta[2] = da * (one - z) * (one - n * n);     // a = (1 - z) n + ..., n = tanh(z_n)
      s.dstate[0] = da * z;                            // a = ... + z a_prev
    } else {
      auto r = s.saved[0], dq = s.doperand;
      s.delta[0] = dq * a_prev * r * (one - r);  // q = r a_prev
      s.dstate[0] = fma(dq, r, da);              // q = r a_prev
    }
  }
};

}  // namespace
}  // namespace rnnfast
