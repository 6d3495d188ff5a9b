// Everything that is compiled once for each ISA tier, after the tier's own vector header; and the
// tables through which it is reached. All names but the tier's isa_ function are local to its file:
// the linker must never take one tier's copy of a function for another's.
#pragma once
#include "../cells/all.hpp"
#include "../other/cross_entropy.hpp"
#include "../other/dense.hpp"
#include "../other/optimizer.hpp"
#include "../other/probe.hpp"
#include "../other/rows.hpp"
#include "kernel.hpp"

namespace rnnfast {
namespace {

template <class R, class Cell>
constexpr CellKernels<R> cell_kernels() {
  using K = Kernel<Cell, R>;
  return {Cell::name,       Cell::gates, Cell::states,       Cell::params,    Cell::stages,
          K::packed_size,   K::pack,     K::tape_size,       K::forward_work, K::forward,
          K::backward_work, K::backward, chain_loop<Cell, R>};
}

template <class R, class... Cells>
const Kernels<R>* kernels_of(CellList<Cells...>) {
  static constexpr CellKernels<R> cells[] = {cell_kernels<R, Cells>()...};
  static constexpr Kernels<R> kernels = {cells,
                                         sizeof...(Cells),
                                         dense_forward_work<R>,
                                         dense_forward<R>,
                                         dense_backward_work<R>,
                                         dense_backward<R>,
                                         cross_entropy<R>,
                                         take_rows<R>,
                                         sum_rows<R>,
                                         activate<R>,
                                         sgd_step<R>,
                                         adam_step<R>,
                                         rmsprop_step<R>,
                                         sum_of_squares<R>,
                                         scale<R>,
                                         fma_loop<R>,
                                         read_loop<R>};
  return &kernels;
}

Isa this_tier(const char* name) {
  return {name, kernels_of<float>(AllCells()), kernels_of<double>(AllCells())};
}

}  // namespace
}  // namespace rnnfast
