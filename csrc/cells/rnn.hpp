// The plain recurrent cell: a = g1(W_ax x + b_a + W_aa a_prev + b_aa).
#pragma once
#include "cell.hpp"

namespace rnnfast {
namespace {

// g1 and its derivative as a function of its result.
struct Tanh {
  static constexpr char name[] = "rnn_tanh";
  template <class R, class V>
  static V value(V z) {
    return tanh<R>(z);
  }
  template <class R, class V>
  static V times_slope(V da, V a) {
    return da * (splat<V>(R(1)) - a * a);
  }
};
struct Relu {
  static constexpr char name[] = "rnn_relu";
  template <class R, class V>
  static V value(V z) {
    return relu<R>(z);
  }
  template <class R, class V>
  static V times_slope(V da, V a) {
    return a <= V{} ? V{} : da;
  }
};
struct Sigmoid {
  static constexpr char name[] = "rnn_sigmoid";
  template <class R, class V>
  static V value(V z) {
    return sigmoid<R>(z);
  }
  template <class R, class V>
  static V times_slope(V da, V a) {
    return da * a * (splat<V>(R(1)) - a);
  }
};
struct Identity {
  static constexpr char name[] = "rnn_identity";
  template <class R, class V>
  static V value(V z) {
    return z;
  }
  template <class R, class V>
  static V times_slope(V da, V) {
    return da;
  }
};

template <class G1>
struct Rnn : CellOf<1> {
  static constexpr const char* name = G1::name;
  static constexpr int states = 1;
  static constexpr int saved = 0;  // the slope follows from a itself

  template <int stage, class R, class S>
  [[gnu::always_inline]] static void forward(S& s) {
    s.next[0] = G1::template value<R>(s.z[0]);
  }

  template <int stage, class R, class S>
  [[gnu::always_inline]] static void backward(S& s) {
    s.delta[0] = G1::template times_slope<R>(s.dstate[0], s.next[0]);
    s.dstate[0] = typename S::Vector{};  // a_prev reaches a through the product only
  }
};

}  // namespace
}  // namespace rnnfast
