// What follows from a cell's declarations, at compile time: the slots of each stage, and how many
// blocks of units make a panel of its weights.
#pragma once
#include "../gemm/tile.hpp"
#include "../problem.hpp"
#include "cell.hpp"

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
  static constexpr int first_slot = r.first;
  static constexpr int slots = x.first + gates - first_slot;
  static constexpr bool split = slots != gates;
  static_assert(r.first <= x.first, "the recurrent side has the lower slots");
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

template <class F, int... s>
[[gnu::always_inline]] inline void for_stages(F&& f, std::integer_sequence<int, s...>) {
  (f(std::integral_constant<int, s>()), ...);
}
template <class Cell, class F>
[[gnu::always_inline]] inline void for_each_stage(F&& f) {
  for_stages(f, std::make_integer_sequence<int, Cell::stages>());
}

}  // namespace
}  // namespace rnnfast
