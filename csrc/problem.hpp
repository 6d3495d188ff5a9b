// One layer in one direction: the sizes, and every array with its shape; and a stack of such
// layers. All parts of the library share these structs. Strides count elements. A null pointer is
// an absent array: for an input it means zero, for an output that it is not wanted.
#pragma once
#include <cstddef>

namespace rnnfast {

using idx = std::ptrdiff_t;

constexpr int max_states = 2;

template <class R>
struct Problem {
  idx T, B, I, H;
  bool reverse;

  // The rows of the batch, longest sequence first, and their lengths in that order.
  const idx* row;     // (B)
  const idx* length;  // (B), each 0..T

  // Into so many groups of nearly equal size the rows are divided, neighbours in that order, which
  // share memory and are computed together; the same for any thread count. 0 without rows.
  idx groups;
  // Steps kept for the backward pass at a time: T, or about sqrt(T) when checkpointing.
  idx segment;

  // Steps after which the layer above may go on with what this one has written, and the one below
  // with the gradients of that; 0: at the end.
  idx handover;

  // Read the weights where they are instead of packing them first.
  bool direct;

  const R* x;  // (T, B, I), the last axis contiguous
  idx x_t, x_b;
  const R* W_ax;                // (G*H, I)
  const R* W_aa;                // (G*H, H)
  const R* b_a;                 // (G*H)
  const R* b_aa;                // (G*H)
  const R* param;               // (P, H), per-unit parameters (peepholes)
  const R* state0[max_states];  // (B, H) each: a0, c0

  R* a;  // (T, B, H), the last axis contiguous; 0 past a sequence's end
  idx a_t, a_b;
  R* state_T[max_states];  // (B, H) each
  const R* mask;           // (T, B, H), of the strides of a and da: what both are multiplied by

  const R* da;  // (T, B, H), the last axis contiguous; not read past a sequence's end
  idx da_t, da_b;
  const R* dstate_T[max_states];  // (B, H) each
  R* dx;                          // (T, B, I), the last axis contiguous
  idx dx_t, dx_b;
  // dx of the other direction, which dx is added to; of the same strides.
  R* dx_sum;
  R* dstate0[max_states];  // (B, H) each
  R* dW_ax;                // (G*H, I)
  R* dW_aa;                // (G*H, H)
  R* db_a;                 // (G*H)
  R* db_aa;                // (G*H)
  R* dparam;               // (P, H)
  bool keep_saved;         // leave the forward pass's memory as it is, for another backward pass

  // Whether the forward pass is to pack the weights first.
  bool unpacked;
  // Memory for the weights, rearranged; and for what a forward pass leaves for the backward pass:
  // null, nothing is left.
  void* packed;
  void* tape;
};

// Layers, each of which reads what the one below has written, in one direction or in both. They
// differ in I and in their arrays alone.
template <class R>
struct Stack {
  idx layers, directions;
  const Problem<R>* problem;  // number layer * directions + direction

  idx count() const { return layers * directions; }
};

}  // namespace rnnfast
