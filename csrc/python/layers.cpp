// run, pack and the list of cells.
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
py::object run_typed(const LayerArguments& a, const PackedWeights* packed) {
  Call<R> call(a, false, packed != nullptr);
  const CellKernels<R>& cell = *call.cell;
  if (packed != nullptr && (&cell != isa().of<R>().cells + packed->cell || packed->I != call.p.I ||
                            packed->H != call.p.H || packed->precision != precision_of<R>))
    fail_value("packed holds the weights of another cell, dtype or size");
  call.want_results(a);
  PythonRunner runner(call.plan.operations);
  const std::size_t packed_size = packed == nullptr ? cell.packed_size(call.p) : 0;
  CallMemory memory(packed_size + cell.forward_work(call.p, runner.threads()));
  void* const weights = packed == nullptr ? memory.get() : packed->memory.get();
  void* const work = memory.get() + packed_size;
  runner.run([&](const Control& control) {
    if (packed == nullptr) cell.pack(call.p, control, weights);
    cell.forward(call.p, control, weights, nullptr, work);
  });
  auto [a_out, state] = call.results();
  return py::make_tuple(a_out, state);
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
    const LayerArguments a(g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10],
                           g[11]);
    const auto* packed = g[12].is_none() ? nullptr : &object_of<PackedWeights>(g[12], "packed");
    return with_type(precision(a.x, "x"),
                     [&](auto zero) { return run_typed<decltype(zero)>(a, packed); });
  });
}

PyMethodDef run_method = fastcall_method(
    "run", run,
    "run(cell, x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out, sequence=True, "
    "packed=None)\n--\n\n");

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
  define_fastcall(m, run_method);
  m.def("pack", &pack, arg("cell"), arg("W_ax"), arg("W_aa"), arg("b_a"), arg("b_aa"),
        arg("peephole"));
}

}  // namespace rnnfast
