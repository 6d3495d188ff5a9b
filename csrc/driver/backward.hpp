// Backpropagation through time for one group of rows. Step by step from the end, the cell writes
// its deltas (over the saved vectors, unless they are to stay) and the product with W_aa carries
// them one step back.
#pragma once
#include "../gemm/panels.hpp"
#include "gang.hpp"
#include "segment.hpp"

namespace rnnfast {
namespace {

template <class R>
struct BackRows {
  idx count, H, units;
  idx first_block, last_block;
  const R* saved;
  idx saved_step;
  R* delta;
  idx delta_step;
  const R* prev[max_states];
  const R* next[max_states];
  R* dstate[max_states];
  const R* doperand;
  idx state_step;
  const R* da;    // null: the outputs had no gradient
  const R* mask;  // null: da stays as it is
  const idx* da_offset;
  const R* param;
  R* dparam;
};

// A block of row r, which has so many units.
template <class Cell, int s, class R, class Units>
[[gnu::always_inline]] inline void backward_block(const BackRows<R>& rows, idx r, idx block,
                                                  Units units) {
  const idx unit = block * lanes<R>, state = r * rows.state_step + unit;
  const R* saved = rows.saved + r * rows.saved_step + unit;
  R* delta = rows.delta + r * rows.delta_step + unit;
  Backward<Cell, Vec<R>> d = {};
  for (int i = 0; i < Cell::saved; ++i) d.saved[i] = load_units(saved + i * rows.H, units);
  for (int i = 0; i < Cell::states; ++i) {
    d.prev[i] = load(rows.prev[i] + state);
    d.next[i] = load(rows.next[i] + state);
    d.dstate[i] = load(rows.dstate[i] + state);
  }
  for (int i = 0; i < Cell::params; ++i) d.param[i] = load(rows.param + i * rows.units + unit);
  if constexpr (s == Cell::stages - 1) {
    if (rows.da != nullptr) {
      const idx at = rows.da_offset[r] + unit;
      const Vec<R> da = load_units(rows.da + at, units);
      d.dstate[0] += rows.mask == nullptr ? da : da * load_units(rows.mask + at, units);
    }
  } else {
    d.doperand = load(rows.doperand + state);
  }
  Cell::template backward<s, R>(d);
  for (int i = 0; i < Cell::deltas; ++i)
    if (Cell::delta_by[i] == s) store_units(delta + i * rows.H, d.delta[i], units);
  for (int i = 0; i < Cell::states; ++i) store(rows.dstate[i] + state, d.dstate[i]);
  for (int i = 0; i < Cell::params; ++i) {
    R* const dparam = rows.dparam + i * rows.units + unit;
    store(dparam, load(dparam) + d.dparam[i]);
  }
}

template <class Cell, int s, class R>
void backward_rows(const BackRows<R>& rows) noexcept {
  for (idx r = 0; r < rows.count; ++r)
    for_each_block<R>(rows.H, rows.first_block, rows.last_block, [&](idx block, auto units) {
      backward_block<Cell, s>(rows, r, block, units);
    });
}

template <class Cell, class R>
class BackwardPass {
 public:
  BackwardPass(const Segment<Cell, R>& segment, Gang& gang, idx group, int slot)
      : p_(segment.p),
        sizes_(segment.sizes),
        gang_(gang),
        packed_(segment.packed),
        back_(segment.work.back),
        steps_(segment, group),
        first_panel_(gang.first(sizes_.back_panels.count)),
        last_panel_(gang.last(sizes_.back_panels.count)),
        carry_(segment.work.carry[group]),
        arena_(segment.work.scratch.of(slot)),
        scratch_(arena_, sizes_, p_) {
    for (idx r = 0; r < steps_.g.rows; ++r)
      scratch_.da_offset[r] = steps_.g.offset(p_, r, 0, p_.da_t, p_.da_b);
  }

  // The gradient of a gang's operands lies in its leader's scratch memory.
  void share_operand(void* leaders_scratch) {
    Arena arena(leaders_scratch);
    scratch_.doperand = BackwardScratch<Cell, R>(arena, sizes_, p_).doperand;
  }

  const GroupSteps<Cell, R>& steps() const { return steps_; }

  // The carried gradients before anything has flowed back: those of the final states.
  void begin() {
    if (gang_.leads()) {
      for (int i = 0; i < Cell::states; ++i)
        for (idx r = 0; r < steps_.g.rows; ++r) {
          R* const to = carry_.dstate[i] + r * sizes_.state_step;
          copy_row(steps_.g.state_row(p_, p_.dstate_T[i], r), to, p_.H);
          clear_row(to + p_.H, sizes_.units - p_.H);
        }
      clear_row(carry_.dparam, Cell::params * sizes_.units);
    }
    gang_.wait();
  }

  // Writes the gradients of the initial states.
  void finish() const {
    for (int i = 0; i < Cell::states; ++i)
      for (idx r = 0; r < steps_.g.rows && p_.dstate0[i] != nullptr; ++r)
        copy_row(carry_.dstate[i] + r * sizes_.state_step, steps_.g.state_row(p_, p_.dstate0[i], r),
                 p_.H);
  }

  // A chunk begins, whose first step this is.
  void enter_chunk(idx first) { steps_.enter_chunk(sizes_, first); }

  // Some steps of the chunk, [first, last), from their end: deltas, and what they carry back.
  // False: it was stopped.
  bool through_time(idx first, idx last) {
    idx active = steps_.g.active(last - 1, steps_.g.rows);
    for (idx s = last - 1; s >= first; --s) {
      if ((last - 1 - s) % sizes_.poll_steps == 0 && gang_.stopped()) return false;
      active = steps_.g.active(s, active);
      step(s, active);
    }
    return true;
  }

  // Hands on what the steps since the last call have added to the gradients of param.
  void add_params(R* dparam) const {
    if (dparam == nullptr) return;
    for (idx i = 0; i < Cell::params; ++i)
      for (idx h = 0; h < p_.H; ++h) {
        dparam[i * p_.H + h] += carry_.dparam[i * sizes_.units + h];
        carry_.dparam[i * sizes_.units + h] = 0;
      }
  }

 private:
  void step(idx s, idx active) {
    const idx state = steps_.g.rows * sizes_.state_step, at = s - steps_.first;
    BackRows<R> rows = {};
    rows.count = active;
    rows.H = sizes_.H;
    rows.units = sizes_.units;
    rows.first_block = sizes_.back_panels.first_block(first_panel_);
    rows.last_block = sizes_.back_panels.first_block(last_panel_);
    rows.saved = steps_.tape.saved + at * steps_.g.rows * sizes_.saved_step;
    rows.saved_step = sizes_.saved_step;
    rows.delta = steps_.delta_row(sizes_, s);
    rows.delta_step = sizes_.delta_step;
    for (int i = 0; i < Cell::states; ++i) {
      rows.prev[i] = steps_.tape.state[i] + at * state;
      rows.next[i] = steps_.tape.state[i] + (at + 1) * state;
      rows.dstate[i] = carry_.dstate[i];
    }
    rows.doperand = scratch_.doperand;
    rows.state_step = sizes_.state_step;
    const idx t_offset = (p_.reverse ? -s : s) * p_.da_t;
    rows.da = p_.da == nullptr ? nullptr : p_.da + t_offset;
    rows.mask = p_.mask == nullptr ? nullptr : p_.mask + t_offset;
    rows.da_offset = scratch_.da_offset;
    rows.param = packed_.param;
    rows.dparam = carry_.dparam;
    for (idx r = 0; r < active; ++r) scratch_.delta_offset[r] = r * sizes_.delta_step;
    stage_back<Cell::stages - 1>(rows, s % 2 != 0);
  }

  template <int s>
  void stage_back(const BackRows<R>& rows, bool back) {
    using St = Stage<Cell, s>;
    backward_rows<Cell, s>(rows);
    gang_.wait();
    R* out = s == 0 ? carry_.dstate[0] : scratch_.doperand;
    const R* init = s == 0 ? out : nullptr;
    const TransposedWeights<R> w = {
        St::r.gate, St::gates, p_.W_aa, p_.H, p_.H, back_.in_place(p_, p_.H), back_.W_aa[s]};
    Tile<R> t = {};
    t.left = rows.delta + St::r.first * sizes_.H;
    t.offset = scratch_.delta_offset;
    t.out_step = sizes_.state_step;
    for_each_panel(sizes_.back_panels, first_panel_, last_panel_, back,
                   [&](idx block, int vectors) {
                     const idx column = block * lanes<R>;
                     t.init = init == nullptr ? nullptr : init + column;
                     t.out = out + column;
                     carry_back(w, t, column, vectors, rows.count);
                   });
    if constexpr (s > 0) stage_back<s - 1>(rows, back);
  }

  const Problem<R>& p_;
  const Sizes<Cell, R>& sizes_;
  Gang& gang_;
  const Packed<Cell, R>& packed_;
  const PackedBack<Cell, R>& back_;
  GroupSteps<Cell, R> steps_;
  idx first_panel_, last_panel_;  // whose units this thread owns
  Carry<Cell, R> carry_;
  Arena arena_;
  BackwardScratch<Cell, R> scratch_;
};

}  // namespace
}  // namespace rnnfast
