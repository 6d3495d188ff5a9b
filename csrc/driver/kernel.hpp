// One cell's kernels in one precision: sizes of memory, packing, forward, backward, for a stack of
// layers. A task is a chain, and what is not: panels to pack, rows of weight gradients and pieces
// of dx (gradients.hpp).
#pragma once
#include "backward_chain.hpp"
#include "packing.hpp"
#include "stack.hpp"

namespace rnnfast {
namespace {

template <class Cell, class R>
struct Kernel {
  using P = Problem<R>;
  using S = Sizes<Cell, R>;

  // ---- packing

  static std::size_t packed_size(const P& p) {
    Arena arena(nullptr);
    Packed<Cell, R>(arena, S(p), p);
    return arena.used();
  }

  static void pack(const Stack<R>& stack, const Control& control) {
    for_problems(stack, control, [&](idx k) {
      const P& p = stack.problem[k];
      const S sizes(p);
      Arena arena(p.packed);
      const Packed<Cell, R> packed(arena, sizes, p);
      pack_vectors(p, sizes, packed);
      pack_matrices(p, sizes, control, packed);
    });
  }

  // f(number) for every problem: a thread each, or one after the other on all threads.
  template <class F>
  static void for_problems(const Stack<R>& stack, const Control& control, F&& f) {
    if (stack.count() >= control.threads)
      return parallel(control, stack.count(), [&](idx k, int) { f(k); });
    for (idx k = 0; k < stack.count(); ++k) f(k);
  }

  // ---- forward

  static std::size_t tape_size(const P& p) {
    Arena arena(nullptr);
    Tapes<Cell, R>(arena, S(p), p);
    return arena.used();
  }

  static std::size_t forward_work(const Stack<R>& stack, int threads) {
    Arena arena(nullptr);
    ForwardMemory<Cell, R>(arena, stack, threads);
    return arena.used();
  }

  // Keeps nothing for a backward pass where the problems have no tape.
  static void forward(const Stack<R>& stack, const Control& control, void* work) {
    Arena arena(work);
    const ForwardMemory<Cell, R> memory(arena, stack, control.threads);
    const Passage<Cell, R>& passage = memory.passage;
    const S& common = passage.member[0].sizes;
    const Chains chains(stack, common.groups, false);
    for (idx i = 0; i < chains.count(); ++i) passage.progress[i].steps = 0;
    const bool unpacked = stack.problem[0].unpacked;
    if (unpacked) pack_before(stack, passage, control);
    run_chains(control, chains, common.teams(control.threads, chains.side_by_side()),
               common.step_time, passage.meetings, [&](idx i, Gang& gang, int slot, int leader) {
                 const Chain chain = chains[i];
                 const auto& m = passage.member[chain.layer * stack.directions + chain.direction];
                 Link link(control, gang, chains, i, Group<R>(m.p, chain.group).steps,
                           passage.progress);
                 ForwardPass<Cell, R> pass(m.p, m.sizes, gang, link, m.packed, chain.group,
                                           memory.scratch.of(slot));
                 if (m.sizes.sliced) pass.share_states(memory.scratch.of(leader));
                 if (m.sizes.sliced && unpacked) pass.pack_own_units(control);
                 if (chain.layer + 1 == stack.layers) pass.zero_past_the_end();
                 if (m.tapes == nullptr) return pass.discard(nullptr);
                 if (m.sizes.checkpoints) return pass.discard(m.tapes[chain.group].state);
                 pass.begin(m.tapes[chain.group].state);
                 pass.keep(m.tapes[chain.group], 0, m.p.T, true);
               });
  }

  // Packs the weights before the chains run; but where these own the units, they pack them too, and
  // each thread has what it reads in its own cache.
  static void pack_before(const Stack<R>& stack, const Passage<Cell, R>& passage,
                          const Control& control) {
    for_problems(stack, control, [&](idx k) {
      const Member<Cell, R>& m = passage.member[k];
      pack_vectors(m.p, m.sizes, m.packed);
      if (!m.sizes.sliced) pack_matrices(m.p, m.sizes, control, m.packed);
    });
  }

  // ---- backward

  static std::size_t backward_work(const Stack<R>& stack, int threads) {
    Arena arena(nullptr);
    BackwardMemory<Cell, R>(arena, stack, threads);
    return arena.used();
  }

  // The problems have the packed weights and the tape of the forward pass.
  static void backward(const Stack<R>& stack, const Control& control, void* work) {
    Arena arena(work);
    const BackwardMemory<Cell, R> memory(arena, stack, control.threads);
    const S& common = memory.passage.member[0].sizes;
    for_problems(stack, control, [&](idx k) {
      pack_back(stack.problem[k], memory.passage.member[k].sizes, control, memory.work[k].back);
    });
    for (idx k = 0; k < stack.count(); ++k) clear_gradients(memory, k, control);
    if (!common.checkpoints)
      through(stack, 0, memory, control);
    else  // of one problem at a time there is memory for the tape of a segment
      for (idx k = stack.count() - 1; k >= 0; --k) {
        const idx direction = k % stack.directions;  // the one that others add to is first
        const idx number = k - direction + (stack.directions - 1 - direction);
        through({1, 1, stack.problem + number}, number, memory, control);
      }
    for (idx k = 0; k < stack.count(); ++k)
      for (idx i = 0; common.groups > 1 && i < common.groups; ++i)
        memory.work[k].gradients[i].add_to_callers(stack.problem[k]);
  }

  // The caller's dx past a sequence's end, and what is added to.
  static void clear_gradients(const BackwardMemory<Cell, R>& memory, idx k,
                              const Control& control) {
    const P& p = memory.passage.member[k].p;
    const S& sizes = memory.passage.member[k].sizes;
    const bool callers = k == 0 && p.dx != nullptr;  // what other layers take is not read there
    for (idx b = 0; callers && b < p.B && !control.interrupted(control.team); ++b)
      for (idx t = p.length[b]; t < p.T; ++t) clear_row(p.dx + t * p.dx_t + p.row[b] * p.dx_b, p.I);
    // the first chunk of steps writes dW_ax and dW_aa, the others add to them
    if (sizes.groups != 1)
      WeightGradients<Cell, R>(p).zero(p, sizes.owns_gradients || sizes.longest == 0);
    for (idx i = 0; i < sizes.groups; ++i)
      memory.work[k].gradients[i].zero(p, Group<R>(p, i).steps == 0);
  }

  // All steps of some problems of the call's, the first of which has number `first` in it.
  static void through(const Stack<R>& stack, idx first, const BackwardMemory<Cell, R>& memory,
                      const Control& control) {
    const Passage<Cell, R>& passage = memory.passage;
    const Member<Cell, R>* const member = passage.member + first;
    const S& common = member[0].sizes;
    const Chains chains(stack, common.groups, true);
    auto segment_of = [&](idx k, idx s) {
      const Member<Cell, R>& m = member[k];
      return Segment<Cell, R>{m.p, control, m.sizes, m.packed, m.tapes, memory.work[first + k], s};
    };
    for (idx s = common.segments - 1; s >= 0 && !control.interrupted(control.team); --s) {
      for (idx i = 0; i < chains.count(); ++i) passage.progress[i].steps = 0;
      run_chains(control, chains, common.teams(control.threads, chains.side_by_side()),
                 common.step_time, passage.meetings, [&](idx i, Gang& gang, int slot, int leader) {
                   const Chain c = chains[i];
                   const idx k = c.layer * stack.directions + c.direction;
                   Link link(control, gang, chains, i, Group<R>(member[k].p, c.group).steps,
                             passage.progress);
                   BackwardChain<Cell, R>(segment_of(k, s), gang, link, c.group, slot, leader)
                       .run(stack.count() == 1);
                 });
      for (idx k = 0; k < stack.count(); ++k) finish_segment(segment_of(k, s), stack.count() == 1);
    }
  }

  // What is left to all threads when the chains have run.
  static void finish_segment(const Segment<Cell, R>& segment, bool alone) {
    const P& p = segment.p;
    if (!segment.sizes.owns_gradients) share_weight_gradients(segment);
    if (!alone) return;
    if (segment.sizes.sliced) share_input_gradient(segment);
    if (p.dx == nullptr || p.dx_sum == nullptr) return;
    parallel(segment.control, segment.sizes.groups, [&](idx i, int) {
      const GroupSteps<Cell, R> steps(segment, i);
      add_dx(p, steps.g, steps.first, steps.last, 0, 1);
    });
  }
};

}  // namespace
}  // namespace rnnfast
