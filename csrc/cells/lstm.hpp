// Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate, Gers et al. 2000; peepholes,
// Gers & Schmidhuber 2000). Gates i f g o, states a c:
//
//   i = sigmoid(z_i + p_i c_prev)   f = sigmoid(z_f + p_f c_prev)   g = tanh(z_g)
//   c = f c_prev + i g              o = sigmoid(z_o + p_o c)        a = o tanh(c)
#pragma once
#include "cell.hpp"

namespace rnnfast {
namespace {

template <bool peephole>
struct Lstm : CellOf<4> {
  static constexpr const char* name = peephole ? "lstm_peephole" : "lstm";
  static constexpr int states = 2;
  static constexpr int params = peephole ? 3 : 0;  // p_i p_f p_o
  static constexpr int saved = 4;                  // i f g o

  template <int stage, class R, class S>
  [[gnu::always_inline]] static void forward(S& s) {
    auto c_prev = s.prev[1];
    auto z_i = s.z[0], z_f = s.z[1], z_g = s.z[2], z_o = s.z[3];
    if constexpr (peephole) {
      z_i = fma(s.param[0], c_prev, z_i);
      z_f = fma(s.param[1], c_prev, z_f);
    }
    auto i = sigmoid<R>(z_i), f = sigmoid<R>(z_f), g = tanh<R>(z_g);
    auto c = fma(f, c_prev, i * g);
    if constexpr (peephole) z_o = fma(s.param[2], c, z_o);
    auto o = sigmoid<R>(z_o);
    s.next[0] = o * tanh<R>(c);
    s.next[1] = c;
    s.saved[0] = i;
    s.saved[1] = f;
    s.saved[2] = g;
    s.saved[3] = o;
  }

  template <int stage, class R, class S>
  [[gnu::always_inline]] static void backward(S& s) {
    auto i = s.saved[0], f = s.saved[1], g = s.saved[2], o = s.saved[3];
    auto c_prev = s.prev[1], tanh_c = tanh<R>(s.next[1]), da = s.dstate[0];
    auto one = splat<typename S::Vector>(R(1));
    auto dz_o = da * tanh_c * o * (one - o);                    // a = o tanh(c)
    auto dc = fma(da * o, one - tanh_c * tanh_c, s.dstate[1]);  // a = o tanh(c)
    if constexpr (peephole) dc = fma(dz_o, s.param[2], dc);     // z_o + p_o c
    auto dz_i = dc * g * i * (one - i);                         // c = f c_prev + i g
    auto dz_f = dc * c_prev * f * (one - f);
    auto dz_g = dc * i * (one - g * g);
    auto dc_prev = dc * f;
    if constexpr (peephole) {
      dc_prev = fma(dz_i, s.param[0], fma(dz_f, s.param[1], dc_prev));  // z_i + p_i c_prev, ...
      s.dparam[0] = dz_i * c_prev;
      s.dparam[1] = dz_f * c_prev;
      s.dparam[2] = dz_o * s.next[1];
    }
    s.delta[0] = dz_i;
    s.delta[1] = dz_f;
    s.delta[2] = dz_g;
    s.delta[3] = dz_o;
    s.dstate[0] = typename S::Vector{};
    s.dstate[1] = dc_prev;
  }
};

}  // namespace
}  // namespace rnnfast
