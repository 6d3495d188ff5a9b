// Optimiser steps over lists of arrays, in place.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "call.hpp"
#include "kinds.hpp"

namespace rnnfast {
namespace {

// Lists of equal length whose arrays agree in dtype and size, and may be written in place.
class Lists {
 public:
  Lists(py::handle leader, const char* name) { add(leader, name, true); }

  void add(py::handle object, const char* name, bool writeable) {
    if (!PyList_Check(object.ptr()))
      fail_type(std::string(name) + " is a " + describe(object) + ", expected a list of arrays");
    const auto list = py::reinterpret_borrow<py::list>(object);
    if (!columns_.empty() && list.size() != columns_[0].size())
      fail_value(std::string(name) + " has " + std::to_string(list.size()) + " arrays, expected " +
                 std::to_string(columns_[0].size()));
    std::vector<py::array> arrays;
    arrays.reserve(list.size());
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (is_right(list[i], i, writeable)) {
        arrays.push_back(py::reinterpret_borrow<py::array>(list[i]));
        continue;
      }
      const std::string at = std::string(name) + "[" + std::to_string(i) + "]";
      arrays.push_back(checked(list[i], at, i, writeable));
    }
    columns_.push_back(std::move(arrays));
  }

  // f(zero, index, n, get) for each piece of the rows of the lists, get(j) being the j-th list's
  // data from there on; on all threads where that takes long at so many operations a number. It is
  // not cancelled: a step of some of the arrays only would be worse than a late answer.
  template <class F>
  void for_each(double operations, F&& f) const {
    const std::vector<Piece> pieces = divide();
    double numbers = 0;
    for (const Piece& piece : pieces) numbers += static_cast<double>(piece.n);
    auto run_piece = [&](idx index) {
      const Piece& piece = pieces[static_cast<std::size_t>(index)];
      with_type(piece.precision, [&](auto zero) {
        using R = decltype(zero);
        f(zero, index, piece.n, [&](std::size_t j) {
          return static_cast<R*>(plain_data(columns_[j][piece.row])) + piece.first;
        });
        return 0;
      });
    };
    Runner runner(operations * numbers);
    auto work = [&](const Control& control) {
      auto task = [](void* context, idx index, int) {
        (*static_cast<decltype(run_piece)*>(context))(index);
      };
      control.parallel(control.team, static_cast<idx>(pieces.size()), task, &run_piece);
    };
    if (!runner.is_long()) return void(runner.run(work));
    const py::gil_scoped_release release;
    runner.run(work);
  }

  // How many there are.
  std::size_t pieces() const { return divide().size(); }

 private:
  // Numbers [first, first + n) of the arrays of a row: some microseconds of work. Sums are formed
  // piece by piece, so that they are the same for any number of threads.
  struct Piece {
    std::size_t row;
    Precision precision;
    idx first, n;
  };
  static constexpr idx piece_numbers = 16 * 1024;

  std::vector<Piece> divide() const {
    std::vector<Piece> pieces;
    for (std::size_t row = 0; row < columns_[0].size(); ++row) {
      const Precision found = precision(columns_[0][row], "");
      const idx size = columns_[0][row].size();
      for (idx first = 0; first < size; first += piece_numbers)
        pieces.push_back({row, found, first, std::min(piece_numbers, size - first)});
    }
    return pieces;
  }

  // Whether an array needs neither copy nor complaint.
  bool is_right(py::handle object, std::size_t i, bool writeable) const {
    if (!py::isinstance<py::array>(object)) return false;
    const auto array = py::reinterpret_borrow<py::array>(object);
    const int axes = static_cast<int>(array.ndim());
    const Precision found = is_plain(array, Precision::f32, axes) ? Precision::f32 : Precision::f64;
    if (!is_plain(array, found, axes) || (writeable && !array.writeable())) return false;
    if (columns_.empty()) return true;
    const py::array& first = columns_[0][i];
    return found == precision(first, "") && array.size() == first.size() && is_alone(array, i);
  }
  bool is_alone(const py::array& array, std::size_t i) const {
    return std::all_of(columns_.begin(), columns_.end(),
                       [&](const auto& column) { return apart(array, column[i]); });
  }

  // The array of row i, or a copy of one that is only read and cannot be read as it is.
  py::array checked(py::handle object, const std::string& at, std::size_t i, bool writeable) const {
    const Precision found = precision(object, at.c_str());
    auto array = py::reinterpret_borrow<py::array>(object);
    const bool alone = is_alone(array, i);
    if (!columns_.empty()) {
      const py::array& first = columns_[0][i];
      if (found != precision(first, "") || array.size() != first.size())
        fail_value(at + " is an array of " + std::to_string(array.size()) + " " +
                   std::string(py::str(array.dtype())) + ", expected " +
                   std::to_string(first.size()) + " " + std::string(py::str(first.dtype())));
    }
    const bool plain = is_plain(array, found, static_cast<int>(array.ndim()));
    if (writeable && (!array.writeable() || !plain))
      fail_value(
          at +
          " is read-only, not C-contiguous or not aligned, expected an array to write in place");
    if (writeable && !alone)
      fail_value(at + " shares memory with another array of the step, expected one of its own");
    if (!plain || !alone) array = py::array::ensure(array.attr("copy")("C"));
    return array;
  }

  std::vector<std::vector<py::array>> columns_;
};

// Operations that take as long as these, for each number: reading and writing several arrays, and
// one.
constexpr double step_operations = 32, pass_operations = 8;

void sgd_step(py::handle params, py::handle grads, py::handle velocities, py::handle lr,
              py::handle momentum, py::handle weight_decay) {
  const SgdStep s = {real(lr, "lr"), real(momentum, "momentum"),
                     real(weight_decay, "weight_decay")};
  Lists lists(params, "params");
  lists.add(grads, "grads", false);
  const bool moving = !velocities.is_none();
  if (moving) lists.add(velocities, "velocities", true);
  lists.for_each(step_operations, [&](auto zero, idx, idx n, auto get) {
    using R = decltype(zero);
    isa().of<R>().sgd_step(s, get(0), get(1), moving ? get(2) : nullptr, n);
  });
}

void adam_step(py::handle params, py::handle grads, py::handle m, py::handle v, py::handle step,
               py::handle lr, py::handle beta1, py::handle beta2, py::handle eps,
               py::handle weight_decay, py::handle decoupled) {
  AdamStep s = {};
  s.lr = real(lr, "lr");
  s.beta1 = real(beta1, "beta1");
  s.beta2 = real(beta2, "beta2");
  const double t = static_cast<double>(integer(step, "step"));
  s.correction1 = 1 - std::pow(s.beta1, t);
  s.correction2 = 1 - std::pow(s.beta2, t);
  s.eps = real(eps, "eps");
  s.weight_decay = real(weight_decay, "weight_decay");
  s.decoupled = truth(decoupled, "decoupled");
  Lists lists(params, "params");
  lists.add(grads, "grads", false);
  lists.add(m, "m", true);
  lists.add(v, "v", true);
  lists.for_each(step_operations, [&](auto zero, idx, idx n, auto get) {
    using R = decltype(zero);
    isa().of<R>().adam_step(s, get(0), get(1), get(2), get(3), n);
  });
}

void rmsprop_step(py::handle params, py::handle grads, py::handle square_avg, py::handle lr,
                  py::handle alpha, py::handle eps, py::handle weight_decay) {
  const RmspropStep s = {real(lr, "lr"), real(alpha, "alpha"), real(eps, "eps"),
                         real(weight_decay, "weight_decay")};
  Lists lists(params, "params");
  lists.add(grads, "grads", false);
  lists.add(square_avg, "square_avg", true);
  lists.for_each(step_operations, [&](auto zero, idx, idx n, auto get) {
    using R = decltype(zero);
    isa().of<R>().rmsprop_step(s, get(0), get(1), get(2), n);
  });
}

double norm(py::handle grads) {
  const Lists lists(grads, "grads");
  std::vector<double> sums(lists.pieces());
  lists.for_each(pass_operations, [&](auto zero, idx index, idx n, auto get) {
    using R = decltype(zero);
    sums[static_cast<std::size_t>(index)] = isa().of<R>().sum_of_squares(get(0), n);
  });
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

void scale(py::handle grads, py::handle factor) {
  const double by = real(factor, "factor");
  Lists(grads, "grads").for_each(pass_operations, [&](auto zero, idx, idx n, auto get) {
    using R = decltype(zero);
    isa().of<R>().scale(get(0), n, by);
  });
}

}  // namespace

void define_optimizers(py::module_& m) {
  using py::arg;
  m.def("sgd_step", &sgd_step, arg("params"), arg("grads"), arg("velocities"), arg("lr"),
        arg("momentum"), arg("weight_decay"));
  m.def("adam_step", &adam_step, arg("params"), arg("grads"), arg("m"), arg("v"), arg("step"),
        arg("lr"), arg("beta1"), arg("beta2"), arg("eps"), arg("weight_decay"), arg("decoupled"));
  m.def("rmsprop_step", &rmsprop_step, arg("params"), arg("grads"), arg("square_avg"), arg("lr"),
        arg("alpha"), arg("eps"), arg("weight_decay"));
  m.def("norm", &norm, arg("grads"));
  m.def("scale", &scale, arg("grads"), arg("factor"));
}

}  // namespace rnnfast
