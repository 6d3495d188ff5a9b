// The sizes that follow from a problem, and every number that was chosen for speed. None of them
// depends on the number of threads: the same problem gives the same bits for any.
#pragma once
#include "../cells/stage.hpp"
#include "../gemm/pack.hpp"
#include "../gemm/panels.hpp"
#include "../gemm/tile.hpp"
#include "../problem.hpp"
#include "gang.hpp"

namespace rnnfast {
namespace {

// ---- what was tuned. Times are in docs/performance.md; caches are taken as 32 KB and 1 MB.

// Recurrent sums that wait for the cell: few enough to stay in the first-level cache beside the
// weights' panels.
constexpr idx sums_bytes = 8 * 1024;
// The input product of one chunk of steps stays in the second-level cache; but W_ax is read once
// for every chunk, so where it is large a chunk has rows enough to make use of it.
constexpr idx input_bytes = 256 * 1024;
constexpr idx least_chunk_rows = 64;
// More rows at once gain nothing: the product of the weights' gradients packs so many.
constexpr idx most_chunk_rows = 512;
// The weight gradients that a group owns stay in the second-level cache too, beside the deltas.
constexpr idx own_gradient_bytes = 256 * 1024;
// With this much of W_aa for each thread, a step takes long beside their waiting for each other.
constexpr idx slice_bytes = 24 * 1024;
// With this much of W_aa, and as much again of W_ax, one thread's second-level cache is too small:
// two threads on one layer are then faster than on one each.
constexpr idx far_bytes = 512 * 1024;
// Nor does a thread get one block alone, since a tile of two has more sums under way.
constexpr idx least_thread_blocks = 2;
// A thread packs so much in a few microseconds: below that another one is not worth calling.
constexpr idx panel_bytes = 64 * 1024;
// dx after a chunk, in pieces for the threads: a multiple of the heights of full tiles (3 and 6),
// few enough that a chunk has several pieces.
constexpr idx chunk_piece_rows = 60;
// dx where threads share the units: each piece reads its panels of W_ax again, so there are fewer
// (pieces of 16 steps read W_ax seven times for two threads).
constexpr idx shared_piece_rows = 128;
// How fast one thread goes through W_aa, in bytes a nanosecond: few rows wait for the second-level
// cache (152 to 171 measured); more rows compute, and each adds as much time as reading at 500. It
// decides only whether a gang's meetings take long beside the work between them.
constexpr idx few_rows = 4;
constexpr double few_rows_speed = 150, row_speed = 500;
// Nanoseconds of steps after which a backward pass looks for a stop.
constexpr double poll_time = 5e6;

// ---- what follows from them

inline idx larger(idx a, idx b) { return a > b ? a : b; }
inline idx smaller(idx a, idx b) { return a < b ? a : b; }

// Rows a multiple of 2 KB apart would share few cache sets: those get one more vector.
template <class R>
idx row_step(idx n) {
  n = round_up<R>(n);
  return n > 0 && n * static_cast<idx>(sizeof(R)) % 2048 == 0 ? n + lanes<R> : n;
}

// Some units of a block, in memory that ends with them or goes on with what others may write.
template <class R>
[[gnu::always_inline]] inline Vec<R> load_units(const R* p, idx units) {
  return units == lanes<R> ? load(p) : load_first(p, units);
}
template <class R>
[[gnu::always_inline]] inline void store_units(R* p, Vec<R> v, idx units) {
  if (units == lanes<R>)
    store(p, v);
  else
    store_first(p, v, units);
}
// f(block, its units) for the blocks [first, last) of H units; units is a constant where the block
// is full.
template <class R, class F>
[[gnu::always_inline]] inline void for_each_block(idx H, idx first, idx last, F&& f) {
  const idx whole = smaller(last, H / lanes<R>);
  for (idx block = first; block < whole; ++block) f(block, std::integral_constant<idx, lanes<R>>());
  if (whole < last) f(whole, H % lanes<R>);
}

// Made once in each call of a kernel.
template <class Cell, class R>
struct Sizes {
  idx H, blocks, units;        // units: H padded to whole vectors
  idx longest;                 // steps of the longest sequence
  idx segments;                // one also where there are no steps
  bool checkpoints;            // forward keeps the states before each segment only
  idx state_step;              // between rows of a state
  idx saved_step, delta_step;  // between rows of [slot][H]
  bool deltas_apart;           // deltas have memory of their own, not that of the saved vectors
  idx input_step;              // between rows of the input product
  idx groups, group_rows;      // group_rows: of the largest group
  idx sums_size;               // of recurrent sums at once, one panel at least
  idx chunk;                   // steps whose input product is formed at once
  bool sliced;                 // threads share the one group, each with some panels of units
  double step_time;            // about how many nanoseconds one thread's recurrent product takes
  idx poll_steps;              // steps of a backward pass between two looks for a stop
  Panels back_panels;          // of the transposed W_aa
  Panels input_panels;         // of the transposed W_ax
  bool owns_gradients;         // each group adds to weight gradients of its own, chunk by chunk
  bool delta_chunks;           // the deltas' own memory holds one chunk at a time
  idx back_chunk;              // steps whose deltas give weight gradients at once

  explicit Sizes(const Problem<R>& p)
      : H(p.H),
        blocks(round_up<R>(p.H) / lanes<R>),
        units(round_up<R>(p.H)),
        longest(p.B > 0 ? p.length[0] : 0),
        segments(p.T == 0 ? 1 : (p.T + p.segment - 1) / p.segment),
        checkpoints(p.segment < p.T),
        state_step(row_step<R>(p.H)),
        saved_step(slots_step(Cell::saved)),
        delta_step(Cell::saved == 0 || p.keep_saved ? slots_step(Cell::deltas) : saved_step),
        deltas_apart(Cell::saved == 0 || p.keep_saved),
        input_step(row_step<R>(Cell::deltas * units)),
        groups(p.groups),
        group_rows(groups == 0 ? 0 : (p.B + groups - 1) / groups),
        sums_size(larger(group_rows * max_vectors * lanes<R>, sums_bytes / idx(sizeof(R)))),
        chunk(p.handover > 0 ? smaller(p.handover, input_chunk(p)) : input_chunk(p)),
        sliced(groups == 1 && may_slice()),
        step_time(static_cast<double>(weight_bytes(p.H)) *
                  (group_rows < few_rows ? 1 / few_rows_speed
                                         : static_cast<double>(group_rows) / row_speed)),
        poll_steps(larger(1, static_cast<idx>(poll_time / (step_time + 1)))),
        back_panels(blocks, max_vectors, panel_multiple()),
        input_panels(round_up<R>(p.I) / lanes<R>, max_vectors, 1),
        owns_gradients(!sliced && (groups == 1 || weight_bytes(p.I + p.H) <= own_gradient_bytes)),
        delta_chunks(owns_gradients && deltas_apart),
        back_chunk(owns_gradients ? input_chunk(p) : steps_of(p, most_chunk_rows)) {}

  // For the only group of rows of `chains` that may run at the same time.
  Teams teams(idx threads, idx chains) const {
    if (!sliced) return {chains, 1};
    return divide_threads(threads, chains, most_threads(), weight_bytes(H) > far_bytes);
  }

  // Whole vectors may be read of every slot.
  idx slots_step(idx slots) const { return slots == 0 ? 0 : row_step<R>((slots - 1) * H + units); }
  idx weight_bytes(idx columns) const {
    return Cell::gates * H * columns * static_cast<idx>(sizeof(R));
  }
  // Steps whose input product has the size that suits the cache.
  idx input_chunk(const Problem<R>& p) const {
    const idx rows = input_bytes / (input_step * static_cast<idx>(sizeof(R)));
    return steps_of(p, larger(rows, least_chunk_rows));
  }
  // Whether the weights are worth sharing between threads.
  bool may_slice() const {
    return smaller(blocks / least_thread_blocks, weight_bytes(H) / slice_bytes) > 1;
  }
  // Where threads may share the units they are so divided that two get as much. The number of rows
  // plays no part: the weights may have been packed for another one.
  idx panel_multiple() const { return may_slice() ? 2 : 1; }
  // Of the weights of a stage.
  template <class St>
  Panels panels() const {
    return Panels(blocks, St::blocks_per_panel, panel_multiple());
  }
  // Threads that it is worth sharing a group between.
  int most_threads() const {
    idx most = smaller(back_panels.count, weight_bytes(H) / slice_bytes);
    for_each_stage<Cell>([&](auto s) { most = smaller(most, panels<Stage<Cell, s>>().count); });
    return static_cast<int>(most);
  }
  // Steps that make about `rows` rows of the group, one at least.
  idx steps_of(const Problem<R>& p, idx rows) const {
    if (group_rows == 0) return 1;
    return larger(1, smaller(smaller(rows, most_chunk_rows) / group_rows, p.T));
  }
};

}  // namespace
}  // namespace rnnfast
