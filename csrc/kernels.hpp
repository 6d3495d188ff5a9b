// What an ISA tier offers to the rest of the library: tables of plain functions.
#pragma once
#include <cstddef>

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
// packed, forward their tape, both of the sizes given here; `work` is free again after the call.
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
  std::size_t (*dense_size)(const DenseProblem<R>&);
  void (*dense_forward)(const DenseProblem<R>&, const Control&, void* memory);
  void (*dense_backward)(const DenseProblem<R>&, const Control&, void* memory);
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
