// run_vjp, run_stack_vjp and the pullback that they return.
#include <algorithm>
#include <memory>

#include "call.hpp"
#include "fastcall.hpp"
#include "kinds.hpp"

namespace rnnfast {
namespace {

const char* const gradient_names[] = {"x", "a0", "c0", "W_ax", "W_aa", "b_a", "b_aa", "peephole"};

// The same as Python strings, made once.
py::handle gradient_key(std::size_t i) {
  static const auto* keys = [] {
    auto* made = new std::array<PyObject*, std::size(gradient_names)>;
    for (std::size_t k = 0; k < made->size(); ++k)
      (*made)[k] = PyUnicode_InternFromString(gradient_names[k]);
    return made;
  }();
  return (*keys)[i];
}

using Skipped = std::vector<bool>;  // by gradient_names

Skipped skipped(py::handle skip) {
  Skipped result(std::size(gradient_names), false);
  if (PyUnicode_Check(skip.ptr()) || !is_iterable(skip))
    fail_type("skip is a " + describe(skip) + ", expected a tuple of names");
  for (py::handle item : skip) {
    const std::string name = text(item, "a name in skip");
    std::string names;
    bool known = false;
    for (std::size_t i = 0; i < std::size(gradient_names); ++i) {
      if (name == gradient_names[i]) result[i] = known = true;
      names += std::string(i > 0 ? ", " : "") + gradient_names[i];
    }
    if (!known) fail_value("skip has '" + name + "', expected names among " + names);
  }
  return result;
}

// What a forward pass leaves behind, callable once for its gradients, or often with retain.
class Pullback {
 public:
  virtual ~Pullback() = default;
  // Of the only layer, by name.
  virtual py::dict layer_gradients(py::handle da, py::handle dstate, bool retain,
                                   const Skipped& skip) = 0;
  // Of a stack: those by x and the initial state, and of each number a dict of the others.
  virtual py::tuple stack_gradients(py::handle da, py::handle dstate, bool retain,
                                    const std::vector<Skipped>& skip) = 0;
};

template <class R>
class PullbackOf : public Pullback {
 public:
  PullbackOf(Call<R> call, const CallArguments& a)
      : call_(std::move(call)), cell_name_(a.cell), sequence_(a.sequence), stacked_(a.stacked) {
    for (const Weights& w : a.weights) {
      has_b_a_.push_back(!w.b_a.is_none());
      has_b_aa_.push_back(!w.b_aa.is_none());
    }
  }

  py::tuple forward(const CallArguments& a) {
    Sections sections;
    std::vector<std::size_t> packed, tape;
    for (const Problem<R>& p : call_.problems) {
      packed.push_back(sections.add(call_.cell->packed_size(p)));
      tape.push_back(sections.add(call_.cell->tape_size(p)));
    }
    const auto between =
        sections.add(sizeof(R) * static_cast<std::size_t>(call_.between_size(true)));
    kept_ = std::make_shared<Memory>(sections.size());
    for (std::size_t k = 0; k < packed.size(); ++k) {
      call_.problems[k].unpacked = true;
      call_.problems[k].packed = sections.of(*kept_, packed[k]);
      call_.problems[k].tape = sections.of(*kept_, tape[k]);
    }
    call_.want_results(a, true, static_cast<R*>(sections.of(*kept_, between)));
    PythonRunner runner(call_.plan.operations);
    Memory work(call_.cell->forward_work(call_.stack(), runner.threads()));
    runner.run(
        [&](const Control& control) { call_.cell->forward(call_.stack(), control, work.get()); });
    auto [a_out, state] = call_.results();
    return py::make_tuple(a_out, state);
  }

  py::dict layer_gradients(py::handle da, py::handle dstate, bool retain,
                           const Skipped& skip) override {
    Wanted wanted(*this, {skip});
    run(wanted, da, dstate, retain);
    py::dict grads;
    if (wanted.dx) grads[gradient_key(0)] = wanted.dx;
    for (int i = 0; i < call_.cell->states; ++i)
      if (wanted.dstate0[i]) grads[gradient_key(1 + i)] = wanted.dstate0[i];
    grads.attr("update")(wanted.weights[0]);
    return grads;
  }

  py::tuple stack_gradients(py::handle da, py::handle dstate, bool retain,
                            const std::vector<Skipped>& skip) override {
    if (skip.size() != call_.problems.size())
      fail_value("skip has " + std::to_string(skip.size()) + " entries, expected " +
                 std::to_string(call_.problems.size()));
    Wanted wanted(*this, skip);
    run(wanted, da, dstate, retain);
    return py::make_tuple(wanted.dx ? wanted.dx : py::none(),
                          join_state(wanted.dstate0, call_.cell->states), wanted.weights);
  }

 private:
  // The arrays for the gradients that exist and are not skipped, and the problems that fill them.
  struct Wanted {
    std::vector<Problem<R>> problems;
    py::object dx;
    States dstate0;
    py::list weights;  // of each number a dict

    Wanted(const PullbackOf& of, const std::vector<Skipped>& skip)
        : problems((of.need_memory(), of.call_.problems)) {
      const CellKernels<R>& cell = *of.call_.cell;
      Problem<R>& first = problems[0];
      if (!skip[0][0]) {
        auto array = new_array<R>({first.T, first.B, first.I});
        first.dx = array.mutable_data();
        first.dx_t = first.B * first.I;
        first.dx_b = first.I;
        dx = std::move(array);
      }
      for (int i = 0; i < cell.states; ++i) {
        if (skip[0][static_cast<std::size_t>(1 + i)]) continue;
        const idx K = static_cast<idx>(problems.size());
        auto array =
            of.stacked_ ? new_array<R>({K, first.B, first.H}) : new_array<R>({first.B, first.H});
        R* part = array.mutable_data();
        for (Problem<R>& p : problems) p.dstate0[i] = part, part += p.B * p.H;
        dstate0[static_cast<std::size_t>(i)] = std::move(array);
      }
      for (std::size_t k = 0; k < problems.size(); ++k) {
        Problem<R>& p = problems[k];
        const idx GH = cell.gates * p.H;
        py::dict grads;
        auto make = [&](std::size_t i, bool exists, std::initializer_list<idx> shape) -> R* {
          if (!exists || skip[k][i]) return nullptr;
          auto array = new_array<R>(shape);
          grads[gradient_key(i)] = array;
          return array.mutable_data();
        };
        p.dW_ax = make(3, true, {GH, p.I});
        p.dW_aa = make(4, true, {GH, p.H});
        p.db_a = make(5, of.has_b_a_[k], {GH});
        p.db_aa = make(6, of.has_b_aa_[k], {GH});
        p.dparam = make(7, cell.params > 0, {cell.params, p.H});
        weights.append(grads);
      }
    }
  };

  void run(Wanted& wanted, py::handle da, py::handle dstate, bool retain) {
    std::vector<Problem<R>>& problems = wanted.problems;
    Arguments arguments(precision_of<R>, "x");
    read_gradients(arguments, da, dstate, problems);
    need_memory();  // another thread may have given it up since; from here on none has the GIL
    // the deltas may be written over the tape, unless a call in another thread is reading it
    for (Problem<R>& p : problems) p.keep_saved = retain || kept_.use_count() > 1;
    PythonRunner runner(3 * call_.plan.operations);
    Sections sections;
    const Stack<R> stack = Call<R>::stack_of(problems, call_.directions);
    const auto between = sections.add(sizeof(R) * connect(problems, nullptr));
    const auto work = sections.add(call_.cell->backward_work(stack, runner.threads()));
    const Memory memory(sections.size());
    connect(problems, static_cast<R*>(sections.of(memory, between)));
    const std::shared_ptr<Memory> kept = kept_;
    if (!retain) kept_.reset();
    runner.run([&](const Control& control) {
      call_.cell->backward(stack, control, sections.of(memory, work));
    });
  }

  // Places the gradients of what lies between layers, and those of the other direction until they
  // are added to the first one's, from `memory` on; returns their number.
  std::size_t connect(std::vector<Problem<R>>& problems, R* memory) const {
    const idx D = call_.directions, layers = static_cast<idx>(problems.size()) / D;
    const Problem<R>& first = problems[0];
    const idx columns = D * first.H, rows = first.T * first.B, size = rows * columns;
    // what is apart has one layout in all layers but the first: groups of rows share no memory
    R* const apart = memory + (layers - 1) * size;
    const idx apart_size = D > 1 && layers > 1 ? size : 0;
    for (idx k = 0; k < layers * D; ++k) {
      Problem<R>& p = problems[static_cast<std::size_t>(k)];
      const idx layer = k / D, d = k % D;
      if (layer + 1 < layers) {
        p.da = memory + layer * size + d * p.H;
        p.da_t = first.B * columns;
        p.da_b = columns;
      }
      if (layer > 0) {
        p.dx = memory + (layer - 1) * size;
        p.dx_t = first.B * columns;
        p.dx_b = columns;
      } else if (d > 0) {
        p.dx = first.dx;
        p.dx_t = first.dx_t;
        p.dx_b = first.dx_b;
      }
      if (d == 0 || p.dx == nullptr) continue;
      p.dx_sum = p.dx;
      p.dx = layer > 0 ? apart : apart + apart_size;
    }
    const idx first_apart = D > 1 && first.dx != nullptr ? rows * first.I : 0;
    return static_cast<std::size_t>((layers - 1) * size + apart_size + first_apart);
  }

  void need_memory() const {
    if (!kept_)
      throw std::runtime_error(
          "the pullback was called before without retain=True and has given up its memory");
  }

  void read_gradients(Arguments& arguments, py::handle da, py::handle dstate,
                      std::vector<Problem<R>>& problems) {
    const Problem<R>& first = problems[0];
    const idx D = call_.directions;
    if (!da.is_none()) {
      if (!sequence_) fail_value("da was given, but the forward pass returned no sequence");
      idx t, b;
      const R* data =
          arguments.rows<R>(da, "da", {{"T", first.T}, {"B", first.B}, {"H", D * first.H}}, &t, &b);
      for (idx d = 0; d < D; ++d) {
        Problem<R>& p = problems[problems.size() - static_cast<std::size_t>(D - d)];
        p.da = data + d * p.H;
        p.da_t = t;
        p.da_b = b;
      }
    }
    const auto parts = split_state(dstate, call_.cell->states, "dstate", cell_name_);
    for (int i = 0; i < call_.cell->states; ++i) {
      const R* part = with_state_shape(problems, stacked_, [&](Shape shape) {
        return arguments.optional<R>(parts[static_cast<std::size_t>(i)], final_names[i], shape);
      });
      for (Problem<R>& p : problems) {
        p.dstate_T[i] = part;
        if (part != nullptr) part += p.B * p.H;
      }
    }
  }

  Call<R> call_;
  std::string cell_name_;
  bool sequence_, stacked_;
  std::vector<bool> has_b_a_, has_b_aa_;  // by number
  // The packed weights, the tapes and what lies between layers: of this object until a call gives
  // them up, and of every call that runs.
  std::shared_ptr<Memory> kept_;
};

// pullback(da=None, dstate=None, *, retain=False, skip=()), whose mistakes pybind11 would answer
// with all arrays printed.
py::dict call(Pullback& pullback, const py::args& args, const py::kwargs& options) {
  const char* const names[] = {"da", "dstate", "retain", "skip"};
  py::object given[] = {py::none(), py::none(), py::bool_(false), py::tuple()};
  if (args.size() > 2)
    fail_type("pullback takes da and dstate, got " + std::to_string(args.size()) +
              " positional arguments");
  for (std::size_t i = 0; i < args.size(); ++i) given[i] = args[i];
  for (auto [key, value] : options) {
    const std::string name = py::str(key);
    const auto at = static_cast<std::size_t>(std::find(names, names + 4, name) - names);
    if (at == 4) fail_type("pullback got an unexpected argument '" + name + "'");
    if (at < args.size()) fail_type("pullback got " + name + " twice");
    given[at] = py::reinterpret_borrow<py::object>(value);
  }
  return pullback.layer_gradients(given[0], given[1], truth(given[2], "retain"), skipped(given[3]));
}

py::tuple stack_call(Pullback& pullback, py::handle da, py::handle dstate, py::handle retain,
                     py::handle skip) {
  std::vector<Skipped> of_number;
  for (py::handle names : skip) of_number.push_back(skipped(names));
  return pullback.stack_gradients(da, dstate, truth(retain, "retain"), of_number);
}

py::tuple run_kept(const CallArguments& a, py::handle checkpoint) {
  const bool checkpointed = truth(checkpoint, "checkpoint");
  return with_type(precision(a.x, "x"), [&](auto zero) -> py::tuple {
    using R = decltype(zero);
    auto pullback = std::make_unique<PullbackOf<R>>(Call<R>(a, checkpointed, false), a);
    py::tuple result = pullback->forward(a);
    std::unique_ptr<Pullback> base = std::move(pullback);
    return py::make_tuple(result[0], result[1], std::move(base));
  });
}

py::tuple run_vjp(py::handle cell, py::handle x, py::handle state, py::handle W_ax, py::handle W_aa,
                  py::handle b_a, py::handle b_aa, py::handle peephole, py::handle lengths,
                  py::handle reverse, py::handle out, py::handle sequence, py::handle checkpoint) {
  return run_kept(layer_arguments(cell, x, state, {W_ax, W_aa, b_a, b_aa, peephole}, lengths,
                                  reverse, out, sequence),
                  checkpoint);
}

PyObject* run_stack_vjp(PyObject*, PyObject* const* values, Py_ssize_t positional,
                        PyObject* keywords) noexcept {
  static constexpr Signature<10> signature = {
      "run_stack_vjp",
      10,
      {"cell", "x", "state", "weights", "directions", "lengths", "out", "sequence", "masks",
       "checkpoint"}};
  return for_python([&] {
    std::array<py::handle, 10> g;
    place_arguments({values, positional, keywords}, signature, g);
    return run_kept(stack_arguments(g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8]), g[9]);
  });
}

PyMethodDef run_stack_vjp_method = fastcall_method(
    "run_stack_vjp", run_stack_vjp,
    "run_stack_vjp(cell, x, state, weights, directions, lengths, out, sequence, masks, checkpoint)"
    "\n--\n\n");

}  // namespace

void define_pullback(py::module_& m) {
  using py::arg;
  py::class_<Pullback>(m, "Pullback")
      .def("__call__",
           [](py::handle self, const py::args& args, const py::kwargs& options) {
             return call(object_of<Pullback>(self, "self"), args, options);
           })
      .def("stack", [](py::handle self, py::handle da, py::handle dstate, py::handle retain,
                       py::handle skip) {
        return stack_call(object_of<Pullback>(self, "self"), da, dstate, retain, skip);
      });
  define_fastcall(m, run_stack_vjp_method);
  m.def("run_vjp", &run_vjp, arg("cell"), arg("x"), arg("state"), arg("W_ax"), arg("W_aa"),
        arg("b_a"), arg("b_aa"), arg("peephole"), arg("lengths"), arg("reverse"), arg("out"),
        arg("sequence") = true, arg("checkpoint") = false);
}

}  // namespace rnnfast
