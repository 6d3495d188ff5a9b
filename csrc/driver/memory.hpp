// Where everything lies: the packed weights, what a group of rows keeps for the backward pass (the
// tape), and each thread's working memory.
#pragma once
#include "../cells/cell.hpp"
#include "../gemm/tile.hpp"
#include "../problem.hpp"
#include "arena.hpp"

namespace rnnfast {
namespace {

// The gates of one stage, in the order of their slots.
struct Side {
  int first;    // lowest slot
  int gate[4];  // gate[j] has slot first + j
};
constexpr Side side_of(const int* slot, int begin, int end) {
  Side side = {slot[begin], {}};
  for (int g = begin; g < end; ++g)
    if (slot[g] < side.first) side.first = slot[g];
  for (int g = begin; g < end; ++g) side.gate[slot[g] - side.first] = g;
  return side;
}

// Whether the slots of gates begin..end are neighbours, each taken once.
constexpr bool are_neighbours(const int* slot, int begin, int end) {
  for (int g = begin; g < end; ++g)
    for (int other = begin; other < g; ++other) {
      const int apart = slot[g] - slot[other];
      if (apart == 0 || apart >= end - begin || -apart >= end - begin) return false;
    }
  return true;
}

// Whether a cell's stages and slots are declared as cell.hpp asks.
template <class Cell>
constexpr bool declares_stages() {
  for (int s = 0; s < Cell::stages; ++s) {
    const int begin = Cell::stage_begin[s], end = Cell::stage_begin[s + 1];
    if (begin >= end || !are_neighbours(Cell::x_slot, begin, end) ||
        !are_neighbours(Cell::r_slot, begin, end))
      return false;
    for (int g = begin; g < end; ++g)
      for (int slot : {Cell::x_slot[g], Cell::r_slot[g]})
        if (slot < 0 || slot >= Cell::deltas || Cell::delta_by[slot] < s) return false;
    if (s > 0 && (Cell::operand[s] < Cell::deltas || Cell::operand[s] >= Cell::saved ||
                  Cell::saved_by[Cell::operand[s]] >= s))
      return false;
  }
  return Cell::stage_begin[0] == 0 && Cell::stage_begin[Cell::stages] == Cell::gates &&
         are_neighbours(Cell::x_slot, 0, Cell::gates);
}
template <class Cell>
constexpr bool declares_writers() {
  for (int i = 0; i < Cell::saved; ++i)
    if (Cell::saved_by[i] < 0 || Cell::saved_by[i] >= Cell::stages) return false;
  for (int i = 0; i < Cell::deltas; ++i)
    if (Cell::delta_by[i] < 0 || Cell::delta_by[i] >= Cell::stages) return false;
  return true;
}

// What follows from a cell's declarations, at compile time.
template <class Cell, int s>
struct Stage {
  static constexpr int begin = Cell::stage_begin[s], end = Cell::stage_begin[s + 1];
  static constexpr int gates = end - begin;
  static constexpr Side x = side_of(Cell::x_slot, begin, end);
  static constexpr Side r = side_of(Cell::r_slot, begin, end);
  static constexpr int first_slot = x.first < r.first ? x.first : r.first;
  static constexpr int slots = (x.first > r.first ? x.first : r.first) + gates - first_slot;
  static constexpr bool split = slots != gates;
  // A panel is one block of units with all its gates, or several blocks where one gate would leave
  // the tile too narrow.
  static constexpr int blocks_per_panel = split || gates > 2 ? 1 : gates == 2 ? 2 : max_vectors;
  static constexpr int last = Cell::stages - 1;
  static_assert(Cell::gates <= 4 && Cell::states <= max_states);
  static_assert(Cell::saved == 0 || Cell::saved >= Cell::deltas,
                "the deltas of a step are written over its saved vectors");
  static_assert(declares_writers<Cell>() && declares_stages<Cell>());
};
template <class Cell>
constexpr Side all_x = side_of(Cell::x_slot, 0, Cell::gates);

// The most blocks in a panel of any stage.
template <class Cell, int s = 0>
constexpr int widest_panel_from() {
  constexpr int here = Stage<Cell, s>::blocks_per_panel;
  if constexpr (s + 1 < Cell::stages)
    return here > widest_panel_from<Cell, s + 1>() ? here : widest_panel_from<Cell, s + 1>();
  return here;
}
template <class Cell>
constexpr int widest_panel = widest_panel_from<Cell>() > 2 ? widest_panel_from<Cell>() : 2;

template <class F, int... s>
[[gnu::always_inline]] inline void for_stages(F&& f, std::integer_sequence<int, s...>) {
  (f(std::integral_constant<int, s>()), ...);
}
template <class Cell, class F>
[[gnu::always_inline]] inline void for_each_stage(F&& f) {
  for_stages(f, std::make_integer_sequence<int, Cell::stages>());
}

// Rows a multiple of 2 KB apart would share few cache sets: those get one more vector.
template <class R>
idx row_step(idx n) {
  n = round_up<R>(n);
  return n > 0 && n * static_cast<idx>(sizeof(R)) % 2048 == 0 ? n + lanes<R> : n;
}

// Recurrent sums that wait for the cell: few enough to stay in the first-level cache beside the
// weights' panels.
constexpr idx sums_bytes = 8 * 1024;
// The input product of one chunk of steps stays in the second-level cache; but W_ax is read once
// for every chunk, so where it is large a chunk has rows enough to make use of it.
constexpr idx input_bytes = 256 * 1024;
constexpr idx least_chunk_rows = 64;
// So do the weight gradients that a group owns, beside the deltas.
constexpr idx own_gradient_bytes = 256 * 1024;
// With this much of W_aa for each thread, a step takes long beside their waiting for each other.
constexpr idx slice_bytes = 24 * 1024;

// Nanoseconds of steps that nobody need be able to interrupt.
constexpr double poll_time = 5e6;

inline idx larger(idx a, idx b) { return a > b ? a : b; }
inline idx smaller(idx a, idx b) { return a < b ? a : b; }

// Sizes derived from the problem.
template <class Cell, class R>
struct Sizes {
  idx H, blocks, units;  // units: H padded to whole vectors
  idx state_step;        // between rows of a state
  idx saved_step, delta_step;
  idx input_step;  // between rows of the input product
  idx group_rows, groups;
  idx sums_size;        // of recurrent sums at once, one panel at least
  idx chunk;            // steps whose input product is formed at once
  idx slice;            // blocks of units: threads that share a group own whole slices
  int slices;           // threads that it is worth sharing between
  bool sliced;          // threads share the one group
  double step_time;     // about how many nanoseconds one thread's recurrent product takes
  idx poll_steps;       // steps of a backward pass between two looks for a stop
  idx back_panel;       // blocks of units in a panel of the transposed W_aa
  bool owns_gradients;  // each group adds to weight gradients of its own, chunk by chunk
  bool delta_chunks;    // deltas have memory of their own, for one chunk at a time
  idx back_chunk;       // steps whose deltas give weight gradients at once

  explicit Sizes(const Problem<R>& p)
      : H(p.H),
        blocks(round_up<R>(p.H) / lanes<R>),
        units(round_up<R>(p.H)),
        state_step(row_step<R>(p.H)),
        saved_step(row_step<R>(Cell::saved * units)),
        delta_step(keeps_deltas_apart(p) ? row_step<R>(Cell::deltas * units) : saved_step),
        input_step(row_step<R>(Cell::deltas * units)),
        group_rows(p.group_rows),
        groups(group_rows == 0 ? 0 : (p.B + group_rows - 1) / group_rows),
        sums_size(larger(group_rows * max_vectors * lanes<R>, sums_bytes / idx(sizeof(R)))),
        chunk(steps_of(
            p, larger(input_bytes / (input_step * static_cast<idx>(sizeof(R))), least_chunk_rows))),
        slice(blocks >= 2 * max_vectors ? max_vectors : widest_panel<Cell>),
        slices(static_cast<int>(smaller(blocks / slice, weight_bytes(p, p.H) / slice_bytes))),
        sliced(groups == 1 && slices > 1),
        step_time(static_cast<double>(weight_bytes(p, p.H)) *
                  (group_rows < 4 ? 1 / 150.0 : static_cast<double>(group_rows) / 500)),
        poll_steps(larger(1, static_cast<idx>(poll_time / (step_time + 1)))),
        back_panel(sliced ? slice : max_vectors),
        owns_gradients(!sliced &&
                       (groups == 1 || weight_bytes(p, p.I + p.H) <= own_gradient_bytes)),
        delta_chunks(owns_gradients && keeps_deltas_apart(p)),
        back_chunk(owns_gradients ? chunk : steps_of(p, 512)) {}

  static idx weight_bytes(const Problem<R>& p, idx columns) {
    return Cell::gates * p.H * columns * static_cast<idx>(sizeof(R));
  }
  static bool keeps_deltas_apart(const Problem<R>& p) { return Cell::saved == 0 || p.keep_saved; }

  // Steps that make about `rows` rows of the group, at most 512 and at least one step.
  idx steps_of(const Problem<R>& p, idx rows) const {
    if (group_rows == 0) return 1;
    idx steps = (rows < 512 ? rows : 512) / group_rows;
    if (steps > p.T) steps = p.T;
    return steps < 1 ? 1 : steps;
  }
};

// A group of rows: neighbours in order of length.
template <class R>
struct Group {
  const idx* row;     // batch index
  const idx* length;  // falling
  idx rows, steps;    // steps: the longest length

  Group(const Problem<R>& p, idx group)
      : row(p.row + group * p.group_rows),
        length(p.length + group * p.group_rows),
        rows(p.B - group * p.group_rows < p.group_rows ? p.B - group * p.group_rows : p.group_rows),
        steps(length[0]) {}

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
};

template <class Cell, class R>
struct Packed {
  R* W_ax[Cell::stages];
  R* W_aa[Cell::stages];
  R* bias_x;  // as one row of the input product
  R* param;   // (P, units)

  // A direct problem reads its weights elsewhere: they come last, so that the rest lies alike.
  Packed(Arena& arena, const Sizes<Cell, R>& z, const Problem<R>& p) {
    bias_x = arena.take<R>(Cell::deltas * z.units);
    param = arena.take<R>(Cell::params * z.units);
    for_each_stage<Cell>([&](auto s) {
      const idx rows = p.direct ? 0 : Stage<Cell, s>::gates * z.units;
      W_ax[s] = arena.take<R>(rows * p.I);
      W_aa[s] = arena.take<R>(rows * z.H);
    });
  }
};

// What a group keeps of `steps` steps: state s is the one before step s.
template <class Cell, class R>
struct Tape {
  R* state[Cell::states];  // (steps + 1, rows, state_step)
  R* saved;                // (steps, rows, saved_step)

  Tape(Arena& arena, const Sizes<Cell, R>& z, const Group<R>& g, idx steps) {
    for (R*& s : state) s = arena.take<R>((steps + 1) * g.rows * z.state_step);
    saved = arena.take<R>(steps * g.rows * z.saved_step);
  }

  // The states before each segment, and nothing else.
  static Tape states_only(Arena& arena, const Sizes<Cell, R>& z, const Group<R>& g, idx segments) {
    Tape tape;
    for (R*& s : tape.state) s = arena.take<R>(segments * g.rows * z.state_step);
    tape.saved = nullptr;
    return tape;
  }

 private:
  Tape() = default;
};

}  // namespace
}  // namespace rnnfast
