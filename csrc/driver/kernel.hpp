// One cell's kernels in one precision: sizes of memory, packing, forward, backward. Tasks are whole
// groups of rows; only weight gradients too large for a group to own are split by rows of W.
#pragma once
#include <type_traits>

#include "backward.hpp"
#include "forward.hpp"

namespace rnnfast {
namespace {

template <class F>
void parallel(const Control& control, idx tasks, F&& f) {
  auto call = [](void* context, std::ptrdiff_t index, int slot) {
    (*static_cast<std::remove_reference_t<F>*>(context))(index, slot);
  };
  control.parallel(control.team, tasks, call, &f);
}

// Runs f(gang, rank) on every thread of a gang.
template <class F>
void share(const Control& control, int most, double between, F&& f) {
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
  using Z = Sizes<Cell, R>;

  static bool checkpoints(const P& p) { return p.segment < p.T; }
  static idx longest(const P& p) { return p.B > 0 ? p.length[0] : 0; }
  static idx segments(const P& p) { return p.T == 0 ? 0 : (p.T + p.segment - 1) / p.segment; }

  // run(gang, group, slot) for every group, or for all threads on the one group that they share.
  template <class F>
  static void for_groups(const Control& control, const Z& z, F&& run) {
    if (z.sliced)
      return share(control, z.slices, z.step_time,
                   [&](Gang& gang, int rank) { run(gang, 0, rank); });
    if (z.groups == 1) {  // by the caller, who then shares out parts of it
      Gang alone(control);
      return run(alone, 0, 0);
    }
    parallel(control, z.groups, [&](idx i, int slot) {
      Gang alone(control);
      run(alone, i, slot);
    });
  }

  // ---- packing

  static std::size_t packed_size(const P& p) {
    Arena arena(nullptr);
    Packed<Cell, R>(arena, Z(p), p);
    return arena.used();
  }

  static void pack(const P& p, const Control& control, void* memory) {
    const Z z(p);
    Arena arena(memory);
    Packed<Cell, R> packed(arena, z, p);
    for_each_stage<Cell>([&](auto s) {
      using St = Stage<Cell, s>;
      pack_bias<St>(p, z, packed.bias_x);
      if (p.direct) return;
      auto pack_side = [&](const R* w, idx K, const Side& side, R* out) {
        for_panels(control, z.blocks, St::blocks_per_panel, St::gates * K, [&](idx first, int n) {
          pack_gates(w, p.H, K, side.gate, St::gates, first, n,
                     out + first * St::gates * lanes<R> * K);
        });
      };
      pack_side(p.W_ax, p.I, St::x, packed.W_ax[s]);
      pack_side(p.W_aa, p.H, St::r, packed.W_aa[s]);
    });
    for (idx i = 0; i < Cell::params; ++i)
      for (idx u = 0; u < z.units; ++u)
        packed.param[i * z.units + u] =
            p.param == nullptr || u >= p.H ? R(0) : p.param[i * p.H + u];
  }

  // f(first block, blocks) for every panel, on all threads where the panels are large, each taking
  // neighbours: those that it may use later. A block is `length` vectors.
  template <class F>
  static void for_panels(const Control& control, idx blocks, idx per_panel, idx length, F&& f) {
    const idx panels = (blocks + per_panel - 1) / per_panel;
    const idx size = blocks * length * vector_bytes;
    const idx parts = larger(1, smaller(size / panel_bytes, control.threads));
    parallel(control, parts, [&](idx part, int) {
      const idx end = panels * (part + 1) / parts * per_panel;
      for_each_panel(panels * part / parts * per_panel, end < blocks ? end : blocks, per_panel,
                     [&](idx first, int n) {
                       if (!control.interrupted(control.team)) f(first, n);
                     });
    });
  }
  static constexpr idx panel_bytes = 64 * 1024;  // that a thread packs in a few microseconds

  // b_a + b_aa for a gate whose sums are merged; of a split gate b_a and b_aa in their own slots.
  template <class St>
  static void pack_bias(const P& p, const Z& z, R* out) {
    out += St::first_slot * z.units;
    for (idx i = 0; i < St::slots * z.blocks; ++i) store(out + i * lanes<R>, Vec<R>{});
    auto add = [&](const R* bias, const Side& side) {
      for (idx b = 0; bias != nullptr && b < z.blocks; ++b)
        for (int j = 0; j < St::gates; ++j) {
          R* to = out + (b * St::slots + side.first - St::first_slot + j) * lanes<R>;
          const idx unit = b * lanes<R>, valid = p.H - unit;
          const R* from = bias + side.gate[j] * p.H + unit;
          store(to, load(to) + (valid < lanes<R> ? load_first(from, valid) : load(from)));
        }
    };
    add(p.b_a, St::x);
    add(p.b_aa, St::r);
  }

  // ---- forward

  // What forward leaves for backward: each group's tape, or its states before every segment.
  struct Tapes {
    Tape<Cell, R>* group;

    Tapes(Arena& arena, const P& p) {
      const Z z(p);
      group = arena.take<Tape<Cell, R>>(z.groups);
      for (idx i = 0; i < z.groups; ++i) {
        Group<R> g(p, i);
        Tape<Cell, R> tape = checkpoints(p) ? Tape<Cell, R>::states_only(arena, z, g, segments(p))
                                            : Tape<Cell, R>(arena, z, g, g.steps);
        if (group != nullptr) group[i] = tape;
      }
    }
  };

  static std::size_t tape_size(const P& p) {
    Arena arena(nullptr);
    Tapes(arena, p);
    return arena.used();
  }

  static std::size_t forward_scratch(const P& p) {
    Arena arena(nullptr);
    ForwardScratch<Cell, R>(arena, Z(p));
    return arena.used();
  }

  static std::size_t forward_work(const P& p, int threads) { return threads * forward_scratch(p); }

  // `tape` may be null: nothing is kept then.
  static void forward(const P& p, const Control& control, void* packed_memory, void* tape,
                      void* work) {
    const Z z(p);
    Arena packed_arena(packed_memory), tape_arena(tape);
    const Packed<Cell, R> packed(packed_arena, z, p);
    const std::size_t scratch = forward_scratch(p);
    const Tape<Cell, R>* tapes = tape == nullptr ? nullptr : Tapes(tape_arena, p).group;
    auto run = [&](Gang& gang, idx i, int slot) {
      ForwardPass<Cell, R> pass(p, gang, packed, i, static_cast<char*>(work) + slot * scratch);
      if (z.sliced) pass.share_states(work);
      if (tapes == nullptr) return pass.discard(nullptr);
      if (checkpoints(p)) return pass.discard(tapes[i].state);
      pass.begin(tapes[i].state);
      pass.keep(tapes[i], 0, p.T, true);
    };
    for_groups(control, z, run);
  }

  // ---- backward

  struct Work {
    PackedBack<Cell, R> back;
    Carry<Cell, R>* carry;          // (groups)
    WeightGradients<R>* gradients;  // (groups)
    Tape<Cell, R>* segment;         // (groups), when checkpointing
    R** delta;                      // (groups)
    char* scratch;                  // (threads, scratch_size)
    std::size_t scratch_size;

    Work(Arena& arena, const P& p, int threads) : back(arena, Z(p), p) {
      const Z z(p);
      carry = arena.take<Carry<Cell, R>>(z.groups);
      gradients = arena.take<WeightGradients<R>>(z.groups);
      segment = arena.take<Tape<Cell, R>>(z.groups);
      delta = arena.take<R*>(z.groups);
      for (idx i = 0; i < z.groups; ++i) {
        Group<R> g(p, i);
        idx steps = g.steps < p.segment ? g.steps : p.segment;
        Carry<Cell, R> c(arena, z);
        WeightGradients<R> w = own_part(arena, p, z);
        Tape<Cell, R> t(arena, z, g, checkpoints(p) ? steps : 0);
        const idx delta_steps = z.delta_chunks && z.back_chunk < steps ? z.back_chunk : steps;
        R* d =
            Z::keeps_deltas_apart(p) ? arena.take<R>(delta_steps * g.rows * z.delta_step) : nullptr;
        if (carry == nullptr) continue;
        carry[i] = c, gradients[i] = w, segment[i] = t, delta[i] = d;
      }
      Arena one(nullptr);
      BackwardScratch<Cell, R>(one, z, p.I);
      scratch_size = one.used();
      if (checkpoints(p) && forward_scratch(p) > scratch_size) scratch_size = forward_scratch(p);
      scratch = arena.take<char>(threads * static_cast<idx>(scratch_size));
    }
  };

  // The arrays that a group alone adds to.
  static WeightGradients<R> own_part(Arena& arena, const P& p, const Z& z) {
    if (z.groups == 1) return WeightGradients<R>(p);
    P wanted = p;
    if (!z.owns_gradients) wanted.dW_ax = wanted.dW_aa = wanted.db_a = wanted.db_aa = nullptr;
    return WeightGradients<R>(arena, wanted, Cell::gates, Cell::params);
  }

  static std::size_t backward_work(const P& p, int threads) {
    Arena arena(nullptr);
    Work(arena, p, threads);
    return arena.used();
  }

  // The gradients of the weights only if `matrices`.
  static void zero(const P& p, const WeightGradients<R>& w, bool matrices) {
    auto clear = [](R* to, idx n) {
      if (to != nullptr) std::memset(to, 0, static_cast<std::size_t>(n) * sizeof(R));
    };
    if (matrices) clear(w.dW_ax, Cell::gates * p.H * p.I), clear(w.dW_aa, Cell::gates * p.H * p.H);
    clear(w.db_a, Cell::gates * p.H);
    clear(w.db_aa, Cell::gates * p.H);
    clear(w.dparam, Cell::params * p.H);
  }

  // `packed_memory` holds the forward pass's weights; `tape` what forward left.
  static void backward(const P& p, const Control& control, void* packed_memory, void* tape,
                       void* work_memory) {
    const Z z(p);
    Arena packed_arena(packed_memory), tape_arena(tape), work_arena(work_memory);
    const Packed<Cell, R> packed(packed_arena, z, p);
    const Tapes tapes(tape_arena, p);
    const Work work(work_arena, p, control.threads);
    pack_back(p, control, work.back);
    zero_dx(p, control);
    // the first chunk of steps writes dW_ax and dW_aa, the others add to them
    if (z.groups != 1) zero(p, WeightGradients<R>(p), z.owns_gradients || longest(p) == 0);
    for (idx i = 0; i < z.groups; ++i) zero(p, work.gradients[i], Group<R>(p, i).steps == 0);
    for (idx s = segments(p) - 1; s >= -1; --s)
      if (!control.interrupted(control.team) && (s >= 0 || segments(p) == 0))
        one_segment(p, control, packed, tapes, work, s);
    if (z.groups > 1)
      for (idx i = 0; i < z.groups; ++i) add_part(p, work.gradients[i]);
  }

  static void pack_back(const P& p, const Control& control, const PackedBack<Cell, R>& back) {
    const Z z(p);
    auto pack_side = [&](const R* w, idx N, idx per_panel, const int* gate, int gates, R* out) {
      if (back.in_place(p, N)) return;
      const idx K = gates * z.units;
      for_panels(control, round_up<R>(N) / lanes<R>, per_panel, K, [&](idx first, int n) {
        pack_transposed(w, p.H, N, gate, gates, first, n, out + first * lanes<R> * K);
      });
    };
    if (p.dx != nullptr)
      pack_side(p.W_ax, p.I, max_vectors, all_x<Cell>.gate, Cell::gates, back.W_ax);
    for_each_stage<Cell>([&](auto s) {
      using St = Stage<Cell, s>;
      pack_side(p.W_aa, p.H, z.back_panel, St::r.gate, St::gates, back.W_aa[s]);
    });
  }

  // dx past a sequence's end.
  static void zero_dx(const P& p, const Control& control) {
    for (idx b = 0; p.dx != nullptr && b < p.B && !control.interrupted(control.team); ++b)
      for (idx t = p.length[b]; t < p.T; ++t) {
        R* dx = p.dx + t * p.dx_t + p.row[b] * p.dx_b;
        for (idx i = 0; i < p.I; ++i) dx[i] = 0;
      }
  }

  // Segment `s` of the steps from its end; s = -1 when there are no steps at all.
  static void one_segment(const P& p, const Control& control, const Packed<Cell, R>& packed,
                          const Tapes& tapes, const Work& work, idx s) {
    const Z z(p);
    const idx first = s < 0 ? 0 : s * p.segment;
    auto pass_of = [&](Gang& gang, idx i, int slot) {
      const Tape<Cell, R>& tape = checkpoints(p) ? work.segment[i] : tapes.group[i];
      return BackwardPass<Cell, R>(p, gang, packed, work.back, i, work.carry[i], tape,
                                   work.delta[i] == nullptr ? tape.saved : work.delta[i], first,
                                   work.scratch + slot * work.scratch_size);
    };
    auto run = [&](Gang& gang, idx i, int slot) {
      if (checkpoints(p) && s >= 0) recompute(p, gang, packed, tapes.group[i], work, i, s, slot);
      BackwardPass<Cell, R> pass = pass_of(gang, i, slot);
      if (z.sliced) pass.share_operand(work.scratch);
      if (s == segments(p) - 1) pass.begin();
      const idx last = s < 0 ? 0 : pass.last_step(first + p.segment);
      for_chunks_from_end(z, first, last, [&](idx from, idx to) {
        pass.enter_chunk(from);
        if (!pass.through_time(from, to)) return false;
        if (gang.leads()) pass.add_params(work.gradients[i]);
        if (z.sliced) return true;
        const bool fresh = to == Group<R>(p, i).steps;
        if (z.groups == 1) {
          share_chunk(p, control, pass, pass_of, from, to, work.gradients[i], fresh);
        } else {
          if (z.owns_gradients) pass.weight_gradients(from, to, work.gradients[i], 0, 1, fresh);
          pass.input_gradient(from, to);
        }
        return true;
      });
      gang.wait();
      if (s <= 0 && gang.leads()) pass.finish();
    };
    for_groups(control, z, run);
    if (!z.owns_gradients && s >= 0) shared_gradients(p, control, z, pass_of, first);
  }

  // What follows the steps of a chunk, where there is no second group for the other threads: each
  // takes rows of the weights' gradients and pieces of dx, whose size is the same for any number of
  // threads (the height of a tile may show in the last bit).
  template <class F>
  static void share_chunk(const P& p, const Control& control, BackwardPass<Cell, R>& callers,
                          const F& pass_of, idx from, idx to, const WeightGradients<R>& w,
                          bool fresh) {
    const idx parts = control.threads, piece_steps = larger(1, 60 / p.group_rows);
    const idx pieces = p.dx == nullptr ? 0 : (to - from + piece_steps - 1) / piece_steps;
    auto run = [&](BackwardPass<Cell, R>& pass, idx task) {
      if (task < parts) return pass.weight_gradients(from, to, w, task, parts, fresh);
      const idx first = from + (task - parts) * piece_steps;
      pass.input_gradient(first, smaller(first + piece_steps, to));
    };
    parallel(control, parts + pieces, [&](idx task, int slot) {
      if (slot == 0) return run(callers, task);
      Gang alone(control);
      BackwardPass<Cell, R> pass = pass_of(alone, 0, slot);
      pass.enter_chunk(from);
      run(pass, task);
    });
  }

  // The gradients of the weights, each thread taking rows of them through all groups.
  template <class F>
  static void shared_gradients(const P& p, const Control& control, const Z& z, const F& pass_of,
                               idx first) {
    const idx parts = control.threads;
    parallel(control, parts, [&](idx part, int slot) {
      Gang alone(control);
      bool fresh = first < longest(p) && longest(p) <= first + p.segment;
      for (idx i = 0; i < z.groups; ++i) {
        BackwardPass<Cell, R> pass = pass_of(alone, i, slot);
        for_chunks_from_end(z, first, pass.last_step(first + p.segment), [&](idx from, idx to) {
          pass.weight_gradients(from, to, WeightGradients<R>(p), part, parts, fresh);
          fresh = false;
          return !alone.stopped();
        });
      }
    });
    if (z.sliced) shared_input_gradient(p, control, pass_of, first);
  }

  // dx where threads shared the units: each reads some panels of W_ax, for many rows at once.
  template <class F>
  static void shared_input_gradient(const P& p, const Control& control, const F& pass_of,
                                    idx first) {
    const idx last = smaller(first + p.segment, longest(p)), back_chunk = Z(p).back_chunk;
    if (p.dx == nullptr || last <= first) return;
    const idx piece_steps = smaller(back_chunk, larger(1, 128 / p.group_rows));
    const idx pieces = (last - first + piece_steps - 1) / piece_steps;
    const idx blocks = round_up<R>(p.I) / lanes<R>,
              panels = (blocks + max_vectors - 1) / max_vectors;
    parallel(control, panels * pieces, [&](idx task, int slot) {
      Gang alone(control);
      BackwardPass<Cell, R> pass = pass_of(alone, 0, slot);
      const idx from = first + task % pieces * piece_steps, to = smaller(from + piece_steps, last);
      const idx block = task / pieces * max_vectors;
      pass.input_gradient(from, to, block, smaller(block + max_vectors, blocks));
    });
  }

  // Calls f(from, to) from the last chunk to the first, until it returns false.
  template <class F>
  static void for_chunks_from_end(const Z& z, idx first, idx last, F&& f) {
    if (last <= first) return;
    for (idx from = first + (last - first - 1) / z.back_chunk * z.back_chunk; from >= first;
         from -= z.back_chunk)
      if (!f(from, from + z.back_chunk < last ? from + z.back_chunk : last)) return;
  }

  static void recompute(const P& p, Gang& gang, const Packed<Cell, R>& packed,
                        const Tape<Cell, R>& kept, const Work& work, idx i, idx s, int slot) {
    const Z z(p);
    const Group<R> g(p, i);
    const idx first = s * p.segment, size = g.rows * z.state_step;
    if (first >= g.steps) return;
    const Tape<Cell, R>& tape = work.segment[i];
    for (int j = 0; j < Cell::states && gang.leads(); ++j)
      std::memcpy(tape.state[j], kept.state[j] + s * size,
                  static_cast<std::size_t>(size) * sizeof(R));
    gang.wait();
    ForwardPass<Cell, R> pass(p, gang, packed, i, work.scratch + slot * work.scratch_size);
    pass.keep(tape, first, first + p.segment, false);
  }

  // Adds a group's part to the caller's arrays.
  static void add_part(const P& p, const WeightGradients<R>& w) {
    auto add = [](R* to, const R* from, idx n) {
      for (idx i = 0; from != nullptr && i < n; ++i) to[i] += from[i];
    };
    add(p.dW_ax, w.dW_ax, Cell::gates * p.H * p.I);
    add(p.dW_aa, w.dW_aa, Cell::gates * p.H * p.H);
    add(p.db_a, w.db_a, Cell::gates * p.H);
    add(p.db_aa, w.db_aa, Cell::gates * p.H);
    add(p.dparam, w.dparam, Cell::params * p.H);
  }
};

}  // namespace
}  // namespace rnnfast
