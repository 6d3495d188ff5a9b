// Optimiser steps over lists of arrays, in place.
#include <cmath>

#include "call.hpp"

namespace rnnfast {
namespace {

// Lists of equal length whose arrays agree in dtype and size, and may be written in place.
class Lists {
 public:
  Lists(const py::list& leader, const char* name) { add(leader, name, true); }

  void add(const py::list& list, const char* name, bool writeable) {
    if (!columns_.empty() && list.size() != columns_[0].size())
      fail_value(std::string(name) + " has " + std::to_string(list.size()) + " arrays, expected " +
                 std::to_string(columns_[0].size()));
    std::vector<py::array> arrays;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string at = std::string(name) + "[" + std::to_string(i) + "]";
      const Precision found = precision(list[i], at.c_str());
      py::array array = py::reinterpret_borrow<py::array>(list[i]);
      if (!columns_.empty()) {
        const py::array& first = columns_[0][i];
        if (found != precision(first, "") || array.size() != first.size())
          fail_value(at + " is an array of " + std::to_string(array.size()) + " " +
                     std::string(py::str(array.dtype())) + ", expected " +
                     std::to_string(first.size()) + " " + std::string(py::str(first.dtype())));
      }
      const bool contiguous = (array.flags() & py::array::c_style) != 0;
      if (writeable && (!array.writeable() || !contiguous))
        fail_value(at + " is read-only or not C-contiguous, expected an array to write in place");
      if (!contiguous) array = py::array::ensure(array.attr("copy")("C"));
      arrays.push_back(array);
    }
    columns_.push_back(std::move(arrays));
  }

  // f(zero, n, get) for each row of the lists, get(j) being the j-th list's data.
  template <class F>
  void for_each(F&& f) const {
    const FlushDenormals flush;
    for (std::size_t i = 0; i < columns_[0].size(); ++i)
      with_type(precision(columns_[0][i], ""), [&](auto zero) {
        using R = decltype(zero);
        f(zero, columns_[0][i].size(),
          [&](std::size_t j) { return static_cast<R*>(const_cast<void*>(columns_[j][i].data())); });
        return 0;
      });
  }

 private:
  std::vector<std::vector<py::array>> columns_;
};

void sgd_step(py::list params, py::list grads, py::object velocities, double lr, double momentum,
              double weight_decay) {
  const SgdStep s = {lr, momentum, weight_decay};
  Lists lists(params, "params");
  lists.add(grads, "grads", false);
  const bool moving = !velocities.is_none();
  if (moving) lists.add(velocities, "velocities", true);
  lists.for_each([&](auto zero, idx n, auto get) {
    using R = decltype(zero);
    isa().of<R>().sgd_step(s, get(0), get(1), moving ? get(2) : nullptr, n);
  });
}

void adam_step(py::list params, py::list grads, py::list m, py::list v, idx step, double lr,
               double beta1, double beta2, double eps, double weight_decay, bool decoupled) {
  const double t = static_cast<double>(step);
  const AdamStep s = {lr,  beta1,        beta2,    1 - std::pow(beta1, t), 1 - std::pow(beta2, t),
                      eps, weight_decay, decoupled};
  Lists lists(params, "params");
  lists.add(grads, "grads", false);
  lists.add(m, "m", true);
  lists.add(v, "v", true);
  lists.for_each([&](auto zero, idx n, auto get) {
    using R = decltype(zero);
    isa().of<R>().adam_step(s, get(0), get(1), get(2), get(3), n);
  });
}

void rmsprop_step(py::list params, py::list grads, py::list square_avg, double lr, double alpha,
                  double eps, double weight_decay) {
  const RmspropStep s = {lr, alpha, eps, weight_decay};
  Lists lists(params, "params");
  lists.add(grads, "grads", false);
  lists.add(square_avg, "square_avg", true);
  lists.for_each([&](auto zero, idx n, auto get) {
    using R = decltype(zero);
    isa().of<R>().rmsprop_step(s, get(0), get(1), get(2), n);
  });
}

double norm(py::list grads) {
  double sum = 0;
  Lists(grads, "grads").for_each([&](auto zero, idx n, auto get) {
    using R = decltype(zero);
    sum += isa().of<R>().sum_of_squares(get(0), n);
  });
  return std::sqrt(sum);
}

void scale(py::list grads, double factor) {
  Lists(grads, "grads").for_each([&](auto zero, idx n, auto get) {
    using R = decltype(zero);
    isa().of<R>().scale(get(0), n, factor);
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
