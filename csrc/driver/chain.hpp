// A stack of layers as chains. A chain takes one group of rows through one layer in one direction,
// from the first step to the last or in BPTT from the last to the first. It follows the chains of
// the layer that it reads from, a few steps behind and on other threads: a wavefront. Each follows
// only chains that begin before it: none waits for one that nobody runs, and one thread that takes
// them in their order never waits at all.
#pragma once
#include "gang.hpp"
#include "parallel.hpp"

namespace rnnfast {
namespace {

// How far a chain has come: the steps it has done, counted from where it began. Alone in its cache
// lines, as it is written by one thread while others look at it.
struct alignas(64) Progress {
  idx steps;
  char apart[128 - sizeof(idx)];
};

struct Chain {
  idx layer, direction, group;
};

// The chains of a stack in the order in which they begin; in BPTT, `back`, from the last layer.
class Chains {
 public:
  template <class R>
  Chains(const Stack<R>& stack, idx groups, bool back)
      : layers_(stack.layers), directions_(stack.directions), groups_(groups), back_(back) {
    const Problem<R>& p = stack.problem[0];
    const idx parts = p.handover > 0 ? (p.T + p.handover - 1) / p.handover : 1;
    // a wavefront through so many layers and parts takes layers + parts - 1 turns
    const idx turns = layers_ + parts - 1, all = layers_ * parts;
    abreast_ = parts > 0 ? (all + turns / 2) / turns : 1;
  }

  idx count() const { return layers_ * per_layer(); }
  idx per_layer() const { return directions_ * groups_; }
  idx directions() const { return directions_; }
  idx groups() const { return groups_; }

  Chain operator[](idx i) const {
    const idx layer = i / per_layer();
    return {back_ ? layers_ - 1 - layer : layer, i / groups_ % directions_, i % groups_};
  }

  // About how many run at the same time.
  idx side_by_side() const { return abreast_ * per_layer(); }

 private:
  idx layers_, directions_, groups_;
  bool back_;
  idx abreast_;  // layers
};

// A chain's connection with others, for the threads that run it.
class Link {
 public:
  // Of a pass that follows no other.
  Link(const Control& control, Gang& gang) : control_(control), gang_(gang) {}
  // Of chain i. `steps` are those of its group.
  Link(const Control& control, Gang& gang, const Chains& chains, idx i, idx steps,
       Progress* progress)
      : control_(control), gang_(gang), own_(progress + i) {
    if (chains.directions() > 1) {
      whole_ = steps;
      if (chains[i].direction > 0) other_direction_ = progress + i - chains.groups();
    }
    if (i < chains.per_layer()) return;
    const idx before = (i / chains.per_layer() - 1) * chains.per_layer() + chains[i].group;
    for (; followed_ < chains.directions(); ++followed_)
      layer_before_[followed_] = progress + before + followed_ * chains.groups();
  }

  // Waits until the layer before has done `steps` steps, or all where it runs in both directions.
  // False: the call was stopped.
  bool follow(idx steps) {
    if (whole_ > 0) steps = whole_;
    for (idx i = 0; i < followed_; ++i) wait_for(*layer_before_[i], steps);
    return !gang_.stopped();
  }
  // Waits until the other direction of the same layer has done all of its steps.
  bool follow_other_direction() {
    if (other_direction_ != nullptr) wait_for(*other_direction_, whole_);
    return !gang_.stopped();
  }

  // Every thread of the gang has done this chain's first `steps` steps.
  void done(idx steps) {
    if (own_ != nullptr && gang_.leads()) __atomic_store_n(&own_->steps, steps, __ATOMIC_RELEASE);
  }

 private:
  void wait_for(const Progress& other, idx steps) {
    if (!gang_.leads()) return;  // it waits for its leader in `stopped`
    for (idx turn = 1; __atomic_load_n(&other.steps, __ATOMIC_ACQUIRE) < steps; ++turn)
      if (wait_a_turn(control_, turn) && control_.interrupted(control_.team)) return;
  }

  const Control& control_;
  Gang& gang_;
  Progress* own_ = nullptr;
  const Progress* layer_before_[2] = {};
  idx followed_ = 0;
  const Progress* other_direction_ = nullptr;
  idx whole_ = 0;
};

// Runs f(i, gang, slot, leader's slot) for every chain: on one thread each, or on one of `teams`,
// whose threads meet about every `between` nanoseconds. There are as many `meetings` as teams.
template <class F>
void run_chains(const Control& control, const Chains& chains, Teams teams, double between,
                Meeting* meetings, F&& f) {
  struct Call {
    F& f;
    const Control& control;
    const Chains& chains;
    idx teams;
    Meeting* meetings;
    bool done;
  } call = {f, control, chains, teams.count, meetings, false};
  if (teams.size > 1 && control.gang != nullptr) {
    for (idx i = 0; i < teams.count; ++i) meetings[i] = {};
    auto task = [](void* context, int rank, int size) {
      Call& c = *static_cast<Call*>(context);
      const idx teams = c.teams;
      if (size < 2 * teams && c.chains.side_by_side() > 1) return;  // better a thread to a chain
      if (rank == 0) c.done = true;
      const idx team = rank % teams;
      const int here = static_cast<int>((size - team + teams - 1) / teams);
      Gang gang(c.control, static_cast<int>(rank / teams), here, c.meetings + team);
      for (idx i = team; i < c.chains.count(); i += teams)
        c.f(i, gang, rank, static_cast<int>(team));
    };
    control.gang(control.team, static_cast<int>(teams.count * teams.size), between, task, &call);
    if (call.done) return;
  }
  parallel(control, chains.count(), [&](idx i, int slot) {
    Gang alone(control);
    f(i, alone, slot, slot);
  });
}

}  // namespace
}  // namespace rnnfast
