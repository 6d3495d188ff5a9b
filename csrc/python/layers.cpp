// run, run_stack, pack and the list of cells.
#include "call.hpp"
#include "kinds.hpp"

namespace rnnfast {
namespace {

template <class R>
void check_packed(const Problem<R>& p, int cell, const PackedWeights& packed) {
  if (packed.cell != cell || packed.I != p.I || packed.H != p.H ||
      packed.precision != precision_of<R>)
    fail_value("packed holds the weights of another cell, dtype or size");
}

// `packed` are of all problems, or none.
template <class R>
py::tuple run_typed(const CallArguments& a, const std::vector<const PackedWeights*>& packed) {
  const bool is_packed = !packed.empty();
  Call<R> call(a, false, is_packed);
  const int cell = find_cell(a.cell);
  Sections sections;
  std::vector<std::size_t> at;
  for (std::size_t k = 0; k < call.problems.size(); ++k) {
    if (is_packed) check_packed(call.problems[k], cell, *packed[k]);
    at.push_back(is_packed ? 0 : sections.add(call.cell->packed_size(call.problems[k])));
  }
  const auto between = sections.add(sizeof(R) * static_cast<std::size_t>(call.between_size(false)));
  PythonRunner runner(call.plan.operations);
  const auto work = sections.add(call.cell->forward_work(call.stack(), runner.threads()));
  const Memory memory = sections.make();
  for (std::size_t k = 0; k < call.problems.size(); ++k)
    call.problems[k].packed = is_packed ? packed[k]->memory.get() : sections.of(memory, at[k]);
  call.want_results(a, false, static_cast<R*>(sections.of(memory, between)));
  runner.run([&](const Control& control) {
    if (!is_packed) call.cell->pack(call.stack(), control);
    call.cell->forward(call.stack(), control, sections.of(memory, work));
  });
  auto [a_out, state] = call.results();
  return py::make_tuple(a_out, state);
}

py::tuple run_packed(const CallArguments& a, py::handle packed) {
  std::vector<const PackedWeights*> weights;
  auto add = [&](py::handle one) { weights.push_back(&object_of<PackedWeights>(one, "packed")); };
  if (!packed.is_none() && a.stacked)
    for (py::handle one : packed) add(one);
  else if (!packed.is_none())
    add(packed);
  if (!weights.empty() && weights.size() != a.weights.size())
    fail_value("packed has " + std::to_string(weights.size()) + " entries, expected " +
               std::to_string(a.weights.size()));
  return with_type(precision(a.x, "x"),
                   [&](auto zero) { return run_typed<decltype(zero)>(a, weights); });
}

py::tuple run(py::handle cell, py::handle x, py::handle state, py::handle W_ax, py::handle W_aa,
              py::handle b_a, py::handle b_aa, py::handle peephole, py::handle lengths,
              py::handle reverse, py::handle out, py::handle sequence, py::handle packed) {
  return run_packed(layer_arguments(cell, x, state, {W_ax, W_aa, b_a, b_aa, peephole}, lengths,
                                    reverse, out, sequence),
                    packed);
}

py::tuple run_stack(py::handle cell, py::handle x, py::handle state, py::handle weights,
                    py::handle directions, py::handle lengths, py::handle out, py::handle sequence,
                    py::handle packed) {
  return run_packed(
      stack_arguments(cell, x, state, weights, directions, lengths, out, sequence, py::tuple()),
      packed);
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
    p.packed = memory.get();
    PythonRunner runner(operations(1, p.I, p.H, kernels.gates));
    runner.run([&](const Control& control) { kernels.pack({1, 1, &p}, control); });
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
  m.def("run_stack", &run_stack, arg("cell"), arg("x"), arg("state"), arg("weights"),
        arg("directions"), arg("lengths"), arg("out"), arg("sequence"), arg("packed"));
  m.def("pack", &pack, arg("cell"), arg("W_ax"), arg("W_aa"), arg("b_a"), arg("b_aa"),
        arg("peephole"));
}

}  // namespace rnnfast
