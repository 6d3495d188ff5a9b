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

// Blocks divided into panels of nearly equal width, the wider ones last: 5 into 2 and 3, not 4 and
// 1, since a tile of one vector is slow and threads that take as many panels should end together.
struct Panels {
  idx count, width, narrow;  // the first `narrow` are `width` wide, the others one more

  Panels() = default;
  // Panels of `widest` blocks at most, their number a multiple of `multiple` where there are as
  // many blocks.
  Panels(idx blocks, idx widest, idx multiple) {
    const idx most = widest * multiple;
    count = (blocks + most - 1) / most * multiple;
    if (count > blocks) count = blocks;
    width = count == 0 ? 0 : blocks / count;
    narrow = count - (blocks - count * width);
  }
  idx first_block(idx panel) const { return panel * width + (panel > narrow ? panel - narrow : 0); }
};

// f(first block, blocks) for each of the panels [first, last), from the last on if `back`.
template <class F>
[[gnu::always_inline]] inline void for_each_panel(const Panels& panels, idx first, idx last,
                                                  bool back, F&& f) {
  for (idx i = first; i < last; ++i) {
    const idx panel = back ? first + last - 1 - i : i, block = panels.first_block(panel);
    f(block, static_cast<int>(panels.width + (panel >= panels.narrow)));
  }
}

}  // namespace
}  // namespace rnnfast
