// Stream: a stack of layers with its own packed weights and state, run one step at a time.
#include <algorithm>
#include <numeric>

#include "call.hpp"
#include "fastcall.hpp"
#include "kinds.hpp"

namespace rnnfast {
namespace {

class Stream {
 public:
  virtual ~Stream() = default;
  virtual py::object step(py::handle x, py::handle out) = 0;
  virtual py::object state() const = 0;
  virtual void set_state(py::handle state) = 0;
  virtual void reset(py::handle rows) = 0;
};

// The rows of B where a boolean array is true.
std::vector<idx> rows_of_mask(const py::array_t<bool>& mask, idx B) {
  if (mask.ndim() != 1 || mask.shape(0) != B)
    fail_value("rows has shape " + std::string(py::str(mask.attr("shape"))) +
               ", expected a mask of (B,) = " + shape_text({B}));
  std::vector<idx> found;
  for (idx b = 0; b < B; ++b)
    if (mask.at(b)) found.push_back(b);
  return found;
}

// The rows of B that None (all of them), a mask or indices stand for.
std::vector<idx> chosen_rows(py::handle rows, idx B) {
  std::vector<idx> found;
  if (rows.is_none()) {
    found.resize(static_cast<std::size_t>(B));
    std::iota(found.begin(), found.end(), idx(0));
    return found;
  }
  if (py::isinstance<py::array_t<bool>>(rows))
    return rows_of_mask(py::reinterpret_borrow<py::array_t<bool>>(rows), B);
  if (!is_iterable(rows))
    fail_type("rows is a " + describe(rows) + ", expected integers or a boolean array");
  for (py::handle row : rows) {
    if (!is_integer(row)) fail_type("rows has a " + describe(row) + ", expected integers");
    const idx b = integer(row, "rows");
    if (b < 0 || b >= B)
      fail_value("rows has " + std::string(py::str(row)) +
                 ", expected 0 <= row < B = " + std::to_string(B));
    found.push_back(b);
  }
  return found;
}

template <class R>
class StreamOf : public Stream {
 public:
  StreamOf(const std::string& cell, const py::tuple& layers, idx batch)
      : cell_(isa().of<R>().cells + find_cell(cell)), B_(batch) {
    Arguments arguments(precision_of<R>, "W_ax", cell_->name);  // until all is packed
    for (py::handle weights : layers) add_layer(arguments, weights);
    I_ = problems_.front().I;
    H_ = problems_.front().H;
    plan_ = make_plan(problems_[0], cell_->gates, {}, false, true);
    plan_stack(plan_, problems_, 1, cell_->gates);
    for (Problem<R>& p : problems_) {
      packed_.emplace_back(cell_->packed_size(p));
      p.packed = packed_.back().get();
      operations_ = std::max(operations_, operations(B_, p.I, H_, cell_->gates));
    }
    PythonRunner runner(operations_);
    runner.run([&](const Control& control) { cell_->pack(stack(), control); });
    need_work(1);
    for (auto& state : state_)
      state.assign(static_cast<std::size_t>(cell_->states * depth() * B_ * H_), 0);
  }

  py::object step(py::handle x, py::handle out) override {
    const bool single = B_ == 1 && is_plain(x, precision_of<R>, 1);  // (I,) for (1, I)
    if (!fits(x, single, I_)) return careful_step(x, out);
    const R* data = static_cast<const R*>(plain_data(x));
    if (out.is_none()) {
      py::array_t<R> a = single ? new_array<R>({H_}) : new_array<R>({B_, H_});
      advance(data, a.mutable_data(), H_);
      return a;
    }
    if (!fits(out, single, H_) || !py::reinterpret_borrow<py::array>(out).writeable() ||
        !apart(out, x))
      return careful_step(x, out);
    advance(data, static_cast<R*>(plain_data(out)), H_);
    return py::reinterpret_borrow<py::object>(out);
  }

  py::object state() const override {
    States parts;
    for (int i = 0; i < cell_->states; ++i) {
      auto array = new_array<R>({depth(), B_, H_});
      need_idle();
      std::copy_n(part(now_, i, 0), depth() * B_ * H_, array.mutable_data());
      parts[static_cast<std::size_t>(i)] = std::move(array);
    }
    return join_state(parts, cell_->states);
  }

  void set_state(py::handle state) override {
    Arguments arguments(precision_of<R>, "W_ax");
    const auto parts = split_state(state, cell_->states, "state", cell_->name);
    const R* from[max_states];
    for (int i = 0; i < cell_->states; ++i)
      from[i] = arguments.optional<R>(parts[static_cast<std::size_t>(i)], initial_names[i],
                                      {{"num_layers", depth()}, {"B", B_}, {"H", H_}});
    need_idle();
    for (int i = 0; i < cell_->states; ++i)
      for (idx j = 0; j < depth() * B_ * H_; ++j)
        part(now_, i, 0)[j] = from[i] == nullptr ? R(0) : from[i][j];
  }

  // Sets the states of some rows, or of all of them, to zero.
  void reset(py::handle rows) override {
    const std::vector<idx> chosen = chosen_rows(rows, B_);
    need_idle();
    for (int i = 0; i < cell_->states; ++i)
      for (idx k = 0; k < depth(); ++k)
        for (idx b : chosen) std::fill_n(part(now_, i, k) + b * H_, H_, R(0));
  }

 private:
  // True while a step runs without the GIL. Read and written with it.
  class Busy {
   public:
    explicit Busy(bool& flag) : flag_(flag) { flag_ = true; }
    ~Busy() { flag_ = false; }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    bool& flag_;
  };
  void need_idle() const {
    if (busy_)
      throw std::runtime_error(
          "the stream is in the middle of a step: one stream serves one caller at a time");
  }

  // `weights` are W_ax, W_aa, b_a, b_aa and peephole. A layer reads what the one before puts out,
  // the first any number.
  void add_layer(Arguments& arguments, py::handle weights) {
    constexpr Py_ssize_t count = 5;
    if (!PyTuple_Check(weights.ptr()) || PyTuple_GET_SIZE(weights.ptr()) != count)
      fail_type("a layer is a " + describe(weights) +
                ", expected a tuple (W_ax, W_aa, b_a, b_aa, peephole)");
    PyObject* w[count];
    for (Py_ssize_t i = 0; i < count; ++i) w[i] = PyTuple_GET_ITEM(weights.ptr(), i);
    const idx inputs = problems_.empty() ? -1 : problems_.back().H;
    Problem<R> p = {};
    p.I = inputs;
    read_weights<R>(arguments, *cell_, w[0], w[1], w[2], w[3], w[4], p);
    if (inputs >= 0 && p.H != inputs)
      fail_value("a layer has H = " + std::to_string(p.H) +
                 ", expected H = " + std::to_string(inputs) + " as the layer before it");
    p.T = 1;
    p.B = B_;
    p.x_b = p.I;
    problems_.push_back(p);
  }

  // An array that can be used in place, (B, size), or (size,) for a single row.
  bool fits(py::handle array, bool single, idx size) const {
    if (single) return is_plain(array, precision_of<R>, 1) && plain_size(array, 0) == size;
    return is_plain(array, precision_of<R>, 2) && plain_size(array, 0) == B_ &&
           plain_size(array, 1) == size;
  }

  // A step with every check, and with any `out`.
  py::object careful_step(py::handle x, py::handle out) {
    Arguments arguments(precision_of<R>, "W_ax");
    const bool single =
        B_ == 1 && py::isinstance<py::array>(x) && py::reinterpret_borrow<py::array>(x).ndim() == 1;
    if (single) return careful_step(arguments, x, out, {{"I", I_}}, {{"H", H_}});
    return careful_step(arguments, x, out, {{"B", B_}, {"I", I_}}, {{"B", B_}, {"H", H_}});
  }
  py::object careful_step(Arguments& arguments, py::handle x, py::handle out, Shape x_shape,
                          Shape a_shape) {
    const R* data = arguments.array<R>(x, "x_t", x_shape);
    Output a = Output::make<R>(out, "out", a_shape, arguments);
    advance(data, static_cast<R*>(a.data()), a_shape.size() == 1 ? H_ : a.step<R>(0));
    return a.finish();
  }

  // The new state counts only when all layers have taken the step.
  void advance(const R* x, R* a, idx a_step) {
    need_idle();
    connect(x, a, a_step);
    if (is_short(operations_)) {
      const FlushDenormals flush;
      run_layers(one_thread);
    } else {
      PythonRunner runner(operations_);
      need_work(runner.threads());
      const Busy busy(busy_);
      runner.run([&](const Control& control) { run_layers(control); });
    }
    now_ = 1 - now_;
  }

  // Each layer reads the new state of the one before; the last writes what the caller gets.
  void connect(const R* x, R* a, idx a_step) {
    for (idx k = 0; k < depth(); ++k) {
      Problem<R>& p = problems_[static_cast<std::size_t>(k)];
      p.x = k == 0 ? x : part(1 - now_, 0, k - 1);
      p.a = k + 1 == depth() ? a : nullptr;
      p.a_b = a_step;
      for (int i = 0; i < cell_->states; ++i) {
        p.state0[i] = part(now_, i, k);
        p.state_T[i] = part(1 - now_, i, k);
      }
    }
  }

  void run_layers(const Control& control) { cell_->forward(stack(), control, work_.get()); }

  // Has working memory for so many threads.
  void need_work(int threads) {
    if (threads <= work_threads_) return;
    work_ = Memory(cell_->forward_work(stack(), threads));
    work_threads_ = threads;
  }

  Stack<R> stack() const { return {depth(), 1, problems_.data()}; }
  idx depth() const { return static_cast<idx>(problems_.size()); }
  R* part(int which, int i, idx layer) {
    return state_[which].data() + (i * depth() + layer) * B_ * H_;
  }
  const R* part(int which, int i, idx layer) const {
    return state_[which].data() + (i * depth() + layer) * B_ * H_;
  }

  const CellKernels<R>* cell_;
  idx B_, I_, H_;
  std::vector<Problem<R>> problems_;  // of one step, a layer each
  std::vector<Memory> packed_;
  Plan plan_;
  double operations_ = 0;  // of the longest layer: what threads share is one layer at a time
  Memory work_;
  int work_threads_ = 0;
  std::vector<R> state_[2];  // (states, num_layers, B, H): now and next
  int now_ = 0;
  bool busy_ = false;
};

std::unique_ptr<Stream> make_stream(py::handle cell, py::handle layers, py::handle batch) {
  const std::string name = text(cell, "cell");
  if (!PyList_Check(layers.ptr()) || PyList_GET_SIZE(layers.ptr()) == 0)
    fail_type("layers is a " + describe(layers) +
              ", expected a list of tuples (W_ax, W_aa, b_a, b_aa, peephole), one at least");
  const py::tuple all(py::reinterpret_borrow<py::object>(layers));  // which nobody can change
  const idx B = integer(batch, "batch");
  if (B < 1) fail_value("batch is " + std::to_string(B) + ", expected at least 1");
  const py::handle first = PyTuple_GET_ITEM(all.ptr(), 0);
  const bool has_arrays = PyTuple_Check(first.ptr()) && PyTuple_GET_SIZE(first.ptr()) > 0;
  const py::handle W_ax = has_arrays ? PyTuple_GET_ITEM(first.ptr(), 0) : first;
  return with_type(precision(W_ax, "W_ax"), [&](auto zero) -> std::unique_ptr<Stream> {
    return std::make_unique<StreamOf<decltype(zero)>>(name, all, B);
  });
}

Stream& stream_of(py::handle self) { return object_of<Stream>(self, "self"); }

PyObject* step(PyObject* self, PyObject* const* values, Py_ssize_t positional,
               PyObject* keywords) noexcept {
  static constexpr Signature<2> signature = {"step", 1, {"x_t", "out"}};
  return for_python([&] {
    std::array<py::handle, 2> given = {py::handle(), py::none()};
    place_arguments({values, positional, keywords}, signature, given);
    auto* stream = static_cast<Stream*>(value_of(self));  // Python has looked at its class
    if (stream == nullptr) stream_of(self);               // says what is wrong
    return stream->step(given[0], given[1]);
  });
}

PyMethodDef step_method = fastcall_method("step", step, "step($self, x_t, out=None)\n--\n\n");

}  // namespace

void define_stream(py::module_& m) {
  using py::arg;
  py::class_<Stream> stream(m, "Stream");
  stream.def(py::init(&make_stream), arg("cell"), arg("layers"), arg("batch"))
      .def_property_readonly("state", [](py::handle self) { return stream_of(self).state(); })
      .def(
          "set_state", [](py::handle self, py::handle state) { stream_of(self).set_state(state); },
          arg("state"))
      .def(
          "reset", [](py::handle self, py::handle rows) { stream_of(self).reset(rows); },
          arg("rows") = py::none());
  stream.attr("step") = py::reinterpret_steal<py::object>(
      PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(stream.ptr()), &step_method));
}

}  // namespace rnnfast
