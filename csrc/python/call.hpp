// A call of a kernel from Python: the problem its arguments describe, and running it.
#pragma once
#include <array>
#include <optional>

#include "../dispatch.hpp"
#include "../plan.hpp"
#include "../run.hpp"
#include "arrays.hpp"

namespace rnnfast {

// Runs kernels: without the GIL where that takes a while, and until Ctrl-C, which Python answers on
// its main thread only.
class PythonRunner {
 public:
  explicit PythonRunner(double operations)
      : runner_(operations, on_main_thread() ? signal_raised : nullptr) {}
  int threads() const { return runner_.threads(); }

  // f(control) is the work. Throws what a signal handler raised.
  template <class F>
  void run(F&& f) {
    if (!without_gil(f)) throw py::error_already_set();
  }

 private:
  // What is touched without the GIL is memory that this call owns, alone or with others that only
  // read it, and arrays that it holds references to.
  template <class F>
  bool without_gil(F&& f) {
    if (!runner_.is_long()) return runner_.run(f);
    py::gil_scoped_release release;
    return runner_.run(f);
  }
  static bool on_main_thread();
  static bool signal_raised(void*);

  Runner runner_;
};

// The arguments that describe one layer in one direction, as Python gives them.
struct LayerArguments {
  std::string cell;
  py::handle x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths;
  bool reverse;
  py::handle out;
  bool sequence;

  // In the order in which Python gives them.
  LayerArguments(py::handle cell, py::handle x, py::handle state, py::handle W_ax, py::handle W_aa,
                 py::handle b_a, py::handle b_aa, py::handle peephole, py::handle lengths,
                 py::handle reverse, py::handle out, py::handle sequence);
};

// Index of a cell in the registry; ValueError if there is none of that name.
int find_cell(const std::string& name);

// Checks the weights and fills them in, with H (and I unless x gave it).
template <class R>
void read_weights(Arguments& arguments, const CellKernels<R>& cell, py::handle W_ax,
                  py::handle W_aa, py::handle b_a, py::handle b_aa, py::handle peephole,
                  Problem<R>& p);

// A state argument, (a0, c0) or a0 alone, as its parts; each may be None.
using States = std::array<py::object, max_states>;
States split_state(py::handle state, int states, const char* name, const std::string& cell);
extern const char* const initial_names[];  // a0 c0
extern const char* const final_names[];    // for dstate

// What Python gets for a state.
py::object join_state(const States& parts, int states);

// A problem with the arrays it points to.
template <class R>
struct Call {
  const CellKernels<R>* cell;
  Arguments arguments;
  Problem<R> p = {};
  Plan plan;

  Call(const LayerArguments& a, bool checkpoint, bool packed);

  // Sets where a and the final states go, and takes them when the kernel has run.
  void want_results(const LayerArguments& a);
  std::pair<py::object, py::object> results();

 private:
  std::optional<Output> a_;
  States state_T_;
};

// What an object of a class of this module holds: null where `__new__` alone made it. A cast would
// then make memory with nothing in it.
inline void* value_of(py::handle object) {
  auto* instance = reinterpret_cast<py::detail::instance*>(object.ptr());
  return instance->get_value_and_holder().value_ptr();
}

// The object of a class of this module; TypeError for another, or where `__new__` alone made it.
template <class T>
T& object_of(py::handle object, const char* name) {
  void* found = py::isinstance<T>(object) ? value_of(object) : nullptr;
  if (found == nullptr)
    fail_type(std::string(name) + " is a " + describe(object) + ", expected an initialised " +
              std::string(py::str(py::type::of<T>().attr("__name__"))));
  return *static_cast<T*>(found);
}

// f(R()) for the type of a precision.
template <class F>
auto with_type(Precision precision, F&& f) {
  return precision == Precision::f32 ? f(float()) : f(double());
}

void find_main_thread();  // once, before any call
void define_layers(py::module_& m);
void define_pullback(py::module_& m);
void define_stream(py::module_& m);
void define_dense(py::module_& m);
void define_optimizers(py::module_& m);
void define_configuration(py::module_& m);
void define_probe(py::module_& m);

// A snapshot of a layer's weights, packed for the kernels.
struct PackedWeights {
  int cell;
  Precision precision;
  idx I, H;
  Memory memory;
};

}  // namespace rnnfast
