// What the tasks of a backward pass read while it goes through one segment of the steps.
#pragma once
#include "control.hpp"
#include "layout.hpp"

namespace rnnfast {
namespace {

template <class Cell, class R>
struct Segment {
  const Problem<R>& p;
  const Control& control;
  const Sizes<Cell, R>& sizes;
  const Packed<Cell, R>& packed;
  const Tape<Cell, R>* tapes;  // (groups)
  const Work<Cell, R>& work;
  idx number;

  idx first() const { return number * p.segment; }
  idx last() const { return smaller(first() + p.segment, sizes.longest); }
};

// A group's steps of it: what forward left of them, and where their deltas go.
template <class Cell, class R>
struct GroupSteps {
  Group<R> g;
  Tape<Cell, R> tape;
  R* delta;         // over the tape's saved vectors, or memory of its own
  idx first, last;  // the steps
  idx delta_first;  // the one that `delta` begins with

  GroupSteps(const Segment<Cell, R>& segment, idx group)
      : g(segment.p, group),
        tape(segment.sizes.checkpoints ? segment.work.segment[group] : segment.tapes[group]),
        delta(segment.sizes.deltas_apart ? segment.work.delta[group] : tape.saved),
        first(segment.first()),
        last(smaller(first + segment.p.segment, g.steps)),
        delta_first(first) {}

  // Says where the current chunk of steps begins.
  void enter_chunk(const Sizes<Cell, R>& sizes, idx from) {
    if (sizes.delta_chunks) delta_first = from;
  }
  R* delta_row(const Sizes<Cell, R>& sizes, idx s) const {
    return delta + (s - delta_first) * g.rows * sizes.delta_step;
  }
};

// Calls f(from, to) for the chunks of steps [first, last), the last one first, until it returns
// false. Whether it never did.
template <class F>
bool for_chunks_from_end(idx chunk, idx first, idx last, F&& f) {
  if (last <= first) return true;
  for (idx from = first + (last - first - 1) / chunk * chunk; from >= first; from -= chunk)
    if (!f(from, smaller(from + chunk, last))) return false;
  return true;
}

// The columns of W (G*H, N) for some of its gates, packed or where they lie.
template <class R>
struct TransposedWeights {
  const int* gate;
  int gates;
  const R* W;
  idx N, H;
  bool in_place;
  const R* packed;  // unless in_place
};

// t.out = t.init + deltas at t.left times `vectors` vectors of columns; fills in the rest of t.
template <class R>
void carry_back(const TransposedWeights<R>& w, Tile<R> t, idx column, int vectors, idx rows) {
  t.k_step = 1;
  t.init_step = t.out_step;
  if (!w.in_place) {
    t.K = w.gates * w.H;
    t.panel = w.packed + column * t.K;
    t.panel_step = vectors * lanes<R>;
    return product(t, rows, vectors);
  }
  t.panel_step = w.N;
  t.K = w.H;
  for (int j = 0; j < w.gates; ++j) {
    t.panel = w.W + w.gate[j] * w.H * w.N + column;
    product(t, rows, vectors);
    t.left += w.H;
    t.init = t.out;
  }
}

}  // namespace
}  // namespace rnnfast
