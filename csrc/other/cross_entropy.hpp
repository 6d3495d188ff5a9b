// Cross-entropy of a softmax with its gradient: each row of logits is read from memory once, and
// stays in the cache until its gradient is written.
#pragma once
#include "../driver/packing.hpp"
#include "activation.hpp"

namespace rnnfast {
namespace {

// Logits of a task: some microseconds of work.
constexpr idx loss_task_numbers = 16 * 1024;

// -w log q_c of one row and its gradient w (q - e_c) / divisor, where q is the softmax and c the
// class. What needs no vector is done in double.
template <class R>
void cross_entropy_row(const CrossEntropyProblem<R>& p, idx n) {
  const R* const z = p.z + n * p.O;
  R* const dz = p.dz + n * p.O;
  const idx c = static_cast<idx>(p.target[n]);
  const double w = p.weight == nullptr ? 1 : static_cast<double>(p.weight[c]);
  const R most = largest(z, p.O);
  const double sum = static_cast<double>(exp_row(z, most, dz, p.O));
  const double q = static_cast<double>(dz[c]) / sum;
  const Vec<R> factor = splat<Vec<R>>(static_cast<R>(w / (sum * p.divisor)));
  map_row(dz, dz, p.O, [&](Vec<R> e) { return e * factor; });
  dz[c] = static_cast<R>((q - 1) * w / p.divisor);
  // a weight of 0 drops even an infinite term
  const double term = static_cast<double>(most) - static_cast<double>(z[c]);
  p.loss[n] = w == 0 ? 0 : w * (__builtin_log(sum) + term);
}

template <class R>
void cross_entropy(const CrossEntropyProblem<R>& p, const Control& control) {
  const idx rows = larger(1, loss_task_numbers / p.O);
  parallel(control, (p.N + rows - 1) / rows, [&](idx task, int) {
    if (control.interrupted(control.team)) return;
    const idx end = smaller(p.N, (task + 1) * rows);
    for (idx n = task * rows; n < end; ++n) {
      if (p.counts == nullptr || p.counts[n]) {
        cross_entropy_row(p, n);
        continue;
      }
      p.loss[n] = 0;
      clear_row(p.dz + n * p.O, p.O);
    }
  });
}

}  // namespace
}  // namespace rnnfast
