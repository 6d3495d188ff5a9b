#include "call.hpp"

#include <pthread.h>

#include <atomic>

#include "kinds.hpp"

namespace rnnfast {
namespace {

std::atomic<unsigned long> main_thread{0};

}  // namespace

void find_main_thread() {
  // where nobody has imported threading yet, there is no other thread of Python's
  const py::object threading = py::module_::import("sys").attr("modules").attr("get")("threading");
  main_thread = threading.is_none()
                    ? PyThread_get_thread_ident()
                    : threading.attr("main_thread")().attr("ident").cast<unsigned long>();
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
  const int G = cell.gates;  // below 10
  const char several[] = {static_cast<char>('0' + G), '*', 'H', '\0'};
  const char* const GH = G == 1 ? "H" : several;
  arguments.check(W_ax, "W_ax", {{GH, -1}, {"I", p.I}});
  const auto shape = py::reinterpret_borrow<py::array>(W_ax);
  const idx rows = shape.shape(0);
  if (rows == 0 || rows % G != 0)
    fail_value("W_ax has shape " + shape_text({rows, shape.shape(1)}) + ", expected (" +
               std::string(GH) + ", I) with H > 0 for " + family(cell.name));
  p.H = rows / G;
  p.I = shape.shape(1);
  p.W_ax = arguments.array<R>(W_ax, "W_ax", {{GH, rows}, {"I", p.I}});
  p.W_aa = arguments.array<R>(W_aa, "W_aa", {{GH, rows}, {"H", p.H}});
  p.b_a = arguments.optional<R>(b_a, "b_a", {{GH, rows}});
  p.b_aa = arguments.optional<R>(b_aa, "b_aa", {{GH, rows}});
  if (cell.params == 0 && !peephole.is_none())
    fail_value("peephole was given, but " + std::string(cell.name) + " has none");
  if (cell.params > 0) {
    const char P[] = {static_cast<char>('0' + cell.params), '\0'};
    p.param = arguments.array<R>(peephole, "peephole", {{P, cell.params}, {"H", p.H}});
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

CallArguments layer_arguments(py::handle cell, py::handle x, py::handle state,
                              const Weights& weights, py::handle lengths, py::handle reverse,
                              py::handle out, py::handle sequence) {
  return {text(cell, "cell"),
          x,
          state,
          {weights},
          1,
          truth(reverse, "reverse"),
          false,
          lengths,
          out,
          truth(sequence, "return_sequence"),
          {}};
}

CallArguments stack_arguments(py::handle cell, py::handle x, py::handle state, py::handle weights,
                              py::handle directions, py::handle lengths, py::handle out,
                              py::handle sequence, py::handle masks) {
  CallArguments a = {text(cell, "cell"),
                     x,
                     state,
                     {},
                     integer(directions, "directions"),
                     false,
                     true,
                     lengths,
                     out,
                     truth(sequence, "return_sequence"),
                     {}};
  for (py::handle layer : weights) {
    const auto w = py::reinterpret_borrow<py::sequence>(layer);
    auto at = [&](idx i) { return py::handle(PyTuple_GET_ITEM(w.ptr(), i)); };
    if (!PyTuple_Check(w.ptr()) || PyTuple_GET_SIZE(w.ptr()) != 5)
      fail_type("weights has a " + describe(layer) + ", expected tuples of five");
    a.weights.push_back({at(0), at(1), at(2), at(3), at(4)});
  }
  const idx count = static_cast<idx>(a.weights.size());
  if (a.directions < 1 || a.directions > 2 || count == 0 || count % a.directions != 0)
    fail_value("weights has " + std::to_string(count) +
               " entries, expected one for each layer in " + std::to_string(a.directions) +
               " directions");
  for (py::handle mask : masks) a.masks.push_back(mask);
  if (!a.masks.empty() && static_cast<idx>(a.masks.size()) != a.layers() - 1)
    fail_value("masks has " + std::to_string(a.masks.size()) +
               " entries, expected one for each layer but the last");
  return a;
}

std::size_t Sections::add(std::size_t bytes) {
  const std::size_t start = size_;
  size_ += (bytes + 63) / 64 * 64;
  return start;
}

template <class R>
Call<R>::Call(const CallArguments& a, bool checkpoint, bool packed)
    : cell(isa().of<R>().cells + find_cell(a.cell)),
      arguments(precision_of<R>, "x", cell->name),
      problems(a.weights.size()),
      directions(a.directions) {
  arguments.check(a.x, "x", {{"T", -1}, {"B", -1}, {"I", -1}});
  const auto x = py::reinterpret_borrow<py::array>(a.x);
  Problem<R>& first = problems[0];
  first.T = x.shape(0);
  first.B = x.shape(1);
  first.I = x.shape(2);
  first.x = arguments.rows<R>(a.x, "x", {{"T", first.T}, {"B", first.B}, {"I", first.I}},
                              &first.x_t, &first.x_b);
  for (std::size_t k = 0; k < problems.size(); ++k) {
    Problem<R>& p = problems[k];
    const bool reads_x = static_cast<idx>(k) < directions;
    p.T = first.T;
    p.B = first.B;
    p.I = reads_x ? first.I : directions * first.H;
    if (reads_x) p.x = first.x, p.x_t = first.x_t, p.x_b = first.x_b;
    const Weights& w = a.weights[k];
    read_weights<R>(arguments, *cell, w.W_ax, w.W_aa, w.b_a, w.b_aa, w.peephole, p);
    if (p.H != first.H)
      fail_value("weights " + std::to_string(k) + " are of H = " + std::to_string(p.H) +
                 ", expected that of weights 0, " + std::to_string(first.H));
    p.reverse = a.reverse || static_cast<idx>(k) % directions == 1;
  }
  read_state(a);
  read_masks(a);
  plan =
      make_plan(first, cell->gates, parse_lengths(a.lengths, first.T, first.B), checkpoint, packed);
  plan_stack(plan, problems, directions, cell->gates);
}

template <class R>
void Call<R>::read_state(const CallArguments& a) {
  const auto parts = split_state(a.state, cell->states, "state", a.cell);
  for (int i = 0; i < cell->states; ++i) {
    const R* part = with_state_shape(problems, a.stacked, [&](Shape shape) {
      return arguments.optional<R>(parts[static_cast<std::size_t>(i)], initial_names[i], shape);
    });
    for (Problem<R>& p : problems) {
      p.state0[i] = part;
      if (part != nullptr) part += p.B * p.H;
    }
  }
}

template <class R>
void Call<R>::read_masks(const CallArguments& a) {
  const Problem<R>& p = problems[0];
  for (std::size_t layer = 0; layer < a.masks.size(); ++layer) {
    const R* mask = arguments.array<R>(a.masks[layer], "mask",
                                       {{"T", p.T}, {"B", p.B}, {"D*H", directions * p.H}});
    for (idx d = 0; d < directions; ++d)
      problems[layer * static_cast<std::size_t>(directions) + static_cast<std::size_t>(d)].mask =
          mask + d * p.H;
  }
}

template <class R>
idx Call<R>::between_size(bool keep) const {
  return outputs_between(keep) * output_size();
}

template <class R>
void Call<R>::want_results(const CallArguments& a, bool keep, R* between) {
  const Problem<R>& p = problems[0];
  const idx columns = directions * p.H, size = output_size(), layers = a.layers();
  const idx kept = outputs_between(keep);
  auto output_of = [&](idx layer) { return between + layer % kept * size; };
  R* last = nullptr;
  idx last_t = 0, last_b = 0;
  if (a.sequence) {
    a_.emplace(Output::make<R>(a.out, "out", {{"T", p.T}, {"B", p.B}, {"H", columns}}, arguments));
    last = static_cast<R*>(a_->data());
    last_t = a_->step<R>(0);
    last_b = a_->step<R>(1);
  } else if (!a.out.is_none()) {
    fail_value("out was given, but no sequence is wanted");
  }
  for (idx k = 0; k < layers * directions; ++k) {
    Problem<R>& own = problems[static_cast<std::size_t>(k)];
    const idx layer = k / directions;
    const bool is_last = layer == layers - 1;
    R* to = is_last ? last : output_of(layer);
    own.a = to == nullptr ? nullptr : to + k % directions * p.H;
    own.a_t = is_last ? last_t : p.B * columns;
    own.a_b = is_last ? last_b : columns;
    if (layer > 0) own.x = output_of(layer - 1), own.x_t = p.B * columns, own.x_b = columns;
  }
  for (int i = 0; i < cell->states; ++i) {
    auto state =
        a.stacked ? new_array<R>({layers * directions, p.B, p.H}) : new_array<R>({p.B, p.H});
    R* part = state.mutable_data();
    for (Problem<R>& own : problems) own.state_T[i] = part, part += p.B * p.H;
    state_T_[static_cast<std::size_t>(i)] = std::move(state);
  }
}

template <class R>
std::pair<py::object, py::object> Call<R>::results() {
  py::object a = a_ ? a_->finish() : py::none();
  py::object state = join_state(state_T_, cell->states);
  // they are the caller's now: a backward pass neither keeps nor writes them
  a_.reset();
  for (Problem<R>& p : problems) {
    p.a = nullptr;
    for (R*& part : p.state_T) part = nullptr;
  }
  state_T_ = {};
  return {a, state};
}

template struct Call<float>;
template struct Call<double>;

}  // namespace rnnfast
