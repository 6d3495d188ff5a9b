// Stream: a layer with its own packed weights and state, run one step at a time.
#include "call.hpp"

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

template <class R>
class StreamOf : public Stream {
 public:
  StreamOf(const std::string& cell, py::handle W_ax, py::handle W_aa, py::handle b_a,
           py::handle b_aa, py::handle peephole, idx batch)
      : cell_(isa().of<R>().cells + find_cell(cell)), order_(1, batch, {}) {
    Arguments arguments(precision_of<R>, "W_ax", cell);
    p_.I = -1;
    read_weights<R>(arguments, *cell_, W_ax, W_aa, b_a, b_aa, peephole, p_);
    p_.T = 1;
    p_.B = batch;
    p_.row = order_.row.data();
    p_.length = order_.length.data();
    p_.group_rows = group_rows(batch, cell_->gates * p_.H * p_.H * static_cast<idx>(sizeof(R)));
    p_.segment = 1;
    p_.a_b = p_.H;
    packed_ = Memory(cell_->packed_size(p_));
    cell_->pack(p_, packed_.get());
    work_ = Memory(cell_->forward_work(p_, 1));
    for (auto& state : state_) state.assign(static_cast<std::size_t>(cell_->states * batch * p_.H), 0);
    operations_ = operations(batch, p_.I, p_.H, cell_->gates);
  }

  py::object step(py::handle x, py::handle out) override {
    Arguments arguments(precision_of<R>, "W_ax", "");
    Problem<R> p = p_;
    p.x = arguments.array<R>(x, "x_t", {{"B", p.B}, {"I", p.I}});
    p.x_b = p.I;
    Output a = Output::make<R>(out, "out", {{"B", p.B}, {"H", p.H}}, arguments, {x});
    p.a = static_cast<R*>(a.data());
    p.a_b = a.t_step();
    for (int i = 0; i < cell_->states; ++i) {
      p.state0[i] = part(now_, i);
      p.state_T[i] = part(1 - now_, i);
    }
    const FlushDenormals flush;
    const Control control = {1, nullptr, serial, never, nullptr, nullptr};
    cell_->forward(p, control, packed_.get(), nullptr, work_.get());
    now_ = 1 - now_;
    return a.finish();
  }

  py::object state() const override {
    std::vector<py::object> parts;
    for (int i = 0; i < cell_->states; ++i) {
      auto array = new_array<R>({p_.B, p_.H});
      std::copy_n(part(now_, i), p_.B * p_.H, array.mutable_data());
      parts.push_back(array);
    }
    return join_state(parts);
  }

  void set_state(py::handle state) override {
    Arguments arguments(precision_of<R>, "W_ax", "");
    const auto parts = split_state(state, cell_->states, "state", initial_names, cell_->name);
    const R* from[max_states];
    for (int i = 0; i < cell_->states; ++i)
      from[i] = arguments.optional<R>(parts[static_cast<std::size_t>(i)], initial_names[i],
                                      {{"B", p_.B}, {"H", p_.H}});
    for (int i = 0; i < cell_->states; ++i)
      for (idx j = 0; j < p_.B * p_.H; ++j) part(now_, i)[j] = from[i] == nullptr ? R(0) : from[i][j];
  }

  // Sets the states of some rows, or of all of them, to zero.
  void reset(py::handle rows) override {
    std::vector<idx> chosen;
    if (rows.is_none()) {
      for (idx b = 0; b < p_.B; ++b) chosen.push_back(b);
    } else {
      for (py::handle row : rows) {
        if (PyBool_Check(row.ptr()) || !PyIndex_Check(row.ptr()))
          fail_type("rows has a " + describe(row) + ", expected integers");
        const idx b = PyNumber_AsSsize_t(row.ptr(), nullptr);
        if (b < 0 || b >= p_.B)
          fail_value("rows has " + std::string(py::str(row)) + ", expected 0 <= row < B = " +
                     std::to_string(p_.B));
        chosen.push_back(b);
      }
    }
    for (idx b : chosen)
      for (int i = 0; i < cell_->states; ++i) std::fill_n(part(now_, i) + b * p_.H, p_.H, R(0));
  }

 private:
  static void serial(void*, idx tasks, void (*task)(void*, idx, int), void* context) {
    for (idx i = 0; i < tasks; ++i) task(context, i, 0);
  }
  static bool never(void*) { return false; }

  R* part(int which, int i) { return state_[which].data() + i * p_.B * p_.H; }
  const R* part(int which, int i) const { return state_[which].data() + i * p_.B * p_.H; }

  const CellKernels<R>* cell_;
  RowOrder order_;
  Problem<R> p_ = {};
  Memory packed_, work_;
  std::vector<R> state_[2];  // (states, B, H): now and next
  int now_ = 0;
  double operations_ = 0;
};

std::unique_ptr<Stream> make_stream(const std::string& cell, py::handle W_ax, py::handle W_aa,
                                    py::handle b_a, py::handle b_aa, py::handle peephole,
                                    idx batch) {
  if (batch < 1) fail_value("batch is " + std::to_string(batch) + ", expected at least 1");
  return with_type(precision(W_ax, "W_ax"), [&](auto zero) -> std::unique_ptr<Stream> {
    return std::make_unique<StreamOf<decltype(zero)>>(cell, W_ax, W_aa, b_a, b_aa, peephole, batch);
  });
}

}  // namespace

void define_stream(py::module_& m) {
  using py::arg;
  py::class_<Stream>(m, "Stream")
      .def(py::init(&make_stream), arg("cell"), arg("W_ax"), arg("W_aa"), arg("b_a"), arg("b_aa"),
           arg("peephole"), arg("batch"))
      .def("step", &Stream::step, arg("x_t"), arg("out") = py::none())
      .def_property_readonly("state", &Stream::state)
      .def("set_state", &Stream::set_state, arg("state"))
      .def("reset", &Stream::reset, arg("rows") = py::none());
}

}  // namespace rnnfast
