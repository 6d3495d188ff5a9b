// One chain of a backward pass: a group's steps of a segment, and what their deltas give.
#pragma once
#include "backward.hpp"
#include "forward.hpp"
#include "gradients.hpp"

namespace rnnfast {
namespace {

template <class Cell, class R>
class BackwardChain {
 public:
  BackwardChain(const Segment<Cell, R>& segment, Gang& gang, Link& link, idx group, int slot,
                int leader)
      : segment_(segment), gang_(gang), link_(link), group_(group), slot_(slot), leader_(leader) {}

  // `alone`: of the only problem, whose gradients all threads may share.
  void run(bool alone) {
    const Problem<R>& p = segment_.p;
    const Sizes<Cell, R>& sizes = segment_.sizes;
    if (sizes.checkpoints) recompute();
    BackwardPass<Cell, R> pass(segment_, gang_, group_, slot_);
    if (sizes.sliced) pass.share_operand(segment_.work.scratch.of(leader_));
    if (segment_.number == sizes.segments - 1) pass.begin();
    const WeightGradients<Cell, R>& own = segment_.work.gradients[group_];
    const idx first = pass.steps().first, last = pass.steps().last, all = pass.steps().g.steps;
    for_chunks_from_end(sizes.back_chunk, first, last, [&](idx from, idx to) {
      pass.enter_chunk(from);
      const idx handover = p.handover > 0 ? p.handover : to - from;
      const bool whole = for_chunks_from_end(handover, from, to, [&](idx begin, idx end) {
        if (!link_.follow(all - begin) || !pass.through_time(begin, end)) return false;
        if (alone) return true;
        input_gradient(pass.steps(), begin, end);
        if (p.dx_sum == nullptr) link_.done(all - begin);
        return true;
      });
      if (!whole) return false;
      if (gang_.leads()) pass.add_params(own.dparam);
      if (!sizes.sliced) after_chunk(pass.steps(), from, to, own, alone);
      return true;
    });
    gang_.wait();
    if (segment_.number == 0 && gang_.leads()) pass.finish();
    if (alone || p.dx_sum == nullptr || !link_.follow_other_direction()) return;
    add_dx(p, pass.steps().g, first, last, gang_.rank(), gang_.size());
    gang_.wait();
    link_.done(all);
  }

 private:
  using Steps = GroupSteps<Cell, R>;

  // dx of some steps, for the layer before to go on with.
  void input_gradient(const Steps& steps, idx first, idx last) {
    if (segment_.p.dx == nullptr) return;
    if (!segment_.sizes.sliced)
      return Gradients<Cell, R>(segment_, steps, slot_).input_gradient(first, last);
    const InputGradientTasks<Cell, R> tasks(segment_, steps, first, last);
    for (idx task = gang_.rank(); task < tasks.count(); task += gang_.size())
      tasks.run(task, slot_);
    gang_.wait();
  }

  // The gradients of the weights, and dx unless it is there.
  void after_chunk(const Steps& steps, idx from, idx to, const WeightGradients<Cell, R>& own,
                   bool alone) {
    const bool fresh = to == steps.g.steps;
    if (alone && segment_.sizes.groups == 1) return share_chunk(segment_, steps, from, to, fresh);
    Gradients<Cell, R> gradients(segment_, steps, slot_);
    if (segment_.sizes.owns_gradients) gradients.weight_gradients(from, to, own, 0, 1, fresh);
    if (alone) gradients.input_gradient(from, to);
  }

  // Runs the forward pass of the segment again, from the states that were kept before it.
  void recompute() {
    const Problem<R>& p = segment_.p;
    const Group<R> g(p, group_);
    const idx first = segment_.first(), size = g.rows * segment_.sizes.state_step;
    if (first >= g.steps) return;
    const Tape<Cell, R>&kept = segment_.tapes[group_], &tape = segment_.work.segment[group_];
    for (int j = 0; j < Cell::states && gang_.leads(); ++j)
      copy_row(kept.state[j] + segment_.number * size, tape.state[j], size);
    gang_.wait();
    Link none(segment_.control, gang_);
    ForwardPass<Cell, R> pass(p, segment_.sizes, gang_, none, segment_.packed, group_,
                              segment_.work.scratch.of(slot_));
    pass.keep(tape, first, first + p.segment, false);
  }

  const Segment<Cell, R> segment_;
  Gang& gang_;
  Link& link_;
  const idx group_;
  const int slot_, leader_;
};

}  // namespace
}  // namespace rnnfast
