// Stream: a layer with its own packed weights and state, run one step at a time.
#include <numeric>

#include "call.hpp"
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
  StreamOf(const std::string& cell, py::handle W_ax, py::handle W_aa, py::handle b_a,
           py::handle b_aa, py::handle peephole, idx batch)
      : cell_(isa().of<R>().cells + find_cell(cell)) {
    Arguments arguments(precision_of<R>, "W_ax", cell);
    p_.I = -1;
    read_weights<R>(arguments, *cell_, W_ax, W_aa, b_a, b_aa, peephole, p_);
    p_.T = 1;
    p_.B = batch;
    p_.x_b = p_.I;
    plan_ = make_plan(p_, cell_->gates, {}, false, true);
    packed_ = Memory(cell_->packed_size(p_));
    p_.packed = packed_.get();
    PythonRunner runner(operations(1, p_.I, p_.H, cell_->gates));
    runner.run([&](const Control& control) { cell_->pack({1, 1, &p_}, control); });
    work_ = Memory(cell_->forward_work({1, 1, &p_}, 1));
    for (auto& state : state_)
      state.assign(static_cast<std::size_t>(cell_->states * batch * p_.H), 0);
  }

  py::object step(py::handle x, py::handle out) override {
    const bool single = p_.B == 1 && is_plain(x, precision_of<R>, 1);  // (I,) for (1, I)
    if (!fits(x, single, p_.I)) return careful_step(x, out);
    const R* data = static_cast<const R*>(plain_data(x));
    if (out.is_none()) {
      py::array_t<R> a = single ? new_array<R>({p_.H}) : new_array<R>({p_.B, p_.H});
      advance(data, a.mutable_data(), p_.H);
      return a;
    }
    if (!fits(out, single, p_.H) || !py::reinterpret_borrow<py::array>(out).writeable() ||
        !apart(out, x))
      return careful_step(x, out);
    advance(data, static_cast<R*>(plain_data(out)), p_.H);
    return py::reinterpret_borrow<py::object>(out);
  }

  py::object state() const override {
    States parts;
    for (int i = 0; i < cell_->states; ++i) {
      auto array = new_array<R>({p_.B, p_.H});
      std::copy_n(part(now_, i), p_.B * p_.H, array.mutable_data());
      parts[static_cast<std::size_t>(i)] = std::move(array);
    }
    return join_state(parts, cell_->states);
  }

  void set_state(py::handle state) override {
    Arguments arguments(precision_of<R>, "W_ax", "");
    const auto parts = split_state(state, cell_->states, "state", cell_->name);
    const R* from[max_states];
    for (int i = 0; i < cell_->states; ++i)
      from[i] = arguments.optional<R>(parts[static_cast<std::size_t>(i)], initial_names[i],
                                      {{"B", p_.B}, {"H", p_.H}});
    for (int i = 0; i < cell_->states; ++i)
      for (idx j = 0; j < p_.B * p_.H; ++j)
        part(now_, i)[j] = from[i] == nullptr ? R(0) : from[i][j];
  }

  // Sets the states of some rows, or of all of them, to zero.
  void reset(py::handle rows) override {
    for (idx b : chosen_rows(rows, p_.B))
      for (int i = 0; i < cell_->states; ++i) std::fill_n(part(now_, i) + b * p_.H, p_.H, R(0));
  }

 private:
  // An array that can be used in place, (B, size), or (size,) for a single row.
  bool fits(py::handle array, bool single, idx size) const {
    if (single) return is_plain(array, precision_of<R>, 1) && plain_size(array, 0) == size;
    return is_plain(array, precision_of<R>, 2) && plain_size(array, 0) == p_.B &&
           plain_size(array, 1) == size;
  }

  // A step with every check, and with any `out`.
  py::object careful_step(py::handle x, py::handle out) {
    Arguments arguments(precision_of<R>, "W_ax", "");
    const bool single = p_.B == 1 && py::isinstance<py::array>(x) &&
                        py::reinterpret_borrow<py::array>(x).ndim() == 1;
    if (single) return careful_step(arguments, x, out, {{"I", p_.I}}, {{"H", p_.H}});
    return careful_step(arguments, x, out, {{"B", p_.B}, {"I", p_.I}}, {{"B", p_.B}, {"H", p_.H}});
  }
  py::object careful_step(Arguments& arguments, py::handle x, py::handle out, Shape x_shape,
                          Shape a_shape) {
    const R* data = arguments.array<R>(x, "x_t", x_shape);
    Output a = Output::make<R>(out, "out", a_shape, arguments);
    advance(data, static_cast<R*>(a.data()), a_shape.size() == 1 ? p_.H : a.step<R>(0));
    return a.finish();
  }

  void advance(const R* x, R* a, idx a_step) {
    p_.x = x;
    p_.a = a;
    p_.a_b = a_step;
    for (int i = 0; i < cell_->states; ++i) {
      p_.state0[i] = part(now_, i);
      p_.state_T[i] = part(1 - now_, i);
    }
    const FlushDenormals flush;
    cell_->forward({1, 1, &p_}, one_thread, work_.get());
    now_ = 1 - now_;
  }

  R* part(int which, int i) { return state_[which].data() + i * p_.B * p_.H; }
  const R* part(int which, int i) const { return state_[which].data() + i * p_.B * p_.H; }

  const CellKernels<R>* cell_;
  Problem<R> p_ = {};
  Plan plan_;
  Memory packed_, work_;
  std::vector<R> state_[2];  // (states, B, H): now and next
  int now_ = 0;
};

std::unique_ptr<Stream> make_stream(py::handle cell, py::handle W_ax, py::handle W_aa,
                                    py::handle b_a, py::handle b_aa, py::handle peephole,
                                    py::handle batch) {
  const std::string name = text(cell, "cell");
  const idx B = integer(batch, "batch");
  if (B < 1) fail_value("batch is " + std::to_string(B) + ", expected at least 1");
  return with_type(precision(W_ax, "W_ax"), [&](auto zero) -> std::unique_ptr<Stream> {
    return std::make_unique<StreamOf<decltype(zero)>>(name, W_ax, W_aa, b_a, b_aa, peephole, B);
  });
}

Stream& stream_of(py::handle self) { return object_of<Stream>(self, "self"); }

// step(x_t, out=None) without pybind11's dispatch, which takes longer than a small step.
PyObject* fast_step(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  PyObject* given[2] = {nullptr, Py_None};
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  if (count > 2) {
    PyErr_Format(PyExc_TypeError, "step takes x_t and out, got %zd arguments", count);
    return nullptr;
  }
  for (Py_ssize_t i = 0; i < count; ++i) given[i] = args[i];
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    const int at = PyUnicode_CompareWithASCIIString(name, "x_t") == 0   ? 0
                   : PyUnicode_CompareWithASCIIString(name, "out") == 0 ? 1
                                                                        : -1;
    if (at < 0 || at < count) {
      PyErr_Format(PyExc_TypeError, "step got an unexpected argument '%U'", name);
      return nullptr;
    }
    given[at] = args[count + i];
  }
  if (given[0] == nullptr) {
    PyErr_SetString(PyExc_TypeError, "step is missing its argument x_t");
    return nullptr;
  }
  try {
    auto* stream = static_cast<Stream*>(value_of(self));  // Python has looked at its class
    if (stream == nullptr) stream_of(self);               // says what is wrong
    return stream->step(given[0], given[1]).release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

PyMethodDef step_method = {"step",
                           reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(fast_step)),
                           METH_FASTCALL | METH_KEYWORDS, "step(x_t, out=None)"};

}  // namespace

void define_stream(py::module_& m) {
  using py::arg;
  py::class_<Stream> stream(m, "Stream");
  stream
      .def(py::init(&make_stream), arg("cell"), arg("W_ax"), arg("W_aa"), arg("b_a"), arg("b_aa"),
           arg("peephole"), arg("batch"))
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
