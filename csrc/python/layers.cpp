// run, run_vjp and the pullback; pack.
#include "call.hpp"

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

template <class R>
py::tuple run_typed(const LayerArguments& a, const PackedWeights* packed) {
  Call<R> call(a, false);
  if (packed != nullptr && (packed->cell != find_cell(a.cell) || packed->I != call.p.I ||
                            packed->H != call.p.H || packed->precision != precision_of<R>))
    fail_value("packed holds the weights of another cell, dtype or size");
  call.want_results(a);
  Runner runner(call.operations);
  const std::size_t packed_size = packed == nullptr ? call.cell->packed_size(call.p) : 0;
  Memory memory(packed_size + call.cell->forward_work(call.p, runner.threads()));
  void* const weights = packed == nullptr ? memory.get() : packed->memory.get();
  void* const work = static_cast<char*>(memory.get()) + packed_size;
  runner.run([&](const Control& control) {
    if (packed == nullptr) call.cell->pack(call.p, control, weights);
    call.cell->forward(call.p, control, weights, nullptr, work);
  });
  auto [a_out, state] = call.results();
  return py::make_tuple(a_out, state);
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
    Runner runner(call_.operations);
    packed_size_ = call_.cell->packed_size(call_.p);
    kept_ = Memory(packed_size_ + call_.cell->tape_size(call_.p));
    Memory work(call_.cell->forward_work(call_.p, runner.threads()));
    runner.run([&](const Control& control) {
      call_.cell->pack(call_.p, control, kept_.get());
      call_.cell->forward(call_.p, control, kept_.get(), tape(kept_), work.get());
    });
    auto [a_out, state] = call_.results();
    return py::make_tuple(a_out, state);
  }

  py::dict gradients(py::handle da, py::handle dstate, bool retain, py::handle skip) override {
    need_tape();
    Problem<R> p = call_.p;
    Arguments arguments(precision_of<R>, "x", "");
    read_gradients(arguments, da, dstate, p);
    py::dict grads = wanted(p, skipped(skip));
    p.keep_saved = retain;
    Runner runner(3 * call_.operations);
    Memory work(call_.cell->backward_work(p, runner.threads()));
    need_tape();  // another thread may have taken it meanwhile; from here on it is this call's
                  // alone
    Memory own;
    if (!retain) own = std::move(kept_);
    const Memory& kept = retain ? kept_ : own;
    runner.run([&](const Control& control) {
      call_.cell->backward(p, control, kept.get(), tape(kept), work.get());
    });
    return grads;
  }

 private:
  void* tape(const Memory& kept) const { return static_cast<char*>(kept.get()) + packed_size_; }
  void need_tape() const {
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
    if (PyUnicode_Check(skip.ptr())) fail_type("skip is a str, expected a tuple of names");
    for (py::handle name : skip) {
      std::string names;
      bool known = false;
      for (std::size_t i = 0; i < std::size(gradient_names); ++i) {
        if (std::string(py::str(name)) == gradient_names[i]) result[i] = known = true;
        names += std::string(i > 0 ? ", " : "") + gradient_names[i];
      }
      if (!known)
        fail_value("skip has '" + std::string(py::str(name)) + "', expected names among " + names);
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
  Memory kept_;  // the packed weights and the tape
  std::size_t packed_size_ = 0;
};

py::tuple run(std::string cell, py::handle x, py::handle state, py::handle W_ax, py::handle W_aa,
              py::handle b_a, py::handle b_aa, py::handle peephole, py::handle lengths,
              bool reverse, py::handle out, bool sequence, py::handle packed) {
  const LayerArguments a = {std::move(cell), x,       state,   W_ax, W_aa,    b_a, b_aa,
                            peephole,        lengths, reverse, out,  sequence};
  // cast here: pybind11 tries every argument twice where one of them is a None for a pointer
  const auto* weights = packed.is_none() ? nullptr : packed.cast<const PackedWeights*>();
  return with_type(precision(x, "x"),
                   [&](auto zero) { return run_typed<decltype(zero)>(a, weights); });
}

py::tuple run_vjp(std::string cell, py::handle x, py::handle state, py::handle W_ax,
                  py::handle W_aa, py::handle b_a, py::handle b_aa, py::handle peephole,
                  py::handle lengths, bool reverse, py::handle out, bool sequence,
                  bool checkpoint) {
  const LayerArguments a = {std::move(cell), x,       state,   W_ax, W_aa,    b_a, b_aa,
                            peephole,        lengths, reverse, out,  sequence};
  return with_type(precision(x, "x"), [&](auto zero) -> py::tuple {
    using R = decltype(zero);
    auto pullback = std::make_unique<PullbackOf<R>>(Call<R>(a, checkpoint), a);
    py::tuple result = pullback->forward(a);
    std::unique_ptr<Pullback> base = std::move(pullback);
    return py::make_tuple(result[0], result[1], std::move(base));
  });
}

std::unique_ptr<PackedWeights> pack(const std::string& cell, py::handle W_ax, py::handle W_aa,
                                    py::handle b_a, py::handle b_aa, py::handle peephole) {
  return with_type(precision(W_ax, "W_ax"), [&](auto zero) {
    using R = decltype(zero);
    const int index = find_cell(cell);
    const CellKernels<R>& kernels = isa().of<R>().cells[index];
    Arguments arguments(precision_of<R>, "W_ax", cell);
    Problem<R> p = {};
    p.I = -1;
    read_weights<R>(arguments, kernels, W_ax, W_aa, b_a, b_aa, peephole, p);
    Memory memory(kernels.packed_size(p));
    Runner runner(operations(1, p.I, p.H, kernels.gates));
    runner.run([&](const Control& control) { kernels.pack(p, control, memory.get()); });
    return std::make_unique<PackedWeights>(
        PackedWeights{index, precision_of<R>, p.I, p.H, std::move(memory)});
  });
}

py::tuple cells() {
  const Kernels<float>& k = isa().of<float>();
  py::list list;
  for (int i = 0; i < k.count; ++i) {
    const CellKernels<float>& c = k.cells[i];
    py::dict d;
    d["name"] = c.name;
    d["gates"] = c.gates;
    d["states"] = c.states;
    d["params"] = c.params;
    d["stages"] = c.stages;
    list.append(d);
  }
  return py::tuple(list);
}

}  // namespace

void define_layers(py::module_& m) {
  using py::arg;
  py::class_<PackedWeights>(m, "Packed");
  py::class_<Pullback>(m, "Pullback")
      .def("__call__", &Pullback::gradients, arg("da") = py::none(), arg("dstate") = py::none(),
           py::kw_only(), arg("retain") = false, arg("skip") = py::tuple());
  m.def("cells", &cells);
  m.def("run", &run, arg("cell"), arg("x"), arg("state"), arg("W_ax"), arg("W_aa"), arg("b_a"),
        arg("b_aa"), arg("peephole"), arg("lengths"), arg("reverse"), arg("out"),
        arg("sequence") = true, arg("packed") = py::none());
  m.def("run_vjp", &run_vjp, arg("cell"), arg("x"), arg("state"), arg("W_ax"), arg("W_aa"),
        arg("b_a"), arg("b_aa"), arg("peephole"), arg("lengths"), arg("reverse"), arg("out"),
        arg("sequence") = true, arg("checkpoint") = false);
  m.def("pack", &pack, arg("cell"), arg("W_ax"), arg("W_aa"), arg("b_a"), arg("b_aa"),
        arg("peephole"));
}

}  // namespace rnnfast
