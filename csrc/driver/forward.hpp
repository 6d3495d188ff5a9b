// Forward over time for one group of rows: the input product for a chunk of steps, then step by
// step and panel by panel the recurrent product, with the cell as its epilogue.
#pragma once
#include "../gemm/dots.hpp"
#include "../gemm/pack.hpp"
#include "../gemm/panels.hpp"
#include "chain.hpp"
#include "layout.hpp"
#include "packing.hpp"

namespace rnnfast {
namespace {

// The epilogue's view of one step, rows 0..count and blocks first_block..first_block + blocks.
template <class R>
struct StepRows {
  idx count, first_block, blocks, H, units;
  const R* sums;
  idx sums_step;
  const R* input;  // the panel's part of the input product
  idx input_step;
  const R* prev[max_states];
  R* next[max_states];
  idx state_step;
  R* saved;  // null: the cell leaves nothing
  idx saved_step;
  R* a;           // null: no sequence is wanted
  const R* mask;  // null: a stays as it is
  const idx* a_offset;
  const R* param;
};

// A block of row r, which has so many units.
template <class Cell, int s, class R, class Units>
[[gnu::always_inline]] inline void forward_block(const StepRows<R>& rows, idx r, idx block,
                                                 Units units) {
  using St = Stage<Cell, s>;
  constexpr idx W = lanes<R>;
  const idx b = block - rows.first_block, unit = block * W, state = r * rows.state_step + unit;
  const R* sums = rows.sums + r * rows.sums_step + b * St::gates * W;
  Forward<Cell, Vec<R>> f = {};
  for (int j = 0; j < St::gates; ++j) {
    f.z[St::r.gate[j]] = load(sums + j * units);
    if constexpr (St::split)
      f.x[St::x.gate[j]] = load(rows.input + r * rows.input_step + b * St::slots * W +
                                (St::x.first - St::first_slot + j) * units);
  }
  for (int i = 0; i < Cell::states; ++i) f.prev[i] = load(rows.prev[i] + state);
  for (int i = 0; i < Cell::params; ++i) f.param[i] = load(rows.param + i * rows.units + unit);
  R* saved = rows.saved == nullptr ? nullptr : rows.saved + r * rows.saved_step + unit;
  if constexpr (s > 0)
    for (int i = 0; i < Cell::saved; ++i)
      if (Cell::saved_by[i] < s) f.saved[i] = load_units(saved + i * rows.H, units);
  Cell::template forward<s, R>(f);
  if (saved != nullptr)
    for (int i = 0; i < Cell::saved; ++i)
      if (Cell::saved_by[i] == s) store_units(saved + i * rows.H, f.saved[i], units);
  if constexpr (s == St::last) {
    for (int i = 0; i < Cell::states; ++i) store(rows.next[i] + state, f.next[i]);
    if (rows.a == nullptr) return;
    const idx at = rows.a_offset[r] + unit;
    const bool masked = rows.mask != nullptr;
    store_units(rows.a + at, masked ? f.next[0] * load_units(rows.mask + at, units) : f.next[0],
                units);
  }
}

template <class Cell, int s, class R>
void forward_rows(const StepRows<R>& rows) noexcept {
  for (idx r = 0; r < rows.count; ++r)
    for_each_block<R>(
        rows.H, rows.first_block, rows.first_block + rows.blocks,
        [&](idx block, auto units) { forward_block<Cell, s>(rows, r, block, units); });
}

template <class Cell, class R>
class ForwardPass {
 public:
  ForwardPass(const Problem<R>& p, const Sizes<Cell, R>& sizes, Gang& gang, Link& link,
              const Packed<Cell, R>& packed, idx group, void* scratch)
      : p_(p),
        gang_(gang),
        link_(link),
        sizes_(sizes),
        packed_(packed),
        g_(p, group),
        arena_(scratch),
        scratch_(arena_, sizes_) {
    for (idx r = 0; r < g_.rows; ++r) {
      scratch_.state_offset[r] = r * sizes_.state_step;
      scratch_.saved_offset[r] = r * sizes_.saved_step;
      scratch_.a_offset[r] = g_.offset(p, r, 0, p.a_t, p.a_b);
    }
    for_each_stage<Cell>([&](auto s) {
      using St = Stage<Cell, s>;
      const idx panel = g_.rows * St::blocks_per_panel * St::gates * lanes<R>;
      Own& own = own_[s];
      own.panels = sizes_.template panels<St>();
      own.first = gang.first(own.panels.count);
      own.last = gang.last(own.panels.count);
      own.batch = sizes_.sums_size / panel;
    });
    fill_split_bias();
  }

  // The states of a gang lie in its leader's scratch memory.
  void share_states(void* leaders_scratch) {
    Arena arena(leaders_scratch);
    const ForwardScratch<Cell, R> leader(arena, sizes_);
    for (int i = 0; i < Cell::states; ++i) scratch_.state[i] = leader.state[i];
    scratch_.saved = leader.saved;
  }

  // Packs the weights of the units that this thread owns.
  void pack_own_units(const Control& control) const {
    if (p_.direct) return;
    for_each_stage<Cell>([&](auto s) {
      const Own& own = own_[s];
      for_each_panel(own.panels, own.first, own.last, false, [&](idx block, int blocks) {
        if (!control.interrupted(control.team)) pack_panel_of<s>(p_, packed_, block, blocks);
      });
    });
  }

  // What lies past the end of a sequence is 0: for the caller, since no other layer reads it.
  void zero_past_the_end() const {
    if (p_.a == nullptr || !gang_.leads()) return;
    for (idx r = 0; r < g_.rows; ++r)
      for (idx t = g_.length[r]; t < p_.T; ++t)
        clear_row(p_.a + t * p_.a_t + g_.row[r] * p_.a_b, p_.H);
  }

  // Copies the initial states into `state`, padded with 0.
  void begin(R* const (&state)[Cell::states]) {
    for (int i = 0; i < Cell::states && gang_.leads(); ++i)
      for (idx r = 0; r < g_.rows; ++r) {
        R* const to = state[i] + r * sizes_.state_step;
        copy_row(g_.state_row(p_, p_.state0[i], r), to, p_.H);
        clear_row(to + p_.H, sizes_.units - p_.H);
      }
    gang_.wait();
  }

  // Runs steps [first, last) and keeps everything in `tape`, whose state 0 is the one before
  // `first`; writes a and the final states if `results`.
  void keep(const Tape<Cell, R>& tape, idx first, idx last, bool results) {
    const idx state = g_.rows * sizes_.state_step, saved = g_.rows * sizes_.saved_step;
    run(first, last, results, [&](idx s, StepRows<R>& rows) {
      for (int i = 0; i < Cell::states; ++i) {
        rows.prev[i] = tape.state[i] + (s - first) * state;
        rows.next[i] = tape.state[i] + (s - first + 1) * state;
      }
      rows.saved = Cell::saved == 0 ? nullptr : tape.saved + (s - first) * saved;
    });
  }

  // Runs all steps and keeps nothing but, where `kept` is given, the states before every
  // p.segment-th step.
  void discard(R* const* kept) {
    const idx state = g_.rows * sizes_.state_step;
    begin(scratch_.state);
    run(0, g_.steps, true, [&](idx s, StepRows<R>& rows) {
      for (int i = 0; i < Cell::states; ++i) {
        rows.prev[i] = scratch_.state[i] + (s % 2) * state;
        rows.next[i] = scratch_.state[i] + ((s + 1) % 2) * state;
        if (kept != nullptr && s % p_.segment == 0 && gang_.leads())
          std::memcpy(kept[i] + s / p_.segment * state, rows.prev[i], state * sizeof(R));
      }
      rows.saved = Cell::stages == 1 ? nullptr : scratch_.saved;
    });
  }

 private:
  // The recurrent sum of a split gate starts from b_aa, which stands in the input product's own
  // slot for it, the first, and is not written again.
  void fill_split_bias() {
    using St = Stage<Cell, 0>;
    if constexpr (St::split)
      for (idx row = 0; row < sizes_.chunk * sizes_.group_rows; ++row)
        for (idx b = 0; b < sizes_.blocks; ++b) {
          const idx at = b * St::slots * lanes<R>;
          store(scratch_.input + row * sizes_.input_step + at, load(packed_.bias_x + at));
        }
  }

  // W_ax x + b for the active rows of steps [first, last), row after row; returns their number.
  void input_product(idx first, idx last, idx active) {
    idx rows = 0;
    for (idx s = first; s < last; ++s) {
      active = g_.active(s, active);
      for (idx r = 0; r < active; ++r)
        scratch_.x_offset[rows++] = g_.offset(p_, r, s, p_.x_t, p_.x_b);
    }
    for_each_stage<Cell>([&](auto s) {
      using St = Stage<Cell, s>;
      const Own& own = own_[s];
      for_each_panel(own.panels, own.first, own.last, false, [&](idx block, int blocks) {
        const idx at = (St::first_slot * sizes_.blocks + block * St::slots) * lanes<R> +
                       (St::x.first - St::first_slot) * block_units<R>(sizes_.H, block);
        multiply<St>(
            {p_.x, scratch_.x_offset, p_.W_ax, p_.I, sizes_.H, St::x.gate, St::gates, block, blocks,
             packed_.bias_x + at, 0, scratch_.input + at, sizes_.input_step},
            packed_.W_ax[s], rows);
      });
    });
  }

  // One panel's product, with packed weights or where they are.
  template <class St>
  void multiply(const Dots<R>& d, const R* packed, idx rows) const {
    if (p_.direct) return dots(d, rows);
    const int vectors = panel_vectors<R>(d.H, St::gates, d.first_block, d.blocks);
    product(Tile<R>{d.left, d.offset, 1, packed + d.first_block * St::gates * lanes<R> * d.K,
                    vectors * lanes<R>, d.K, d.init, d.init_step, d.out, d.out_step},
            rows, vectors);
  }

  template <class View>
  void run(idx first, idx last, bool results, View&& view) {
    if (last > g_.steps) last = g_.steps;
    idx active = g_.active(first, g_.rows);
    if (results && first == 0 && gang_.leads()) finish(active, g_.rows, nullptr);
    StepRows<R> rows = same_in_all_steps();
    for (idx from = first; from < last; from += sizes_.chunk) {
      const idx to = from + sizes_.chunk < last ? from + sizes_.chunk : last;
      if (!link_.follow(to)) return;
      input_product(from, to, active);
      const R* input = scratch_.input;
      for (idx s = from; s < to; ++s) {
        rows.count = active;
        const idx t_offset = (p_.reverse ? -s : s) * p_.a_t;
        if (results && p_.a != nullptr) rows.a = p_.a + t_offset;
        if (p_.mask != nullptr) rows.mask = p_.mask + t_offset;
        view(s, rows);
        step(rows, input, s % 2 != 0);
        input += active * sizes_.input_step;
        const idx next = g_.active(s + 1, active);
        if (next < active && results && gang_.leads()) finish(next, active, rows.next);
        active = next;
      }
      link_.done(to);
    }
  }

  StepRows<R> same_in_all_steps() const {
    StepRows<R> rows = {};
    rows.H = sizes_.H;
    rows.units = sizes_.units;
    rows.sums = scratch_.sums;
    rows.input_step = sizes_.input_step;
    rows.state_step = sizes_.state_step;
    rows.saved_step = sizes_.saved_step;
    rows.a_offset = scratch_.a_offset;
    rows.param = packed_.param;
    return rows;
  }

  // Goes through the weights from their end if `back`: every other step does, for what was read
  // last is still near.
  void step(StepRows<R>& rows, const R* input, bool back) {
    for_each_stage<Cell>([&](auto stage) {
      using St = Stage<Cell, stage>;
      const Own& own = own_[stage];
      const R* left = stage == 0 ? rows.prev[0] : rows.saved + Cell::operand[stage] * sizes_.H;
      const idx* offset = stage == 0 ? scratch_.state_offset : scratch_.saved_offset;
      for_each_panel(own.first, own.last, own.batch, back, [&](idx panel, int batch) {
        const idx first = own.panels.first_block(panel);
        rows.first_block = first;
        rows.blocks = own.panels.first_block(panel + batch) - first;
        rows.sums_step = rows.blocks * St::gates * lanes<R>;
        rows.input = input + (St::first_slot * sizes_.blocks + first * St::slots) * lanes<R>;
        for_each_panel(own.panels, panel, panel + batch, back, [&](idx block, int blocks) {
          const idx before = (block - first) * lanes<R>;
          multiply<St>({left, offset, p_.W_aa, sizes_.H, sizes_.H, St::r.gate, St::gates, block,
                        blocks, rows.input + before * St::slots, sizes_.input_step,
                        scratch_.sums + before * St::gates, rows.sums_step},
                       packed_.W_aa[stage], rows.count);
        });
        forward_rows<Cell, stage>(rows);
      });
      gang_.wait();
    });
  }

  // Rows [first, last) have ended: their final states are in `state`, or are the initial ones.
  void finish(idx first, idx last, R* const* state) const {
    for (int i = 0; i < Cell::states; ++i)
      for (idx r = first; r < last; ++r) {
        const R* from =
            state != nullptr ? state[i] + r * sizes_.state_step : g_.state_row(p_, p_.state0[i], r);
        copy_row(from, g_.state_row(p_, p_.state_T[i], r), p_.H);
      }
  }

  const Problem<R>& p_;
  Gang& gang_;
  Link& link_;
  const Sizes<Cell, R>& sizes_;
  const Packed<Cell, R>& packed_;
  Group<R> g_;
  // The panels of a stage that this thread owns, and how many of them the cell works on at once: as
  // many as `sums` holds, since its chains of dependent operations overlap.
  struct Own {
    Panels panels;
    idx first, last, batch;
  };
  Own own_[Cell::stages];
  Arena arena_;
  ForwardScratch<Cell, R> scratch_;
};

}  // namespace
}  // namespace rnnfast
