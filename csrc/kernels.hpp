// What an ISA tier offers to the rest of the library: tables of plain functions.
#pragma once
#include <cstddef>
#include <cstdint>

#include "driver/control.hpp"
#include "problem.hpp"

namespace rnnfast {

enum class Activation { identity, tanh, relu, sigmoid, exp, softmax };

// y = g2(W x + b) for N rows.
template <class R>
struct DenseProblem {
  std::ptrdiff_t N, I, O;
  Activation g2;
  const R* x;   // (N, I)
  const R* W;   // (O, I)
  const R* b;   // (O) or null
  R* y;         // (N, O); for the gradients what forward wrote
  const R* dy;  // (N, O)
  R* dx;        // (N, I) or null
  R* dW;        // (O, I)
  R* db;        // (O) or null
};

// Of a softmax, for N rows of logits.
template <class R>
struct CrossEntropyProblem {
  std::ptrdiff_t N, O;
  const R* z;                  // (N, O)
  const std::int64_t* target;  // (N): classes
  const bool* counts;          // (N) or null: the rows that count
  const R* weight;             // (O) or null
  double divisor;              // of dz
  double* loss;                // (N): each row's
  R* dz;                       // (N, O)
};

// Rows of a table, and sums of them.
template <class R>
struct RowsProblem {
  std::ptrdiff_t N, E, rows;  // rows: of the table
  const std::int64_t* row;    // (N)
  const R* from;              // the table (rows, E), or what is summed (N, E)
  R* to;                      // the other one
};

struct SgdStep {
  double lr, momentum, weight_decay;
};
// correction: 1 - beta^step. Decoupled: the weights decay beside the step instead of in the
// gradient.
struct AdamStep {
  double lr, beta1, beta2, correction1, correction2, eps, weight_decay;
  bool decoupled;
};
struct RmspropStep {
  double lr, alpha, eps, weight_decay;
};

// One cell in one precision. Sizes are bytes, memory is 64-byte aligned. `pack` fills the problems'
// `packed`, as forward does where they are `unpacked`, and forward their `tape`, both of the sizes
// given here; `work` is free again after the call.
template <class R>
struct CellKernels {
  const char* name;
  int gates, states, params, stages;
  std::size_t (*packed_size)(const Problem<R>&);
  void (*pack)(const Stack<R>&, const Control&);
  std::size_t (*tape_size)(const Problem<R>&);
  std::size_t (*forward_work)(const Stack<R>&, int threads);
  void (*forward)(const Stack<R>&, const Control&, void* work);
  std::size_t (*backward_work)(const Stack<R>&, int threads);
  void (*backward)(const Stack<R>&, const Control&, void* work);
  void (*chain_loop)(R* memory, std::ptrdiff_t steps);
};

template <class R>
struct Kernels {
  const CellKernels<R>* cells;
  int count;
  std::size_t (*dense_forward_work)(const DenseProblem<R>&, int threads);
  void (*dense_forward)(const DenseProblem<R>&, const Control&, void* memory);
  std::size_t (*dense_backward_work)(const DenseProblem<R>&, int threads);
  void (*dense_backward)(const DenseProblem<R>&, const Control&, void* memory);
  void (*cross_entropy)(const CrossEntropyProblem<R>&, const Control&);
  void (*take_rows)(const RowsProblem<R>&, const Control&);
  void (*sum_rows)(const RowsProblem<R>&, const Control&);
  void (*activate)(Activation, const R* z, R* y, std::ptrdiff_t n);
  void (*sgd_step)(const SgdStep&, R* p, const R* g, R* velocity, std::ptrdiff_t n);
  void (*adam_step)(const AdamStep&, R* p, const R* g, R* m, R* v, std::ptrdiff_t n);
  void (*rmsprop_step)(const RmspropStep&, R* p, const R* g, R* v, std::ptrdiff_t n);
  double (*sum_of_squares)(const R* x, std::ptrdiff_t n);
  void (*scale)(R* x, std::ptrdiff_t n, double factor);
  double (*fma_loop)(R* memory, std::ptrdiff_t repeats);
  double (*read_loop)(const R* memory, std::ptrdiff_t n, std::ptrdiff_t repeats);
};

struct Isa {
  const char* name;
  const Kernels<float>* f32;
  const Kernels<double>* f64;

  template <class R>
  const Kernels<R>& of() const;
};
template <>
inline const Kernels<float>& Isa::of<float>() const {
  return *f32;
}
template <>
inline const Kernels<double>& Isa::of<double>() const {
  return *f64;
}

Isa isa_baseline();
Isa isa_avx2();
Isa isa_avx512();

}  // namespace rnnfast
