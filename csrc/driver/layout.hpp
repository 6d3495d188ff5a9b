// Where everything lies: the packed weights, what a group of rows keeps for the backward pass (the
// tape), what it carries from segment to segment, and each thread's working memory.
#pragma once
#include <cstring>

#include "../gemm/arena.hpp"
#include "../gemm/weight_product.hpp"
#include "sizes.hpp"

namespace rnnfast {
namespace {

template <class R>
void clear_row(R* to, idx n) {
  for (idx i = 0; i < n; ++i) to[i] = 0;
}
// An absent array is zero.
template <class R>
void copy_row(const R* from, R* to, idx n) {
  if (from == nullptr) return clear_row(to, n);
  for (idx i = 0; i < n; ++i) to[i] = from[i];
}

// A group of rows: neighbours in order of length.
template <class R>
struct Group {
  const idx* row;     // batch index
  const idx* length;  // falling
  idx rows, steps;    // steps: the longest length

  Group(const Problem<R>& p, idx group)
      : row(p.row + first_row(p, group)),
        length(p.length + first_row(p, group)),
        rows(first_row(p, group + 1) - first_row(p, group)),
        steps(length[0]) {}

  static idx first_row(const Problem<R>& p, idx group) { return p.B * group / p.groups; }

  // Rows that have a step s; `hint` is the number at a neighbouring step.
  idx active(idx s, idx hint) const {
    while (hint > 0 && length[hint - 1] <= s) --hint;
    while (hint < rows && length[hint] > s) ++hint;
    return hint;
  }
  // Where row r finds step s of an array with these strides.
  idx offset(const Problem<R>& p, idx r, idx s, idx t_step, idx b_step) const {
    idx t = p.reverse ? length[r] - 1 - s : s;
    return t * t_step + row[r] * b_step;
  }
  // Row r of a (B, H) array, which may be absent.
  template <class S>
  S* state_row(const Problem<R>& p, S* array, idx r) const {
    return array == nullptr ? nullptr : array + row[r] * p.H;
  }
};

template <class Cell, class R>
struct Packed {
  R* W_ax[Cell::stages];
  R* W_aa[Cell::stages];
  R* bias_x;  // as one row of the input product
  R* param;   // (P, units)

  // A direct problem reads its weights elsewhere: they come last, so that the rest lies alike.
  Packed(Arena& arena, const Sizes<Cell, R>& sizes, const Problem<R>& p) {
    bias_x = arena.take<R>(Cell::deltas * sizes.units);
    param = arena.take<R>(Cell::params * sizes.units);
    for_each_stage<Cell>([&](auto s) {
      const idx rows = p.direct ? 0 : Stage<Cell, s>::gates * sizes.units;
      W_ax[s] = arena.take<R>(rows * p.I);
      W_aa[s] = arena.take<R>(rows * sizes.H);
    });
  }
};

template <class Cell, class R>
struct PackedBack {
  R* W_ax;                // k over [x slot][H], columns I
  R* W_aa[Cell::stages];  // k over [r slot of the stage][H], columns H

  PackedBack(Arena& arena, const Sizes<Cell, R>& sizes, const Problem<R>& p) {
    W_ax = arena.take<R>(in_place(p, p.I) ? 0 : Cell::gates * sizes.H * round_up<R>(p.I));
    for_each_stage<Cell>([&](auto s) {
      W_aa[s] = arena.take<R>(in_place(p, p.H) ? 0 : Stage<Cell, s>::gates * sizes.H * sizes.units);
    });
  }

  // Whether weights with N columns are read where they lie: rows of whole vectors are panels.
  static bool in_place(const Problem<R>& p, idx N) { return p.direct && N % lanes<R> == 0; }
};

// What a group keeps of `steps` steps: state s is the one before step s.
template <class Cell, class R>
struct Tape {
  R* state[Cell::states];  // (steps + 1, rows, state_step)
  R* saved;                // (steps, rows, saved_step): rows of [slot][H]

  Tape() = default;
  Tape(Arena& arena, const Sizes<Cell, R>& sizes, const Group<R>& g, idx steps) {
    for (R*& s : state) s = arena.take<R>((steps + 1) * g.rows * sizes.state_step);
    saved = arena.take<R>(steps * g.rows * sizes.saved_step);
  }

  // The states before each segment, and nothing else.
  static Tape states_only(Arena& arena, const Sizes<Cell, R>& sizes, const Group<R>& g) {
    Tape tape;
    for (R*& s : tape.state) s = arena.take<R>(sizes.segments * g.rows * sizes.state_step);
    tape.saved = nullptr;
    return tape;
  }
};

// What forward leaves for backward: each group's tape, or its states before every segment.
template <class Cell, class R>
struct Tapes {
  Tape<Cell, R>* group;

  Tapes(Arena& arena, const Sizes<Cell, R>& sizes, const Problem<R>& p) {
    group = arena.take<Tape<Cell, R>>(sizes.groups);
    for (idx i = 0; i < sizes.groups; ++i) {
      const Group<R> g(p, i);
      const Tape<Cell, R> tape = sizes.checkpoints ? Tape<Cell, R>::states_only(arena, sizes, g)
                                                   : Tape<Cell, R>(arena, sizes, g, g.steps);
      if (group != nullptr) group[i] = tape;
    }
  }
};

// Gradients of the weights, the shapes of Problem's. A group's own part, or the caller's arrays.
template <class Cell, class R>
struct WeightGradients {
  R *dW_ax, *dW_aa, *db_a, *db_aa, *dparam;
  using Member = R* WeightGradients::*;

  explicit WeightGradients(const Problem<R>& p) {
    for_each(p, [&](Member array, R* callers, idx) { this->*array = callers; });
  }
  // The part of one group of several: what it `owns` of all that the caller wants.
  WeightGradients(Arena& arena, const Problem<R>& p, bool owns_weights) {
    for_each(p, [&](Member array, R* callers, idx n) {
      const bool own = callers != nullptr && (owns_weights || array == &WeightGradients::dparam);
      this->*array = own ? arena.take<R>(n) : nullptr;
    });
  }

  // f(member, the caller's array, its size) for all of them.
  template <class F>
  static void for_each(const Problem<R>& p, F&& f) {
    f(&WeightGradients::dW_ax, p.dW_ax, Cell::gates * p.H * p.I);
    f(&WeightGradients::dW_aa, p.dW_aa, Cell::gates * p.H * p.H);
    f(&WeightGradients::db_a, p.db_a, Cell::gates * p.H);
    f(&WeightGradients::db_aa, p.db_aa, Cell::gates * p.H);
    f(&WeightGradients::dparam, p.dparam, Cell::params * p.H);
  }

  // The gradients of the matrices only if `matrices`.
  void zero(const Problem<R>& p, bool matrices) const {
    for_each(p, [&](Member array, R*, idx n) {
      const bool is_matrix = array == &WeightGradients::dW_ax || array == &WeightGradients::dW_aa;
      if (this->*array != nullptr && (matrices || !is_matrix)) clear_row(this->*array, n);
    });
  }
  // Adds a group's part to the caller's arrays.
  void add_to_callers(const Problem<R>& p) const {
    for_each(p, [&](Member array, R* callers, idx n) {
      const R* part = this->*array;
      for (idx i = 0; part != nullptr && i < n; ++i) callers[i] += part[i];
    });
  }
};

// What a group carries from one segment of steps to the one before.
template <class Cell, class R>
struct Carry {
  R* dstate[Cell::states];  // (rows, state_step)
  R* dparam;                // (P, units)

  Carry(Arena& arena, const Sizes<Cell, R>& sizes) {
    for (R*& d : dstate) d = arena.take<R>(sizes.group_rows * sizes.state_step);
    dparam = arena.take<R>(Cell::params * sizes.units);
  }
};

// A thread's memory for the forward pass.
template <class Cell, class R>
struct ForwardScratch {
  R* input;                // (chunk * rows, input_step): W_ax x + b_a (+ b_aa), panel by panel
  R* sums;                 // (sums_size): some panels' recurrent sums
  R* state[Cell::states];  // (2, rows, state_step): when nothing is kept
  R* saved;                // (rows, saved_step): for a later stage, when nothing is kept
  idx* x_offset;           // (chunk * rows)
  idx* a_offset;           // (rows): step 0 of each row in a
  idx* state_offset;
  idx* saved_offset;

  ForwardScratch(Arena& arena, const Sizes<Cell, R>& sizes)
      : input(arena.take<R>(sizes.chunk * sizes.group_rows * sizes.input_step)),
        sums(arena.take<R>(sizes.sums_size)) {
    for (R*& s : state) s = arena.take<R>(2 * sizes.group_rows * sizes.state_step);
    saved = arena.take<R>(sizes.group_rows * sizes.saved_step);
    x_offset = arena.take<idx>(sizes.chunk * sizes.group_rows);
    a_offset = arena.take<idx>(sizes.group_rows);
    state_offset = arena.take<idx>(sizes.group_rows);
    saved_offset = arena.take<idx>(sizes.group_rows);
  }
  static std::size_t size(const Sizes<Cell, R>& sizes) {
    Arena arena(nullptr);
    ForwardScratch(arena, sizes);
    return arena.used();
  }
};

// A thread's memory for the backward pass.
template <class Cell, class R>
struct BackwardScratch {
  R* doperand;  // (rows, state_step)
  R* tile;      // (back_chunk * rows, max_vectors * lanes): one panel of dx
  idx* da_offset;
  idx* delta_offset;       // (back_chunk * rows)
  const R** delta_rows;    // (back_chunk * rows)
  const R** operand_rows;  // (back_chunk * rows)
  WeightProductScratch<R> product;

  BackwardScratch(Arena& arena, const Sizes<Cell, R>& sizes, const Problem<R>& p)
      : doperand(arena.take<R>(sizes.group_rows * sizes.state_step)),
        tile(arena.take<R>(sizes.back_chunk * sizes.group_rows * max_vectors * lanes<R>)),
        da_offset(arena.take<idx>(sizes.group_rows)),
        delta_offset(arena.take<idx>(sizes.back_chunk * sizes.group_rows)),
        delta_rows(arena.take<const R*>(sizes.back_chunk * sizes.group_rows)),
        operand_rows(arena.take<const R*>(sizes.back_chunk * sizes.group_rows)),
        product(arena, larger(p.I, p.H)) {}
  static std::size_t size(const Sizes<Cell, R>& sizes, const Problem<R>& p) {
    Arena arena(nullptr);
    BackwardScratch(arena, sizes, p);
    return arena.used();
  }
};

// The threads' working memory, of one size each.
struct Scratch {
  char* memory;
  std::size_t size;

  Scratch() = default;
  Scratch(Arena& arena, idx threads, std::size_t size)
      : memory(arena.take<char>(threads * static_cast<idx>(size))), size(size) {}
  void* of(int slot) const { return memory + static_cast<std::size_t>(slot) * size; }
};

// The working memory of one problem's backward pass. The threads' own is common to all problems.
template <class Cell, class R>
struct Work {
  PackedBack<Cell, R> back;
  Carry<Cell, R>* carry;                // (groups)
  WeightGradients<Cell, R>* gradients;  // (groups)
  Tape<Cell, R>* segment;               // (groups), only when checkpointing
  R** delta;                            // (groups)
  Scratch scratch;

  Work(Arena& arena, const Sizes<Cell, R>& sizes, const Problem<R>& p) : back(arena, sizes, p) {
    carry = arena.take<Carry<Cell, R>>(sizes.groups);
    gradients = arena.take<WeightGradients<Cell, R>>(sizes.groups);
    segment = arena.take<Tape<Cell, R>>(sizes.checkpoints ? sizes.groups : 0);
    delta = arena.take<R*>(sizes.groups);
    for (idx i = 0; i < sizes.groups; ++i) {
      const Group<R> g(p, i);
      const idx steps = smaller(g.steps, p.segment);
      const Carry<Cell, R> c(arena, sizes);
      const WeightGradients<Cell, R> w =
          sizes.groups == 1 ? WeightGradients<Cell, R>(p)
                            : WeightGradients<Cell, R>(arena, p, sizes.owns_gradients);
      Tape<Cell, R> t;
      if (sizes.checkpoints) t = Tape<Cell, R>(arena, sizes, g, steps);
      const idx delta_steps = sizes.delta_chunks ? smaller(sizes.back_chunk, steps) : steps;
      R* const d =
          sizes.deltas_apart ? arena.take<R>(delta_steps * g.rows * sizes.delta_step) : nullptr;
      if (carry == nullptr) continue;
      carry[i] = c, gradients[i] = w, delta[i] = d;
      if (sizes.checkpoints) segment[i] = t;
    }
  }

  // Each thread's working memory.
  static std::size_t scratch_size(const Sizes<Cell, R>& sizes, const Problem<R>& p) {
    const std::size_t back = BackwardScratch<Cell, R>::size(sizes, p);
    const std::size_t again = sizes.checkpoints ? ForwardScratch<Cell, R>::size(sizes) : 0;
    return back > again ? back : again;
  }
};

}  // namespace
}  // namespace rnnfast
