// Backpropagation through time for one group of rows. Step by step from the end, the cell writes
// its deltas (over the saved vectors, unless they are to stay) and the product with W_aa carries
// them one step back; chunk by chunk the deltas then give dx and the gradients of the weights.
#pragma once
#include "../gemm/transposed.hpp"
#include "gang.hpp"
#include "memory.hpp"

namespace rnnfast {
namespace {

template <class Cell, class R>
struct PackedBack {
  R* W_ax;                // k over [x slot][unit], columns I
  R* W_aa[Cell::stages];  // k over [r slot of the stage][unit], columns H

  PackedBack(Arena& arena, const Sizes<Cell, R>& z, const Problem<R>& p) {
    W_ax = arena.take<R>(in_place(p, p.I) ? 0 : Cell::gates * z.units * round_up<R>(p.I));
    for_each_stage<Cell>([&](auto s) {
      W_aa[s] = arena.take<R>(in_place(p, p.H) ? 0 : Stage<Cell, s>::gates * z.units * z.units);
    });
  }

  // Whether weights with N columns are read where they lie: rows of whole vectors are panels.
  static bool in_place(const Problem<R>& p, idx N) { return p.direct && N % lanes<R> == 0; }
};

// Gradients of the weights, the shapes of Problem's. A group's own part, or the caller's arrays.
template <class R>
struct WeightGradients {
  R *dW_ax, *dW_aa, *db_a, *db_aa, *dparam;

  WeightGradients(const Problem<R>& p)
      : dW_ax(p.dW_ax), dW_aa(p.dW_aa), db_a(p.db_a), db_aa(p.db_aa), dparam(p.dparam) {}
  WeightGradients(Arena& arena, const Problem<R>& p, int gates, int params)
      : dW_ax(p.dW_ax ? arena.take<R>(gates * p.H * p.I) : nullptr),
        dW_aa(p.dW_aa ? arena.take<R>(gates * p.H * p.H) : nullptr),
        db_a(p.db_a ? arena.take<R>(gates * p.H) : nullptr),
        db_aa(p.db_aa ? arena.take<R>(gates * p.H) : nullptr),
        dparam(p.dparam ? arena.take<R>(params * p.H) : nullptr) {}
};

// What a group carries from one segment of steps to the one before.
template <class Cell, class R>
struct Carry {
  R* dstate[Cell::states];  // (rows, state_step)
  R* dparam;                // (P, units)

  Carry(Arena& arena, const Sizes<Cell, R>& z) {
    for (R*& d : dstate) d = arena.take<R>(z.group_rows * z.state_step);
    dparam = arena.take<R>(Cell::params * z.units);
  }
};

// A thread's memory for the backward pass.
template <class Cell, class R>
struct BackwardScratch {
  R* doperand;  // (rows, state_step)
  R* tile;      // (back_chunk * rows, max_vectors * lanes): one panel of dx
  idx* da_offset;
  idx* delta_offset;  // (back_chunk * rows)
  idx* state_offset;
  const R** delta_rows;    // (back_chunk * rows)
  const R** operand_rows;  // (back_chunk * rows)
  idx widest;
  TransposedScratch<R> transposed;

  BackwardScratch(Arena& arena, const Sizes<Cell, R>& z, idx I)
      : doperand(arena.take<R>(z.group_rows * z.state_step)),
        tile(arena.take<R>(z.back_chunk * z.group_rows * max_vectors * lanes<R>)),
        da_offset(arena.take<idx>(z.group_rows)),
        delta_offset(arena.take<idx>(z.back_chunk * z.group_rows)),
        state_offset(arena.take<idx>(z.group_rows)),
        delta_rows(arena.take<const R*>(z.back_chunk * z.group_rows)),
        operand_rows(arena.take<const R*>(z.back_chunk * z.group_rows)),
        widest(I > z.H ? I : z.H),
        transposed(arena, widest) {}
};

template <class R>
struct BackRows {
  idx rows, H, units;
  idx first_unit, last_unit;
  const R* saved;
  idx saved_step;
  R* delta;
  idx delta_step;
  const R* prev[max_states];
  const R* next[max_states];
  R* dstate[max_states];
  const R* doperand;
  idx state_step;
  const R* da;  // null: the outputs had no gradient
  const idx* da_offset;
  const R* param;
  R* dparam;
};

template <class Cell, int s, class R>
void backward_rows(const BackRows<R>& q) noexcept {
  using V = Vec<R>;
  constexpr idx W = lanes<R>;
  constexpr bool is_last = s == Cell::stages - 1;
  for (idx r = 0; r < q.rows; ++r)
    for (idx unit = q.first_unit; unit < q.last_unit; unit += W) {
      const idx state = r * q.state_step + unit, real = q.H - unit;
      R* delta = q.delta + r * q.delta_step + unit;
      Backward<Cell, V> d = {};
      for (int i = 0; i < Cell::saved; ++i)
        d.saved[i] = load(q.saved + r * q.saved_step + i * q.units + unit);
      for (int i = 0; i < Cell::states; ++i) {
        d.prev[i] = load(q.prev[i] + state);
        d.next[i] = load(q.next[i] + state);
        d.dstate[i] = load(q.dstate[i] + state);
      }
      for (int i = 0; i < Cell::params; ++i) d.param[i] = load(q.param + i * q.units + unit);
      if constexpr (is_last) {
        if (q.da != nullptr) {
          const R* da = q.da + q.da_offset[r] + unit;
          d.dstate[0] += real >= W ? load(da) : load_first(da, real);
        }
      } else {
        d.doperand = load(q.doperand + state);
      }
      Cell::template backward<s, R>(d);
      // a lane beyond H is 0 even where a NaN or Inf would make it NaN
      for (int i = 0; i < Cell::deltas; ++i)
        if (Cell::delta_by[i] == s)
          store(delta + i * q.units, real < W ? first_lanes(d.delta[i], real) : d.delta[i]);
      for (int i = 0; i < Cell::states; ++i) store(q.dstate[i] + state, d.dstate[i]);
      for (int i = 0; i < Cell::params; ++i)
        store(q.dparam + i * q.units + unit, load(q.dparam + i * q.units + unit) + d.dparam[i]);
    }
}

template <class Cell, class R>
class BackwardPass {
 public:
  // `delta` holds the deltas of steps first.. of the segment: the tape's saved vectors or memory of
  // their own.
  BackwardPass(const Problem<R>& p, Gang& gang, const Packed<Cell, R>& packed,
               const PackedBack<Cell, R>& back, idx group, const Carry<Cell, R>& carry,
               const Tape<Cell, R>& tape, R* delta, idx first, void* scratch)
      : p_(p),
        gang_(gang),
        z_(p),
        packed_(packed),
        back_(back),
        g_(p, group),
        first_block_(gang.first_block(z_.blocks, z_.slice)),
        last_block_(gang.last_block(z_.blocks, z_.slice)),
        carry_(carry),
        tape_(tape),
        delta_(delta),
        first_(first),
        delta_first_(first),
        arena_(scratch),
        scratch_(arena_, z_, p.I) {
    for (idx r = 0; r < g_.rows; ++r) {
      scratch_.state_offset[r] = r * z_.state_step;
      scratch_.da_offset[r] = g_.offset(p, r, 0, p.da_t, p.da_b);
    }
  }

  // The gradient of a gang's operands lies in its leader's scratch memory.
  void share_operand(void* leaders_scratch) {
    Arena arena(leaders_scratch);
    scratch_.doperand = BackwardScratch<Cell, R>(arena, z_, p_.I).doperand;
  }

  idx last_step(idx last) const { return last < g_.steps ? last : g_.steps; }

  // The carried gradients before anything has flowed back: those of the final states.
  void begin() {
    for (int i = 0; i < Cell::states && gang_.leads(); ++i)
      for (idx r = 0; r < g_.rows; ++r) {
        R* to = carry_.dstate[i] + r * z_.state_step;
        const R* from = p_.dstate_T[i];
        for (idx h = 0; h < z_.units; ++h)
          to[h] = from == nullptr || h >= p_.H ? R(0) : from[g_.row[r] * p_.H + h];
      }
    for (idx i = 0; i < Cell::params * z_.units && gang_.leads(); ++i) carry_.dparam[i] = 0;
    gang_.wait();
  }

  // Writes the gradients of the initial states.
  void finish() const {
    for (int i = 0; i < Cell::states; ++i) {
      if (p_.dstate0[i] == nullptr) continue;
      for (idx r = 0; r < g_.rows; ++r)
        for (idx h = 0; h < p_.H; ++h)
          p_.dstate0[i][g_.row[r] * p_.H + h] = carry_.dstate[i][r * z_.state_step + h];
    }
  }

  // Says where the current chunk of steps begins.
  void enter_chunk(idx first) {
    if (z_.delta_chunks) delta_first_ = first;
  }

  // Steps [first, last) from the end: deltas, and what they carry back. False: it was stopped.
  bool through_time(idx first, idx last) {
    idx active = g_.active(last - 1, g_.rows);
    for (idx s = last - 1; s >= first; --s) {
      if ((last - 1 - s) % z_.poll_steps == 0 && gang_.stopped()) return false;
      active = g_.active(s, active);
      step(s, active);
    }
    return true;
  }

  // dx of steps [first, last), all columns.
  void input_gradient(idx first, idx last) {
    input_gradient(first, last, 0, round_up<R>(p_.I) / lanes<R>);
  }
  // The same for some blocks of columns, by one thread alone.
  void input_gradient(idx first, idx last, idx first_block, idx last_block) {
    if (p_.dx == nullptr) return;
    const idx rows = collect(first, last, all_x<Cell>.first);
    constexpr idx W = lanes<R>;
    for (idx r = 0; r < rows; ++r) scratch_.delta_offset[r] = scratch_.delta_rows[r] - delta_;
    for_each_panel(first_block, last_block, max_vectors, [&](idx block, int vectors) {
      if (gang_.stopped()) return;
      const idx column = block * W, width = vectors * W;
      const idx valid = p_.I - column < width ? p_.I - column : width;
      carry_back(all_x<Cell>, Cell::gates, p_.W_ax, p_.I, back_.W_ax, delta_, nullptr,
                 scratch_.tile, width, column, vectors, rows);
      idx at = 0, active = g_.rows;
      for (idx s = first; s < last; ++s) {
        active = g_.active(s, active);
        for (idx r = 0; r < active; ++r, ++at)
          std::memcpy(p_.dx + g_.offset(p_, r, s, p_.dx_t, p_.dx_b) + column,
                      scratch_.tile + at * width, valid * sizeof(R));
      }
    });
  }

  // Adds steps [first, last) to the gradients of the weights, their rows [part, part + 1) / parts;
  // where they are `fresh`, writes dW_ax and dW_aa. By one thread alone.
  void weight_gradients(idx first, idx last, const WeightGradients<R>& w, idx part, idx parts,
                        bool fresh) {
    idx rows = collect(first, last, all_x<Cell>.first);
    if (part == 0 && w.db_a != nullptr)
      add_column_sums(scratch_.delta_rows, rows, z_.units, z_.H, all_x<Cell>.gate, Cell::gates,
                      w.db_a);
    if (w.dW_ax != nullptr) {
      collect_rows(first, last,
                   [&](idx r, idx s) { return p_.x + g_.offset(p_, r, s, p_.x_t, p_.x_b); });
      add(rows, Cell::gates, all_x<Cell>.gate, p_.I, w.dW_ax, part, parts, fresh);
    }
    for_each_stage<Cell>([&](auto s) {
      using St = Stage<Cell, s>;
      collect(first, last, St::r.first);
      if (part == 0 && w.db_aa != nullptr)
        add_column_sums(scratch_.delta_rows, rows, z_.units, z_.H, St::r.gate, St::gates, w.db_aa);
      if (w.dW_aa == nullptr) return;
      collect_rows(first, last, [&](idx r, idx t) -> const R* {
        const idx row = (t - first_) * g_.rows + r;
        if constexpr (s == 0) return tape_.state[0] + row * z_.state_step;
        return tape_.saved + row * z_.saved_step + Cell::operand[s] * z_.units;
      });
      add(rows, St::gates, St::r.gate, p_.H, w.dW_aa, part, parts, fresh);
    });
  }

  void add_params(const WeightGradients<R>& w) const {
    if (w.dparam == nullptr) return;
    for (idx i = 0; i < Cell::params; ++i)
      for (idx h = 0; h < p_.H; ++h) {
        w.dparam[i * p_.H + h] += carry_.dparam[i * z_.units + h];
        carry_.dparam[i * z_.units + h] = 0;
      }
  }

 private:
  R* delta_row(idx s) const { return delta_ + (s - delta_first_) * g_.rows * z_.delta_step; }

  void step(idx s, idx active) {
    const idx state = g_.rows * z_.state_step, at = s - first_;
    BackRows<R> q = {};
    q.rows = active;
    q.H = z_.H;
    q.units = z_.units;
    q.first_unit = first_block_ * lanes<R>;
    q.last_unit = last_block_ * lanes<R>;
    q.saved = tape_.saved + at * g_.rows * z_.saved_step;
    q.saved_step = z_.saved_step;
    q.delta = delta_row(s);
    q.delta_step = z_.delta_step;
    for (int i = 0; i < Cell::states; ++i) {
      q.prev[i] = tape_.state[i] + at * state;
      q.next[i] = tape_.state[i] + (at + 1) * state;
      q.dstate[i] = carry_.dstate[i];
    }
    q.doperand = scratch_.doperand;
    q.state_step = z_.state_step;
    q.da = p_.da == nullptr ? nullptr : p_.da + (p_.reverse ? -s : s) * p_.da_t;
    q.da_offset = scratch_.da_offset;
    q.param = packed_.param;
    q.dparam = carry_.dparam;
    for (idx r = 0; r < active; ++r) scratch_.delta_offset[r] = r * z_.delta_step;
    stage_back<Cell::stages - 1>(q, s % 2 != 0);
  }

  template <int s>
  void stage_back(const BackRows<R>& q, bool back) {
    using St = Stage<Cell, s>;
    backward_rows<Cell, s>(q);
    gang_.wait();
    R* out = s == 0 ? carry_.dstate[0] : scratch_.doperand;
    const R* init = s == 0 ? out : nullptr;
    for_each_panel(first_block_, last_block_, z_.back_panel, back, [&](idx block, int vectors) {
      const idx column = block * lanes<R>;
      carry_back(St::r, St::gates, p_.W_aa, p_.H, back_.W_aa[s], q.delta + St::r.first * z_.units,
                 init == nullptr ? nullptr : init + column, out + column, z_.state_step, column,
                 vectors, q.rows);
    });
    if constexpr (s > 0) stage_back<s - 1>(q, back);
  }

  // out = init + the deltas of some gates times some columns of W (G*H, N).
  void carry_back(const Side& side, int gates, const R* W, idx N, const R* packed, const R* delta,
                  const R* init, R* out, idx out_step, idx column, int vectors, idx rows) const {
    Tile<R> t = {delta,
                 scratch_.delta_offset,
                 1,
                 packed + column * gates * z_.units,
                 vectors * lanes<R>,
                 gates * z_.units,
                 init,
                 out_step,
                 out,
                 out_step};
    if (!PackedBack<Cell, R>::in_place(p_, N)) return product(t, rows, vectors);
    t.panel_step = N;
    t.K = z_.H;
    for (int j = 0; j < gates; ++j) {
      t.panel = W + side.gate[j] * z_.H * N + column;
      product(t, rows, vectors);
      t.left += z_.units;
      t.init = out;
    }
  }

  // Lists the delta rows of steps [first, last), from slot `slot` on; returns their number.
  idx collect(idx first, idx last, int slot) {
    idx rows = 0, active = g_.rows;
    for (idx s = first; s < last; ++s) {
      active = g_.active(s, active);
      for (idx r = 0; r < active; ++r)
        scratch_.delta_rows[rows++] = delta_row(s) + r * z_.delta_step + slot * z_.units;
    }
    return rows;
  }
  template <class F>
  void collect_rows(idx first, idx last, F&& row_of) {
    idx rows = 0, active = g_.rows;
    for (idx s = first; s < last; ++s) {
      active = g_.active(s, active);
      for (idx r = 0; r < active; ++r) scratch_.operand_rows[rows++] = row_of(r, s);
    }
  }

  void add(idx rows, int gates, const int* gate, idx N, R* C, idx part, idx parts, bool fresh) {
    const idx strips = (gates * z_.units + strip_rows - 1) / strip_rows;
    idx end = strips * (part + 1) / parts * strip_rows;
    Transposed<R> t = {scratch_.delta_rows,
                       scratch_.operand_rows,
                       rows,
                       N,
                       z_.units,
                       z_.H,
                       gate,
                       strips * part / parts * strip_rows,
                       end < gates * z_.units ? end : gates * z_.units,
                       C,
                       fresh};
    add_transposed(t, scratch_.transposed, [&] { return gang_.stopped(); });
  }

  const Problem<R>& p_;
  Gang& gang_;
  Sizes<Cell, R> z_;
  const Packed<Cell, R>& packed_;
  const PackedBack<Cell, R>& back_;
  Group<R> g_;
  idx first_block_, last_block_;  // the units that this thread owns
  Carry<Cell, R> carry_;
  Tape<Cell, R> tape_;
  R* delta_;
  idx first_;        // the step that the tape begins with
  idx delta_first_;  // the step that delta_ begins with
  Arena arena_;
  BackwardScratch<Cell, R> scratch_;
};

}  // namespace
}  // namespace rnnfast
