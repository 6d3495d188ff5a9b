// A call of a kernel from Python: the problem its arguments describe, and running it.
#pragma once
#include <algorithm>
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

// The weights of one layer in one direction, as Python gives them.
struct Weights {
  py::handle W_ax, W_aa, b_a, b_aa, peephole;
};

// The arguments that describe a layer in one direction, or a stack of layers.
struct CallArguments {
  std::string cell;
  py::handle x, state;
  std::vector<Weights> weights;  // number layer * directions + direction
  idx directions;
  bool reverse;  // of a layer in one direction
  bool stacked;  // states have the number as their first axis
  py::handle lengths, out;
  bool sequence;
  std::vector<py::handle> masks;  // of all layers but the last, or none

  idx layers() const { return static_cast<idx>(weights.size()) / directions; }
};

// Of one layer; and of a stack, whose `weights` are a list of tuples.
CallArguments layer_arguments(py::handle cell, py::handle x, py::handle state,
                              const Weights& weights, py::handle lengths, py::handle reverse,
                              py::handle out, py::handle sequence);
CallArguments stack_arguments(py::handle cell, py::handle x, py::handle state, py::handle weights,
                              py::handle directions, py::handle lengths, py::handle out,
                              py::handle sequence, py::handle masks);

// Several arrays in one block of memory.
class Sections {
 public:
  std::size_t add(std::size_t bytes);  // where it starts
  std::size_t size() const { return size_; }
  static void* of(void* memory, std::size_t start) { return static_cast<char*>(memory) + start; }
  static void* of(const Memory& memory, std::size_t start) { return of(memory.get(), start); }

 private:
  std::size_t size_ = 0;
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

// The problems of a call with the arrays they point to.
template <class R>
struct Call {
  const CellKernels<R>* cell;
  Arguments arguments;
  std::vector<Problem<R>> problems;  // of the weights' numbers
  idx directions;
  Plan plan;

  Call(const CallArguments& a, bool checkpoint, bool packed);

  Stack<R> stack() const { return stack_of(problems, directions); }
  static Stack<R> stack_of(const std::vector<Problem<R>>& problems, idx directions) {
    return {static_cast<idx>(problems.size()) / directions, directions, problems.data()};
  }

  // The numbers of the outputs that other layers read: all of them stay if `keep`.
  idx between_size(bool keep) const;
  // Sets where the outputs and the final states go, and takes them when the kernel has run.
  void want_results(const CallArguments& a, bool keep, R* between);
  std::pair<py::object, py::object> results();

 private:
  void read_state(const CallArguments& a);
  void read_masks(const CallArguments& a);
  // Each of what lies between two layers is (T, B, directions * H).
  idx output_size() const { return problems[0].T * problems[0].B * directions * problems[0].H; }
  // A layer has read what it needs before the one above overwrites what lies two below.
  idx outputs_between(bool keep) const {
    const idx all = static_cast<idx>(problems.size()) / directions - 1;
    return keep ? all : std::min(all, idx(2));
  }

  std::optional<Output> a_;
  States state_T_;
};

// A state's shape: (B, H), or of `stacked` ones (K, B, H).
template <class R, class F>
auto with_state_shape(const std::vector<Problem<R>>& problems, bool stacked, F&& f) {
  const Problem<R>& p = problems[0];
  if (!stacked) return f({{"B", p.B}, {"H", p.H}});
  return f({{"K", static_cast<idx>(problems.size())}, {"B", p.B}, {"H", p.H}});
}

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
void define_losses(py::module_& m);
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
