// From the deltas of a chunk of steps the gradients of x and of the weights: by the thread that
// runs a group, or by all threads, each with pieces of dx and rows of the weights' gradients.
#pragma once
#include "../gemm/panels.hpp"
#include "../gemm/weight_product.hpp"
#include "packing.hpp"
#include "segment.hpp"

namespace rnnfast {
namespace {

// Of one group's steps, by one thread alone.
template <class Cell, class R>
class Gradients {
 public:
  Gradients(const Segment<Cell, R>& segment, const GroupSteps<Cell, R>& steps, int slot)
      : p_(segment.p),
        sizes_(segment.sizes),
        control_(segment.control),
        back_(segment.work.back),
        steps_(steps),
        arena_(segment.work.scratch.of(slot)),
        scratch_(arena_, sizes_, p_) {}

  // dx of steps [first, last), all columns.
  void input_gradient(idx first, idx last) {
    input_gradient(first, last, 0, sizes_.input_panels.count);
  }
  // The same for some panels of columns.
  void input_gradient(idx first, idx last, idx first_panel, idx last_panel) {
    if (p_.dx == nullptr) return;
    const Group<R>& g = steps_.g;
    const idx rows = collect(first, last, all_x<Cell>.first);
    for (idx r = 0; r < rows; ++r) scratch_.delta_offset[r] = scratch_.delta_rows[r] - steps_.delta;
    const TransposedWeights<R> w = {all_x<Cell>.gate,         Cell::gates, p_.W_ax, p_.I, p_.H,
                                    back_.in_place(p_, p_.I), back_.W_ax};
    Tile<R> t = {};
    t.left = steps_.delta;
    t.offset = scratch_.delta_offset;
    t.out = scratch_.tile;
    for_each_panel(sizes_.input_panels, first_panel, last_panel, false,
                   [&](idx block, int vectors) {
                     if (stopped()) return;
                     const idx column = block * lanes<R>, width = vectors * lanes<R>;
                     const idx valid = smaller(p_.I - column, width);
                     t.out_step = width;
                     carry_back(w, t, column, vectors, rows);
                     idx at = 0, active = g.rows;
                     for (idx s = first; s < last; ++s) {
                       active = g.active(s, active);
                       for (idx r = 0; r < active; ++r, ++at)
                         std::memcpy(p_.dx + g.offset(p_, r, s, p_.dx_t, p_.dx_b) + column,
                                     scratch_.tile + at * width, valid * sizeof(R));
                     }
                   });
  }

  // Adds steps [first, last) to the gradients of the weights, their rows [part, part + 1) / parts;
  // where they are `fresh`, writes dW_ax and dW_aa.
  void weight_gradients(idx first, idx last, const WeightGradients<Cell, R>& w, idx part, idx parts,
                        bool fresh) {
    const idx rows = collect(first, last, all_x<Cell>.first);
    if (part == 0 && w.db_a != nullptr)
      add_column_sums(scratch_.delta_rows, rows, p_.H, all_x<Cell>.gate, Cell::gates, w.db_a);
    if (w.dW_ax != nullptr) {
      collect_operands(first, last, [&](idx r, idx s) {
        return p_.x + steps_.g.offset(p_, r, s, p_.x_t, p_.x_b);
      });
      add(rows, Cell::gates, all_x<Cell>.gate, p_.I, w.dW_ax, part, parts, fresh);
    }
    for_each_stage<Cell>([&](auto s) {
      using St = Stage<Cell, s>;
      collect(first, last, St::r.first);
      if (part == 0 && w.db_aa != nullptr)
        add_column_sums(scratch_.delta_rows, rows, p_.H, St::r.gate, St::gates, w.db_aa);
      if (w.dW_aa == nullptr) return;
      collect_operands(first, last, [&](idx r, idx t) -> const R* {
        const idx row = (t - steps_.first) * steps_.g.rows + r;
        if constexpr (s == 0) return steps_.tape.state[0] + row * sizes_.state_step;
        return steps_.tape.saved + row * sizes_.saved_step + Cell::operand[s] * p_.H;
      });
      add(rows, St::gates, St::r.gate, p_.H, w.dW_aa, part, parts, fresh);
    });
  }

  bool stopped() const { return control_.interrupted(control_.team); }

 private:
  // Lists the delta rows of steps [first, last), from slot `slot` on; returns their number.
  idx collect(idx first, idx last, int slot) {
    idx rows = 0, active = steps_.g.rows;
    for (idx s = first; s < last; ++s) {
      active = steps_.g.active(s, active);
      for (idx r = 0; r < active; ++r)
        scratch_.delta_rows[rows++] =
            steps_.delta_row(sizes_, s) + r * sizes_.delta_step + slot * p_.H;
    }
    return rows;
  }
  template <class F>
  void collect_operands(idx first, idx last, F&& row_of) {
    idx rows = 0, active = steps_.g.rows;
    for (idx s = first; s < last; ++s) {
      active = steps_.g.active(s, active);
      for (idx r = 0; r < active; ++r) scratch_.operand_rows[rows++] = row_of(r, s);
    }
  }

  void add(idx rows, int gates, const int* gate, idx N, R* C, idx part, idx parts, bool fresh) {
    const idx strips = (gates * p_.H + strip_rows - 1) / strip_rows;
    const idx end = strips * (part + 1) / parts * strip_rows;
    const WeightProduct<R> product = {scratch_.delta_rows,
                                      scratch_.operand_rows,
                                      rows,
                                      N,
                                      p_.H,
                                      gate,
                                      strips * part / parts * strip_rows,
                                      smaller(end, gates * p_.H),
                                      C,
                                      fresh};
    add_product(product, scratch_.product, [&] { return stopped(); });
  }

  const Problem<R>& p_;
  const Sizes<Cell, R>& sizes_;
  const Control& control_;
  const PackedBack<Cell, R>& back_;
  GroupSteps<Cell, R> steps_;
  Arena arena_;
  BackwardScratch<Cell, R> scratch_;
};

// A part of the weights' gradients has so many strips of rows at least: it packs the whole right
// operand for itself.
constexpr idx least_part_strips = 4;

template <class Cell, class R>
idx most_weight_parts(const Sizes<Cell, R>& sizes) {
  const idx strips = (Cell::gates * sizes.H + strip_rows - 1) / strip_rows;
  return larger(1, strips / least_part_strips);
}

// What follows the steps of a chunk of the only group: each thread takes rows of the weights'
// gradients and pieces of dx, whose size is the same for any number of threads (the height of a
// tile may show in the last bit).
template <class Cell, class R>
void share_chunk(const Segment<Cell, R>& segment, const GroupSteps<Cell, R>& steps, idx from,
                 idx to, bool fresh) {
  const Problem<R>& p = segment.p;
  const idx parts = smaller(segment.control.threads, most_weight_parts(segment.sizes));
  const idx piece_steps = larger(1, chunk_piece_rows / segment.sizes.group_rows);
  const idx pieces = p.dx == nullptr ? 0 : (to - from + piece_steps - 1) / piece_steps;
  parallel(segment.control, parts + pieces, [&](idx task, int slot) {
    Gradients<Cell, R> gradients(segment, steps, slot);
    if (task < parts)
      return gradients.weight_gradients(from, to, segment.work.gradients[0], task, parts, fresh);
    const idx first = from + (task - parts) * piece_steps;
    gradients.input_gradient(first, smaller(first + piece_steps, to));
  });
}

// The gradients of the weights, each thread taking rows of them through all groups.
template <class Cell, class R>
void share_weight_gradients(const Segment<Cell, R>& segment) {
  const Sizes<Cell, R>& sizes = segment.sizes;
  const WeightGradients<Cell, R> callers(segment.p);
  const idx parts = smaller(segment.control.threads, most_weight_parts(sizes));
  parallel(segment.control, parts, [&](idx part, int slot) {
    bool fresh = segment.first() < sizes.longest && segment.last() == sizes.longest;
    for (idx i = 0; i < sizes.groups; ++i) {
      const GroupSteps<Cell, R> steps(segment, i);
      Gradients<Cell, R> gradients(segment, steps, slot);
      for_chunks_from_end(sizes.back_chunk, steps.first, steps.last, [&](idx from, idx to) {
        gradients.weight_gradients(from, to, callers, part, parts, fresh);
        fresh = false;
        return !gradients.stopped();
      });
    }
  });
}

// dx of steps [first, last) where threads share the units, as tasks: each reads some panels of
// W_ax, for many rows at once.
template <class Cell, class R>
class InputGradientTasks {
 public:
  InputGradientTasks(const Segment<Cell, R>& segment, const GroupSteps<Cell, R>& steps, idx first,
                     idx last)
      : segment_(segment),
        steps_(steps),
        first_(first),
        last_(last),
        piece_(smaller(segment.sizes.back_chunk,
                       larger(1, shared_piece_rows / segment.sizes.group_rows))),
        pieces_((last - first + piece_ - 1) / piece_) {}

  idx count() const { return segment_.sizes.input_panels.count * pieces_; }
  void run(idx task, int slot) const {
    const idx from = first_ + task % pieces_ * piece_, panel = task / pieces_;
    Gradients<Cell, R>(segment_, steps_, slot)
        .input_gradient(from, smaller(from + piece_, last_), panel, panel + 1);
  }

 private:
  const Segment<Cell, R>& segment_;
  const GroupSteps<Cell, R>& steps_;
  idx first_, last_, piece_, pieces_;
};

// All of the segment's steps, by all threads.
template <class Cell, class R>
void share_input_gradient(const Segment<Cell, R>& segment) {
  const idx first = segment.first(), last = segment.last();
  if (segment.p.dx == nullptr || last <= first) return;
  const GroupSteps<Cell, R> steps(segment, 0);
  const InputGradientTasks<Cell, R> tasks(segment, steps, first, last);
  parallel(segment.control, tasks.count(), [&](idx task, int slot) { tasks.run(task, slot); });
}

// Adds dx of some rows of a group in steps [first, last) to that of the other direction: every
// `size`-th step from `rank` on.
template <class R>
void add_dx(const Problem<R>& p, const Group<R>& g, idx first, idx last, int rank, int size) {
  for (idx s = first + rank; s < last; s += size)
    for (idx r = 0, active = g.active(s, g.rows); r < active; ++r) {
      const idx at = g.offset(p, r, s, p.dx_t, p.dx_b);
      for (idx i = 0; i < p.I; ++i) p.dx_sum[at + i] += p.dx[at + i];
    }
}

}  // namespace
}  // namespace rnnfast
