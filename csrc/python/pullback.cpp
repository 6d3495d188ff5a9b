// run_vjp and the pullback that it returns.
#include <algorithm>
#include <memory>

#include "call.hpp"
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

// What a forward pass leaves behind, callable once for its gradients, or often with retain.
class Pullback {
 public:
  virtual ~Pullback() = default;
  virtual py::dict gradients(py::handle da, py::handle dstate, bool retain, py::handle skip) = 0;
};

template <class R>
class PullbackOf : public Pullback {
 public:
  PullbackOf(Call<R> call, const LayerArguments& a)
      : call_(std::move(call)),
        cell_name_(a.cell),
        sequence_(a.sequence),
        has_b_a_(!a.b_a.is_none()),
        has_b_aa_(!a.b_aa.is_none()) {}

  py::tuple forward(const LayerArguments& a) {
    call_.want_results(a);
    PythonRunner runner(call_.plan.operations);
    packed_size_ = call_.cell->packed_size(call_.p);
    kept_ = std::make_shared<Memory>(packed_size_ + call_.cell->tape_size(call_.p));
    Memory work(call_.cell->forward_work(call_.p, runner.threads()));
    runner.run([&](const Control& control) {
      call_.cell->pack(call_.p, control, kept_->get());
      call_.cell->forward(call_.p, control, kept_->get(), tape(*kept_), work.get());
    });
    auto [a_out, state] = call_.results();
    return py::make_tuple(a_out, state);
  }

  py::dict gradients(py::handle da, py::handle dstate, bool retain, py::handle skip) override {
    need_memory();
    Problem<R> p = call_.p;
    Arguments arguments(precision_of<R>, "x");
    read_gradients(arguments, da, dstate, p);
    py::dict grads = wanted(p, skipped(skip));
    need_memory();  // another thread may have given it up since; from here on none has the GIL
    // the deltas may be written over the tape, unless a call in another thread is reading it
    p.keep_saved = retain || kept_.use_count() > 1;
    PythonRunner runner(3 * call_.plan.operations);
    Memory work(call_.cell->backward_work(p, runner.threads()));
    const std::shared_ptr<Memory> kept = kept_;
    if (!retain) kept_.reset();
    runner.run([&](const Control& control) {
      call_.cell->backward(p, control, kept->get(), tape(*kept), work.get());
    });
    return grads;
  }

 private:
  void* tape(const Memory& kept) const { return static_cast<char*>(kept.get()) + packed_size_; }
  void need_memory() const {
    if (!kept_)
      throw std::runtime_error(
          "the pullback was called before without retain=True and has given up its memory");
  }

  void read_gradients(Arguments& arguments, py::handle da, py::handle dstate, Problem<R>& p) {
    if (!da.is_none()) {
      if (!sequence_) fail_value("da was given, but the forward pass returned no sequence");
      p.da = arguments.rows<R>(da, "da", {{"T", p.T}, {"B", p.B}, {"H", p.H}}, &p.da_t, &p.da_b);
    }
    const auto parts = split_state(dstate, call_.cell->states, "dstate", cell_name_);
    for (int i = 0; i < call_.cell->states; ++i)
      p.dstate_T[i] = arguments.optional<R>(parts[static_cast<std::size_t>(i)], final_names[i],
                                            {{"B", p.B}, {"H", p.H}});
  }

  static std::vector<bool> skipped(py::handle skip) {
    std::vector<bool> result(std::size(gradient_names), false);
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

  // Makes the arrays for the gradients that exist and are not skipped.
  py::dict wanted(Problem<R>& p, const std::vector<bool>& skip) {
    const idx GH = call_.cell->gates * p.H;
    py::dict grads;
    auto make = [&](std::size_t i, bool exists, std::initializer_list<idx> shape) -> R* {
      if (!exists || skip[i]) return nullptr;
      auto array = new_array<R>(shape);
      grads[gradient_key(i)] = array;
      return array.mutable_data();
    };
    p.dx = make(0, true, {p.T, p.B, p.I});
    p.dx_t = p.B * p.I;
    p.dx_b = p.I;
    p.dstate0[0] = make(1, true, {p.B, p.H});
    p.dstate0[1] = make(2, call_.cell->states > 1, {p.B, p.H});
    p.dW_ax = make(3, true, {GH, p.I});
    p.dW_aa = make(4, true, {GH, p.H});
    p.db_a = make(5, has_b_a_, {GH});
    p.db_aa = make(6, has_b_aa_, {GH});
    p.dparam = make(7, call_.cell->params > 0, {call_.cell->params, p.H});
    return grads;
  }

  Call<R> call_;
  std::string cell_name_;
  bool sequence_, has_b_a_, has_b_aa_;
  // The packed weights and the tape: of this object until a call gives them up, and of every call
  // that runs.
  std::shared_ptr<Memory> kept_;
  std::size_t packed_size_ = 0;
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
  return pullback.gradients(given[0], given[1], truth(given[2], "retain"), given[3]);
}

py::tuple run_vjp(py::handle cell, py::handle x, py::handle state, py::handle W_ax, py::handle W_aa,
                  py::handle b_a, py::handle b_aa, py::handle peephole, py::handle lengths,
                  py::handle reverse, py::handle out, py::handle sequence, py::handle checkpoint) {
  const LayerArguments a(cell, x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out,
                         sequence);
  const bool checkpointed = truth(checkpoint, "checkpoint");
  return with_type(precision(x, "x"), [&](auto zero) -> py::tuple {
    using R = decltype(zero);
    auto pullback = std::make_unique<PullbackOf<R>>(Call<R>(a, checkpointed, false), a);
    py::tuple result = pullback->forward(a);
    std::unique_ptr<Pullback> base = std::move(pullback);
    return py::make_tuple(result[0], result[1], std::move(base));
  });
}

}  // namespace

void define_pullback(py::module_& m) {
  using py::arg;
  py::class_<Pullback>(m, "Pullback")
      .def("__call__", [](py::handle self, const py::args& args, const py::kwargs& options) {
        return call(object_of<Pullback>(self, "self"), args, options);
      });
  m.def("run_vjp", &run_vjp, arg("cell"), arg("x"), arg("state"), arg("W_ax"), arg("W_aa"),
        arg("b_a"), arg("b_aa"), arg("peephole"), arg("lengths"), arg("reverse"), arg("out"),
        arg("sequence") = true, arg("checkpoint") = false);
}

}  // namespace rnnfast
