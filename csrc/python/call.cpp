#include "call.hpp"

#include <pthread.h>

#include <atomic>

#include "kinds.hpp"

namespace rnnfast {
namespace {

// "lstm" of "lstm_peephole": what a user calls it.
std::string family(const std::string& cell) { return cell.substr(0, cell.find('_')); }

std::atomic<unsigned long> main_thread{0};

}  // namespace

void find_main_thread() {
  main_thread =
      py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>();
  // in a forked child the only thread is the main one
  pthread_atfork(nullptr, nullptr, [] { main_thread = PyThread_get_thread_ident(); });
}

const char* const initial_names[] = {"a0", "c0"};
const char* const final_names[] = {"dstate (a)", "dstate (c)"};

bool PythonRunner::on_main_thread() { return PyThread_get_thread_ident() == main_thread; }

bool PythonRunner::signal_raised(void*) {
  py::gil_scoped_acquire acquire;
  return PyErr_CheckSignals() != 0;
}

int find_cell(const std::string& name) {
  const Kernels<float>& k = isa().of<float>();
  for (int i = 0; i < k.count; ++i)
    if (name == k.cells[i].name) return i;
  std::string names;
  for (int i = 0; i < k.count; ++i) names += std::string(i > 0 ? ", " : "") + k.cells[i].name;
  fail_value("cell is '" + name + "', expected one of " + names);
}

template <class R>
void read_weights(Arguments& arguments, const CellKernels<R>& cell, py::handle W_ax,
                  py::handle W_aa, py::handle b_a, py::handle b_aa, py::handle peephole,
                  Problem<R>& p) {
  const idx G = cell.gates;
  const std::string GH = G == 1 ? "H" : std::to_string(G) + "*H";
  arguments.check(W_ax, "W_ax", {{GH.c_str(), -1}, {"I", p.I}});
  const auto shape = py::reinterpret_borrow<py::array>(W_ax);
  const idx rows = shape.shape(0);
  if (rows == 0 || rows % G != 0)
    fail_value("W_ax has shape " + shape_text({rows, shape.shape(1)}) + ", expected (" + GH +
               ", I) with H > 0 for " + family(cell.name));
  p.H = rows / G;
  p.I = shape.shape(1);
  p.W_ax = arguments.array<R>(W_ax, "W_ax", {{GH.c_str(), rows}, {"I", p.I}});
  p.W_aa = arguments.array<R>(W_aa, "W_aa", {{GH.c_str(), rows}, {"H", p.H}});
  p.b_a = arguments.optional<R>(b_a, "b_a", {{GH.c_str(), rows}});
  p.b_aa = arguments.optional<R>(b_aa, "b_aa", {{GH.c_str(), rows}});
  if (cell.params == 0 && !peephole.is_none())
    fail_value("peephole was given, but " + std::string(cell.name) + " has none");
  if (cell.params > 0) {
    const std::string P = std::to_string(cell.params);
    p.param = arguments.array<R>(peephole, "peephole", {{P.c_str(), cell.params}, {"H", p.H}});
  }
}
template void read_weights<float>(Arguments&, const CellKernels<float>&, py::handle, py::handle,
                                  py::handle, py::handle, py::handle, Problem<float>&);
template void read_weights<double>(Arguments&, const CellKernels<double>&, py::handle, py::handle,
                                   py::handle, py::handle, py::handle, Problem<double>&);

States split_state(py::handle state, int states, const char* name, const std::string& cell) {
  States parts;
  if (state.is_none()) {
    parts.fill(py::none());
    return parts;
  }
  const bool tuple = PyTuple_Check(state.ptr());
  if (states == 1) {
    if (tuple)
      fail_type(std::string(name) + " is a " + describe(state) +
                ", expected one array or None for " + family(cell));
    parts[0] = py::reinterpret_borrow<py::object>(state);
    return parts;
  }
  if (!tuple)
    fail_type(std::string(name) + " is a " + describe(state) +
              ", expected a tuple of two arrays, a and c, or None for " + family(cell));
  const idx size = PyTuple_GET_SIZE(state.ptr());
  if (size != states)
    fail_value(std::string(name) + " has " + std::to_string(size) + " entries, expected " +
               std::to_string(states) + " for " + family(cell));
  for (idx i = 0; i < size; ++i)
    parts[static_cast<std::size_t>(i)] =
        py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(state.ptr(), i));
  return parts;
}

py::object join_state(const States& parts, int states) {
  if (states == 1) return parts[0];
  return py::make_tuple(parts[0], parts[1]);
}

LayerArguments::LayerArguments(py::handle cell, py::handle x, py::handle state, py::handle W_ax,
                               py::handle W_aa, py::handle b_a, py::handle b_aa,
                               py::handle peephole, py::handle lengths, py::handle reverse,
                               py::handle out, py::handle sequence)
    : cell(text(cell, "cell")),
      x(x),
      state(state),
      W_ax(W_ax),
      W_aa(W_aa),
      b_a(b_a),
      b_aa(b_aa),
      peephole(peephole),
      lengths(lengths),
      reverse(truth(reverse, "reverse")),
      out(out),
      sequence(truth(sequence, "return_sequence")) {}

template <class R>
Call<R>::Call(const LayerArguments& a, bool checkpoint, bool packed)
    : cell(isa().of<R>().cells + find_cell(a.cell)),
      arguments(precision_of<R>, "x", family(a.cell)) {
  arguments.check(a.x, "x", {{"T", -1}, {"B", -1}, {"I", -1}});
  const auto x = py::reinterpret_borrow<py::array>(a.x);
  p.T = x.shape(0);
  p.B = x.shape(1);
  p.I = x.shape(2);
  p.x = arguments.rows<R>(a.x, "x", {{"T", p.T}, {"B", p.B}, {"I", p.I}}, &p.x_t, &p.x_b);
  read_weights<R>(arguments, *cell, a.W_ax, a.W_aa, a.b_a, a.b_aa, a.peephole, p);
  const auto state = split_state(a.state, cell->states, "state", a.cell);
  for (int i = 0; i < cell->states; ++i)
    p.state0[i] = arguments.optional<R>(state[static_cast<std::size_t>(i)], initial_names[i],
                                        {{"B", p.B}, {"H", p.H}});
  p.reverse = a.reverse;
  plan = make_plan(p, cell->gates, parse_lengths(a.lengths, p.T, p.B), checkpoint, packed);
}

template <class R>
void Call<R>::want_results(const LayerArguments& a) {
  if (a.sequence) {
    a_.emplace(Output::make<R>(a.out, "out", {{"T", p.T}, {"B", p.B}, {"H", p.H}}, arguments));
    p.a = static_cast<R*>(a_->data());
    p.a_t = a_->step<R>(0);
    p.a_b = a_->step<R>(1);
  } else if (!a.out.is_none()) {
    fail_value("out was given, but no sequence is wanted");
  }
  for (int i = 0; i < cell->states; ++i) {
    auto state = new_array<R>({p.B, p.H});
    p.state_T[i] = state.mutable_data();
    state_T_[static_cast<std::size_t>(i)] = std::move(state);
  }
}

template <class R>
std::pair<py::object, py::object> Call<R>::results() {
  py::object a = a_ ? a_->finish() : py::none();
  py::object state = join_state(state_T_, cell->states);
  // they are the caller's now: a backward pass neither keeps nor writes them
  p.a = nullptr;
  a_.reset();
  for (R*& part : p.state_T) part = nullptr;
  state_T_ = {};
  return {a, state};
}

template struct Call<float>;
template struct Call<double>;

}  // namespace rnnfast
