// run, pack and the list of cells.
#include "call.hpp"
#include "kinds.hpp"

namespace rnnfast {
namespace {

template <class R>
py::tuple run_typed(const LayerArguments& a, const PackedWeights* packed) {
  Call<R> call(a, false, packed != nullptr);
  if (packed != nullptr && (packed->cell != find_cell(a.cell) || packed->I != call.p.I ||
                            packed->H != call.p.H || packed->precision != precision_of<R>))
    fail_value("packed holds the weights of another cell, dtype or size");
  call.want_results(a);
  PythonRunner runner(call.plan.operations);
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

py::tuple run(py::handle cell, py::handle x, py::handle state, py::handle W_ax, py::handle W_aa,
              py::handle b_a, py::handle b_aa, py::handle peephole, py::handle lengths,
              py::handle reverse, py::handle out, py::handle sequence, py::handle packed) {
  const LayerArguments a(cell, x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out,
                         sequence);
  // cast here: pybind11 tries every argument twice where one of them is a None for a pointer
  const auto* weights = packed.is_none() ? nullptr : &object_of<PackedWeights>(packed, "packed");
  return with_type(precision(x, "x"),
                   [&](auto zero) { return run_typed<decltype(zero)>(a, weights); });
}

std::unique_ptr<PackedWeights> pack(py::handle cell, py::handle W_ax, py::handle W_aa,
                                    py::handle b_a, py::handle b_aa, py::handle peephole) {
  return with_type(precision(W_ax, "W_ax"), [&](auto zero) {
    using R = decltype(zero);
    const int index = find_cell(text(cell, "cell"));
    const CellKernels<R>& kernels = isa().of<R>().cells[index];
    Arguments arguments(precision_of<R>, "W_ax", kernels.name);
    Problem<R> p = {};
    p.I = -1;
    read_weights<R>(arguments, kernels, W_ax, W_aa, b_a, b_aa, peephole, p);
    Memory memory(kernels.packed_size(p));
    PythonRunner runner(operations(1, p.I, p.H, kernels.gates));
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
  m.def("cells", &cells);
  m.def("run", &run, arg("cell"), arg("x"), arg("state"), arg("W_ax"), arg("W_aa"), arg("b_a"),
        arg("b_aa"), arg("peephole"), arg("lengths"), arg("reverse"), arg("out"),
        arg("sequence") = true, arg("packed") = py::none());
  m.def("pack", &pack, arg("cell"), arg("W_ax"), arg("W_aa"), arg("b_a"), arg("b_aa"),
        arg("peephole"));
}

}  // namespace rnnfast
