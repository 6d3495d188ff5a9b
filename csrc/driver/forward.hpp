// Forward over time for one group of rows: the input product for a chunk of steps, then step by
// step and panel by panel the recurrent product, with the cell as its epilogue.
#pragma once
#include "../gemm/dots.hpp"
#include "../gemm/pack.hpp"
#include "gang.hpp"
#include "memory.hpp"

namespace rnnfast {
namespace {

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

  ForwardScratch(Arena& arena, const Sizes<Cell, R>& z)
      : input(arena.take<R>(z.chunk * z.group_rows * z.input_step)),
        sums(arena.take<R>(z.sums_size)) {
    for (R*& s : state) s = arena.take<R>(2 * z.group_rows * z.state_step);
    saved = arena.take<R>(z.group_rows * z.saved_step);
    x_offset = arena.take<idx>(z.chunk * z.group_rows);
    a_offset = arena.take<idx>(z.group_rows);
    state_offset = arena.take<idx>(z.group_rows);
    saved_offset = arena.take<idx>(z.group_rows);
  }
};

// The epilogue's view of one step, rows 0..rows and blocks first_block..first_block + blocks.
template <class R>
struct StepRows {
  idx rows, first_block, blocks, H, units;
  const R* sums;
  idx sums_step;
  const R* input;  // the panel's part of the input product
  idx input_step;
  const R* prev[max_states];
  R* next[max_states];
  idx state_step;
  R* saved;  // null: the cell leaves nothing
  idx saved_step;
  R* a;  // null: no sequence is wanted
  const idx* a_offset;
  const R* param;
};

template <class Cell, int s, class R>
void forward_rows(const StepRows<R>& q) noexcept {
  using V = Vec<R>;
  using St = Stage<Cell, s>;
  constexpr idx W = lanes<R>;
  for (idx r = 0; r < q.rows; ++r)
    for (idx b = 0; b < q.blocks; ++b) {
      const idx unit = (q.first_block + b) * W, state = r * q.state_step + unit;
      Forward<Cell, V> f = {};
      for (int j = 0; j < St::gates; ++j) {
        f.z[St::r.gate[j]] = load(q.sums + r * q.sums_step + (b * St::gates + j) * W);
        if constexpr (St::split)
          f.x[St::x.gate[j]] = load(q.input + r * q.input_step +
                                    (b * St::slots + St::x.first - St::first_slot + j) * W);
      }
      for (int i = 0; i < Cell::states; ++i) f.prev[i] = load(q.prev[i] + state);
      for (int i = 0; i < Cell::params; ++i) f.param[i] = load(q.param + i * q.units + unit);
      R* saved = q.saved == nullptr ? nullptr : q.saved + r * q.saved_step + unit;
      if constexpr (s > 0)
        for (int i = 0; i < Cell::saved; ++i)
          if (Cell::saved_by[i] < s) f.saved[i] = load(saved + i * q.units);
      Cell::template forward<s, R>(f);
      if (saved != nullptr)
        for (int i = 0; i < Cell::saved; ++i)
          if (Cell::saved_by[i] == s) store(saved + i * q.units, f.saved[i]);
      if constexpr (s == St::last) {
        for (int i = 0; i < Cell::states; ++i) store(q.next[i] + state, f.next[i]);
        if (q.a == nullptr) continue;
        R* a = q.a + q.a_offset[r] + unit;
        if (q.H - unit >= W)
          store(a, f.next[0]);
        else
          store_first(a, f.next[0], q.H - unit);
      }
    }
}

template <class Cell, class R>
class ForwardPass {
 public:
  ForwardPass(const Problem<R>& p, Gang& gang, const Packed<Cell, R>& packed, idx group,
              void* scratch)
      : p_(p),
        gang_(gang),
        z_(p),
        packed_(packed),
        g_(p, group),
        first_block_(gang.first_block(z_.blocks, z_.slice)),
        last_block_(gang.last_block(z_.blocks, z_.slice)),
        arena_(scratch),
        scratch_(arena_, z_) {
    for (idx r = 0; r < g_.rows; ++r) {
      scratch_.state_offset[r] = r * z_.state_step;
      scratch_.saved_offset[r] = r * z_.saved_step;
      scratch_.a_offset[r] = g_.offset(p, r, 0, p.a_t, p.a_b);
    }
    for_each_stage<Cell>([&](auto s) {
      using St = Stage<Cell, s>;
      const idx panel = g_.rows * St::blocks_per_panel * St::gates * lanes<R>;
      batch_[s] = z_.sums_size / panel * St::blocks_per_panel;
    });
    fill_split_bias();
  }

  // The states of a gang lie in its leader's scratch memory.
  void share_states(void* leaders_scratch) {
    Arena arena(leaders_scratch);
    const ForwardScratch<Cell, R> leader(arena, z_);
    for (int i = 0; i < Cell::states; ++i) scratch_.state[i] = leader.state[i];
    scratch_.saved = leader.saved;
  }

  // Copies the initial states into `state`, padded with 0.
  void begin(R* const (&state)[Cell::states]) {
    for (int i = 0; i < Cell::states && gang_.leads(); ++i)
      for (idx r = 0; r < g_.rows; ++r)
        copy_padded(p_.state0[i], g_.row[r], state[i] + r * z_.state_step);
    gang_.wait();
  }

  // Runs steps [first, last) and keeps everything in `tape`, whose state 0 is the one before
  // `first`; writes a and the final states if `results`.
  void keep(const Tape<Cell, R>& tape, idx first, idx last, bool results) {
    const idx state = g_.rows * z_.state_step, saved = g_.rows * z_.saved_step;
    run(first, last, results, [&](idx s, StepRows<R>& q) {
      for (int i = 0; i < Cell::states; ++i) {
        q.prev[i] = tape.state[i] + (s - first) * state;
        q.next[i] = tape.state[i] + (s - first + 1) * state;
      }
      q.saved = Cell::saved == 0 ? nullptr : tape.saved + (s - first) * saved;
    });
  }

  // Runs all steps and keeps nothing but, where `kept` is given, the states before every
  // p.segment-th step.
  void discard(R* const* kept) {
    const idx state = g_.rows * z_.state_step;
    begin(scratch_.state);
    run(0, g_.steps, true, [&](idx s, StepRows<R>& q) {
      for (int i = 0; i < Cell::states; ++i) {
        q.prev[i] = scratch_.state[i] + (s % 2) * state;
        q.next[i] = scratch_.state[i] + ((s + 1) % 2) * state;
        if (kept != nullptr && s % p_.segment == 0 && gang_.leads())
          std::memcpy(kept[i] + s / p_.segment * state, q.prev[i], state * sizeof(R));
      }
      q.saved = Cell::stages == 1 ? nullptr : scratch_.saved;
    });
  }

 private:
  void copy_padded(const R* from, idx row, R* to) const {
    idx n = from == nullptr ? 0 : p_.H;
    for (idx h = 0; h < n; ++h) to[h] = from[row * p_.H + h];
    for (idx h = n; h < z_.units; ++h) to[h] = 0;
  }

  // The recurrent sum of a split gate starts from b_aa, which stands in the input product's own
  // slot for it and is not written again.
  void fill_split_bias() {
    using St = Stage<Cell, 0>;
    if constexpr (St::split) {
      constexpr int slot = St::x.first == 0 ? St::slots - 1 : 0;
      for (idx row = 0; row < z_.chunk * z_.group_rows; ++row)
        for (idx b = 0; b < z_.blocks; ++b) {
          idx at = (b * St::slots + slot) * lanes<R>;
          store(scratch_.input + row * z_.input_step + at, load(packed_.bias_x + at));
        }
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
      for_each_panel(first_block_, last_block_, St::blocks_per_panel, [&](idx block, int blocks) {
        idx at = (St::first_slot * z_.blocks + block * St::slots + (St::x.first - St::first_slot)) *
                 lanes<R>;
        multiply<St>({p_.x, scratch_.x_offset, p_.W_ax, p_.I, z_.H, St::x.gate, St::gates, block,
                      blocks, packed_.bias_x + at, 0, scratch_.input + at, z_.input_step},
                     packed_.W_ax[s], rows);
      });
    });
  }

  // One panel's product, with packed weights or where they are.
  template <class St>
  void multiply(const Dots<R>& d, const R* packed, idx rows) const {
    if (p_.direct) return dots(d, rows);
    const int vectors = d.blocks * St::gates;
    product(Tile<R>{d.left, d.offset, 1, packed + d.first_block * St::gates * lanes<R> * d.K,
                    vectors * lanes<R>, d.K, d.init, d.init_step, d.out, d.out_step},
            rows, vectors);
  }

  template <class View>
  void run(idx first, idx last, bool results, View&& view) {
    if (last > g_.steps) last = g_.steps;
    idx active = g_.active(first, g_.rows);
    if (results && gang_.leads()) {
      zero_past_the_end();
      if (first == 0) finish(active, g_.rows, nullptr);
    }
    StepRows<R> q = same_in_all_steps();
    for (idx from = first; from < last; from += z_.chunk) {
      if (gang_.stopped()) return;
      const idx to = from + z_.chunk < last ? from + z_.chunk : last;
      input_product(from, to, active);
      const R* input = scratch_.input;
      for (idx s = from; s < to; ++s) {
        q.rows = active;
        if (results && p_.a != nullptr) q.a = p_.a + (p_.reverse ? -s : s) * p_.a_t;
        view(s, q);
        step(q, input, s % 2 != 0);
        input += active * z_.input_step;
        const idx next = g_.active(s + 1, active);
        if (next < active && results && gang_.leads()) finish(next, active, q.next);
        active = next;
      }
    }
  }

  StepRows<R> same_in_all_steps() const {
    StepRows<R> q = {};
    q.H = z_.H;
    q.units = z_.units;
    q.sums = scratch_.sums;
    q.input_step = z_.input_step;
    q.state_step = z_.state_step;
    q.saved_step = z_.saved_step;
    q.a_offset = scratch_.a_offset;
    q.param = packed_.param;
    return q;
  }

  // Goes through the weights from their end if `back`: every other step does, for what was read
  // last is still near.
  void step(StepRows<R>& q, const R* input, bool back) {
    for_each_stage<Cell>([&](auto stage) {
      using St = Stage<Cell, stage>;
      constexpr idx per_panel = St::blocks_per_panel;
      const R* left = stage == 0 ? q.prev[0] : q.saved + Cell::operand[stage] * z_.units;
      const idx* offset = stage == 0 ? scratch_.state_offset : scratch_.saved_offset;
      for_each_panel(first_block_, last_block_, batch_[stage], back, [&](idx first, int batch) {
        q.first_block = first;
        q.blocks = batch;
        q.sums_step = batch * St::gates * lanes<R>;
        q.input = input + (St::first_slot * z_.blocks + first * St::slots) * lanes<R>;
        const R* init = q.input + (St::r.first - St::first_slot) * lanes<R>;
        for_each_panel(first, first + batch, per_panel, back, [&](idx block, int blocks) {
          const idx before = (block - first) * lanes<R>;
          multiply<St>({left, offset, p_.W_aa, z_.H, z_.H, St::r.gate, St::gates, block, blocks,
                        init + before * St::slots, z_.input_step,
                        scratch_.sums + before * St::gates, q.sums_step},
                       packed_.W_aa[stage], q.rows);
        });
        forward_rows<Cell, stage>(q);
      });
      gang_.wait();
    });
  }

  // Rows [first, last) have ended: their final states are in `state`, or are the initial ones.
  void finish(idx first, idx last, R* const* state) const {
    for (int i = 0; i < Cell::states; ++i)
      for (idx r = first; r < last; ++r) {
        R* out = p_.state_T[i] + g_.row[r] * p_.H;
        const R* from = state != nullptr          ? state[i] + r * z_.state_step
                        : p_.state0[i] == nullptr ? nullptr
                                                  : p_.state0[i] + g_.row[r] * p_.H;
        for (idx h = 0; h < p_.H; ++h) out[h] = from == nullptr ? R(0) : from[h];
      }
  }

  void zero_past_the_end() const {
    if (p_.a == nullptr) return;
    for (idx r = 0; r < g_.rows; ++r)
      for (idx t = g_.length[r]; t < p_.T; ++t) {
        R* a = p_.a + t * p_.a_t + g_.row[r] * p_.a_b;
        for (idx h = 0; h < p_.H; ++h) a[h] = 0;
      }
  }

  const Problem<R>& p_;
  Gang& gang_;
  Sizes<Cell, R> z_;
  const Packed<Cell, R>& packed_;
  Group<R> g_;
  idx first_block_, last_block_;  // the units that this thread owns
  // blocks that the cell works on at once, as many as `sums` holds: its chains of dependent
  // operations overlap
  idx batch_[Cell::stages];
  Arena arena_;
  ForwardScratch<Cell, R> scratch_;
};

}  // namespace
}  // namespace rnnfast
