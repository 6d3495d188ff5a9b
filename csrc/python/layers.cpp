// run, run_stack, pack and the list of cells.
#include "call.hpp"
#include "fastcall.hpp"
#include "kinds.hpp"

namespace rnnfast {
namespace {

// Working memory of one call: on the stack where little is needed, since the system's allocator
// takes a tenth of a small call's time for it.
class CallMemory {
 public:
  explicit CallMemory(std::size_t bytes) {
    if (bytes > sizeof here_) block_ = Memory(bytes);
  }
  char* get() { return block_ ? static_cast<char*>(block_.get()) : here_; }

 private:
  alignas(64) char here_[16 << 10];
  Memory block_;
};

template <class R>
void check_packed(const Problem<R>& p, const CellKernels<R>& cell, const PackedWeights& packed) {
  if (isa().of<R>().cells + packed.cell != &cell || packed.I != p.I || packed.H != p.H ||
      packed.precision != precision_of<R>)
    fail_value("packed holds the weights of another cell, dtype or size");
}

// `packed` are of all problems, or none.
template <class R>
py::tuple run_typed(const CallArguments& a, const std::vector<const PackedWeights*>& packed) {
  const bool is_packed = !packed.empty();
  Call<R> call(a, false, is_packed);
  Sections sections;
  std::vector<std::size_t> at;
  for (std::size_t k = 0; k < call.problems.size(); ++k) {
    if (is_packed) check_packed(call.problems[k], *call.cell, *packed[k]);
    at.push_back(is_packed ? 0 : sections.add(call.cell->packed_size(call.problems[k])));
  }
  const auto between = sections.add(sizeof(R) * static_cast<std::size_t>(call.between_size(false)));
  PythonRunner runner(call.plan.operations);
  const auto work = sections.add(call.cell->forward_work(call.stack(), runner.threads()));
  CallMemory memory(sections.size());
  for (std::size_t k = 0; k < call.problems.size(); ++k) {
    call.problems[k].unpacked = !is_packed;
    call.problems[k].packed =
        is_packed ? packed[k]->memory.get() : sections.of(memory.get(), at[k]);
  }
  call.want_results(a, false, static_cast<R*>(sections.of(memory.get(), between)));
  runner.run([&](const Control& control) {
    call.cell->forward(call.stack(), control, sections.of(memory.get(), work));
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

PyObject* run(PyObject*, PyObject* const* values, Py_ssize_t positional,
              PyObject* keywords) noexcept {
  static constexpr Signature<13> signature = {
      "run",
      11,
      {"cell", "x", "state", "W_ax", "W_aa", "b_a", "b_aa", "peephole", "lengths", "reverse", "out",
       "sequence", "packed"}};
  return for_python([&] {
    std::array<py::handle, 13> g;
    g[11] = Py_True;
    g[12] = Py_None;
    place_arguments({values, positional, keywords}, signature, g);
    return run_packed(
        layer_arguments(g[0], g[1], g[2], {g[3], g[4], g[5], g[6], g[7]}, g[8], g[9], g[10], g[11]),
        g[12]);
  });
}

PyMethodDef run_method = fastcall_method(
    "run", run,
    "run(cell, x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out, sequence=True, "
    "packed=None)\n--\n\n");

PyObject* run_stack(PyObject*, PyObject* const* values, Py_ssize_t positional,
                    PyObject* keywords) noexcept {
  static constexpr Signature<9> signature = {
      "run_stack",
      9,
      {"cell", "x", "state", "weights", "directions", "lengths", "out", "sequence", "packed"}};
  return for_python([&] {
    std::array<py::handle, 9> g;
    place_arguments({values, positional, keywords}, signature, g);
    return run_packed(stack_arguments(g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], py::tuple()),
                      g[8]);
  });
}

PyMethodDef run_stack_method = fastcall_method(
    "run_stack", run_stack,
    "run_stack(cell, x, state, weights, directions, lengths, out, sequence, packed)\n--\n\n");

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
  define_fastcall(m, run_method);
  define_fastcall(m, run_stack_method);
  m.def("pack", &pack, arg("cell"), arg("W_ax"), arg("W_aa"), arg("b_a"), arg("b_aa"),
        arg("peephole"));
}

}  // namespace rnnfast
