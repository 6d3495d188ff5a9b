// What a stack's kernels know of each of its problems, and where the memory of a call lies.
#pragma once
#include <new>

#include "chain.hpp"
#include "layout.hpp"

namespace rnnfast {
namespace {

// One problem of a stack, and what follows from it.
template <class Cell, class R>
struct Member {
  const Problem<R>& p;
  Sizes<Cell, R> sizes;
  Packed<Cell, R> packed;
  Tape<Cell, R>* tapes;  // (groups); null: nothing is kept

  explicit Member(const Problem<R>& p) : p(p), sizes(p), packed(packed_of(p, sizes)) {
    Arena arena(p.tape);
    tapes = p.tape == nullptr ? nullptr : Tapes<Cell, R>(arena, sizes, p).group;
  }

 private:
  static Packed<Cell, R> packed_of(const Problem<R>& p, const Sizes<Cell, R>& sizes) {
    Arena arena(p.packed);
    return Packed<Cell, R>(arena, sizes, p);
  }
};

// What a pass through a stack needs besides its threads' scratch memory. The problems differ in
// what follows from I alone: `first` are the sizes of the first.
template <class Cell, class R>
struct Passage {
  Member<Cell, R>* member;  // (problems)
  Progress* progress;       // (chains)
  Meeting* meetings;        // (chains)

  Passage(Arena& arena, const Stack<R>& stack, const Sizes<Cell, R>& first)
      : member(arena.take<Member<Cell, R>>(stack.count())) {
    const idx chains = stack.count() * first.groups;
    progress = arena.take<Progress>(chains + 1);
    meetings = arena.take<Meeting>(chains + 1);
    for (idx i = 0; i < stack.count() && member != nullptr; ++i)
      new (member + i) Member<Cell, R>(stack.problem[i]);
  }
};

template <class Cell, class R>
struct ForwardMemory {
  Passage<Cell, R> passage;
  Scratch scratch;

  ForwardMemory(Arena& arena, const Stack<R>& stack, int threads)
      : ForwardMemory(arena, stack, threads, Sizes<Cell, R>(stack.problem[0])) {}

 private:
  ForwardMemory(Arena& arena, const Stack<R>& stack, int threads, const Sizes<Cell, R>& first)
      : passage(arena, stack, first),
        scratch(arena, threads, ForwardScratch<Cell, R>::size(first)) {}
};

template <class Cell, class R>
struct BackwardMemory {
  Passage<Cell, R> passage;
  Work<Cell, R>* work;  // (problems)

  BackwardMemory(Arena& arena, const Stack<R>& stack, int threads)
      : passage(arena, stack, Sizes<Cell, R>(stack.problem[0])),
        work(arena.take<Work<Cell, R>>(stack.count())) {
    std::size_t size = 0;
    for (idx i = 0; i < stack.count(); ++i) {
      const Problem<R>& p = stack.problem[i];
      const Sizes<Cell, R> sizes(p);
      const Work<Cell, R> w(arena, sizes, p);
      if (work != nullptr) new (work + i) Work<Cell, R>(w);
      const std::size_t one = Work<Cell, R>::scratch_size(sizes, p);
      if (one > size) size = one;
    }
    const Scratch scratch(arena, threads, size);
    for (idx i = 0; i < stack.count() && work != nullptr; ++i) work[i].scratch = scratch;
  }
};

}  // namespace
}  // namespace rnnfast
