// y = g2(W x + b) over the rows of a matrix, and its gradients, on all threads: in blocks of rows
// and panels of columns, whose sizes follow from the problem alone.
#pragma once
#include "../driver/packing.hpp"
#include "../gemm/dots.hpp"
#include "../gemm/weight_product.hpp"
#include "activation.hpp"

namespace rnnfast {
namespace {

// Rows whose operands stay in the first two levels of cache, and enough of them to make use of
// each weight that is read.
constexpr idx dense_rows = 64;
// Packing the weights costs about as much as using them for this many rows.
constexpr idx dense_direct_rows = 4;
// Weights that a task goes through: they stay in the second-level cache for the next block of rows.
constexpr idx dense_task_bytes = 256 * 1024;
// Fewer blocks of rows are shared panel by panel.
constexpr idx many_row_blocks = 16;
// Rows of dW in a task: it packs x again, which costs little beside so many.
constexpr idx dense_strip_rows = 4 * left_block;

constexpr int only_gate[] = {0};

inline idx divide_up(idx a, idx b) { return (a + b - 1) / b; }

// f(first block, blocks) for every panel of the widest kind, on all threads where they are large. A
// block is `length` vectors.
template <class F>
void share_wide_panels(const Control& control, idx blocks, idx length, F&& f) {
  const idx panels = divide_up(blocks, max_vectors);
  share_panels(control, panels, blocks * length * vector_bytes, [&](idx first, idx last) {
    const idx end = smaller(last * max_vectors, blocks);
    for_each_panel(first * max_vectors, end, max_vectors, [&](idx block, int n) {
      if (!control.interrupted(control.team)) f(block, n);
    });
  });
}

// How the work is divided, and where the weights lie.
template <class R>
struct DenseForward {
  idx blocks, row_blocks;
  bool direct;  // the weights are read where they lie
  idx task_blocks, tasks;
  R* W;     // panels of the weights, unless direct
  R* bias;  // (blocks * lanes)

  DenseForward(Arena& arena, const DenseProblem<R>& p)
      : blocks(round_up<R>(p.O) / lanes<R>),
        row_blocks(divide_up(p.N, dense_rows)),
        direct(p.N <= dense_direct_rows),
        task_blocks(max_vectors),
        W(direct ? nullptr : arena.take<R>(blocks * lanes<R> * p.I)),
        bias(arena.take<R>(blocks * lanes<R>)) {
    const idx panel_bytes = max_vectors * vector_bytes * larger(1, p.I);
    if (row_blocks >= many_row_blocks) task_blocks *= larger(1, dense_task_bytes / panel_bytes);
    tasks = row_blocks * divide_up(blocks, task_blocks);
  }

  R* panel(const DenseProblem<R>& p, idx block) const { return W + block * lanes<R> * p.I; }
  void pack(const DenseProblem<R>& p, idx block, int n) const {
    pack_gates(p.W, p.O, p.I, only_gate, 1, block, n, panel(p, block));
  }
};

template <class R>
std::size_t dense_forward_work(const DenseProblem<R>& p, int) {
  Arena arena(nullptr);
  DenseForward<R>(arena, p);
  return arena.used();
}

// Of some neighbouring rows the outputs of one panel: product, bias and, unless it needs the whole
// row, activation.
template <class R>
void dense_panel(const DenseProblem<R>& p, const DenseForward<R>& m, idx first, idx rows, idx block,
                 int vectors) {
  constexpr idx widest = max_vectors * lanes<R>;
  alignas(64) R tile[dense_rows * widest];
  idx offset[dense_rows];
  for (idx r = 0; r < rows; ++r) offset[r] = r * p.I;
  const R* const x = p.x + first * p.I;
  const idx o = block * lanes<R>, width = vectors * lanes<R>;
  if (m.direct)
    dots(
        Dots<R>{x, offset, p.W, p.I, p.O, only_gate, 1, block, vectors, m.bias + o, 0, tile, width},
        rows);
  else
    product(Tile<R>{x, offset, 1, m.panel(p, block), width, p.I, m.bias + o, 0, tile, width}, rows,
            vectors);
  const Activation g2 = p.g2 == Activation::softmax ? Activation::identity : p.g2;
  for (idx r = 0; r < rows; ++r)
    activate(g2, tile + r * width, p.y + (first + r) * p.O + o, smaller(p.O - o, width));
}

template <class R>
void dense_forward(const DenseProblem<R>& p, const Control& control, void* memory) {
  Arena arena(memory);
  const DenseForward<R> m(arena, p);
  copy_row(p.b, m.bias, p.O);
  clear_row(m.bias + p.O, m.blocks * lanes<R> - p.O);
  const bool pack_first = m.row_blocks > 1;  // else where the panel is used
  if (pack_first)
    share_wide_panels(control, m.blocks, p.I, [&](idx block, int n) { m.pack(p, block, n); });
  parallel(control, m.tasks, [&](idx task, int) {
    const idx first = task % m.row_blocks * dense_rows, rows = smaller(p.N - first, dense_rows);
    const idx from = task / m.row_blocks * m.task_blocks;
    for_each_panel(from, smaller(from + m.task_blocks, m.blocks), max_vectors,
                   [&](idx block, int vectors) {
                     if (control.interrupted(control.team)) return;
                     if (!pack_first && !m.direct) m.pack(p, block, vectors);
                     dense_panel(p, m, first, rows, block, vectors);
                   });
  });
  if (p.g2 != Activation::softmax) return;
  parallel(control, m.row_blocks, [&](idx block, int) {
    if (control.interrupted(control.team)) return;
    const idx end = smaller(p.N, (block + 1) * dense_rows);
    for (idx n = block * dense_rows; n < end; ++n)
      activate(p.g2, p.y + n * p.O, p.y + n * p.O, p.O);
  });
}

// The same for the gradients. dW is divided into strips of rows, each for all rows of x, so that no
// sum is divided; dx into panels of blocks of rows.
template <class R>
struct DenseBackward {
  idx row_blocks;
  idx blocks, panels;       // of columns of x
  bool in_place;            // dx reads the weights where they lie
  idx parts, tasks;         // of dW, and with those of dx
  R* W;                     // panels of the transposed weights, unless in_place
  R* dz;                    // (N, O), unless dy is the same
  const R **left, **right;  // (N): the rows of dz and x
  std::size_t scratch_size;
  char* scratch;  // (threads, scratch_size)

  DenseBackward(Arena& arena, const DenseProblem<R>& p, int threads)
      : row_blocks(divide_up(p.N, dense_rows)),
        blocks(round_up<R>(p.I) / lanes<R>),
        panels(divide_up(blocks, max_vectors)),
        in_place(p.N <= dense_direct_rows && p.I % lanes<R> == 0),
        parts(
            smaller(divide_up(p.O, strip_rows), larger(threads, divide_up(p.O, dense_strip_rows)))),
        tasks(parts + (p.dx == nullptr ? 0 : row_blocks * panels)),
        W(in_place || p.dx == nullptr ? nullptr : arena.take<R>(blocks * lanes<R> * p.O)),
        dz(p.g2 == Activation::identity ? nullptr : arena.take<R>(p.N * p.O)),
        left(arena.take<const R*>(p.N)),
        right(arena.take<const R*>(p.N)) {
    Arena one(nullptr);
    WeightProductScratch<R>(one, p.I);
    scratch_size = one.used();
    scratch = arena.take<char>(smaller(threads, tasks) * static_cast<idx>(scratch_size));
  }

  R* panel(const DenseProblem<R>& p, idx block) const { return W + block * lanes<R> * p.O; }
  void pack(const DenseProblem<R>& p, idx block, int n) const {
    pack_transposed(p.W, p.O, p.I, only_gate, 1, block, n, panel(p, block));
  }
};

template <class R>
std::size_t dense_backward_work(const DenseProblem<R>& p, int threads) {
  Arena arena(nullptr);
  DenseBackward<R>(arena, p, threads);
  return arena.used();
}

// The sums of columns [first, last) of some rows, in three levels of short sums.
template <class R>
void column_sums(const R* const* row, idx rows, idx first, idx last, R* out) {
  constexpr idx inner = 16, outer = 256;
  for (idx o = first; o < last; o += lanes<R>) {
    const idx valid = smaller(last - o, lanes<R>);
    Vec<R> total = {};
    for (idx i = 0; i < rows; i += outer) {
      Vec<R> middle = {};
      for (idx j = i; j < smaller(i + outer, rows); j += inner) {
        Vec<R> sum = {};
        for (idx n = j; n < smaller(j + inner, rows); ++n)
          sum += valid == lanes<R> ? load(row[n] + o) : load_first(row[n] + o, valid);
        middle += sum;
      }
      total += middle;
    }
    store_first(out + o, total, valid);
  }
}

// Rows [first, last) of dW and db.
template <class R>
void dense_weight_gradients(const DenseProblem<R>& p, const DenseBackward<R>& m,
                            const Control& control, idx first, idx last, int slot) {
  if (p.db != nullptr) column_sums(m.left, p.N, first, last, p.db);
  if (p.N == 0) return clear_row(p.dW + first * p.I, (last - first) * p.I);
  Arena arena(m.scratch + static_cast<std::size_t>(slot) * m.scratch_size);
  const WeightProductScratch<R> scratch(arena, p.I);
  add_product(WeightProduct<R>{m.left, m.right, p.N, p.I, p.O, only_gate, first, last, p.dW, true},
              scratch, [&] { return control.interrupted(control.team); });
}

// Of some neighbouring rows one panel of dx.
template <class R>
void dense_input_gradient(const DenseProblem<R>& p, const DenseBackward<R>& m, idx first, idx rows,
                          idx block, int vectors) {
  alignas(64) R tile[dense_rows * max_vectors * lanes<R>];
  idx offset[dense_rows];
  for (idx r = 0; r < rows; ++r) offset[r] = r * p.O;
  const idx i = block * lanes<R>, width = vectors * lanes<R>;
  const R* const panel = m.in_place ? p.W + i : m.panel(p, block);
  product(Tile<R>{m.left[first], offset, 1, panel, m.in_place ? p.I : width, p.O, nullptr, 0, tile,
                  width},
          rows, vectors);
  const auto bytes = static_cast<std::size_t>(smaller(p.I - i, width)) * sizeof(R);
  for (idx r = 0; r < rows; ++r) std::memcpy(p.dx + (first + r) * p.I + i, tile + r * width, bytes);
}

template <class R>
void dense_backward(const DenseProblem<R>& p, const Control& control, void* memory) {
  Arena arena(memory);
  const DenseBackward<R> m(arena, p, control.threads);
  const R* const dz = m.dz == nullptr ? p.dy : m.dz;
  for (idx n = 0; n < p.N; ++n) m.left[n] = dz + n * p.O, m.right[n] = p.x + n * p.I;
  if (m.dz != nullptr)
    parallel(control, m.row_blocks, [&](idx block, int) {
      if (control.interrupted(control.team)) return;
      const idx end = smaller(p.N, (block + 1) * dense_rows);
      for (idx at = block * dense_rows * p.O; at < end * p.O; at += p.O)
        activate_back(p.g2, p.y + at, p.dy + at, m.dz + at, p.O);
    });
  const bool pack_first = m.row_blocks > 1;  // else where the panel is used
  if (pack_first && p.dx != nullptr)
    share_wide_panels(control, m.blocks, p.O, [&](idx block, int n) { m.pack(p, block, n); });
  const idx strips = divide_up(p.O, strip_rows);
  parallel(control, m.tasks, [&](idx task, int slot) {
    if (control.interrupted(control.team)) return;
    if (task < m.parts)
      return dense_weight_gradients(p, m, control, strips * task / m.parts * strip_rows,
                                    smaller(strips * (task + 1) / m.parts * strip_rows, p.O), slot);
    const idx at = task - m.parts, first = at / m.panels * dense_rows;
    const idx block = at % m.panels * max_vectors;
    const int vectors = static_cast<int>(smaller(m.blocks - block, max_vectors));
    if (!pack_first && !m.in_place) m.pack(p, block, vectors);
    dense_input_gradient(p, m, first, smaller(p.N - first, dense_rows), block, vectors);
  });
}

}  // namespace
}  // namespace rnnfast
