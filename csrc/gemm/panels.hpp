// A matrix goes through the tiles panel by panel: some neighbouring blocks of one vector each.
#pragma once
#include "../problem.hpp"

namespace rnnfast {
namespace {

// f(first block, blocks) for each panel of the blocks [first, last), from the last on if `back`.
template <class F>
[[gnu::always_inline]] inline void for_each_panel(idx first, idx last, idx blocks_per_panel,
                                                  bool back, F&& f) {
  idx block = first, step = blocks_per_panel;
  if (back && last - first > step) {
    block += (last - first - 1) / step * step;
    step = -step;
  }
  for (; first <= block && block < last; block += step) {
    const idx left = last - block;
    f(block, static_cast<int>(left < blocks_per_panel ? left : blocks_per_panel));
  }
}
template <class F>
[[gnu::always_inline]] inline void for_each_panel(idx first, idx last, idx blocks_per_panel,
                                                  F&& f) {
  for_each_panel(first, last, blocks_per_panel, false, f);
}

}  // namespace
}  // namespace rnnfast
