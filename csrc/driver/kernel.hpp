// One cell's kernels in one precision: sizes of memory, packing, forward, backward. A task is a
// whole group of rows, and what is not: a slice of the units of a group that threads share, panels
// to pack, rows of weight gradients and pieces of dx (gradients.hpp).
#pragma once
#include "backward.hpp"
#include "forward.hpp"
#include "gradients.hpp"
#include "packing.hpp"

namespace rnnfast {
namespace {

// Runs f(gang, rank) on every thread of a gang.
template <class F>
void as_gang(const Control& control, int most, double between, F&& f) {
  if (control.gang == nullptr) {
    Gang alone(control);
    return f(alone, 0);
  }
  struct Call {
    F& f;
    const Control& control;
    Meeting meeting;
  } call = {f, control, {}};
  auto task = [](void* context, int rank, int size) {
    Call& c = *static_cast<Call*>(context);
    Gang gang(c.control, rank, size, &c.meeting);
    c.f(gang, rank);
  };
  control.gang(control.team, most, between, task, &call);
}

template <class Cell, class R>
struct Kernel {
  using P = Problem<R>;
  using S = Sizes<Cell, R>;

  // run(gang, group, slot) for every group, or for all threads on the one group that they share.
  template <class F>
  static void for_groups(const Control& control, const S& sizes, F&& run) {
    if (sizes.sliced)
      return as_gang(control, sizes.most_threads(), sizes.step_time,
                     [&](Gang& gang, int rank) { run(gang, 0, rank); });
    if (sizes.groups == 1) {  // by the caller, who then shares out parts of it
      Gang alone(control);
      return run(alone, 0, 0);
    }
    parallel(control, sizes.groups, [&](idx i, int slot) {
      Gang alone(control);
      run(alone, i, slot);
    });
  }

  // ---- packing

  static std::size_t packed_size(const P& p) {
    Arena arena(nullptr);
    Packed<Cell, R>(arena, S(p), p);
    return arena.used();
  }

  static void pack(const P& p, const Control& control, void* memory) {
    const S sizes(p);
    Arena arena(memory);
    pack_weights(p, sizes, control, Packed<Cell, R>(arena, sizes, p));
  }

  // ---- forward

  static std::size_t tape_size(const P& p) {
    Arena arena(nullptr);
    Tapes<Cell, R>(arena, S(p), p);
    return arena.used();
  }

  static std::size_t forward_work(const P& p, int threads) {
    return threads * ForwardScratch<Cell, R>::size(S(p));
  }

  // `tape` may be null: nothing is kept then.
  static void forward(const P& p, const Control& control, void* packed_memory, void* tape,
                      void* work) {
    const S sizes(p);
    Arena packed_arena(packed_memory), tape_arena(tape);
    const Packed<Cell, R> packed(packed_arena, sizes, p);
    const std::size_t scratch = ForwardScratch<Cell, R>::size(sizes);
    const Tape<Cell, R>* tapes =
        tape == nullptr ? nullptr : Tapes<Cell, R>(tape_arena, sizes, p).group;
    for_groups(control, sizes, [&](Gang& gang, idx i, int slot) {
      ForwardPass<Cell, R> pass(p, sizes, gang, packed, i,
                                static_cast<char*>(work) + slot * scratch);
      if (sizes.sliced) pass.share_states(work);
      if (tapes == nullptr) return pass.discard(nullptr);
      if (sizes.checkpoints) return pass.discard(tapes[i].state);
      pass.begin(tapes[i].state);
      pass.keep(tapes[i], 0, p.T, true);
    });
  }

  // ---- backward

  static std::size_t backward_work(const P& p, int threads) {
    Arena arena(nullptr);
    Work<Cell, R>(arena, S(p), p, threads);
    return arena.used();
  }

  // `packed_memory` holds the forward pass's weights; `tape` what forward left.
  static void backward(const P& p, const Control& control, void* packed_memory, void* tape,
                       void* work_memory) {
    const S sizes(p);
    Arena packed_arena(packed_memory), tape_arena(tape), work_arena(work_memory);
    const Packed<Cell, R> packed(packed_arena, sizes, p);
    const Tapes<Cell, R> tapes(tape_arena, sizes, p);
    const Work<Cell, R> work(work_arena, sizes, p, control.threads);
    pack_back(p, sizes, control, work.back);
    zero_dx(p, control);
    // the first chunk of steps writes dW_ax and dW_aa, the others add to them
    if (sizes.groups != 1)
      WeightGradients<Cell, R>(p).zero(p, sizes.owns_gradients || sizes.longest == 0);
    for (idx i = 0; i < sizes.groups; ++i) work.gradients[i].zero(p, Group<R>(p, i).steps == 0);
    for (idx s = sizes.segments - 1; s >= 0 && !control.interrupted(control.team); --s)
      one_segment({p, control, sizes, packed, tapes, work, s});
    if (sizes.groups > 1)
      for (idx i = 0; i < sizes.groups; ++i) work.gradients[i].add_to_callers(p);
  }

  // dx past a sequence's end.
  static void zero_dx(const P& p, const Control& control) {
    for (idx b = 0; p.dx != nullptr && b < p.B && !control.interrupted(control.team); ++b)
      for (idx t = p.length[b]; t < p.T; ++t) clear_row(p.dx + t * p.dx_t + p.row[b] * p.dx_b, p.I);
  }

  static void one_segment(const Segment<Cell, R>& segment) {
    const S& sizes = segment.sizes;
    for_groups(segment.control, sizes, [&](Gang& gang, idx i, int slot) {
      if (sizes.checkpoints) recompute(segment, gang, i, slot);
      BackwardPass<Cell, R> pass(segment, gang, i, slot);
      if (sizes.sliced) pass.share_operand(segment.work.scratch_of(0));
      if (segment.number == sizes.segments - 1) pass.begin();
      const WeightGradients<Cell, R>& own = segment.work.gradients[i];
      for_chunks_from_end(sizes, pass.steps().first, pass.steps().last, [&](idx from, idx to) {
        if (!pass.through_time(from, to)) return false;
        if (gang.leads()) pass.add_params(own.dparam);
        if (!sizes.sliced) after_chunk(segment, pass.steps(), from, to, own, slot);
        return true;
      });
      gang.wait();
      if (segment.number == 0 && gang.leads()) pass.finish();
    });
    if (!sizes.owns_gradients) share_weight_gradients(segment);
    if (sizes.sliced) share_input_gradient(segment);
  }

  // What the deltas of a chunk give, unless threads share the units.
  static void after_chunk(const Segment<Cell, R>& segment, const GroupSteps<Cell, R>& steps,
                          idx from, idx to, const WeightGradients<Cell, R>& own, int slot) {
    const bool fresh = to == steps.g.steps;
    if (segment.sizes.groups == 1) return share_chunk(segment, steps, from, to, fresh);
    Gradients<Cell, R> gradients(segment, steps, slot);
    if (segment.sizes.owns_gradients) gradients.weight_gradients(from, to, own, 0, 1, fresh);
    gradients.input_gradient(from, to);
  }

  // Runs the forward pass of a segment again, from the states that were kept before it.
  static void recompute(const Segment<Cell, R>& segment, Gang& gang, idx i, int slot) {
    const Problem<R>& p = segment.p;
    const Group<R> g(p, i);
    const idx first = segment.first(), size = g.rows * segment.sizes.state_step;
    if (first >= g.steps) return;
    const Tape<Cell, R>&kept = segment.tapes.group[i], &tape = segment.work.segment[i];
    for (int j = 0; j < Cell::states && gang.leads(); ++j)
      copy_row(kept.state[j] + segment.number * size, tape.state[j], size);
    gang.wait();
    ForwardPass<Cell, R> pass(p, segment.sizes, gang, segment.packed, i,
                              segment.work.scratch_of(slot));
    pass.keep(tape, first, first + p.segment, false);
  }
};

}  // namespace
}  // namespace rnnfast
