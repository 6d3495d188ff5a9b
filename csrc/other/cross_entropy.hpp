// Cross-entropy of a softmax with its gradient: each row of logits is read from memory once, and
// stays in the cache until its gradient is written.
#pragma once
#include "../driver/packing.hpp"
#include "../gemm/pack.hpp"
#include "activation.hpp"

namespace rnnfast {
namespace {

// Logits of a task: some microseconds of work, and more.
constexpr idx loss_task_numbers = 16 * 1024;

// Rows of so few logits are taken a vector of rows at a time: sums across a vector would take
// longer than all else.
constexpr idx few_logits = 32;

template <class R>
bool row_counts(const CrossEntropyProblem<R>& p, idx n) {
  return p.counts == nullptr || p.counts[n];
}

// Of row n, from the largest logit, the sum of all e_k = exp(z_k - largest) and the e_k of the
// class: the loss, -w log q; what turns the other e_k into gradients, w q_k / divisor; and the
// gradient of the class, w (q - 1) / divisor. What is one number a row is done in double.
template <class R>
struct RowLoss {
  double loss;
  R factor, of_class;

  RowLoss(const CrossEntropyProblem<R>& p, idx n, R most, R sum, R chosen) {
    const idx c = static_cast<idx>(p.target[n]);
    const double w = p.weight == nullptr ? 1 : static_cast<double>(p.weight[c]);
    const double total = static_cast<double>(sum);
    const double gap = static_cast<double>(most) - static_cast<double>(p.z[n * p.O + c]);
    // a weight of 0 drops even an infinite term
    loss = w == 0 ? 0 : w * (__builtin_log(total) + gap);
    factor = static_cast<R>(w / (total * p.divisor));
    of_class = static_cast<R>((static_cast<double>(chosen) / total - 1) * w / p.divisor);
  }
};

template <class R>
void cross_entropy_row(const CrossEntropyProblem<R>& p, idx n) {
  R* const dz = p.dz + n * p.O;
  p.loss[n] = 0;
  if (!row_counts(p, n)) return clear_row(dz, p.O);
  const R most = largest(p.z + n * p.O, p.O);
  const R sum = exp_row(p.z + n * p.O, most, dz, p.O);
  const RowLoss<R> row(p, n, most, sum, dz[p.target[n]]);
  map_row(dz, dz, p.O, [&](Vec<R> e) { return e * splat<Vec<R>>(row.factor); });
  dz[p.target[n]] = row.of_class;
  p.loss[n] = row.loss;
}

// The same for the rows from n on, `valid` of them, as the lanes of vectors.
template <class R>
void cross_entropy_lanes(const CrossEntropyProblem<R>& p, idx n, idx valid) {
  using V = Vec<R>;
  constexpr idx W = lanes<R>;
  R e[few_logits * W], most[W], sum[W], factor[W] = {};  // e: [k][lane]
  pack_rows_as_lanes(p.z + n * p.O, p.O, valid, e, W, W);
  V top = splat<V>(static_cast<R>(-__builtin_inf())), total = {};
  for (idx k = 0; k < p.O; ++k) top = larger_lanes<R>(top, load(e + k * W));
  for (idx k = 0; k < p.O; ++k) {
    const V v = exp<R>(load(e + k * W) - top);
    store(e + k * W, v);
    total += v;
  }
  store(most, top);
  store(sum, total);
  R of_class[W];
  for (idx i = 0; i < valid; ++i) {
    p.loss[n + i] = 0;
    if (!row_counts(p, n + i)) continue;
    const RowLoss<R> row(p, n + i, most[i], sum[i], e[p.target[n + i] * W + i]);
    p.loss[n + i] = row.loss;
    factor[i] = row.factor;
    of_class[i] = row.of_class;
  }
  for (idx k = 0; k < p.O; ++k) store(e + k * W, load(e + k * W) * load(factor));
  for (idx i = 0; i < valid; ++i) {
    R* const dz = p.dz + (n + i) * p.O;
    if (!row_counts(p, n + i)) {
      clear_row(dz, p.O);
      continue;
    }
    for (idx k = 0; k < p.O; ++k) dz[k] = e[k * W + i];
    dz[p.target[n + i]] = of_class[i];
  }
}

template <class R>
void cross_entropy(const CrossEntropyProblem<R>& p, const Control& control) {
  const idx step = p.O <= few_logits ? lanes<R> : 1;
  const idx rows = larger(1, loss_task_numbers / p.O / step) * step;
  parallel(control, (p.N + rows - 1) / rows, [&](idx task, int) {
    if (control.interrupted(control.team)) return;
    const idx end = smaller(p.N, (task + 1) * rows);
    for (idx n = task * rows; n < end; n += step)
      p.O <= few_logits ? cross_entropy_lanes(p, n, smaller(end - n, step))
                        : cross_entropy_row(p, n);
  });
}

}  // namespace
}  // namespace rnnfast
