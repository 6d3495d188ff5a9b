#include "call.hpp"

#include <new>

#include "kinds.hpp"

namespace rnnfast {
namespace {

std::atomic<double> parallel_from{2e6};
std::atomic<int> threads_of_last_call{1};
constexpr auto look_every = std::chrono::milliseconds(30);

// "lstm" of "lstm_peephole": what a user calls it.
std::string family(const std::string& cell) { return cell.substr(0, cell.find('_')); }

}  // namespace

const char* const initial_names[] = {"a0", "c0"};
const char* const final_names[] = {"dstate (a)", "dstate (c)"};

double parallel_operations() { return parallel_from; }
void set_parallel_operations(double n) { parallel_from = n; }
int last_threads() { return threads_of_last_call; }

Runner::Runner(double operations)
    : operations_(operations), threads_(operations < parallel_from ? 1 : num_threads()) {
  threads_of_last_call = 1;
}

void Runner::parallel(void* team, idx tasks, void (*task)(void*, idx, int), void* context) {
  auto* self = static_cast<Runner*>(team);
  const int took_part = run_tasks(tasks, self->threads_, task, context, interrupted, team);
  if (took_part > threads_of_last_call) threads_of_last_call = took_part;
}

void Runner::gang(void* team, int most, double between, void (*task)(void*, int, int),
                  void* context) {
  auto* self = static_cast<Runner*>(team);
  // a thread takes 60 microseconds and more to wake; for a long call an eighth of what it would
  // take one thread alone, at 10^11 operations a second, is worth waiting for, but not seconds:
  // where the other processors are busy, none will come
  const double wait = std::min(60 + self->operations_ / 8e5, 1e4);
  const auto patience = std::chrono::microseconds(static_cast<int>(wait));
  // two threads save half of the time between two meetings
  const auto longest = parallel_from == 0 ? std::chrono::nanoseconds::max()
                                          : std::chrono::nanoseconds(static_cast<idx>(between / 2));
  const int size = run_gang(std::min(self->threads_, most), patience, longest, task, context);
  if (size > threads_of_last_call) threads_of_last_call = size;
}

bool Runner::interrupted(void* team) {
  auto* self = static_cast<Runner*>(team);
  if (self->stop_) return true;
  if (self->operations_ < release_operations || std::this_thread::get_id() != self->caller_)
    return false;
  const auto now = std::chrono::steady_clock::now();
  if (now - self->looked_ < look_every) return false;
  self->looked_ = now;
  py::gil_scoped_acquire acquire;
  if (PyErr_CheckSignals() != 0) self->stop_ = true;
  return self->stop_;
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
Call<R>::Call(const LayerArguments& a, bool checkpoint)
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
  lengths = parse_lengths(a.lengths, p.T, p.B);
  plan(checkpoint);
}

template <class R>
void Call<R>::plan(bool checkpoint) {
  // No kernel keeps more than this; a size that fits no memory would overflow on the way to it.
  const double width = static_cast<double>(p.I + p.H) + 64;
  const double rows = static_cast<double>(p.T + 1) * static_cast<double>(p.B + 1);
  if (64.0 * sizeof(R) * width * (rows + static_cast<double>(p.H)) > 0x1p60) throw std::bad_alloc();
  order.emplace(p.T, p.B, lengths);
  p.row = order->row.data();
  p.length = order->length.data();
  p.group_rows = group_rows(p.B, cell->gates * p.H * p.H * static_cast<idx>(sizeof(R)));
  p.segment = segment_steps(p.T, checkpoint);
  p.direct = p.T * p.B <= direct_rows;
  idx steps = 0;
  for (idx n : order->length) steps += n;
  operations = rnnfast::operations(steps, p.I, p.H, cell->gates);
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
