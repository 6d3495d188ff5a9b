// What a cell is: a policy over a SIMD vector, one lane being one hidden unit of one row.
//
// A cell knows nothing of time, memory or threads. It declares
//   name       its name in the registry
//   gates      G, the blocks of H rows of W_ax, W_aa, b_a, b_aa
//   states     S, vectors carried from step to step; the first is a, the layer's output
//   params     P, vectors of per-unit parameters (peepholes)
//   saved      vectors that the forward step leaves for the backward step; may be more than deltas,
//              the rest then stays as it was
//   deltas     vectors that the backward step writes over the first of them: the gradients of the
//              pre-activations, each in its slot
//   stages     gates are finished stage by stage; stage s finishes gates stage_begin[s] up to
//              stage_begin[s + 1]. Its recurrent operand is a_prev, or for a later stage the vector
//              that the stage before left in saved[operand[s]], a slot from `deltas` on: the
//              gradients of the weights still read it when the deltas are written
//   saved_by[i], delta_by[i]
//              the stage whose forward step writes saved[i], and whose backward step writes
//              delta[i]: no other writes there, since threads that share the units may be in
//              different stages. A delta is written before the products that read it: by the stage
//              that finishes its gate, or a later one
//   x_slot[g], r_slot[g]
//              the slots of the gradients of W_ax x + b_a and of the recurrent sum of gate g. They
//              are the same slot unless the cell uses the two sums apart (`split`); the slots of
//              each side must be G neighbours, those of the recurrent side the lower ones
// and
//   forward<stage>(Forward&)    z, x, prev, param -> saved, next
//   backward<stage>(Backward&)  in reverse order of the stages: saved, prev, next, param, dstate
//                               (and doperand) -> delta, dstate, dparam
#pragma once
#include "../simd/math.hpp"

namespace rnnfast {
namespace {

constexpr int at_least_one(int n) { return n > 0 ? n : 1; }

template <class Cell, class V>
struct Forward {
  using Vector = V;
  V z[Cell::gates];  // W_ax x + b_a + W_aa a_prev + b_aa; of a split gate only the recurrent sum
  V x[Cell::gates];  // of a split gate: W_ax x + b_a
  V prev[Cell::states], next[Cell::states];
  V param[at_least_one(Cell::params)];
  V saved[at_least_one(Cell::saved)];
};

template <class Cell, class V>
struct Backward {
  using Vector = V;
  // In an earlier stage a slot that a later one wrote may hold its delta instead: what is needed
  // in both is to be saved twice.
  V saved[at_least_one(Cell::saved)];
  V prev[Cell::states], next[Cell::states];
  V param[at_least_one(Cell::params)];
  // In: the gradient of the new state. Out: the part of it that flows to the previous state past
  // the recurrent products. An earlier stage finds what the later ones have put there.
  V dstate[Cell::states];
  V doperand;             // the gradient of the vector that this stage left as operand
  V delta[Cell::deltas];  // by slot; a stage writes those that delta_by gives it
  V dparam[at_least_one(Cell::params)];  // what this step adds to the gradient of param
};

// The usual cell: one stage, no per-unit parameters, slot g for gate g.
template <int n>
struct CellOf {
  static constexpr int gates = n;
  static constexpr int params = 0;
  static constexpr int deltas = n;
  static constexpr int stages = 1;
  static constexpr int stage_begin[] = {0, n};
  static constexpr int operand[] = {-1};
  static constexpr int saved_by[] = {0, 0, 0, 0};
  static constexpr int delta_by[] = {0, 0, 0, 0};
  static constexpr int x_slot[] = {0, 1, 2, 3};
  static constexpr int r_slot[] = {0, 1, 2, 3};
};

template <class... Cells>
struct CellList {};

}  // namespace
}  // namespace rnnfast
