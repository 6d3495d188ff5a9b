// The weights rearranged for the products of both passes.
#pragma once
#include "../gemm/pack.hpp"
#include "../gemm/panels.hpp"
#include "layout.hpp"
#include "parallel.hpp"

namespace rnnfast {
namespace {

// f(first panel, last panel) for parts of all panels, on all threads where the panels are large,
// each taking neighbours: those that it may use later.
template <class F>
void share_panels(const Control& control, idx panels, idx bytes, F&& f) {
  const idx parts = larger(1, smaller(bytes / panel_bytes, control.threads));
  parallel(control, parts,
           [&](idx part, int) { f(panels * part / parts, panels * (part + 1) / parts); });
}

// f(first block, blocks) for every panel. A block is `length` vectors.
template <class F>
void for_panels(const Control& control, const Panels& panels, idx length, F&& f) {
  const idx bytes = panels.first_block(panels.count) * length * vector_bytes;
  share_panels(control, panels.count, bytes, [&](idx first, idx last) {
    for_each_panel(panels, first, last, false, [&](idx block, int blocks) {
      if (!control.interrupted(control.team)) f(block, blocks);
    });
  });
}

// b_a + b_aa for a gate whose sums are merged; of a split gate b_a and b_aa in their own slots.
template <class St, class Cell, class R>
void pack_bias(const Problem<R>& p, const Sizes<Cell, R>& sizes, R* out) {
  out += St::first_slot * sizes.units;
  clear_row(out, St::slots * sizes.units);
  auto add = [&](const R* bias, const Side& side) {
    for (idx b = 0; bias != nullptr && b < sizes.blocks; ++b)
      for (int j = 0; j < St::gates; ++j) {
        const idx units = block_units<R>(p.H, b);
        R* to = out + b * St::slots * lanes<R> + (side.first - St::first_slot + j) * units;
        const R* from = bias + side.gate[j] * p.H + b * lanes<R>;
        store_units(to, load_units(to, units) + load_units(from, units), units);
      }
  };
  add(p.b_a, St::x);
  add(p.b_aa, St::r);
}

// Biases and per-unit parameters.
template <class Cell, class R>
void pack_vectors(const Problem<R>& p, const Sizes<Cell, R>& sizes, const Packed<Cell, R>& packed) {
  for_each_stage<Cell>([&](auto s) { pack_bias<Stage<Cell, s>>(p, sizes, packed.bias_x); });
  for (idx i = 0; i < Cell::params; ++i) {
    R* const to = packed.param + i * sizes.units;
    copy_row(p.param == nullptr ? nullptr : p.param + i * p.H, to, p.H);
    clear_row(to + p.H, sizes.units - p.H);
  }
}

// One panel of both matrices of stage s.
template <int s, class Cell, class R>
void pack_panel_of(const Problem<R>& p, const Packed<Cell, R>& packed, idx first, int blocks) {
  using St = Stage<Cell, s>;
  auto pack_side = [&](const R* w, idx K, const Side& side, R* out) {
    pack_gates(w, p.H, K, side.gate, St::gates, first, blocks,
               out + first * St::gates * lanes<R> * K);
  };
  pack_side(p.W_ax, p.I, St::x, packed.W_ax[s]);
  pack_side(p.W_aa, p.H, St::r, packed.W_aa[s]);
}

template <class Cell, class R>
void pack_matrices(const Problem<R>& p, const Sizes<Cell, R>& sizes, const Control& control,
                   const Packed<Cell, R>& packed) {
  if (p.direct) return;
  for_each_stage<Cell>([&](auto s) {
    using St = Stage<Cell, s>;
    for_panels(control, sizes.template panels<St>(), St::gates * (p.I + p.H),
               [&](idx first, int blocks) { pack_panel_of<s>(p, packed, first, blocks); });
  });
}

// The same weights for the products that carry deltas back.
template <class Cell, class R>
void pack_back(const Problem<R>& p, const Sizes<Cell, R>& sizes, const Control& control,
               const PackedBack<Cell, R>& back) {
  auto pack_side = [&](const R* w, idx N, const Panels& panels, const int* gate, int gates,
                       R* out) {
    if (back.in_place(p, N)) return;
    const idx K = gates * sizes.H;
    for_panels(control, panels, K, [&](idx first, int n) {
      pack_transposed(w, p.H, N, gate, gates, first, n, out + first * lanes<R> * K);
    });
  };
  if (p.dx != nullptr)
    pack_side(p.W_ax, p.I, sizes.input_panels, all_x<Cell>.gate, Cell::gates, back.W_ax);
  for_each_stage<Cell>([&](auto s) {
    using St = Stage<Cell, s>;
    pack_side(p.W_aa, p.H, sizes.back_panels, St::r.gate, St::gates, back.W_aa[s]);
  });
}

}  // namespace
}  // namespace rnnfast
